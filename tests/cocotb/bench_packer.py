"""Packers of whole records against the reference packer: every packet, word by word, close clocks included."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from lockstep import Lockstep, Sink, Source
from twinphase_sim.model.link.packets import pack
from twinphase_spec.packets import (
    FLUSH_BITS,
    HEADER_DTYPE,
    HEADER_WORDS,
    HEARTBEAT_BITS,
    MAX_PAYLOAD_WORDS,
    RECORD_DTYPES,
    RECORD_WORDS,
    Stream,
)
from twinphase_spec.units import FRACTION_BITS

FIRST_SEQUENCE, FIRST_RECORD = 0xFFFFFFFD, 0xFFFFFF00
"""Reset values of the psi packer's sequence and record number: both wrap within a test."""
PACKERS = (Stream.HERALD, Stream.PHASE, Stream.SIFTED, Stream.PEER, Stream.PSI)
LOSSY = (Stream.HERALD, Stream.PHASE, Stream.PSI)
LAST = 1 << 32
WAY_OUT_WORDS = 5
"""Registers of the sender behind the one that knows the last word, and two of its way out: fewer than a packet's words."""


def packets_of(words: list[int]) -> list[bytes]:
    """Words with ``last`` in bit 32 as packets; the last one must be complete."""
    found, open_packet = [], []
    for word in words:
        open_packet.append(word & 0xFFFFFFFF)
        if word & LAST:
            found.append(np.array(open_packet, "<u4").tobytes())
            open_packet = []
    assert not open_packet, f"a packet without end: {len(open_packet)} words"
    return found


def header_of(packet: bytes) -> Any:
    return np.frombuffer(packet[: 4 * HEADER_WORDS], HEADER_DTYPE)[0]


def payload_of(packet: bytes) -> np.ndarray:
    return np.frombuffer(packet[4 * HEADER_WORDS :], "<u4")


def walk(seed: int, start: int, cycles: int, tick_bits: int, most: int = 80) -> Iterator[int]:
    """``cycles`` clock counts that jump from the surroundings of one tick to those of the next, and never over one."""
    draw = random.Random(f"walk {seed}")
    clock, steps = start, draw.randrange(2, most)
    for _ in range(cycles):
        yield clock
        clock += 1
        steps -= 1
        if not steps:
            steps = draw.randrange(2, most)
            next_tick = ((clock - 1 >> tick_bits) + 1) << tick_bits
            clock = max(clock, next_tick - draw.randrange(steps))


class PackerBench:
    """One packer under test: source of numbered records, sink of words, and the reference's answer."""

    def __init__(self, loop: Lockstep, number: Stream, *, idle: float, pause: float, seed: int) -> None:
        name = number.name.lower()
        self.number, self.words = number, RECORD_WORDS[number]
        self.enable = getattr(loop.dut, f"{name}__i_enable")
        self.source: Source = loop.source(f"{name}__i", idle=idle, seed=seed)
        self.sink: Sink = loop.sink(f"{name}__o", idle=pause, seed=seed)
        self.made: list[list[int]] = []
        self.draw = random.Random(f"{name} {seed}")

    def send(self, count: int) -> None:
        """Queues records: a running number first, then noise."""
        for _ in range(count):
            words = [len(self.made), *(self.draw.getrandbits(32) for _ in range(self.words - 1))]
            self.made.append(words)
            self.source.send([sum(word << 32 * i for i, word in enumerate(words))])

    def packets(self) -> list[bytes]:
        return packets_of(self.sink.words)

    def expected(self, clocks: list[int], first_record: int = 0, first_sequence: int = 0) -> list[bytes]:
        """Reference packets, replaying which records were admitted.

        The first word of a record enters the buffer two clocks after the record was taken, and a clock count acts there two
        clocks late. Only the clock of a close is the gateware's own: a full packet closes when its last word is in, and so
        does one whose flush tick fell into a record.
        """
        entered = [cycle for cycle, _ in self.source.taken]
        records = np.array(self.made[: len(entered)], "<u4").reshape(-1, self.words)
        kept = {int(n) for packet in self.packets() for n in payload_of(packet)[:: self.words]}
        lost = np.array([n not in kept for n in range(len(entered))], dtype=bool)
        told = pack(
            self.number,
            records.view(RECORD_DTYPES[self.number]).reshape(-1),
            np.array([clocks[cycle] for cycle in entered]),
            until_clock=clocks[-1],
            start_clock=clocks[0] - 1,
            lost=lost,
        )
        admitted = [cycle for cycle, gone in zip(entered, lost, strict=True) if not gone]
        cycle_of = {clock: cycle for cycle, clock in enumerate(clocks)}
        result = []
        for packet in told:
            header = np.frombuffer(packet[: 4 * HEADER_WORDS], HEADER_DTYPE).copy()
            if header["words"][0]:
                stop = int(header["first_record"][0]) + int(header["words"][0]) // self.words
                complete = admitted[stop - 1] + self.words
                full = header["words"][0] > MAX_PAYLOAD_WORDS - self.words
                if full or cycle_of[int(header["base_ticks"][0]) >> FRACTION_BITS] < complete:
                    header["base_ticks"] = clocks[complete] << FRACTION_BITS
            header["first_record"] += np.uint32(first_record)
            header["sequence"] += np.uint32(first_sequence)
            result.append(header.tobytes() + packet[4 * HEADER_WORDS :])
        return result


