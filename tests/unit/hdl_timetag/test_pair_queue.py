"""From pairs to single tags: order, completeness, bounds, holding back; whole times of pairs; trees that end in pairs."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_bench import BASES, ORDER, PHASES, Side, assert_sorts, streams, times_of

from twinphase_hdl.timetag.pairqueue import PairQueue
from twinphase_hdl.timetag.pairtime import PairTime
from twinphase_hdl.timetag.source import TagSource
from twinphase_hdl.timetag.widetree import WideTree
from twinphase_spec.tagger import TaggerOptions

BITS = 16
"""Of the queue's times here; bounds have 12."""
RANGE = 1 << 12
END = 500
"""Ticks behind the last tag that the bound rises to."""


def queued(
    pairs: list[tuple[int, list[int]]], depth: int, ready: Callable[[int], bool], clocks: int
) -> tuple[list[tuple[int, int, int]], list[int], list[int]]:
    """(clock, time, channel) of the tags that leave, bounds shown, levels. ``pairs``: clock from which a pair is shown, its times.

    The bound given is the time of the next tag to be shown, less 3. A tag's channel is its number, modulo 64.
    """
    dut = PairQueue(time_bits=BITS, order_bits=12, depth=depth)
    left: list[tuple[int, int, int]] = []
    bounds: list[int] = []
    inside: list[int] = []

    async def bench(ctx) -> None:
        waiting, number, held = list(pairs), 0, None
        last = pairs[-1][1][-1] + END if pairs else END
        for clock in range(clocks):
            shown = waiting[0][1] if waiting and waiting[0][0] <= clock else []
            bound = waiting[0][1][0] - 3 if waiting else last
            ctx.set(dut.i.valid, bool(shown))
            ctx.set(dut.i.payload.both, len(shown) == 2)
            for lane, time in enumerate(shown):
                ctx.set(dut.i.payload.tags[lane].time, time)
                ctx.set(dut.i.payload.tags[lane].channel, (number + lane) % 64)
            ctx.set(dut.i_bound, bound % RANGE)
            ctx.set(dut.o.ready, ready(clock))
            bounds.append(ctx.get(dut.o_bound))
            inside.append(number - len(left))
            assert ctx.get(dut.o_idle) == (inside[-1] == 0)
            here = (ctx.get(dut.o.payload.time), ctx.get(dut.o.payload.channel)) if ctx.get(dut.o.valid) else None
            assert held is None or here == held, "did not hold"
            held = None if ready(clock) else here
            if here is not None and ready(clock):
                left.append((clock, *here))
            if shown and ctx.get(dut.i.ready):
                waiting.pop(0)
                number += len(shown)
            await ctx.tick()
        assert not waiting, "some were never taken"

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return left, bounds, inside


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0, 0, 1, 9]), st.integers(0, 40), st.booleans(), st.integers(0, 9)), max_size=60
    ),
    st.sampled_from([4, 16]),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.integers(0, 1 << 30),
)
def test_tags_leave_in_order(drawn: list[tuple[int, int, bool, int]], depth: int, hold: float, seed: int) -> None:
    clock, time, pairs = 3, 100, []
    for wait, gap, both, between in drawn:
        clock, time = clock + wait, time + gap
        pairs.append((clock, [time, time + between] if both else [time]))
        time += between if both else 0
    chance = random.Random(seed)
    holds = [chance.random() < hold for _ in range(150)] + [False] * (clock + 2 * len(pairs) + 20)
    left, bounds, _ = queued(pairs, depth, lambda k: not holds[k], len(holds))
    times = [time for _, pair in pairs for time in pair]
    assert [tag[1:] for tag in left] == [(time, k % 64) for k, time in enumerate(times)]
    # What is shown never falls, no tag that is still to come is below it, and none that has left is far above it: not at all.
    unwrapped, last = [], 0
    for bound in bounds[2:]:
        last += (bound - last + RANGE // 2) % RANGE - RANGE // 2
        unwrapped.append(last)
    assert unwrapped == sorted(unwrapped)
    for clock, time, _ in left:
        assert unwrapped[clock - 2] == time
    after = {clock: time for clock, time, _ in left}
    latest = 0
    for clock, bound in enumerate(unwrapped, 2):
        latest = max(latest, after.get(clock - 1, 0))
        assert bound >= latest
    assert unwrapped[-1] == (times[-1] if times else 0) + END


def test_a_lone_tag_passes_in_two_clocks() -> None:
    left, bounds, inside = queued([(10, [1000]), (20, [1001, 1002])], 4, lambda _: True, 40)
    assert left == [
        (10 + PairQueue.latency, 1000, 0),
        (20 + PairQueue.latency, 1001, 1),
        (21 + PairQueue.latency, 1002, 2),
    ]
    assert bounds[5] == 1000 - 3, "an empty queue shows the bound of the clock before"
    assert bounds[11] == 1000 - 3
    assert max(inside) == 2


def test_a_pair_in_every_clock_fits_as_long_as_stated() -> None:
    """One pair comes and half of one leaves per clock: nothing is held, and a tag leaves in every clock, until ``depth`` pairs wait."""
    depth = 16
    pairs = [(10 + k, [200 + 2 * k, 201 + 2 * k]) for k in range(60)]
    left, _, inside = queued(pairs, depth, lambda _: True, 200)
    assert [clock for clock, _, _ in left] == list(range(12, 12 + 120))
    assert max(inside) in (2 * depth - 1, 2 * depth)
    rises = [after - before for before, after in pairwise(inside[10:])]
    first_held = next(k for k, rise in enumerate(rises[3:], 3) if rise < 1)
    assert first_held >= 2 * depth - 6, "held before it was full"


@pytest.mark.parametrize("distance", [0, 1, -1, (1 << 21), -(1 << 21), ORDER // 2 - 1, -ORDER // 2])
@pytest.mark.parametrize("clock", [0, (1 << 18) - 1, 1 << 18, (1 << 51) - 1, 5 << 18])
def test_whole_times_of_a_pair_are_the_nearest(clock: int, distance: int) -> None:
    """Each for itself: the first one at the clock count, or both at a distance."""
    count = clock * 8192
    dut = PairTime(channel_bits=3)

    async def bench(ctx) -> None:
        ctx.set(dut.i_clock, clock)
        await ctx.tick()
        for first in (0, distance):
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.payload.both, 1)
            for lane, away in enumerate((first, distance)):
                ctx.set(dut.i.payload.tags[lane].time, (count + away) % ORDER)
                ctx.set(dut.i.payload.tags[lane].channel, 5 - lane)
            ctx.set(dut.i_bound, (count + first) % ORDER)
            ctx.set(dut.o.ready, 1)
            await ctx.tick()
            assert ctx.get(dut.o.valid)
            assert ctx.get(dut.o.payload.both)
            assert ctx.get(dut.o_bound) == (count + first) % ORDER
            for lane, away in enumerate((first, distance)):
                assert ctx.get(dut.o.payload.tags[lane].time) == (count + away) % (1 << 64)
                assert ctx.get(dut.o.payload.tags[lane].channel) == 5 - lane

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()


def tree_taken(dut: WideTree):
    def taken(ctx) -> list[tuple[int, int]]:
        if not ctx.get(dut.o.valid):
            return []
        tags = dut.o.payload.tags
        return [(ctx.get(tags[k].time), ctx.get(tags[k].channel)) for k in range(1 + ctx.get(dut.o.payload.both))]

    return taken


@settings(max_examples=5, deadline=None, phases=PHASES)
@given(st.sampled_from([2, 3, 4, 5, 7, 9, 16, 17]), st.data())
def test_wide_trees_of_all_sizes_sort(channels: int, data) -> None:
    tags, hold, seed = data.draw(streams(channels))
    tags = sorted(times_of(tags))
    base = data.draw(st.sampled_from(BASES))
    dut = WideTree(channels=channels)
    sides = [Side(dut.i[c], [(t, 0) for t, own in tags if own == c], base) for c in range(channels)]
    assert_sorts(
        dut,
        sides,
        tags,
        hold=hold,
        seed=seed,
        taken=tree_taken(dut),
        bound=lambda ctx: ctx.get(dut.o_bound),
        busy=lambda ctx: ctx.get(dut.o_busy),
    )


@pytest.mark.parametrize(("channels", "lanes"), [(2, 1), (3, 2), (8, 1), (16, 1)])
def test_a_wide_source_is_two_clocks_later(channels: int, lanes: int) -> None:
    """`bench_source` shows that the latency is what the component says."""
    one, wide = (TagSource(channels=channels, lanes=lanes, merge=merge).latency for merge in ("one", "wide"))
    assert wide == one + 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WideTree(channels=1), "channels is 1; allowed: 2 to 32"),
        (lambda: WideTree(channels=33), "channels is 33; allowed: 2 to 32"),
        (lambda: PairTime(channel_bits=1, order_bits=64), "order_bits is 64"),
        (lambda: PairTime(channel_bits=7), "channel_bits is 7; allowed: 1 to 6"),
        (lambda: PairQueue(depth=12), "depth is 12; allowed: a power of two from 4"),
        (lambda: TagSource(channels=4, merge="two"), "merge is 'two'; allowed: 'one' or 'wide'"),
        (lambda: TaggerOptions(merge="two"), "merge is 'two'; allowed: 'one' or 'wide'"),
        (
            lambda: TaggerOptions(channels=1, merge="wide"),
            "merge 'wide' with 1 channels; allowed: 2 channels or more, not small",
        ),
        (
            lambda: TaggerOptions(channels=2, small=True, merge="wide"),
            "merge 'wide' with 2 channels, small; allowed: 2 channels or more, not small",
        ),
    ],
)
def test_what_no_wide_build_has_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
