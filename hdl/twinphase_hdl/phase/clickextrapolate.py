"""The phase's way along its slope."""

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clicktime import PIECE
from twinphase_spec import tracking

CLOCKS_BITS = tracking.EPOCH_BITS + 1
SLOPE_BITS = tracking.B_BITS - tracking.B_DROP
WAY_BITS = SLOPE_BITS + CLOCKS_BITS - tracking.B_SHIFT


class Extrapolation(wiring.Component):
    """``(i_slope i_clocks) >> 12``, of two multipliers.

    Members
    -------
    i_slope : In(signed(34))
        B >> 8, 2^-44 turn per clock.
    i_clocks : In(17)
    o : Out(signed(39))
        2^-32 turn.

    Latency: `latency` = 3 clocks. Throughput: one per clock. Overflow: none.
    Source: docs/tracking.md, time.
    """

    i_slope: In(signed(SLOPE_BITS))
    i_clocks: In(CLOCKS_BITS)
    o: Out(signed(WAY_BITS))

    @property
    def latency(self) -> int:
        """Clocks from slope to way."""
        return 3

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        low = stages.operand("slope_low", 0, self.i_slope[:PIECE])
        high = stages.operand("slope_high", 0, self.i_slope[PIECE:].as_signed())
        clocks = stages.operand("clocks", 0, self.i_clocks)
        low = stages.after("low", 1, lambda slope, clocks: slope * clocks, low, clocks)
        high = stages.after("high", 1, lambda slope, clocks: slope * clocks, high, clocks)
        shift = tracking.B_SHIFT
        way = stages.after("way", 2, lambda low, high: (low >> shift) + (high << PIECE - shift), low, high)
        m.d.comb += self.o.eq(way.at(3))
        return m
