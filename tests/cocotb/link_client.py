"""What drives a client's link on its shelf: packets in, an oracle of its registers, responses and records out."""

from __future__ import annotations

from typing import Any

from bench_packer import LAST, packets_of
from lockstep import Lockstep, Sink, Source
from twinphase_spec.packets import (
    MAGIC,
    MAX_REGISTER_WORDS,
    VERSION,
    RegisterOp,
    RegisterStatus,
    Stream,
)
from twinphase_spec.registers import CLIENT, Access
from twinphase_spec.units import CLOCK_HZ

BUILD_HASH, CELLS_FACTOR, LANES = 0x600DCAFE, 0x01020409, 8
SHOWN = ("START_CLOCK", "PERIOD", "ROLE", "KEY_0", "STREAM_ENABLE", "CONTROL")
"""Registers whose outputs are ports of the shelf."""
MASK32 = (1 << 32) - 1
RECEIVED = (Stream.HERALD, Stream.PSI, Stream.PEER, Stream.HERALD_CODE)
DECODED = {Stream.HERALD_CODE: Stream.HERALD}
"""What records come out of packets of another stream's."""
COUNTERS = CLIENT.memory("COUNTERS").address
CELLS = CLIENT.memory("CELLS").address
TABLE = CLIENT.memory("FRAME_TABLE")


def words(
    stream: int,
    payload: list[int],
    *,
    sequence: int = 0,
    flags: int = 0,
    length: int | None = None,
    w3: int = 0,
    w4: int = 0,
    first: int | None = None,
) -> list[int]:
    """A packet with ``last``; ``length`` and ``first`` replace what the header should say."""
    said = len(payload) if length is None else length
    head = MAGIC << 16 | VERSION << 8 | stream if first is None else first
    packet = [head, sequence, flags << 16 | said, w3, w4, 0, 0, 0, *payload]
    return [*packet[:-1], packet[-1] | LAST]


class Bank:
    """What each address reads, and what requests answer."""

    def __init__(self) -> None:
        self.values = {r.name: r.reset for r in CLIENT.registers}
        self.values |= {"CLOCK_HZ": CLOCK_HZ, "MAP_HASH": CLIENT.hash, "BUILD_HASH": BUILD_HASH, "LANES": LANES}
        self.counters = [0] * 128
        self.table: list[tuple[int, int]] = []
        self.snapshots = 0
        self.last_write: int | None = None
        self.places = {r.address + half: (r, half) for r in CLIENT.registers for half in range(r.words)}

    def read(self, address: int) -> int:
        if address in self.places:
            register, half = self.places[address]
            if register.access is Access.W1:
                return 0
            if register.name == "SNAPSHOT_COUNT":
                return self.snapshots
            return self.values[register.name] >> 32 * half & MASK32
        if COUNTERS <= address < COUNTERS + 128:
            return self.counters[address - COUNTERS]
        if CELLS <= address < CELLS + 256:
            return (address - CELLS) * CELLS_FACTOR & MASK32
        return 0

    def write(self, address: int, value: int) -> None:
        if TABLE.address <= address < TABLE.address + TABLE.words:
            self.table.append((address - TABLE.address, value))
        if address in self.places:
            register, half = self.places[address]
            if register.access is Access.RW:
                other = self.values[register.name] & ~(MASK32 << 32 * half)
                self.values[register.name] = (other | value << 32 * half) & ((1 << register.width) - 1)

    def answer(self, number: int, operation: int, address: int, count: int, payload: list[int]) -> list[int]:
        """The response's words (without ``last``), after execution."""
        writing = operation == RegisterOp.WRITE
        good = 1 <= count <= MAX_REGISTER_WORDS and (
            operation == RegisterOp.READ or (writing and len(payload) == count)
        )
        told: list[int] = []
        if good and writing and number != self.last_write:
            self.last_write = number
            for i, value in enumerate(payload):
                self.write(address + i, value)
        if good and operation == RegisterOp.READ:
            told = [self.read(address + i) for i in range(count)]
        status = RegisterStatus.OK if good else RegisterStatus.BAD_REQUEST
        head = MAGIC << 16 | VERSION << 8 | Stream.REGISTER_RESPONSE
        return [head, number, status << 16 | len(told), address, count, 0, 0, 0, *told]


class Node:
    """The node of the shelf under a counting clock, its link, and its responses in order."""

    def __init__(self, dut: Any, *, clock: int = 5, idle: float = 0.0, pause: float = 0.0) -> None:
        self.dut, self.loop, self.bank = dut, Lockstep(dut), Bank()
        self.rx: Source = self.loop.source("node__rx", idle=idle)
        self.tx: Sink = self.loop.sink("node__tx", idle=pause)
        self.records = {s: self.loop.sink(f"node__receive_{s.name.lower()}", idle=pause) for s in RECEIVED}
        self.send_peer = self.loop.source("node__send_peer")
        self.send_sifted = self.loop.source("node__send_sifted")
        self.table: list[tuple[int, int]] = []
        self.dropped = 0
        self.clock = clock
        dut.node__i_framing.value = 0
        dut.node__i_counters.value = 0
        dut.node__i_clock.value = clock
        self.loop.before.append(self._before)
        self.loop.after.append(self._after)

    def _before(self, _: int) -> None:
        self.dut.node__i_clock.value = self.clock

    def _after(self, _: int) -> None:
        self.clock += 1
        self.dropped += int(self.dut.node__o_dropped.value)
        if self.dut.node__o_table_write.value:
            self.table.append((int(self.dut.node__o_table_address.value), int(self.dut.node__o_table_data.value)))

    def request(
        self, number: int, operation: int, address: int, count: int, payload: list[int] | None = None
    ) -> list[int]:
        """Queues a request; returns the oracle's answer."""
        payload = payload or []
        self.rx.send(words(Stream.REGISTER_REQUEST, payload, sequence=number, flags=operation, w3=address, w4=count))
        return self.bank.answer(number, operation, address, count, payload)

    def responses(self) -> list[list[int]]:
        """Responses so far as words."""
        found = []
        for packet in packets_of(self.tx.words):
            if packet[0] == Stream.REGISTER_RESPONSE:
                found.append([int.from_bytes(packet[i : i + 4], "little") for i in range(0, len(packet), 4)])
        return found

    async def settle(self, limit: int = 60_000) -> None:
        """Steps until all requests are answered and the link is idle."""
        still = 0
        for _ in range(limit):
            await self.loop.step()
            still = still + 1 if self.dut.node__o_idle.value and not self.rx.queue else 0
            if still > 4:
                return
        raise AssertionError(f"the link is busy after {limit} clocks")

    def check_outputs(self) -> None:
        for name in SHOWN:
            got = int(getattr(self.dut, f"node__o_{name.lower()}").value)
            assert got == self.bank.values[name], f"{name} is {got:#x}, expected {self.bank.values[name]:#x}"


def compare(got: list[list[int]], want: list[list[int]]) -> None:
    for i, (a, b) in enumerate(zip(got, want, strict=False)):
        assert a == b, f"response {i}: {[hex(w) for w in a]}, expected {[hex(w) for w in b]}"
    assert len(got) == len(want), f"{len(got)} responses to {len(want)} requests"
