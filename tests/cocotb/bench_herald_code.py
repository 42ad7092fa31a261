"""Coder and decoder of heralds against the contract in plain Python: every word of every packet, every record."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import cocotb

from bench_packer import header_of, packets_of, payload_of, walk
from herald_oracle import (
    PULSES,
    WORD,
    Divisors,
    Herald,
    Malformed,
    batch_byte,
    code,
    decode,
    divisor,
    framed,
    numbered,
    packet,
    payload,
)
from lockstep import Lockstep, Sink, Source
from twinphase_hdl.sift.heraldcoder import PlacedHerald
from twinphase_spec.packets import FLUSH_BITS, HEARTBEAT_BITS, Stream
from vectors import pack

LAST = 1 << 32
FLUSH = 1 << FLUSH_BITS[Stream.HERALD_CODE]
DIVISORS = (0, 3, 8, 11, 12, 15, 16, 17, 18, 23, 24, 25, 31, 13 << 3, 13 << 3 | 5, 20 << 3 | 1, 255, 248)
"""m = 1, 2 and 3 in all spellings, 4, 5, 7, 8, 9, 15, and large ones, powers of two among them."""
LONGEST = 13 << 3
"""The divisor whose run fills a packet: 700 codes of 14 bits at least are 9800 bits, a packet holds 8192."""


def gaps_about(draw: random.Random, m: int, most: int) -> Iterator[int]:
    """Gaps where something changes with divisor m, and far beyond it."""
    b = (m - 1).bit_length()
    t = (1 << b) - m
    edges = [0, t - 1, t, t + 1, m - 1, m, m + t, 15 * m + t - 1, 16 * m - 1, 16 * m, 16 * m + 1, 17 * m, (1 << 36) + 5]
    edges += [(1 << k) - 1 for k in (8, 16, 31, 32, 33, 40, 48)] + [1 << 40, 1 << 48]
    for _ in range(most):
        kind = draw.random()
        if kind < 0.3:
            yield 0
        elif kind < 0.7:
            yield draw.randrange(16 * m)
        else:
            yield max(0, draw.choice(edges))


def pulses_of(gaps: Iterator[int], start: int) -> list[int]:
    """Pulses with these gaps between them."""
    pulses = [start]
    for gap in gaps:
        if pulses[-1] + gap + 1 >= PULSES:
            break
        pulses.append(pulses[-1] + gap + 1)
    return pulses


class CoderBench:
    """The coder: its source of heralds, its sink, its clock counts, and the check of all that came out."""

    def __init__(self, loop: Lockstep, *, idle: float = 0.0, pause: float = 0.0, seed: int = 0) -> None:
        self.loop = loop
        self.source: Source = loop.source("coder__i", idle=idle, seed=seed)
        self.sink: Sink = loop.sink("coder__o", idle=pause, seed=seed)
        self.register, self.clock = 0, 1
        self.clocks: Iterator[int] | None = None
        self.counts: list[int] = []
        loop.before.append(self._drive)
        loop.dut.coder__i_enable.value = 1
        loop.dut.coder__i_flush.value = 0
        self.set(0)

    def set(self, register: int) -> None:
        """Writes the divisor register."""
        self.register = register
        self.loop.dut.coder__i_divisor.value = register

    def _drive(self, cycle: int) -> None:
        self.clock = next(self.clocks) if self.clocks else self.clock + 1
        self.counts.append(self.clock)
        self.loop.dut.coder__i_clock.value = self.clock

    def send(self, heralds: list[Herald]) -> None:
        self.source.send(pack(PlacedHerald, herald._asdict()) for herald in heralds)

    async def flush(self, limit: int = 40_000) -> None:
        """All that has come leaves; AssertionError when it says so too early or not at all."""
        dut = self.loop.dut
        dut.coder__i_flush.value = 1
        await self.loop.step()
        dut.coder__i_flush.value = 0
        taken = len(self.source.taken)
        await self.loop.step()
        await self.loop.until(lambda: bool(dut.coder__o_flushed.value), limit, "flushed")
        await self.loop.step(8 if not self.sink.idle else 80)
        words = self.sink.words
        end = max((k for k, word in enumerate(words) if word & LAST), default=-1)
        sent = sum(int(header_of(one)["flags"]) for one in packets_of(words[: end + 1]))
        assert sent >= taken - self.forgotten, f"flushed with {sent} of {taken} heralds sent"

    forgotten = 0
    """Heralds that came while the stream was not enabled."""

    def check(self, heralds: list[Herald], registers: list[int] | None = None) -> list[Any]:
        """Every packet word by word: these heralds, each once and in order. Returns the packets' headers."""
        divisors, position, headers = Divisors(), 0, []
        for sequence, one in enumerate(packets_of(self.sink.words)):
            header, body = header_of(one), payload_of(one).tolist()
            headers.append(header)
            count, first = int(header["flags"]), int(header["first_record"])
            assert (header["stream"], header["sequence"], header["lost"]) == (Stream.HERALD_CODE, sequence, 0)
            assert header["words"] == len(body)
            assert header["base_ticks"] >> 13 in self.counts
            group = heralds[position : position + count]
            assert len(group) == count
            if not count:
                before = heralds[position - 1].number + 1 if position else 0
                assert (body, first) == ([], before & WORD)
                continue
            assert first == group[0].number
            assert all(b.number == (a.number + 1) & WORD for a, b in pairwise(group)), "two runs in a packet"
            divisors.add(group[0])
            byte = divisors.force(first, self.register if registers is None else registers[position])
            assert body == payload(group, byte), f"packet {sequence} of {count} heralds from {first} on"
            for herald in group[1:]:
                divisors.add(herald)
            position += count
        assert position == len(heralds), f"{position} of {len(heralds)} heralds"
        return headers


