"""How many heralds wait for their psi, counted where heralds are announced."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class PendingRoom(wiring.Component):
    """``waiting = entered - left``; the psi queue is full when ``waiting`` is its length.

    The queues lie far from the herald finder, which decides in one clock whether a herald gets a number: it asks here. Heralds may
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
    i_enters, i_leaves : In(1), In(1)
        A herald gets its number, not while ``o_full``; one has left the queue.
    o_full : Out(1)
        ``most[i_choice]`` heralds wait.

    Latency: 1 clock. Throughput: one in and one out per clock. Overflow: none if heralds enter as they may; a ValueError for a length
    below 1. Source: docs/contract.md, heralds.
    """

    def __init__(self, *, most: tuple[int, int]) -> None:
        if min(most) < 1:
            raise ValueError(f"PendingRoom: most is {most}; allowed: 1 or more each")
        self._most = most
        super().__init__({"i_choice": In(1), "i_enters": In(1), "i_leaves": In(1), "o_full": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        waiting = Signal(range(max(self._most) + 1))
        bits = len(waiting)
        full, one_less = (
            waiting == Mux(self.i_choice, *(Const(most - less, bits) for most in reversed(self._most)))
            for less in (0, 1)
        )
        m.d.sync += self.o_full.eq(~self.i_leaves & (full | (one_less & self.i_enters)))
        with m.If(self.i_enters ^ self.i_leaves):
            m.d.sync += waiting.eq(waiting + Mux(self.i_enters, 1, -1))
        return m
