"""Table entries from sums of counts, one quotient bit per clock."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Quotient(wiring.Component):
    """``o_q = min(2^q_bits - 1, floor(sum * 2^q_bits / (4 divisor)))`` by restoring division, and the sum itself bit by bit.

    The remainder starts as the sum; what is subtracted is 4 times the divisor. The first of the q_bits + 1 bits says whether
    the quotient is beyond its range.

    Members
    -------
    i_sum : sum_bits
    i_load : 1
        Takes the sum; two clocks later it is in the remainder.
    i_divisor : sum_bits - 2
        1 to 2^(sum_bits - 3), so that twice a remainder has sum_bits.
    i_first, i_step : 1
        ``i_first`` two clocks after ``i_load``, then ``i_step`` for q_bits clocks. Without steps, the remainder moves up by a bit.
    o_bit : 1
        Bit ``sum_bits - 3`` of the remainder: without steps, the sum's bits from there downwards, from two clocks after ``i_load``.
    o_q : q_bits
        After the last step.
    """

    def __init__(self, *, sum_bits: int, q_bits: int):
        super().__init__(
            {
                "i_sum": In(sum_bits),
                "i_load": In(1),
                "i_divisor": In(sum_bits - 2),
                "i_first": In(1),
                "i_step": In(1),
                "o_bit": Out(1),
                "o_q": Out(q_bits),
            }
        )
        self._sum_bits = sum_bits

    def elaborate(self, platform):
        m = Module()
        remainder = Signal(self._sum_bits)
        loaded = Signal(self._sum_bits)
        less = Signal(self._sum_bits - 1)
        fits = Signal()
        takes = Signal()
        over = Signal()
        m.d.comb += [
            less.eq(remainder[2:] - self.i_divisor),
            fits.eq(~less[-1]),
            takes.eq(fits & self.i_step),
            self.o_bit.eq(remainder[self._sum_bits - 3]),
        ]
        kept = Cat(remainder[:2], Mux(takes, less[:-1], remainder[2:]))
        # The remainder is zero when the sum comes, so that "or" will do, which fits the LUT of the choice.
        m.d.sync += [loaded.eq(0), remainder.eq(Cat(C(0, 1), kept)[: self._sum_bits] | loaded)]
        with m.If(self.i_load):
            m.d.sync += [loaded.eq(self.i_sum), remainder.eq(0)]
        with m.If(self.i_first):
            m.d.sync += over.eq(fits)
        with m.If(self.i_step):
            m.d.sync += self.o_q.eq(Cat(fits | over, self.o_q[:-1]))
        return m