def compare(name: str, got: list[bytes], want: list[bytes]) -> None:
    """Packet by packet, with the first difference told in the header's terms."""
    for i, (a, b) in enumerate(itertools.zip_longest(got, want)):
        assert a == b, (
            f"{name}: packet {i} of {len(got)} ({len(want)} expected) differs:\n"
            f" got  {a and header_of(a)}\n want {b and header_of(b)}"
        )


async def start(
    dut: Any,
    seed: int,
    first_clock: int,
    numbers: tuple[Stream, ...] = PACKERS,
    *,
    idle: float = 0.0,
    pause: float = 0.0,
) -> tuple[Lockstep, dict[Stream, PackerBench], list[int]]:
    """A loop with benches of ``numbers`` (lossless ones never paused) whose clock follows the returned list, then counts on."""
    loop = Lockstep(dut)
    benches = {
        number: PackerBench(loop, number, idle=idle, pause=pause if number in LOSSY else 0.0, seed=seed)
        for number in numbers
    }
    ports = [getattr(dut, f"{number.name.lower()}__i_clock") for number in numbers]
    clocks: list[int] = []

    def count(cycle: int) -> None:
        if cycle >= len(clocks):
            clocks.append(clocks[-1] + 1 if clocks else first_clock)
        for port in ports:
            port.value = clocks[cycle]

    for port in ports:
        port.value = first_clock
    for number in PACKERS:
        getattr(dut, f"{number.name.lower()}__i_enable").value = int(number in benches)
    loop.before.append(count)
    await loop.start()
    return loop, benches, clocks


def check(benches: dict[Stream, PackerBench], clocks: list[int]) -> None:
    """Every packet of every packer is the reference's."""
    for number, bench in benches.items():
        first = (FIRST_RECORD, FIRST_SEQUENCE) if number is Stream.PSI else (0, 0)
        compare(number.name, bench.packets(), bench.expected(clocks, *first))


@cocotb.test()
@cocotb.parametrize(
    (("idle", "pause", "steps", "cycles"), [(0.9, 0.0, 80, 5000), (0.98, 0.5, 80, 4000), (0.3, 0.4, 800, 6000)])
)
async def test_packets_are_those_of_the_reference(dut: Any, idle: float, pause: float, steps: int, cycles: int) -> None:
    """Random records around all flush ticks of more than a heartbeat period; the last case also fills the buffers."""
    seed = int(100 * idle)
    heartbeat = random.Random(seed).randrange(1, 1 << 29) << HEARTBEAT_BITS
    loop, benches, clocks = await start(dut, seed, heartbeat - (30 << 13), idle=idle, pause=pause)
    clocks += walk(seed, heartbeat - (30 << 13), cycles, 13, steps)
    for bench in benches.values():
        bench.send(cycles)
    await loop.step(cycles)
    for bench in benches.values():
        bench.source.stop()
        bench.sink.idle = 0.0
    await loop.step(1200)
    silent_from = len(clocks)
    for k in range(1, 3 << HEARTBEAT_BITS - 13):
        tick = (clocks[silent_from - 1] >> 13) + k << 13
        clocks += range(tick - 1, tick + 8)
    await loop.step(len(clocks) - loop.cycle + 60)
    check(benches, clocks)
    heads = [header_of(packet) for bench in benches.values() for packet in bench.packets()]
    assert sum(h["words"] == 0 for h in heads) >= 2 * len(PACKERS), "no heartbeats came"
    if idle < 0.5:
        assert any(h["lost"] > 0 for h in heads), "no buffer was full"
        assert any(h["words"] == MAX_PAYLOAD_WORDS for h in heads), "no packet was full"
    psi = [header_of(packet) for packet in benches[Stream.PSI].packets()]
    assert psi[0]["sequence"] == FIRST_SEQUENCE
    assert psi[-1]["sequence"] < FIRST_SEQUENCE, "the sequence did not wrap"
    assert psi[-1]["first_record"] < FIRST_RECORD or idle > 0.5, "the record number did not wrap"


