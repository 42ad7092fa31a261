"""Up to when smoothed phases are complete, and from when on they are still kept."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.smoothpass import CHANNELS, COVER_SHIFT
from twinphase_hdl.types import PhaseCover
from twinphase_spec import smoothing, tracking

TIME_BITS = smoothing.TIME_BITS
KEPT_BLOCKS = smoothing.INTERVALS // smoothing.BLOCK - 1
"""Covered blocks whose intervals are used: the block that replaces the one before them may be coming."""
MOST_BITS = smoothing.MOST_NODE_BITS
"""Most E + g."""
KEPT_BLOCKS_OF_MOST = (1 << TIME_BITS - 1 - MOST_BITS) // smoothing.BLOCK - 1
"""With E + g of MOST_BITS: of the half of the times that the sign of a difference tells apart."""
QUARTER_BITS = TIME_BITS - 3
"""A quarter of the times whose difference has a sign has 2^QUARTER_BITS clocks."""
SETTLING = 4
"""Clocks in which a cover's consequences move."""


class CoveredTimes(wiring.Component):
    """Compares times with the channels' covers, by the sign of 26-bit differences.

    A time is *covered* if it lies below the cover of each channel at which the heralds were last asked to leave, when these have left;
    it is *kept* if the latest cover of neither channel is more than `KEPT_BLOCKS` blocks (16 2^(E + g) clocks each), or
    `KEPT_BLOCKS_OF_MOST` with E + g = 15, above it.

    Members
    -------
    i_run : In(1)
        0 forgets all covers.
    i_cover, i_cover_valid : In(PhaseCover), In(1)
    i_epoch_bits, i_step : In(5), In(ArrayLayout(3, 2))
        E, and g of each channel; with E + g above 15 nothing is kept. They do not change while ``i_run`` is 1.
    o_flush, i_flushed : Out(1), In(1)
        Strobe: the heralds that have come are to leave; high when they have, low from the clock after the strobe. Asked for at every
        cover, once both channels have one, but not before the heralds that were asked last have left.
    i_time : In(26)
        Less than 2^25 clocks from the covers, at ``o_known``.
    o_covered, o_kept : Out(1)
        Of the time at ``i_time`` a clock ago.
    o_known : Out(1)
        ``o_covered`` is of a cover that is less than two quarters old. It is not at first, and where heralds did not leave for a
        quarter, until they have once left faster.
    o_quarter : Out(1)
        Strobe: channel 0's cover has come to a multiple of 2^23 clocks.
    o_busy : Out(1)

    Latency: 4 clocks from a cover to o_covered, if the heralds leave at once; 2 to o_kept. Throughput: a cover per clock.
    Overflow: none. Source: docs/phase.md, smooth join.
    """

    i_run: In(1)
    i_cover: In(PhaseCover)
    i_cover_valid: In(1)
    i_epoch_bits: In(5)
    i_step: In(data.ArrayLayout(smoothing.SMOOTH_STEP_BITS, CHANNELS))
    o_flush: Out(1)
    i_flushed: In(1)
    i_time: In(TIME_BITS)
    o_covered: Out(1)
    o_kept: Out(1)
    o_known: Out(1)
    o_quarter: Out(1)
    o_busy: Out(1)

    def elaborate(self, platform) -> Module:
        m = Module()
        channel, time = self.i_cover.channel, self.i_cover.time
        times = data.ArrayLayout(TIME_BITS, CHANNELS)
        latest, asked, left = Signal(times), Signal(times), Signal(times)
        """Covers: the last ones; those at which the heralds were asked to leave; those at which they have left."""
        oldest = Signal(times)
        """First times whose intervals are kept."""
        came, fresh, flushing, late, known = Signal(CHANNELS), Signal(), Signal(), Signal(), Signal()
        """``fresh``: since the heralds were last asked. ``late``: a quarter came while they were leaving. ``known``: ``left`` is."""

        # Both are constant in a run.
        spans, wide = Signal(times), Signal(CHANNELS)
        for c in range(CHANNELS):
            bits = Signal(5, name=f"bits_{c}")
            kept = Mux(bits == MOST_BITS, KEPT_BLOCKS_OF_MOST, KEPT_BLOCKS)
            m.d.sync += [
                bits.eq(self.i_epoch_bits + self.i_step[c]),
                spans[c].eq(kept << COVER_SHIFT << (bits - tracking.EPOCH_LEAST)[:3]),
                wide[c].eq(bits > MOST_BITS),
            ]

        m.d.comb += [
            self.o_flush.eq(came.all() & fresh & ~flushing),
            self.o_quarter.eq(self.i_cover_valid & (channel == 0) & ~time[:QUARTER_BITS].any()),
        ]
        with m.If(self.o_flush):
            m.d.sync += [asked.eq(latest), fresh.eq(0), flushing.eq(1), late.eq(0)]
        with m.If(flushing & self.i_flushed):
            m.d.sync += [left.eq(asked), flushing.eq(0), known.eq(~late)]
        with m.If(flushing & self.o_quarter):
            m.d.sync += [late.eq(1), known.eq(0)]
        with m.If(self.i_cover_valid):
            m.d.sync += [
                *(latest[channel].eq(time), oldest[channel].eq(time - spans[channel])),
                *(came.bit_select(channel, 1).eq(1), fresh.eq(1)),
            ]

        # Only signs are looked at.
        below = [(self.i_time - left[c])[:TIME_BITS][-1] for c in range(CHANNELS)]
        over = [(self.i_time - oldest[c])[:TIME_BITS][-1] for c in range(CHANNELS)]
        signs = Signal(CHANNELS), Signal(CHANNELS)
        m.d.sync += [signs[0].eq(Cat(below)), signs[1].eq(Cat(over) | wide), self.o_known.eq(known)]
        m.d.comb += [self.o_covered.eq(signs[0].all()), self.o_kept.eq(~signs[1].any())]

        settling = Signal(SETTLING)
        m.d.sync += settling.eq(Cat(self.i_cover_valid | (flushing & self.i_flushed), settling))
        m.d.comb += self.o_busy.eq(self.i_cover_valid | self.o_flush | flushing | settling.any())
        with m.If(~self.i_run):
            m.d.sync += [value.eq(0) for value in (came, fresh, flushing, late, known, self.o_known)]
        return m
