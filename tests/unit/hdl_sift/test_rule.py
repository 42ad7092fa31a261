"""Slice test and digest at their edges."""

import random
import struct
import zlib

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from twinphase_hdl.sift.digest import BlockDigest
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


@pytest.mark.parametrize("data_width", [32, 64])
def test_digest_is_zlib_crc32_of_each_block(data_width):
    rng = random.Random(data_width)
    words = [rng.getrandbits(data_width) for _ in range(32 * 5 + 9)]
    dut = BlockDigest(data_width=data_width)

    async def bench(ctx):
        ctx.set(dut.i_block_heralds, 32)
        for word in words:
            ctx.set(dut.i_valid, 1)
            ctx.set(dut.i_data, word)
            await ctx.tick()
            if rng.random() < 0.2:
                ctx.set(dut.i_valid, 0)
                await ctx.tick()
        ctx.set(dut.i_valid, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o_blocks) == 5
        for b in range(5):
            ctx.set(dut.i_index, b)
            await ctx.tick()
            packed = struct.pack("<32Q" if data_width == 64 else "<32I", *words[32 * b : 32 * b + 32])
            assert ctx.get(dut.o_digest) == zlib.crc32(packed)

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
