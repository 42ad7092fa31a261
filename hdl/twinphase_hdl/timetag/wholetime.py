"""The whole time of a tag whose low bits are known."""

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import CHANNEL_BITS
from twinphase_spec import tagger, units

from .front import Front
from .merge import tag_layout


def nearest_high(m: Module, clock: Value, *, order_bits: int, fine_bits: int) -> Callable[[Value], Value]:
    """Registers what the clock count says of high bits; returns what gives, for a time of ``order_bits``, the high bits of the time with
    these low bits that is nearest to the count of the clock before (`WholeTime`).

    With the clock count in the upper half of the range of the low bits, only a time of the next range could be nearer than that
    of the same one, in the lower half only one of the range before.
    """
    top = order_bits - 1
    coarse_bits = order_bits - fine_bits
    now = Signal(order_bits)
    high = Signal(len(clock) - coarse_bits)
    other_high = Signal.like(high)
    given_high = clock[coarse_bits:]
    m.d.sync += [
        now.eq(Cat(0, clock[:coarse_bits]) << (fine_bits - 1)),
        high.eq(given_high),
        other_high.eq(given_high + Mux(clock[coarse_bits - 1], 1, -1)),
    ]

    def high_of(time: Value) -> Value:
        other = Signal()
        m.d.comb += other.eq((time[top] != now[top]) & ((time[:top] < now[:top]) == now[top]))
        return Mux(other, other_high, high)

    return high_of


class WholeTime(wiring.Component):
    """``o.time``: the time with the low bits ``i.time`` that is nearest to the clock count's, ``i_clock * 2^fine_bits``; of two equally
    near ones the earlier.

    Members
    -------
    i : Front
    i_clock : time_bits - fine_bits
    o : stream of Tag
    o_bound : order_bits, ticks
        No tag that is at ``o`` or still to come is below it, modulo 2^order_bits; from the second clock after reset on.

    Latency: 1 clock. Throughput: one tag per clock. Overflow: none.
    """

    latency = 1

    def __init__(
        self,
        *,
        channel_bits: int,
        order_bits: int = tagger.ORDER_BITS,
        time_bits: int = units.TIME_BITS,
        fine_bits: int = units.FRACTION_BITS,
    ):
        if not fine_bits < order_bits < time_bits:
            raise ValueError(
                f"WholeTime: order_bits is {order_bits}; allowed: above fine_bits ({fine_bits}), below time_bits ({time_bits})"
            )
        super().__init__(
            {
                "i": In(Front(order_bits=order_bits, channel_bits=channel_bits)),
                "i_clock": In(time_bits - fine_bits),
                "o": Out(stream.Signature(tag_layout(time_bits))),
                "o_bound": Out(order_bits),
            }
        )
        self._order_bits = order_bits
        self._fine_bits = fine_bits
        self._channel_bits = min(channel_bits, CHANNEL_BITS)

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        high_of = nearest_high(m, self.i_clock, order_bits=self._order_bits, fine_bits=self._fine_bits)
        high = high_of(i.time)

        m.d.comb += [i.ready.eq(~o.valid | o.ready), self.o_bound.eq(o.payload.time)]
        with m.If(i.ready):
            m.d.sync += [
                o.valid.eq(i.valid),
                o.payload.time.eq(Cat(i.time, high)),
                o.payload.channel.eq(i.channel),
            ]
        return m
