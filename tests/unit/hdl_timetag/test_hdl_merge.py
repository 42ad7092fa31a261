"""Merge trees: any streams, bounds, holding back; what leaves is sorted and complete."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_bench import BASES, ORDER, PHASES, Side, assert_sorts, streams, times_of

from twinphase_hdl.timetag.front import Front
from twinphase_hdl.timetag.mergenode import MergeNode
from twinphase_hdl.timetag.mergetree import MergeTree
from twinphase_hdl.timetag.source import TagSource
from twinphase_hdl.timetag.wholetime import WholeTime


@settings(max_examples=6, deadline=None, phases=PHASES)
@given(st.integers(2, 32), st.data())
def test_trees_of_all_sizes_sort(channels: int, data) -> None:
    tags, hold, seed = data.draw(streams(channels))
    tags = sorted(times_of(tags))
    base = data.draw(st.sampled_from(BASES))
    dut = MergeTree(channels=channels)
    sides = [Side(dut.i[c], [(t, 0) for t, own in tags if own == c], base) for c in range(channels)]
    assert_sorts(
        dut,
        sides,
        tags,
        hold=hold,
        seed=seed,
        taken=lambda ctx: [(ctx.get(dut.o.time), ctx.get(dut.o.channel))] if ctx.get(dut.o.valid) else [],
        bound=lambda ctx: ctx.get(dut.o.time),
    )


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
