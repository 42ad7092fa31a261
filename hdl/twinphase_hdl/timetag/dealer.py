"""Deals a stream out to two."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .front import Front
from .frontqueue import FrontQueue


class Dealer(wiring.Component):
    """The tags of ``i`` in turn to ``o_even`` and ``o_odd``, the first to ``o_even``. What ``i`` shows bounds both.

    Parameters
    ----------
    order_bits, channel_bits, depth : int
        As of `FrontQueue`; each output has one.

    Members
    -------
    i, o_even, o_odd : Front

    Latency: 1 clock. Throughput: one tag per clock. Overflow: none; a queue that is full holds ``i`` when it is its turn.
    """

    latency = FrontQueue.latency

    def __init__(self, *, order_bits: int, channel_bits: int, depth: int):
        front = Front(order_bits=order_bits, channel_bits=channel_bits)
        super().__init__({"i": In(front), "o_even": Out(front), "o_odd": Out(front)})
        self._queues = {
            name: FrontQueue(order_bits=order_bits, channel_bits=channel_bits, depth=depth) for name in ("even", "odd")
        }

    def elaborate(self, platform):
        m = Module()
        odd = Signal()
        for name, turn, output in (("even", ~odd, self.o_even), ("odd", odd, self.o_odd)):
            m.submodules[name] = queue = self._queues[name]
            m.d.comb += [
                queue.i.valid.eq(self.i.valid & turn),
                queue.i.time.eq(self.i.time),
                queue.i.channel.eq(self.i.channel),
            ]
            with m.If(turn):
                m.d.comb += self.i.ready.eq(queue.i.ready)
            wiring.connect(m, queue.o, wiring.flipped(output))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += odd.eq(~odd)
        return m
