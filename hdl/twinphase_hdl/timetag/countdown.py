"""The test pulser of parts with slow carry chains."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from .pulser import PERIOD_BITS, Pulser


class CountdownPulser(Pulser):
    """As `Pulser`, but another period acts after the edge that ends the current one."""

    def _ends(self, m: Module) -> Value:
        # Clocks to the next edge: low half, and high half, which goes on a clock after the low one has begun anew.
        half = PERIOD_BITS // 2
        low, high, borrow, only_low = Signal(half), Signal(half), Signal(), Signal()
        # Known a clock before: one is left, or none. After a clock with an edge it does not count, but nor does it with that.
        last, short_half, at_most_one = Signal(), Signal(2), Signal()
        ends = Signal()
        m.d.comb += ends.eq(last & ~self.o_pulse & self.i_enable)
        m.d.sync += [
            short_half.eq(Cat(~self.i_period[1:half].any(), ~self.i_period[half:].any())),
            at_most_one.eq(short_half.all()),
            last.eq(Mux(self.i_enable, only_low & ~low[2:].any() & ~low[:2].all(), at_most_one)),
            low.eq(low - 1),
            borrow.eq(~low.any()),
            only_low.eq(~high.any()),
        ]
        with m.If(borrow):
            m.d.sync += high.eq(high - 1)
        with m.If(ends | ~self.i_enable):
            m.d.sync += [
                Cat(low, high).eq(self.i_period),
                borrow.eq(0),
                only_low.eq(~self.i_period[half:].any()),
            ]
        return ends
