"""Bench for word streams: drives and collects with random idles and back-pressure."""

from collections.abc import Callable, Iterable

import numpy as np
from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator

from twinphase_spec import packets
from twinphase_spec.packets import Stream


def run(dut: Elaboratable, *processes: Callable, clocks: int = 20_000, settle: int = 60) -> None:
    """Runs testbenches until ``settle`` clocks after all have ended but the collectors (attribute ``background``)."""
    simulator = Simulator(dut)
    simulator.add_clock(8e-9)

    def settled(process):
        async def bench(context):
            await process(context)
            await context.tick().repeat(settle)

        return bench

    async def watchdog(context):
        await context.delay(clocks * 8e-9)
        raise AssertionError(f"the bench did not end within {clocks} clocks")

    simulator.add_testbench(watchdog, background=True)
    for process in processes:
        background = getattr(process, "background", False)
        simulator.add_testbench(process if background else settled(process), background=background)
    simulator.run()


def send(port, items: Iterable, *, idle: float = 0.0, seed: int = 0) -> Callable:
    """Testbench that puts ``items`` into a stream; before each it waits a clock with probability ``idle``, again and again."""
    random = np.random.default_rng(seed)

    async def process(context):
        for item in items:
            while random.random() < idle:
                await context.tick()
            context.set(port.payload, item)
            context.set(port.valid, 1)
            await context.tick().until(port.ready)
            context.set(port.valid, 0)

    return process


def collect(
    port, into: list, *, pause: float = 0.0, seed: int = 1, read: Callable = lambda payload: payload
) -> Callable:
    """Background testbench that takes everything from a stream, not ready with probability ``pause``; checks that it holds."""
    random = np.random.default_rng(seed)

    async def process(context):
        held = None
        while True:
            ready = random.random() >= pause
            context.set(port.ready, int(ready))
            _, _, valid, payload = await context.tick().sample(port.valid, port.payload)
            if held is not None:
                assert valid, "valid fell without a transfer"
                assert held == str(payload), "payload changed without a transfer"
            held = str(payload) if valid and not ready else None
            if valid and ready:
                into.append(read(payload))

    process.background = True
    return process


def word(payload) -> tuple[int, int]:
    """(data, last) of a Word."""
    return int(payload["data"]), int(payload["last"])


def words_of(packet: Iterable[int]) -> list[dict]:
    """A packet as payloads for a word stream."""
    packet = list(packet)
    return [{"data": int(w), "last": int(i == len(packet) - 1)} for i, w in enumerate(packet)]


def split(words: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Words with ``last`` as packets."""
    found: list[list[int]] = [[]]
    for value, last in words:
        found[-1].append(value)
        if last:
            found.append([])
    assert not found[-1], "a packet without end"
    return found[:-1]


def header(packet: list[int]) -> dict:
    """Fields of a packet's header, after a check of magic, version and length."""
    fields = np.array(packet[:8], "<u4").view(packets.HEADER_DTYPE)[0]
    assert fields["magic"] == packets.MAGIC
    assert fields["version"] == packets.VERSION
    assert fields["words"] == len(packet) - packets.HEADER_WORDS
    return {name: int(fields[name]) for name in packets.HEADER_DTYPE.names}


def packet(
    stream: Stream, payload: Iterable[int], *, sequence: int = 0, flags: int = 0, w3: int = 0, w4: int = 0
) -> list[int]:
    """A packet's words."""
    payload = list(payload)
    first = packets.MAGIC << 16 | packets.VERSION << 8 | int(stream)
    return [first, sequence, flags << 16 | len(payload), w3, w4, 0, 0, 0, *payload]
