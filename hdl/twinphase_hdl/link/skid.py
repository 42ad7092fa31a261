"""A stage of a word stream that cuts it in both directions."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream


class Skid(wiring.Component):
    """Passes words on; neither ``o`` nor ``i.ready`` depends combinationally on the other side.

    ``i.ready`` is a register, so that it may enable a whole pipeline of the sender: a word that comes in the clock in which
    ``o`` turns out to be stuck goes into a spare place.

    Members
    -------
    i : In(word_stream()) - ``ready`` is a register.
    o : Out(word_stream()) - registers; holds a word whenever the spare place does.

    Latency: 1 clock. Throughput: a word per clock. Overflow: none, ``i`` waits.
    """

    i: In(word_stream())
    o: Out(word_stream())

    def elaborate(self, platform):
        m = Module()
        ready = Signal(init=1)
        spare = Signal.like(self.o.payload)
        m.d.comb += self.i.ready.eq(ready)
        with m.If(ready):
            m.d.sync += spare.eq(self.i.payload)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | ~ready),
                self.o.payload.eq(Mux(ready, Value.cast(self.i.payload), Value.cast(spare))),
                ready.eq(1),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += ready.eq(0)
        return m
