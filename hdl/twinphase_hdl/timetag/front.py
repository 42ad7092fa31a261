"""What travels in the merge tree: the next tag of an ordered stream, or a lower bound for it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Front(wiring.Signature):
    """A stream whose payload also says something while there is none.

    ``valid``: ``time`` and ``channel`` are a tag, which holds until ``ready``. Not valid: no later tag is below ``time``
    (modulo 2^order_bits); this bound may change in every clock and needs no ``ready``. So ``time`` always is what to compare.
    ``valid`` never waits for ``ready``, but ``ready`` may follow from ``time`` in the same clock.
    """

    def __init__(self, *, order_bits: int, channel_bits: int):
        if order_bits < 2 or channel_bits < 0:
            raise ValueError(
                f"Front: order_bits is {order_bits} and channel_bits {channel_bits}; allowed: at least 2 and at least 0"
            )
        self.order_bits = order_bits
        self.channel_bits = channel_bits
        super().__init__(
            {
                "valid": Out(1),
                "time": Out(order_bits, init=3 << (order_bits - 2)),  # out of reset: far below any time
                "channel": Out(channel_bits),
                "ready": In(1),
            }
        )


class FrontBuffer(wiring.Component):
    """Two places, so that ``i.ready`` comes from a register.

    Bounds pass the first place when it holds no tag; the second holds tags only. Nothing is lost: a bound that finds a tag
    waiting is replaced by the one that the input shows later.

    Members
    -------
    i, o : Front

    Latency: 1 clock. Throughput: one tag per clock. Overflow: none, ``i.ready`` holds the sender.
    """

    latency = 1

    def __init__(self, *, order_bits: int, channel_bits: int):
        front = Front(order_bits=order_bits, channel_bits=channel_bits)
        super().__init__({"i": In(front), "o": Out(front)})
        # State, here so that a proof can speak of it.
        self.spare_valid = Signal()
        self.spare_time = Signal(order_bits)
        self.spare_channel = Signal(channel_bits)

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        free = Signal()
        m.d.comb += [i.ready.eq(~self.spare_valid), free.eq(~o.valid | o.ready)]
        # The second place takes what comes as long as it is empty: its enable is early, and what it took counts only if
        # the first place was not free.
        with m.If(~self.spare_valid):
            m.d.sync += [self.spare_time.eq(i.time), self.spare_channel.eq(i.channel)]
        m.d.sync += self.spare_valid.eq(~free & (self.spare_valid | i.valid))
        with m.If(free):
            m.d.sync += [
                o.valid.eq(self.spare_valid | i.valid),
                o.time.eq(Mux(self.spare_valid, self.spare_time, i.time)),
                o.channel.eq(Mux(self.spare_valid, self.spare_channel, i.channel)),
            ]
        return m
