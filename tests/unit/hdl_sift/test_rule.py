"""Slice test and digest at their edges."""

import random

from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from twinphase_hdl.sift.rule import shifted_difference, slice_test


def test_slice_test_at_its_edges():
    rng = random.Random(3)
    a, b, psi, width = Signal(4), Signal(4), Signal(16), Signal(16)
    keep, branch = Signal(), Signal()
    m = Module()
    kept, side = slice_test(shifted_difference(a, b, psi, width), width)
    m.d.comb += [keep.eq(kept), branch.eq(side)]

    async def bench(ctx):
        for ds in (1, 2, 3641, 8191, 8192, 16384, 32767, 32768):
            for _ in range(40):
                slices = rng.randrange(16), rng.randrange(16)
                edge = rng.choice((0, 1 << 15)) - (ds >> 1) + rng.choice((0, ds)) + rng.choice((-1, 0, 1))
                phase = (edge - (slices[0] - slices[1]) * 4096) % 65536
                for signal, value in ((a, slices[0]), (b, slices[1]), (psi, phase), (width, ds)):
                    ctx.set(signal, value)
                s = ((slices[0] - slices[1]) * 4096 + phase + (ds >> 1)) % 65536
                assert (ctx.get(keep), ctx.get(branch)) == (s % 32768 <= ds, s >> 15)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
