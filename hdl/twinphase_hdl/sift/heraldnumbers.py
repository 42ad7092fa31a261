"""Numbers of the heralds that a psi queue holds."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

ENDS = 8
"""Ends of runs that were passed over which may wait: `PendingRoom` lets a quarter of the queue enter between two."""


class HeraldNumbers(wiring.Component):
    """Tells heralds that leave a queue, in the order in which they entered, their numbers without keeping each of them::

        number = the one before + 1 (0 at first), or, where heralds before it were passed over, as it was when it entered

    Parameters
    ----------
    ends : int
        Such heralds that may wait, a power of two.
    bits : int
        Of a number; fewer are for proofs.

    Members
    -------
    i_end, i_number : In(1), In(bits)
        Strobe: a herald enters before which others were passed over; its number.
    i_leaves, i_resumes : In(1), In(1)
        Strobe: a herald leaves; whether it is one of those. In another clock than its own i_end.
    o_number : Out(bits)
        Of the herald that leaves in this clock.

    Latency: none. Throughput: one in and one out per clock. Overflow: none while at most ``ends`` of them wait. Source: docs/contract.md,
    heralds.
    """

    def __init__(self, *, ends: int = ENDS, bits: int = 32) -> None:
        self._ends, self._bits = ends, bits
        members = {"i_end": In(1), "i_number": In(bits), "i_leaves": In(1), "i_resumes": In(1)}
        super().__init__({**members, "o_number": Out(bits)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.ends = ends = memory.Memory(
            shape=self._bits, depth=self._ends, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = ends.write_port(), ends.read_port(domain="comb")
        following = Signal(self._bits)
        m.d.comb += [
            *(write.en.eq(self.i_end), write.data.eq(self.i_number)),
            self.o_number.eq(Mux(self.i_resumes, read.data, following)),
        ]
        for moves, port in ((self.i_end, write), (self.i_leaves & self.i_resumes, read)):
            with m.If(moves):
                m.d.sync += port.addr.eq(port.addr + 1)
        with m.If(self.i_leaves):
            m.d.sync += following.eq(self.o_number + 1)
        return m
