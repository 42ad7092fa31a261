"""Deals a stream out to two."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .front import Front, FrontBuffer


class Dealer(wiring.Component):
    """The tags of ``i`` in turn to ``o_even`` and ``o_odd``, the first to ``o_even``. What ``i`` shows bounds both.

    Members
    -------
    i, o_even, o_odd : Front

    Latency: 1 clock. Throughput: one tag per clock. Overflow: none.
    """

    latency = FrontBuffer.latency

    def __init__(self, *, order_bits: int, channel_bits: int):
        front = Front(order_bits=order_bits, channel_bits=channel_bits)
        super().__init__({"i": In(front), "o_even": Out(front), "o_odd": Out(front)})
        self._sizes = {"order_bits": order_bits, "channel_bits": channel_bits}

    def elaborate(self, platform):
        m = Module()
        odd = Signal()
        for name, turn, output in (("even", ~odd, self.o_even), ("odd", odd, self.o_odd)):
            m.submodules[name] = buffer = FrontBuffer(**self._sizes)
            m.d.comb += [
                buffer.i.valid.eq(self.i.valid & turn),
                buffer.i.time.eq(self.i.time),
                buffer.i.channel.eq(self.i.channel),
            ]
            with m.If(turn):
                m.d.comb += self.i.ready.eq(buffer.i.ready)
            wiring.connect(m, buffer.o, wiring.flipped(output))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += odd.eq(~odd)
        return m
