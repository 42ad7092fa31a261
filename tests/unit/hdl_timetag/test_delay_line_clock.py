"""A front end that reads its tables at the TDC clock gives the edges of one that does not, clock by clock."""

from __future__ import annotations

import random
from typing import Any
from unittest import mock

import pytest
from amaranth.hdl import ClockDomain, Fragment, Module
from amaranth.sim import Simulator

from twinphase_hdl.nodes.timetagger import TimeTaggerNode
from twinphase_hdl.timetag import evenness
from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_spec import tdc

TAPS, LANES = 32, 2
STEP = 7


def test_edges_are_the_same() -> None:
    """Behind a first table, of both polarities, in every clock and lane."""
    rng = random.Random(1)
    m = Module()
    m.domains.sync, m.domains.tdc = ClockDomain("sync"), ClockDomain("tdc")
    fronts: list[Any] = [DelayLineFrontEnd(lanes=LANES, taps=TAPS, tdc_clock=clock) for clock in (False, True)]
    with mock.patch.object(evenness, "MIN_GROUPS", 0):  # there are two groups of taps, and none between them
        for number, front in enumerate(fronts):
            m.submodules[f"front_{number}"] = Fragment.get(front, None)
    edges: list[tuple[int, ...]] = []

    async def hits(ctx: Any, clocks: int) -> None:
        for _ in range(clocks):
            valid, polarity = rng.choice([0, 1, 2, 3, 3, 3]), rng.getrandbits(LANES)
            codes = [rng.randrange(TAPS) for _ in range(LANES)]
            for front in fronts:
                ctx.set(front.i_valid, valid)
                ctx.set(front.i_polarity, polarity)
                for lane, code in enumerate(codes):
                    ctx.set(front.i_code[lane], code)
            await ctx.tick()
            plain, twice = (
                tuple(
                    ctx.get(front.o.fine[lane]) if ctx.get(front.o.valid) >> lane & 1 else -1 for lane in range(LANES)
                )
                for front in fronts
            )
            assert twice == plain
            edges.append(plain)

    async def bench(ctx: Any) -> None:
        for front in fronts:
            ctx.set(front.i_step, STEP)
            ctx.set(front.i_last, 25)
        await ctx.tick().repeat(4)  # these are decoded in registers
        while not ctx.get(fronts[0].o_busy):
            await hits(ctx, 1)
        for front in fronts:
            ctx.set(front.i_valid, 0)
        await ctx.tick().repeat(tdc.busy_clocks(tdc.code_bits(TAPS)))
        edges.clear()
        await hits(ctx, 400)

    simulator = Simulator(m)
    simulator.add_clock(8e-9, phase=8e-9)
    simulator.add_clock(4e-9, phase=8e-9, domain="tdc")
    simulator.add_testbench(bench)
    simulator.run()
    assert len(edges) == 400
    for lane in range(LANES):
        times = [edge[lane] for edge in edges if edge[lane] >= 0]
        assert len(times) > 200
        assert len(set(times)) > 40


def test_who_has_no_tdc_clock() -> None:
    with pytest.raises(ValueError, match="tdc_clock with lanes 1; allowed: 2"):
        DelayLineFrontEnd(lanes=1, tdc_clock=True)
    with pytest.raises(ValueError, match="tdc_clock with frontend 'simulation'; allowed: 'delay line'"):
        TimeTaggerNode(channels=2, tdc_clock=True)
