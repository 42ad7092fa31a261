"""Which heralds wait for their psi, decided where heralds are announced."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

REOPENED = 4
"""A queue that was full takes heralds again when this part of it is free."""


class PendingRoom(wiring.Component):
    """``waiting = entered - left``; a herald that comes enters the psi queue, or is passed over while it is closed::

        closed from waiting = most on, until waiting <= most - most // 4 (most - 1 below 4)

    So heralds are passed over in long runs, and a queue holds few of their ends (`HeraldNumbers`): between two ends a quarter of it
    enters.

    The queues lie far from the herald finder, which counts here in the clock of the number. Heralds may
    travel to their queue, and strobes of those that leave may travel back, for any number of clocks: those under way count as
    waiting, so that no queue is asked for more than it holds.

    Parameters
    ----------
    most : tuple of two int
        Lengths of the queues, 1 or more.

    Members
    -------
    i_choice : In(1)
        Which of the two queues it is. Changes only while nothing waits.
    i_comes, i_leaves : In(1), In(1)
        A herald gets its number; one has left the queue.
    o_enters, o_resumes : Out(1), Out(1)
        Strobe: the herald that comes enters; with it: those between the last that entered and this were passed over.
    o_skipped : Out(1)
        Strobe: the herald that comes is passed over.
    o_closed : Out(1)
        A herald that came now would be.

    Latency: none from i_comes; 1 clock from a herald that leaves. Throughput: one in and one out per clock. Overflow: counted by
    o_skipped; a ValueError for a length below 1. Source: docs/contract.md, heralds.
    """

    def __init__(self, *, most: tuple[int, int]) -> None:
        if min(most) < 1:
            raise ValueError(f"PendingRoom: most is {most}; allowed: 1 or more each")
        self._most = most
        outputs = ("o_enters", "o_resumes", "o_skipped", "o_closed")
        super().__init__({"i_choice": In(1), "i_comes": In(1), "i_leaves": In(1), **{name: Out(1) for name in outputs}})

    def elaborate(self, platform) -> Module:
        m = Module()
        waiting = Signal(range(max(self._most) + 1))
        closed, passed_over = self.o_closed, Signal()

        def chosen(*levels: int) -> Value:
            return Mux(self.i_choice, *(Const(level, len(waiting)) for level in reversed(levels)))

        one_less = waiting == chosen(*(most - 1 for most in self._most))
        open_again = waiting <= chosen(*(most - max(1, most // REOPENED) for most in self._most))
        with m.If(closed):
            m.d.sync += closed.eq(~open_again)
        with m.Else():
            m.d.sync += closed.eq(one_less & self.o_enters & ~self.i_leaves)
        m.d.comb += [
            *(self.o_enters.eq(self.i_comes & ~closed), self.o_skipped.eq(self.i_comes & closed)),
            self.o_resumes.eq(passed_over),
        ]
        with m.If(self.i_comes):
            m.d.sync += passed_over.eq(closed)
        with m.If(self.o_enters ^ self.i_leaves):
            m.d.sync += waiting.eq(waiting + Mux(self.o_enters, 1, -1))
        return m
