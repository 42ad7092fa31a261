"""The tag packer against the reference packer: T2 words, bases, overflow words at every packet boundary, losses."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from bench_packer import compare, header_of, packets_of, walk
from lockstep import Lockstep, Sink, Source
from twinphase_sim.model.link.packets import TAG_DTYPE, pack
from twinphase_spec.packets import (
    FLUSH_BITS,
    HEARTBEAT_BITS,
    MAX_PAYLOAD_WORDS,
    T2_OVERFLOW_CHANNEL,
    T2_TIME_BITS,
    Stream,
)

MASK64 = (1 << 64) - 1
PERIOD = 1 << T2_TIME_BITS
FLUSH = 1 << FLUSH_BITS[Stream.TAG]
LATENCY = 2
"""Clocks from a tag to its first word at the packet buffer, when nothing waits (docstring of the encoder), less the two
clocks after which a clock count acts there."""


class TagBench:
    """The packer, its clock, and what was sent."""

    def __init__(self, dut: Any, clocks: list[int], *, idle: float = 0.0, pause: float = 0.0, seed: int = 0) -> None:
        self.loop = Lockstep(dut)
        self.clocks = clocks
        self.source: Source = self.loop.source("tag__i", idle=idle, seed=seed)
        self.sink: Sink = self.loop.sink("tag__o", idle=pause, seed=seed)
        self.clock = dut.tag__i_clock
        self.clock.value = clocks[0]
        dut.tag__i_enable.value = 1
        self.loop.before.append(self._count)

    def _count(self, cycle: int) -> None:
        if cycle >= len(self.clocks):
            self.clocks.append(self.clocks[-1] + 1)
        self.clock.value = self.clocks[cycle]

    def send(self, times: list[int], channels: list[int]) -> None:
        self.source.send(t | c << 64 for t, c in zip(times, channels, strict=True))

    def packets(self) -> list[bytes]:
        return packets_of(self.sink.words)

    def tags(self) -> np.ndarray:
        """Tags as sent."""
        made = np.zeros(len(self.source.taken), dtype=TAG_DTYPE)
        made["time"] = [word & MASK64 for _, word in self.source.taken]
        made["channel"] = [word >> 64 for _, word in self.source.taken]
        return made

    def entry_cycles(self) -> list[int]:
        """Cycle at which each tag's first word enters the buffer: a tag per clock, and one more for an overflow word.

        Valid while nothing is lost. A flush tick at or before a first word closes the packet before it.
        """
        entered: list[int] = []
        free, words, last_period = 0, 0, None
        for cycle, word in self.source.taken:
            first = max(cycle + LATENCY, free)
            period = (word & MASK64) >> T2_TIME_BITS
            ticked = entered and self.clocks[entered[-1]] // FLUSH != self.clocks[first] // FLUSH
            if words > MAX_PAYLOAD_WORDS - 2 or ticked:
                words, last_period = 0, None
            cost = 1 if last_period in (None, period) else 2
            entered.append(first)
            words, last_period, free = words + cost, period, first + cost
        return entered

    def expected(self) -> list[bytes]:
        return pack(
            Stream.TAG,
            self.tags(),
            np.array([self.clocks[cycle] for cycle in self.entry_cycles()]),
            until_clock=self.clocks[-1],
            start_clock=self.clocks[0] - 1,
        )


def times_from(draw: random.Random, start: int, steps: list[int]) -> tuple[list[int], list[int]]:
    times, now = [], start
    for step in steps:
        now = (now + step) & MASK64
        times.append(now)
    return times, [draw.randrange(63) for _ in times]


@cocotb.test()
@cocotb.parametrize((("idle", "far"), [(0.0, 0.0), (0.9, 0.3), (0.5, 0.5), (0.0, 0.04), (0.3, 0.2)]))
async def test_every_word_is_the_references(dut: Any, idle: float, far: float) -> None:
    """Random tags, ``far`` of them periods later (up to 2^25 - 1), across the wrap of 2^64 and around all flush ticks."""
    seed = int(100 * idle + 1000 * far)
    draw = random.Random(seed)
    heartbeat = draw.randrange(1, 1 << 29) << HEARTBEAT_BITS
    cycles = 3500
    # Without pauses the queue would fill if there were no room for overflow words.
    bench = TagBench(dut, list(walk(seed, heartbeat - 3 * FLUSH, cycles, FLUSH_BITS[Stream.TAG], 2500)), idle=idle)
    steps = []
    for _ in range(cycles):
        if draw.random() < far:
            steps.append(
                draw.choice([PERIOD - 1, PERIOD, PERIOD + 1, draw.randrange(40 * PERIOD), (PERIOD - 1) * PERIOD])
            )
        else:
            steps.append(draw.randrange(200_000))
    times, channels = times_from(draw, MASK64 - sum(steps) // 3 & MASK64, steps)
    # Groups with gaps keep the sixteen waiting tags from overflowing when every overflow word costs a clock.
    await bench.loop.start()
    position, room = 0, 0.0
    while bench.loop.cycle < cycles:
        group = draw.randrange(1, 12)
        bench.send(times[position : position + group], channels[position : position + group])
        position += group
        await bench.loop.until(lambda: not bench.source.queue, 400, "tags")
        room = 12 if far else 0
        await bench.loop.step(int(room) + draw.randrange(3))
    await bench.loop.step(800)
    compare("TAG", bench.packets(), bench.expected())
    lengths = {int(header_of(packet)["words"]) for packet in bench.packets()}
    assert idle > 0.5 or lengths & {255, 256}, "no packet was full"


@cocotb.test()
async def test_overflow_words_at_the_last_places(dut: Any) -> None:
    """After 250 to 256 words a tag a period later: with its overflow word in this packet, without one in the next."""
    bench = TagBench(dut, [(7 << HEARTBEAT_BITS) + 5])
    await bench.loop.start()
    now = 123 * PERIOD
    for before in range(250, 257):
        bench.send([now + i for i in range(before)], [i % 63 for i in range(before)])
        now += PERIOD
        bench.send([now, now + 1], [1, 2])
        now += 5 * PERIOD
        await bench.loop.until(lambda: not bench.source.queue, 400, "tags")
        await bench.loop.step(20)
        start = bench.clocks[-1] // FLUSH * FLUSH + FLUSH
        bench.clocks += range(start - 2, start + 300)  # the rest leaves, the next round starts a packet
        await bench.loop.step(len(bench.clocks) - bench.loop.cycle)
    compare("TAG", bench.packets(), bench.expected())
    full = [int(header_of(packet)["words"]) for packet in bench.packets() if header_of(packet)["words"] > 200]
    assert 256 in full
    assert 255 in full


@cocotb.test()
async def test_a_distance_out_of_reach_is_a_counted_loss(dut: Any) -> None:
    """2^25 - 1 periods fit into an overflow word; 2^25, and a step back, lose the tag until the packet has closed."""
    bench = TagBench(dut, [(7 << HEARTBEAT_BITS) + 5])
    await bench.loop.start()
    start = 77 * PERIOD + 3
    near = start + (PERIOD - 1) * PERIOD
    beyond = near + PERIOD * PERIOD
    bench.send([start, near, beyond, beyond + 1, near - PERIOD, near + 9], [1, 2, 3, 4, 5, 6])
    await bench.loop.step(40)
    tick = bench.clocks[-1] // FLUSH * FLUSH + FLUSH
    bench.clocks += range(tick - 1, tick + 20)
    await bench.loop.step(len(bench.clocks) - bench.loop.cycle)
    bench.send([beyond + 2], [7])
    await bench.loop.step(20)
    bench.clocks += range(tick + FLUSH - 1, tick + FLUSH + 60)
    await bench.loop.step(len(bench.clocks) - bench.loop.cycle)
    first, second = bench.packets()
    words = np.frombuffer(first[32:], "<u4").tolist()
    overflow = 1 << 31 | T2_OVERFLOW_CHANNEL << 25 | PERIOD - 1
    assert words == [1 << 25 | start % PERIOD, overflow, 2 << 25 | near % PERIOD, 6 << 25 | (near + 9) % PERIOD]
    assert header_of(first)["lost"] == 3
    assert header_of(second)["base_ticks"] == (beyond + 2) // PERIOD * PERIOD
    assert (int(header_of(second)["lost"]), int(header_of(second)["first_record"])) == (3, 3)


@cocotb.test()
@cocotb.parametrize((("far", "pause"), [(0.0, 0.6), (0.6, 0.0), (0.5, 0.7), (1.0, 0.3)]))
async def test_overload_loses_whole_tags_and_counts_them(dut: Any, far: float, pause: float) -> None:
    """A tag per clock against a slow link: the tags that came replay the rest, and lost + accepted = sent."""
    draw = random.Random(f"{far} {pause}")
    bench = TagBench(dut, [(9 << HEARTBEAT_BITS) + 5], pause=pause, seed=int(10 * far))
    await bench.loop.start()
    steps = [draw.randrange(PERIOD, 3 * PERIOD) if draw.random() < far else draw.randrange(1, 64) for _ in range(2500)]
    times, channels = times_from(draw, draw.randrange(1 << 60), steps)
    bench.send(times, channels)
    await bench.loop.step(2600)
    bench.sink.idle = 0.0
    await bench.loop.step(1500)
    tick = bench.clocks[-1] // FLUSH * FLUSH + FLUSH
    bench.clocks += range(tick - 1, tick + 700)
    await bench.loop.step(len(bench.clocks) - bench.loop.cycle)
    packets = bench.packets()
    heads = [header_of(packet) for packet in packets]
    came = _decoded(packets)
    sent = {int(tag["time"]): i for i, tag in enumerate(bench.tags())}
    order = [sent[int(t)] for t in came["time"]]
    assert order == sorted(set(order)), "tags are out of order or twice"
    kept = np.isin(np.arange(len(sent)), order)
    want = pack(
        Stream.TAG, bench.tags(), np.zeros(kept.size, dtype=np.int64) + bench.clocks[0], until_clock=bench.clocks[-1], lost=~kept,
        start_clock=bench.clocks[0] - 1,
    )  # fmt: skip
    assert len(packets) == len(want)
    for got, told in zip(packets, want, strict=True):
        a, b = header_of(got), header_of(told)
        assert got[32:] == told[32:], "payload differs"
        for name in ("sequence", "base_ticks", "first_record", "words"):
            assert a[name] == b[name], f"{name}: {a[name]}, expected {b[name]}"
    losses = np.array([head["lost"] for head in heads], dtype=np.int64)
    assert (np.diff(losses) >= 0).all()
    assert losses[-1] + kept.sum() == len(sent), f"{losses[-1]} lost and {kept.sum()} accepted of {len(sent)}"
    assert losses[-1] > 0


@cocotb.test()
async def test_a_blocked_link_holds_511_tags(dut: Any) -> None:
    """Two packets of 255 words, and one tag more: a record may need two of the 512 words."""
    bench = TagBench(dut, [(9 << HEARTBEAT_BITS) + 5], pause=1.0)
    await bench.loop.start()
    bench.send([50 * PERIOD + i for i in range(700)], [i % 63 for i in range(700)])
    await bench.loop.step(800)
    bench.sink.idle = 0.0
    tick = bench.clocks[-1] // FLUSH * FLUSH + FLUSH
    await bench.loop.step(600)
    bench.clocks += range(tick - 1, tick + 50)
    await bench.loop.step(len(bench.clocks) - bench.loop.cycle)
    heads = [header_of(packet) for packet in bench.packets()]
    assert [(int(h["words"]), int(h["lost"])) for h in heads] == [(255, 0), (255, 0), (1, 189)]


def _decoded(packets: list[bytes]) -> np.ndarray:
    from twinphase_sim.model.link.packets import unpack

    return np.concatenate([unpack(packet).records for packet in packets])