@cocotb.test()
async def edges(dut: Any) -> None:
    """Gaps at every edge of the code with each divisor of the register, starting anew for each, with pauses on both sides."""
    draw = random.Random(cocotb.RANDOM_SEED)
    loop = Lockstep(dut)
    bench = CoderBench(loop, idle=0.2, pause=0.2)
    await loop.start()
    sent: list[Herald] = []
    registers: list[int] = []
    for byte in DIVISORS:
        bench.set(byte)
        most = 700 if byte == LONGEST else draw.choice([60, 250])
        pulses = pulses_of(gaps_about(draw, divisor(byte), most), draw.choice([0, draw.randrange(PULSES >> 1)]))
        heralds = numbered(pulses, (draw.getrandbits(1) for _ in pulses))
        bench.send(heralds)
        sent += heralds
        registers += [byte] * len(heralds)
        await loop.until(lambda: not bench.source.queue, 5000, "heralds taken")
        await bench.flush()
    headers = bench.check(sent, registers)
    assert max(int(header["words"]) for header in headers) > 235


@cocotb.test()
async def rates(dut: Any) -> None:
    """Batches whose rate jumps, so that gaps are all escapes for a while and m moves from 1 to its largest; the last gap is 2^55."""
    draw = random.Random(cocotb.RANDOM_SEED)
    loop = Lockstep(dut)
    bench = CoderBench(loop, pause=0.05)
    await loop.start()
    bench.set(13 << 3)
    gaps: list[int] = []
    for mean in (0, 1, 1000, 3, 10**6, 0, 10**9, 40, 1 << 36, 1 << 42, 2):
        gaps += [int(draw.expovariate(1 / mean)) if mean else 0 for _ in range(draw.randrange(200, 700))]
    pulses = pulses_of(iter([*gaps, 1 << 55]), 5)
    heralds = numbered(pulses, (draw.getrandbits(1) for _ in pulses))
    assert len(heralds) == len(gaps) + 2
    for low in range(0, len(heralds), 97):
        bench.send(heralds[low : low + 97])
        bench.source.idle = draw.choice([0.0, 0.0, 0.5])
        await loop.until(lambda: not bench.source.queue, 20_000, "heralds taken")
        if draw.random() < 0.3:
            await bench.flush()
    await bench.flush()
    bench.check(heralds)
    batches = {batch_byte(heralds[k + 256].pulse - heralds[k].pulse) for k in range(0, len(heralds) - 272, 256)}
    assert min(batches) == 0
    assert max(batches) > 240


