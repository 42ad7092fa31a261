"""A register between two who pass something on, which cuts both directions."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Stage(wiring.Component):
    """For streams that are slower than the clock: one place, and nothing combinational from one side to the other.

    Members
    -------
    i, o : In, Out(stream of ``shape``)

    Latency: 2 clocks. Throughput: one in three clocks. Overflow: none, ``i`` waits. What ``o`` offers is there a clock before
    ``o.valid``.
    """

    def __init__(self, shape: ShapeLike):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        held = Signal()
        taken = self.o.valid & self.o.ready
        m.d.comb += self.i.ready.eq(~held)
        m.d.sync += self.o.valid.eq(held & ~taken)
        with m.If(~held):
            m.d.sync += [held.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        with m.Elif(taken):
            m.d.sync += held.eq(0)
        return m
