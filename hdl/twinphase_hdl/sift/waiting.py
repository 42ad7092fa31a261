"""How many heralds wait for their psi, and whether the oldest has done so for too long."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class WaitingHeralds(wiring.Component):
    """Counts heralds that enter a queue and leave it, and tells when the age of the oldest could wrap.

    Ages are differences of counts that wrap. Of the heralds that wait at a quarter of the counts' range, those that are left at the next
    one are *gone*: they have waited for a quarter at least. They are the oldest, so that it takes their number only. When a herald
    is called gone it is two quarters old at most, so that until then its age is told by the sign of the difference.

    Parameters
    ----------
    most : int
        Heralds that may wait, 1 or more.

    Members
    -------
    i_enters, i_leaves : In(1)
        Must not enter when ``o_full``. They leave in every other clock at most.
    i_quarter : In(1)
        Strobe: a quarter of the counts' range has passed since the last.
    o_waiting : Out(0 .. most)
    o_full : Out(1)
    o_gone : Out(1)
        The oldest is gone; a herald that became the oldest is judged in the clock in which it does, a quarter is seen in two clocks.

    Latency: 1 clock. Overflow: none. Source: docs/contract.md, psi join; docs/phase.md, smooth join.
    """

    def __init__(self, *, most: int) -> None:
        if most < 1:
            raise ValueError(f"WaitingHeralds: most is {most}; allowed: 1 or more")
        self._most = most
        super().__init__(
            {
                "i_enters": In(1),
                "i_leaves": In(1),
                "i_quarter": In(1),
                "o_waiting": Out(range(most + 1)),
                "o_full": Out(1),
                "o_gone": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        waiting = self.o_waiting
        one_less = (waiting == self._most - 1) & self.i_enters
        m.d.sync += self.o_full.eq(~self.i_leaves & ((waiting == self._most) | one_less))
        with m.If(self.i_enters ^ self.i_leaves):
            m.d.sync += waiting.eq(waiting + Mux(self.i_enters, 1, -1))

        old, old_before = Signal.like(waiting), Signal.like(waiting)
        quarter = Signal()
        """One has come; it waits for a clock in which no herald leaves."""
        with m.If(self.i_quarter):
            m.d.sync += quarter.eq(1)
        with m.Elif(~self.i_leaves):
            m.d.sync += quarter.eq(0)
        m.d.sync += self.o_gone.eq((old != 0) & ~((old == 1) & self.i_leaves))
        with m.If(self.i_leaves):
            with m.If(old != 0):
                m.d.sync += old.eq(old - 1)
            with m.If(old_before != 0):
                m.d.sync += old_before.eq(old_before - 1)
        with m.Elif(quarter):
            m.d.sync += [old.eq(old_before), old_before.eq(waiting)]
        return m
