"""Psi never overtakes heralds that still wait for their packers."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class FlushGate(wiring.Component):
    """Hands a flush on when all heralds have left that waited before the packers when it was asked for.

    Parameters
    ----------
    waiting_max : int
        Heralds that may wait.

    Members
    -------
    i_flush : In(1) - strobe: asked for; again before it is done: all that has come until then is to leave.
    i_waiting, i_left : In, In(1) - heralds that wait, and that one of them leaves in this clock.
    o_flush, i_flushed : Out(1), In(1) - the packers' strobe, and whether it is done from the next clock on.
    o_flushed : Out(1) - the last flush that was asked for is done, a clock ago at least; low from the clock after ``i_flush`` on.

    Latency: 1 clock to ``o_flush`` when none waits, 1 from ``i_flushed``. Overflow: none. ValueError for ``waiting_max`` below 1.
    """

    def __init__(self, *, waiting_max: int) -> None:
        if waiting_max < 1:
            raise ValueError(f"FlushGate: waiting_max is {waiting_max}; allowed: 1 and more")
        super().__init__(
            {
                "i_flush": In(1),
                "i_waiting": In(range(waiting_max + 1)),
                "i_left": In(1),
                "o_flush": Out(1),
                "i_flushed": In(1),
                "o_flushed": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        left, pending = Signal.like(self.i_waiting), Signal()
        m.d.comb += [
            self.o_flush.eq(pending & ~left.any() & ~self.i_flush),
        ]
        # A register, as packers lie far from those who ask.
        m.d.sync += self.o_flushed.eq(~self.i_flush & ~pending & self.i_flushed)
        with m.If(self.i_flush):
            m.d.sync += [left.eq(self.i_waiting - self.i_left), pending.eq(1)]
        with m.Else():
            m.d.sync += pending.eq(pending & left.any())
            with m.If(self.i_left & left.any()):
                m.d.sync += left.eq(left - 1)
        return m
