"""Delays in rings of LUT RAM equal registers."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from twinphase_hdl.core.along import delayed_in_ram


@pytest.mark.parametrize("clocks", [0, 1, 2, 15, 16, 17, 18, 33])
def test_a_value_comes_out_so_many_clocks_later(clocks):
    rng = random.Random(clocks)
    values = [rng.getrandbits(9) for _ in range(100)]
    value, later = Signal(9), Signal(9)
    m = Module()
    m.d.comb += later.eq(delayed_in_ram(m, value, clocks, "value"))
    # Without a register there would be no clock to wait for.
    m.d.sync += Signal(name="clocked").eq(later.any())
    got = []

    async def bench(ctx):
        await ctx.tick().repeat(5)
        for word in values + [0] * clocks:
            ctx.set(value, word)
            got.append(ctx.get(later))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert got[clocks:] == values
