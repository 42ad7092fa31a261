"""Merge trees and the wide merge: any streams, bounds, holding back; what leaves is sorted, complete, and as fast as stated."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from amaranth.sim import Simulator
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from twinphase_hdl.timetag.front import Front
from twinphase_hdl.timetag.mergenode import MergeNode
from twinphase_hdl.timetag.mergetree import MergeTree
from twinphase_hdl.timetag.source import TagSource
from twinphase_hdl.timetag.wholetime import WholeTime
from twinphase_hdl.timetag.widemerge import WideMerge
from twinphase_spec.tagger import ORDER_BITS

ORDER = 1 << ORDER_BITS
STEP = 100
"""Ticks by which the bounds go on per clock."""
LEAD = 8
"""Clocks after which the bounds out of reset, which are for times near 0, are gone."""


class Side:
    """A front with the tags of one stream; each is shown from the clock ``time / STEP`` on, the bound follows the clock."""

    def __init__(self, front, tags: list[tuple[int, int]], base: int) -> None:
        self.front, self.tags, self.base = front, tags, base
        self.next = 0

    def show(self, ctx, clock: int) -> None:
        here = self.next < len(self.tags) and self.tags[self.next][0] < clock * STEP
        time, channel = self.tags[self.next] if here else (clock * STEP, 0)
        ctx.set(self.front.valid, here)
        ctx.set(self.front.time, (self.base + time) % ORDER)
        if len(self.front.channel):
            ctx.set(self.front.channel, channel)
        self.here = here

    def taken(self, ctx) -> None:
        self.next += self.here and ctx.get(self.front.ready)


def play(
    dut,
    sides: list[Side],
    clocks: int,
    ready: Callable[[int], bool],
    taken: Callable,
    ready_port,
    bound: Callable | None = None,
) -> list[list[tuple[int, int]]]:
    """Per clock the tags that left, as (time less base modulo the range, channel); asserts that no tag is below a bound shown."""
    base = sides[0].base
    left: list[list[tuple[int, int]]] = []
    bounds: list[int] = []

    async def bench(ctx) -> None:
        for clock in range(clocks):
            for side in sides:
                side.show(ctx, clock)
            ctx.set(ready_port, ready(clock))
            left.append(
                [(((t - base + ORDER // 2) % ORDER) - ORDER // 2, c) for t, c in taken(ctx)] if ready(clock) else []
            )
            if bound is not None:
                shown = (bound(ctx) - base + ORDER // 2) % ORDER - ORDER // 2
                bounds.append(shown if clock >= LEAD else -ORDER)
            for side in sides:
                side.taken(ctx)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    highest = -ORDER
    for tags, shown in zip(left, bounds, strict=False):
        highest = max(highest, shown)
        assert all(time >= highest for time, _ in tags), "a tag below a bound that was shown"
    return left


def wide_taken(dut: WideMerge):
    def taken(ctx) -> list[tuple[int, int]]:
        if not ctx.get(dut.o.valid):
            return []
        tags = dut.o.payload.tags
        number = 1 + ctx.get(dut.o.payload.both)
        return [(ctx.get(tags[k].time), ctx.get(tags[k].channel)) for k in range(number)]

    return taken


def streams(number: int):
    """Sorted streams with many equal times, and how often the output is held back."""
    gaps = st.sampled_from([0, 0, 0, 1, 30, 100, 250])
    tags = st.lists(st.tuples(st.integers(0, number - 1), gaps), max_size=60)
    return st.tuples(tags, st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.integers(0, 1 << 30))


def times_of(tags: list[tuple[int, int]]) -> list[tuple[int, int]]:
    time, result = LEAD * STEP, []
    for channel, gap in tags:
        time += gap
        result.append((time, channel))
    return result


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes."""
BASES = (0, ORDER - 3000, ORDER // 2 - 3000)


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(streams(8), st.sampled_from(BASES))
def test_wide_merge_sorts(drawn, base: int) -> None:
    tags, hold, seed = drawn
    tags = sorted(times_of(tags))
    dut = WideMerge(left_bits=2, right_bits=2)
    sides = [
        Side(dut.i_left, [(t, c) for t, c in tags if c < 4], base),
        Side(dut.i_right, [(t, c - 4) for t, c in tags if c >= 4], base),
    ]
    chance = random.Random(seed)
    holds = [chance.random() < hold for _ in range(160)] + [False] * 100
    left = play(dut, sides, 260, lambda k: not holds[k], wide_taken(dut), dut.o.ready, lambda ctx: ctx.get(dut.o_bound))
    assert [tag for clock in left for tag in clock] == tags


@pytest.mark.parametrize("kind", ["in turn", "runs of four", "random"])
def test_wide_merge_takes_two_per_clock(kind: str) -> None:
    number = 200
    chance = random.Random(5)
    tags = []
    for k in range(number):
        side = {"in turn": k % 2, "runs of four": k // 4 % 2, "random": chance.randrange(2)}[kind]
        tags.append((k * STEP // 2, side))
    dut = WideMerge(left_bits=0, right_bits=0)
    sides = [
        Side(dut.i_left, [(t, 0) for t, c in tags if c == 0], 0),
        Side(dut.i_right, [(t, 0) for t, c in tags if c == 1], 0),
    ]
    left = play(dut, sides, 150, lambda _: True, wide_taken(dut), dut.o.ready)
    assert [tag for clock in left for tag in clock] == tags
    busy = [k for k, clock in enumerate(left) if clock]
    clocks = busy[-1] - busy[0] + 1
    print(f"{kind}: {number} tags in {clocks} clocks")
    assert clocks <= number * (0.7 if kind == "random" else 0.5) + 4


@settings(max_examples=6, deadline=None, phases=PHASES)
@given(st.integers(2, 32), st.data())
def test_trees_of_all_sizes_sort(channels: int, data) -> None:
    tags, hold, seed = data.draw(streams(channels))
    tags = sorted(times_of(tags))
    base = data.draw(st.sampled_from(BASES))
    dut = MergeTree(channels=channels)
    sides = [Side(dut.i[c], [(t, 0) for t, own in tags if own == c], base) for c in range(channels)]
    chance = random.Random(seed)
    holds = [chance.random() < hold for _ in range(160)] + [False] * 100
    left = play(
        dut,
        sides,
        260,
        lambda k: not holds[k],
        lambda ctx: [(ctx.get(dut.o.time), ctx.get(dut.o.channel))] if ctx.get(dut.o.valid) else [],
        dut.o.ready,
        lambda ctx: ctx.get(dut.o.time),
    )
    assert [tag for clock in left for tag in clock] == tags


@pytest.mark.parametrize("distance", [0, 1, -1, (1 << 21), -(1 << 21), ORDER // 2 - 1, -ORDER // 2])
@pytest.mark.parametrize("clock", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 19) - 1, (1 << 51) - 1, 5 << 18])
def test_whole_time_is_the_nearest(clock: int, distance: int) -> None:
    time = clock * 8192 + distance
    dut = WholeTime(channel_bits=3)

    async def bench(ctx) -> None:
        ctx.set(dut.i_clock, clock)
        await ctx.tick()
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.time, time % ORDER)
        ctx.set(dut.i.channel, 5)
        await ctx.tick()
        assert ctx.get(dut.o.valid)
        assert ctx.get(dut.o.payload.time) == time % (1 << 64)
        assert ctx.get(dut.o.payload.channel) == 5
        assert ctx.get(dut.o_bound) == time % ORDER

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("channels", "most"), [(8, 20), (16, 22)])
@pytest.mark.parametrize("lanes", [1, 2])
def test_latency_is_within_the_contract(channels: int, most: int, lanes: int) -> None:
    """`bench_source` shows that the latency is what the component says."""
    assert TagSource(channels=channels, lanes=lanes).latency <= most


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MergeTree(channels=1), "channels is 1; allowed: 2 to 32"),
        (lambda: MergeTree(channels=33), "channels is 33; allowed: 2 to 32"),
        (lambda: MergeNode(left_bits=1, right_bits=2), "right_bits is 2; allowed: at most left_bits"),
        (lambda: Front(order_bits=1, channel_bits=0), "order_bits is 1"),
        (lambda: WholeTime(channel_bits=1, order_bits=64), "order_bits is 64"),
        (lambda: TagSource(channels=4, depth=1024), "queue depth is 1024; allowed: at least 1536"),
        (lambda: TagSource(channels=4, lanes=3), "lanes is 3; allowed: 1 or 2"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
