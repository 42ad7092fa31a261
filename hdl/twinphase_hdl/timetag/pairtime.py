"""The whole times of pairs of tags whose low bits are known."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import CHANNEL_BITS
from twinphase_spec import tagger, units

from .merge import tag_layout
from .wholetime import nearest_high
from .widemerge import pair_layout


def whole_pair_layout(time_bits: int = units.TIME_BITS) -> data.StructLayout:
    """``tags``: one or two with their whole times, in order; ``both``: two."""
    return data.StructLayout({"tags": data.ArrayLayout(tag_layout(time_bits), 2), "both": 1})


class PairTime(wiring.Component):
    """`WholeTime` for the pairs of a wide merge: each ``time`` is the one with the given low bits that is nearest to the clock count's.

    Parameters
    ----------
    channel_bits, order_bits, time_bits, fine_bits : int
        As of `WholeTime`.

    Members
    -------
    i : stream of `pair_layout`
    i_bound : order_bits, ticks
        No tag that is at ``i`` or still to come is below it, modulo 2^order_bits.
    i_clock : time_bits - fine_bits
    o : stream of `whole_pair_layout`
        The second tag is not defined unless ``both`` is set.
    o_bound : order_bits, ticks
        No tag that is at ``o`` or still to come is below it, modulo 2^order_bits; from the third clock after reset on.

    Latency: 1 clock. Throughput: one pair per clock. Overflow: none.
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
                f"PairTime: order_bits is {order_bits}; allowed: above fine_bits ({fine_bits}), below time_bits ({time_bits})"
            )
        if not 0 < channel_bits <= CHANNEL_BITS:
            raise ValueError(f"PairTime: channel_bits is {channel_bits}; allowed: 1 to {CHANNEL_BITS}")
        super().__init__(
            {
                "i": In(stream.Signature(pair_layout(order_bits, channel_bits))),
                "i_bound": In(order_bits),
                "i_clock": In(time_bits - fine_bits),
                "o": Out(stream.Signature(whole_pair_layout(time_bits))),
                "o_bound": Out(order_bits),
            }
        )
        self._order_bits, self._fine_bits = order_bits, fine_bits

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        high_of = nearest_high(m, self.i_clock, order_bits=self._order_bits, fine_bits=self._fine_bits)
        m.d.comb += i.ready.eq(~o.valid | o.ready)
        with m.If(i.ready):
            m.d.sync += [o.valid.eq(i.valid), o.payload.both.eq(i.payload.both), self.o_bound.eq(self.i_bound)]
            for short, whole in ((i.payload.tags[lane], o.payload.tags[lane]) for lane in range(2)):
                m.d.sync += [
                    whole.time.eq(Cat(short.time, high_of(short.time))),
                    whole.channel.eq(short.channel),
                ]
        return m
