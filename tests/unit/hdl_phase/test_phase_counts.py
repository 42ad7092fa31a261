"""Reference counts: classes, swap, banks and saturation."""

import random

import pytest
from phase_oracle import Counts, click, simulate

from twinphase_hdl.phase.counts import ReferenceCounts
from twinphase_spec.fixed import COUNT_MAX
from twinphase_spec.frame import SlotClass


@pytest.mark.parametrize(("band", "swap"), [("q", 0), ("q", 1), ("r", 0), ("r", 1)])
def test_counts_two_windows_at_once(band, swap):
    """Clicks of windows w and w + 1 alternate at random, also in the clock of the close."""
    rng = random.Random(f"{band}{swap}")
    dut = ReferenceCounts(band=band)
    first = "qr".index(band) * 2

    async def bench(ctx):
        ctx.set(dut.i_swap, swap)
        counts = {0: Counts(), 1: Counts()}
        for w in range(6):
            for _ in range(150):
                slot_class, window = rng.choice(list(SlotClass)), w + rng.randrange(2)
                c = click(rng.randrange(5), slot_class, window)
                c |= {"framed": rng.random() < 0.9, "gated": rng.random() < 0.9}
                await send(ctx, c, rng.random() < 0.8, counts)
            # Only the next window's clicks from here on: one in the pipeline, one in the clock of the close.
            await send(ctx, click(first, SlotClass.REF1, w + 1), True, counts)
            ctx.set(dut.i_close, 1)
            ctx.set(dut.i_bank, w & 1)
            await send(ctx, click(first + 1, SlotClass.REF2, w + 1), True, counts)
            ctx.set(dut.i_close, 0)
            closed = counts.pop(w)
            counts[w + 2] = Counts()
            ctx.set(dut.i_valid, 0)
            assert not ctx.get(dut.o_idle)
            await ctx.tick().repeat(dut.latency - 1)
            assert (ctx.get(dut.o_cosine), ctx.get(dut.o_sine)) == closed.vector
            assert ctx.get(dut.o_total) == closed.total
            await ctx.tick()
            assert ctx.get(dut.o_idle)

    async def send(ctx, c, valid, counts):
        ctx.set(dut.i, c)
        ctx.set(dut.i_valid, valid)
        await ctx.tick()
        step = c["slot_class"] - SlotClass.REF0
        if valid and c["framed"] and c["gated"] and c["channel"] // 2 == first // 2 and 0 <= step <= 3:
            counts[c["window"]].add(step, (c["channel"] & 1) ^ swap)

    # The last click before a close must not be the closing window's: two clocks lie between, here as in the node.
    simulate(dut, bench)


def test_refuses_unknown_band():
    with pytest.raises(ValueError, match="allowed: 'q' or 'r'"):
        ReferenceCounts(band="x")


@pytest.mark.long
def test_saturates():
    """COUNT_MAX and five more clicks each way."""
    dut = ReferenceCounts(band="q")

    async def bench(ctx):
        ctx.set(dut.i_valid, 1)
        for channel, slot in ((0, SlotClass.REF0), (1, SlotClass.REF2)):
            ctx.set(dut.i, click(channel, slot, 0))
            await ctx.tick().repeat(COUNT_MAX + 5)
        ctx.set(dut.i_valid, 0)
        await ctx.tick().repeat(2)
        ctx.set(dut.i_close, 1)
        await ctx.tick().repeat(dut.latency)
        expected = Counts()
        expected.add(0, 0, COUNT_MAX + 5)
        expected.add(2, 1, COUNT_MAX + 5)
        assert (ctx.get(dut.o_cosine), ctx.get(dut.o_sine), ctx.get(dut.o_total)) == (*expected.vector, expected.total)

    simulate(dut, bench)
