"""Many packet streams onto one link."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream


class PacketArbiter(wiring.Component):
    """Passes packets of ``inputs`` streams to one, round robin: after a packet of input k, input k + 1 is asked first.

    A packet is never interleaved with another.

    Members
    -------
    i : array of In(word_stream()), ``inputs`` long.
    o : Out(word_stream()) - registered; ``i[k].ready`` does not depend combinationally on ``o.ready``.
    o_idle : Out(1) - no packet is under way.

    Latency: 2 clocks to the first word of a packet when idle. Throughput: a word per clock within a packet, one clock
    between packets. Overflow: none, the inputs wait.
    """

    def __init__(self, *, inputs: int):
        if inputs < 1:
            raise ValueError(f"arbiter: inputs is {inputs}; allowed: at least 1")
        self._inputs = inputs
        super().__init__({"i": In(word_stream()).array(inputs), "o": Out(word_stream()), "o_idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        grant = Signal(range(self._inputs))
        granted = Signal(self._inputs)
        """One-hot ``grant`` while a packet is under way, so that ``ready`` is one gate behind registers."""
        busy = Signal()
        spare = Signal.like(self.o.payload)
        spared = Signal()
        """A word came in a clock in which the output turned out to be stuck."""
        source = Array(self.i)[grant]
        taken = Signal()
        m.d.comb += taken.eq(busy & ~spared & source.valid)
        for k in range(self._inputs):
            m.d.comb += self.i[k].ready.eq(granted[k] & ~spared)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(taken | spared),
                self.o.payload.eq(Mux(spared, Value.cast(spare), Value.cast(source.payload))),
                spared.eq(0),
            ]
        with m.Else():
            m.d.sync += spared.eq(spared | taken)
        with m.If(~spared):
            m.d.sync += spare.eq(source.payload)

        following = Signal.like(grant)
        anyone = Signal()
        with m.Switch(grant):
            for k in range(self._inputs):
                with m.Case(k):
                    # The last assignment that applies wins: the nearest input after k.
                    for step in range(self._inputs, 0, -1):
                        candidate = (k + step) % self._inputs
                        with m.If(self.i[candidate].valid):
                            m.d.comb += [following.eq(candidate), anyone.eq(1)]
        with m.If(~busy):
            m.d.sync += busy.eq(anyone)
            with m.If(anyone):
                m.d.sync += [grant.eq(following), granted.eq(1 << following)]
        with m.Elif(taken & source.payload.last):
            m.d.sync += [busy.eq(0), granted.eq(0)]
        m.d.comb += self.o_idle.eq(~(busy | self.o.valid | anyone))
        return m
