"""Two ordered streams become one."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.tagger import ORDER_BITS

from .front import Front, FrontBuffer


class MergeNode(wiring.Component):
    """Passes the earlier of two fronts on: the left one if ``e_left <= e_right`` (modulo 2^order_bits), else the right one.

    e is the time of a side's tag or, when there is none, its bound. The front that is chosen is a tag, which leaves, or a bound, which
    then is the node's own bound: no later tag of either side is below ``min(e_left, e_right)``, and a tag on the right that is
    equal to the left's bound waits, because the left's tag would go first. So tags leave in the order of (time, channel) if both sides
    bring them in that order and all channels of the left are below those of the right.

    There is one comparison per clock, between registers of the nodes before, and the choice goes to this node's two places
    (`FrontBuffer`), whose ``ready`` is a register: nothing is combinational over more than one node.

    Parameters
    ----------
    order_bits : int
        Right for differences below 2^(order_bits - 1).
    left_bits, right_bits : int
        Width of the channel on each side; the right's is not wider.

    Members
    -------
    i_left, i_right : Front
    o : Front
        Channel: that of the side, with the side (1: right) above ``left_bits``.

    Latency: 1 clock from a front that is chosen. Throughput: one tag per clock. Overflow: none; ``ready`` holds the sides.
    """

    latency = FrontBuffer.latency

    def __init__(self, *, order_bits: int = ORDER_BITS, left_bits: int = 0, right_bits: int = 0):
        if right_bits > left_bits:
            raise ValueError(
                f"MergeNode: right_bits is {right_bits}; allowed: at most left_bits ({left_bits}), the lower channels are left"
            )
        super().__init__(
            {
                "i_left": In(Front(order_bits=order_bits, channel_bits=left_bits)),
                "i_right": In(Front(order_bits=order_bits, channel_bits=right_bits)),
                "o": Out(Front(order_bits=order_bits, channel_bits=left_bits + 1)),
            }
        )
        self._left_bits = left_bits
        self.buffer = FrontBuffer(order_bits=order_bits, channel_bits=left_bits + 1)

    def _left_first(self, left: Value, right: Value) -> Value:
        """left <= right, modular."""
        return ~(right - left)[len(left) - 1]

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = self.buffer
        left, right = self.i_left, self.i_right
        left_first = Signal()
        m.d.comb += [
            left_first.eq(self._left_first(left.time, right.time)),
            buffer.i.valid.eq(Mux(left_first, left.valid, right.valid)),
            buffer.i.time.eq(Mux(left_first, left.time, right.time)),
            buffer.i.channel.eq(Mux(left_first, left.channel, right.channel | 1 << self._left_bits)),
            left.ready.eq(left_first & buffer.i.ready),
            right.ready.eq(~left_first & buffer.i.ready),
        ]
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        return m