@cocotb.test()
async def wrap(dut: Any) -> None:
    """Numbers across 2^32: the batches go on."""
    draw = random.Random(cocotb.RANDOM_SEED)
    loop = Lockstep(dut)
    bench = CoderBench(loop)
    await loop.start()
    bench.set(80)
    pulses = pulses_of((draw.choice([0, 3, 500]) << (k >> 7) for k in range(1700)), 1)
    heralds = numbered(pulses, (draw.getrandbits(1) for _ in pulses), first=(1 << 32) - 900)
    bench.send(heralds)
    for _ in range(40):
        await loop.step(60)
        await bench.flush()
    await loop.until(lambda: not bench.source.queue, 20_000, "heralds taken")
    await bench.flush()
    headers = bench.check(heralds)
    assert any(int(header["first_record"]) < 400 for header in headers)


@cocotb.test()
async def sustained(dut: Any) -> None:
    """A herald in every clock while codes have up to 16 bits, through ends of packets, flush ticks and flushes, also where words leave in
    one clock of four as on a gigabit; with up to 29, as a link of a word per clock carries them with heads and headers, but for 16
    clocks a packet. Packets are as full as they may be."""
    draw = random.Random(cocotb.RANDOM_SEED)
    # Mean gaps: every pulse a herald, a herald per clock of 8 and of 20 pulses, of longer codes.
    for byte, most, many, pause in (
        (0, 1, 6000, 0.0),
        (0, 3, 6000, 0.0),
        (4 << 3, 15, 20_000, 0.74),
        (5 << 3, 39, 6000, 0.0),
        (5 << 3, 200, 6000, 0.0),
        (20 << 3, 7 << 20, 6000, 0.0),
    ):
        loop = Lockstep(dut)
        bench = CoderBench(loop, pause=pause)
        await loop.start()
        bench.set(byte)
        pulses = pulses_of((draw.randrange(most) for _ in range(many)), 7)
        bits = [len(code(b - a - 1, divisor(byte), 0)) for a, b in pairwise(pulses[:256])]
        assert max(bits) <= 29
        heralds = numbered(pulses, (draw.getrandbits(1) for _ in pulses))
        bench.send(heralds)
        await loop.step(many // 3)
        if most == 39:
            dut.coder__i_flush.value = 1
            await loop.step()
            dut.coder__i_flush.value = 0
        await loop.until(lambda bench=bench: not bench.source.queue, 40_000, "heralds taken")
        clocks = bench.source.taken[-1][0] - bench.source.taken[0][0]
        await bench.flush()
        headers = bench.check(heralds)
        waited = clocks - (len(heralds) - 1)
        assert waited <= (0 if most <= 200 else 16 * len(headers)), f"{waited} clocks more than {len(heralds)} heralds"
        full = [int(header["words"]) for header in headers[:-1]]
        if most in (15, 39):  # ticks and the flush fell into it
            assert min(full) < 228, f"words {full}"
        else:
            assert not full or min(full) >= 228, f"words {full}"


@cocotb.test()
async def ticks(dut: Any) -> None:
    """Flush ticks, heartbeats and flushes fall into every state of the coder; numbers begin anew; the stream is off for a while."""
    draw = random.Random(cocotb.RANDOM_SEED)
    loop = Lockstep(dut)
    bench = CoderBench(loop, idle=0.6, pause=0.3)
    await loop.start()
    bench.set(24)
    bench.clocks = walk(cocotb.RANDOM_SEED, 1 << 20, 10**6, FLUSH_BITS[Stream.HERALD_CODE], most=60)
    sent: list[Herald] = []
    for _ in range(4):
        pulses = pulses_of(
            (draw.choice([0, 1, 5, 100, 9000]) for _ in range(draw.randrange(300, 700))), draw.randrange(99)
        )
        heralds = numbered(pulses, (draw.getrandbits(1) for _ in pulses))
        bench.send(heralds)
        sent += heralds
        while bench.source.queue:
            bench.source.idle = draw.choice([0.0, 0.5, 0.9, 0.98])
            await loop.step(draw.randrange(1, 40))
            if draw.random() < 0.5:
                await bench.flush()
    await bench.flush()
    bench.check(sent)

    # Silence: a heartbeat at a heartbeat tick; none while the stream is off. The walk may have crossed a heartbeat tick
    # after the last packet, so one more is closed here: a packet counts for the tick that follows it.
    bench.clocks = None
    bench.clock = 1 << HEARTBEAT_BITS
    bench.sink.idle = 0.0
    last = heralds[-1]
    more = numbered([last.pulse + 7], [1], first=last.number + 1)
    bench.send(more)
    await loop.until(lambda: not bench.source.queue, 1000, "herald taken")
    await bench.flush()
    sent += more
    bench.check(sent)
    for enabled, beaten in ((1, 2), (0, 0), (1, 3)):  # before the first tick a packet was closed
        dut.coder__i_enable.value = enabled
        await loop.step(8)
        before = len(packets_of(bench.sink.words))
        for k in range(2, 5):
            bench.clock = (k << HEARTBEAT_BITS) + (1 << 40) - 5
            await loop.step(60)
        beats = len(packets_of(bench.sink.words)) - before
        assert beats == beaten, f"{beats} heartbeats while enabled is {enabled}"
        assert dut.coder__o_idle.value
    bench.check(sent)


@cocotb.test()
async def switched_off(dut: Any) -> None:
    """Heralds that come while the stream is off are forgotten, but count into their batches."""
    draw = random.Random(cocotb.RANDOM_SEED)
    loop = Lockstep(dut)
    bench = CoderBench(loop)
    await loop.start()
    bench.set(99)
    pulses = pulses_of((draw.randrange(1 << (4 + k // 100)) for k in range(1400)), 1)
    heralds = numbered(pulses, (draw.getrandbits(1) for _ in pulses))
    divisors, expected = Divisors(), []
    for low, high, on in ((0, 100, 1), (100, 700, 0), (700, 1100, 1), (1100, 1110, 0), (1110, 1400, 1)):
        dut.coder__i_enable.value = on
        await loop.step(4)
        bench.send(heralds[low:high])
        await loop.until(lambda: not bench.source.queue, 20_000, "heralds taken")
        bench.forgotten += 0 if on else high - low
        await bench.flush()
        expected += heralds[low:high] if on else []
    position = 0
    told = 0
    for one in packets_of(bench.sink.words):
        count, first = int(header_of(one)["flags"]), int(header_of(one)["first_record"])
        group = expected[position : position + count]
        assert group[0].number == first
        while told <= first:
            divisors.add(heralds[told])
            told += 1
        assert payload_of(one).tolist() == payload(group, divisors.force(first, 99))
        position += count
    assert position == len(expected)


class DecoderBench:
    """The decoder: its source of packets, its sink, and the strobes of malformed ones."""

    def __init__(self, loop: Lockstep, *, idle: float = 0.0, pause: float = 0.0) -> None:
        self.loop = loop
        self.source: Source = loop.source("decoder__i", idle=idle)
        self.sink: Sink = loop.sink("decoder__o", idle=pause)
        self.malformed = 0
        loop.after.append(self._count)

    def _count(self, cycle: int) -> None:
        self.malformed += int(self.loop.dut.decoder__o_malformed.value)

    async def finish(self, limit: int = 100_000) -> list[Herald]:
        """Heralds that came of all packets."""
        await self.loop.until(lambda: not self.source.queue, limit, "packets taken")
        await self.loop.step(4)
        assert self.loop.dut.decoder__o_idle.value
        found = []
        for word in self.sink.words:
            number, low, high = (word >> shift & WORD for shift in (0, 32, 64))
            assert not high & 0x7F000000
            found.append(Herald(number, low | (high & 0xFFFFFF) << 32, high >> 31))
        return found


def some_packets(draw: random.Random, many: int) -> Iterator[tuple[list[Herald], int]]:
    """Packets' heralds and divisors, of all sizes; MAX_PAYLOAD_WORDS are not exceeded by much."""
    for _ in range(many):
        byte = draw.choice([*DIVISORS, draw.randrange(256)])
        pulses = pulses_of(gaps_about(draw, divisor(byte), draw.choice([0, 1, 2, 10, 80])), draw.randrange(PULSES >> 4))
        first = draw.choice([0, 77, (1 << 32) - 5])
        yield numbered(pulses, (draw.getrandbits(1) for _ in pulses), first), byte


@cocotb.test()
async def decoded(dut: Any) -> None:
    """Packets of every divisor and edge come out as they were, heartbeats among them; a herald in four clocks."""
    draw = random.Random(cocotb.RANDOM_SEED)
    for idle, pause in ((0.0, 0.0), (0.5, 0.0), (0.1, 0.7)):
        loop = Lockstep(dut)
        bench = DecoderBench(loop, idle=idle, pause=pause)
        await loop.start()
        sent: list[Herald] = []
        for heralds, byte in some_packets(draw, 60):
            bench.source.send(packet(heralds, byte))
            bench.source.send(packet([], 0, number=3) if draw.random() < 0.3 else [])
            sent += heralds
        assert await bench.finish() == sent
        assert bench.malformed == 0

    loop = Lockstep(dut)
    bench = DecoderBench(loop)
    await loop.start()
    pulses = pulses_of((draw.randrange(3 << 13) for _ in range(400)), 9)
    heralds = numbered(pulses, (draw.getrandbits(1) for _ in pulses))
    bench.source.send(packet(heralds, 13 << 3 | 3))
    assert await bench.finish() == heralds
    clocks = [cycle for cycle, _ in bench.sink.taken]
    assert clocks[-1] - clocks[0] <= 4 * (len(clocks) - 1), f"{clocks[-1] - clocks[0]} clocks for {len(clocks)} heralds"


@cocotb.test()
async def damaged(dut: Any) -> None:
    """Truncated, longer, changed packets: what the contract calls malformed counts once, and nothing else; the next packet is whole."""
    draw = random.Random(cocotb.RANDOM_SEED)
    loop = Lockstep(dut)
    bench = DecoderBench(loop, idle=0.05, pause=0.1)
    await loop.start()
    expected: list[Herald] = []
    malformed = 0
    kinds = ["cut", "added", "bit", "count", "no count", "noise", "pulse", "left over", "none", "empty"]
    for heralds, byte in some_packets(draw, 400):
        body, count, number = payload(heralds, byte), len(heralds), heralds[0].number
        kind = draw.choice(kinds)
        if kind == "cut":
            body = body[: draw.randrange(len(body))]
        elif kind == "added":
            body = [*body, draw.choice([0, 0, 1, draw.getrandbits(32)])]
        elif kind == "bit":
            body[draw.randrange(len(body))] ^= 1 << draw.randrange(32)
        elif kind == "count":
            count = max(0, count + draw.choice([-1, 1, 2, -5]))
        elif kind == "no count":
            count = 0
        elif kind == "noise":
            body = [draw.getrandbits(32) | draw.choice([0, WORD]) for _ in range(draw.randrange(2, 20))]
            count = draw.randrange(1, 40)
        elif kind == "pulse":
            body[1] |= 0xFFFFFF
            body[0] = WORD - draw.randrange(1000)
        elif kind == "left over":
            body[-1] |= 1 << 31
        elif kind == "empty":
            body = []
        try:
            expected += decode(body, number, count)
        except Malformed as error:
            expected += error.kept
            malformed += 1
        bench.source.send(framed(body, number, count))
    assert await bench.finish() == expected
    assert bench.malformed == malformed
    assert malformed > 150


@cocotb.test()
async def behind_a_packet(dut: Any) -> None:
    """A packet's last word is not taken before its last record: what the link brings behind it comes after it."""
    loop = Lockstep(dut)
    bench = DecoderBench(loop)
    await loop.start()
    heralds = numbered(range(50, 90), [1] * 40)
    for words in (packet(heralds, 0), framed([*payload(heralds, 0)[:-1], WORD], 0, 40)):
        bench.sink.idle = 1.0
        bench.source.send(words)
        await loop.step(400)
        assert len(bench.source.queue) == 1
        bench.sink.idle = 0.9
        before = len(bench.source.taken)
        await loop.until(lambda before=before: len(bench.source.taken) > before, 20_000, "last word taken")
        assert not dut.decoder__o__valid.value or bench.sink.held == -1
        await loop.step(3)
        assert dut.decoder__o_idle.value