@cocotb.test()
async def test_a_blocked_link_holds_two_packets_and_counts_the_rest(dut: Any) -> None:
    """512 words are two full packets: 2 x 85 HERALD or 2 x 32 PHASE records; the lossless packers only wait."""
    loop, benches, clocks = await start(dut, 1, (3 << HEARTBEAT_BITS) + 100)
    room = {Stream.HERALD: 170, Stream.PHASE: 64, Stream.PSI: 256, Stream.SIFTED: 256, Stream.PEER: 170}
    for bench in benches.values():
        bench.sink.idle = 1.0
        bench.send(300)
    await loop.step(2600)
    for number, bench in benches.items():
        lossless = number not in LOSSY
        assert len(bench.source.taken) == (room[number] + 1 if lossless else 300), f"{number.name} took a wrong number"
        bench.sink.idle = 0.3
    await loop.step(1500)
    for bench in benches.values():
        bench.send(100)
    await loop.step(1500)
    tick = (clocks[-1] >> 17) + 1 << 17
    for near in range((clocks[-1] >> 13) + 1 << 13, tick + 1, 1 << 13):
        clocks += range(near - 2, near + 40)
    await loop.step(len(clocks) - loop.cycle + 100)
    for number, bench in benches.items():
        packets = bench.packets()
        numbers = [int(n) for packet in packets for n in payload_of(packet)[:: bench.words]]
        lost = 0 if number not in LOSSY else 300 - room[number]
        kept = [n for n in range(400) if not room[number] <= n < room[number] + lost]
        assert numbers == kept, f"{number.name}: {len(numbers)} records came, {len(kept)} fit"
        heads = [header_of(packet) for packet in packets]
        # The first packet had closed before anything was lost.
        assert heads[0]["lost"] == 0
        assert heads[-1]["lost"] == lost, f"{number.name}: {heads[-1]['lost']} counted, {lost} lost"
        sequence = np.array([head["sequence"] for head in heads], "<u4")
        assert (np.diff(sequence) == 1).all()
        first = np.array([head["first_record"] for head in heads], "<u4")
        records = np.array([head["words"] // bench.words for head in heads], "<u4")
        assert (np.diff(first) == records[:-1]).all(), f"{number.name}: first_record does not count on"


@cocotb.test()
async def test_no_more_than_sixteen_packets_wait(dut: Any) -> None:
    """A record before each flush tick of a blocked link: sixteen packets close, the rest share one that stays open."""
    loop, benches, clocks = await start(dut, 2, (5 << HEARTBEAT_BITS) + 100, (Stream.HERALD,))
    bench = benches[Stream.HERALD]
    bench.sink.idle = 1.0
    for k in range(1, 24):
        bench.send(1)
        tick = (5 << HEARTBEAT_BITS) + (k << 13)
        clocks += range(tick - 8, tick + 4)
        await loop.step(len(clocks) - loop.cycle)
    bench.sink.idle = 0.0
    await loop.step(500)
    tick = (5 << HEARTBEAT_BITS) + (24 << 13)
    clocks += range(tick - 2, tick + 40)
    await loop.step(len(clocks) - loop.cycle)
    heads = [header_of(packet) for packet in bench.packets()]
    assert [int(head["words"]) for head in heads] == [3] * 16 + [21]
    assert [int(head["sequence"]) for head in heads] == list(range(17))
    assert all(head["lost"] == 0 for head in heads)
    assert heads[-1]["base_ticks"] == tick << FRACTION_BITS


@cocotb.test()
async def test_ticks_meet_a_record_at_every_clock(dut: Any) -> None:
    """One PHASE record from 12 clocks before to 3 after a flush tick that is no heartbeat: the reference tells the packet."""
    bits = FLUSH_BITS[Stream.PHASE]
    loop, benches, clocks = await start(dut, 3, 1 << bits, (Stream.PHASE,))
    bench = benches[Stream.PHASE]
    k = 1
    for offset in range(-12, 4):
        k += 2 if k % 4 == 3 else 1  # multiples of 4 are heartbeats
        clocks += range((k << bits) - 20, (k << bits) + 30)
        await loop.step(20 + offset + len(clocks) - 50 - loop.cycle)
        bench.send(1)
        await loop.step(len(clocks) - loop.cycle)
        if k % 4 == 3:
            clocks += range((k + 1 << bits) - 3, (k + 1 << bits) + 30)
            await loop.step(len(clocks) - loop.cycle)
    k += 1
    clocks += range((k << bits) - 2, (k << bits) + 60)
    await loop.step(len(clocks) - loop.cycle)
    check(benches, clocks)
    assert sum(int(header_of(packet)["words"]) for packet in bench.packets()) == 8 * 16


@cocotb.test()
async def test_heartbeats_never_leave_a_stream_silent(dut: Any) -> None:
    """A record at every clock around a heartbeat, then nothing: two heartbeat periods without a packet never pass."""
    loop, benches, clocks = await start(dut, 4, (1 << HEARTBEAT_BITS) - 30, (Stream.PHASE,))
    bench = benches[Stream.PHASE]
    k = 0
    flush = FLUSH_BITS[Stream.PHASE]
    for offset in range(-12, 4):
        for beat in range(3):
            k += 1
            for tick in range((k - 1 << HEARTBEAT_BITS) + (1 << flush), (k << HEARTBEAT_BITS) + 1, 1 << flush):
                clocks += range(tick - 20, tick + 30)
            if beat == 0:
                await loop.step(len(clocks) - 30 + offset - loop.cycle)
                bench.send(1)
            await loop.step(len(clocks) - loop.cycle)
    closed = [int(header_of(packet)["base_ticks"]) >> FRACTION_BITS for packet in bench.packets()]
    assert sum(int(header_of(packet)["words"]) for packet in bench.packets()) == 8 * 16
    assert np.diff(closed).max() <= (2 << HEARTBEAT_BITS) + 10
    assert np.diff(closed).min() > 0
    assert len(closed) >= 16 * 2


@cocotb.test()
async def test_a_disabled_stream_forgets_without_loss(dut: Any) -> None:
    """Records while disabled are neither sent nor lost; the open packet still leaves; no heartbeats come."""
    loop, benches, clocks = await start(dut, 5, (1 << HEARTBEAT_BITS) + 1)
    for bench in benches.values():
        bench.send(3)
    await loop.step(60)
    for bench in benches.values():
        bench.enable.value = 0
        bench.send(5)
    for k in range(1, 65 * 2):
        tick = (1 << HEARTBEAT_BITS) + (k << 13)
        clocks += range(tick - 2, tick + 6)
    await loop.step(len(clocks) - loop.cycle)
    for number, bench in benches.items():
        packets = bench.packets()
        assert [int(header_of(packet)["words"]) for packet in packets] == [3 * bench.words], number.name
        assert len(bench.source.taken) == 8
        bench.enable.value = 1
        bench.send(2)
    await loop.step(30)
    for k in range(129, 129 + 20):
        tick = (1 << HEARTBEAT_BITS) + (k << 13)
        clocks += range(tick - 2, tick + 6)
    await loop.step(len(clocks) - loop.cycle + 60)
    for number, bench in benches.items():
        head, payload = header_of(bench.packets()[1]), payload_of(bench.packets()[1])
        first = FIRST_RECORD if number is Stream.PSI else 0
        assert payload[:: bench.words].tolist() == [8, 9], number.name
        assert (int(head["lost"]), int(head["first_record"])) == (0, first + 3)


@cocotb.test()
@cocotb.parametrize((("seed", "pause"), [(1, 0.0), (2, 0.6), (3, 0.9)]))
async def test_a_flush_lets_go_of_what_has_come(dut: Any, seed: int, pause: float) -> None:
    """Far from any tick: after i_flush all records that have come leave, and o_flushed stays low until their last packet is out
    but for what the sender's way out holds. Records that come behind the flush wait for the next."""
    draw = random.Random(seed)
    loop = Lockstep(dut)
    source, sink = loop.source("herald__i", seed=seed), loop.sink("herald__o", idle=pause, seed=seed)
    flushed: list[int] = []
    loop.after.append(lambda cycle: flushed.append(int(dut.herald__o_flushed.value)))
    dut.herald__i_clock.value, dut.herald__i_enable.value, dut.herald__i_flush.value = 1, 1, 0
    await loop.start()
    records, waited = 0, 0
    for _ in range(25):
        count = draw.choice([0, 1, 2, 40, 84, 86])
        source.send([draw.getrandbits(96) for _ in range(count)])
        await loop.step(3 * count + 12)
        records += count
        dut.herald__i_flush.value = 1
        await loop.step()
        dut.herald__i_flush.value = 0
        behind = draw.choice([0, 0, 3])
        source.send([draw.getrandbits(96) for _ in range(behind)])
        asked = loop.cycle
        await loop.step()
        await loop.until(lambda: flushed[-1] == 1, 20_000, "o_flushed")
        words, waited = len(sink.words), waited + loop.cycle - asked
        await loop.until(lambda due=records: _records_out(sink.words) >= due, 400, "records")
        assert len(sink.words) <= words + WAY_OUT_WORDS, f"o_flushed came {len(sink.words) - words} words early"
        records += behind
        if behind:
            await loop.step(200)
            assert _records_out(sink.words) < records
    assert waited > 500, "nothing was ever waited for"


def _records_out(words: list[int]) -> int:
    """HERALD records in the packets that are complete."""
    ends = [k for k, word in enumerate(words) if word & LAST]
    complete = packets_of(words[: ends[-1] + 1]) if ends else []
    return sum(int(header_of(packet)["words"]) for packet in complete) // RECORD_WORDS[Stream.HERALD]
