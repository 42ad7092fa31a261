"""Joins the halves' streams to one of two tags per clock."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.tagger import ORDER_BITS

from .dealer import Dealer
from .front import Front
from .mergenode import MergeNode

DEPTH = 16
"""Tags that wait per side and parity: what one LUT RAM of ECP5 holds."""


def pair_layout(order_bits: int, channel_bits: int) -> data.StructLayout:
    """``tags``: one or two, in order; ``both``: two."""
    tag = data.StructLayout({"time": order_bits, "channel": channel_bits})
    return data.StructLayout({"tags": data.ArrayLayout(tag, 2), "both": 1})


class WideMerge(wiring.Component):
    """All tags of both sides in the order of (time, channel), up to two in a clock: lane 0 before lane 1.

    The sides' tags are dealt out in turn, and the even ones of both are merged to E, the odd ones to O, each by a `MergeNode`. Then the
    whole is ``E_0, {O_0, E_1}, {O_1, E_2}, ...``, each pair in its own order: odd-even merging. A pair is compared once, and its
    two tags leave in one clock, or the first one alone as soon as the other's bound lets it; the other follows when it comes.

    A pair may be of one side, which brings one tag per clock; the queues behind the dealers make up for that. Let a side hold up to
    ``D = 2 depth`` tags, both sides always bring some, and the next be of either with probability 1/2. Per pair each queue takes a
    step of -1, 0 or 1 (probability 1/4, 1/2, 1/4), the other one the opposite: two random walks, reflected at empty and at full.
    Together they come to hold D: while they hold less, an empty one makes a pair take two clocks, in which the other grows; if more, a
    full one holds its side. From then on one is empty when the other is full, so that their difference is a walk of symmetric steps
    with D states, in each of which it is equally often. In the two at the ends one pair of four, of the empty side, takes a second clock,
    in which nothing else changes. So a pair takes ``1 + 2 / D / 4`` clocks, and there leave
    ``2 / (1 + 1 / 2D) = 2 - 2 / (4 depth + 1)`` tags per clock: 1.88, 1.94, 1.97 with depth 4, 8, 16.
    Runs of one side up to ``2 D`` tags stay between the ends: two per clock, after the first one, which fills the queues.

    Parameters
    ----------
    order_bits, left_bits, right_bits : int
        As of `MergeNode`.
    depth : int
        Tags that wait per side and parity (`FrontQueue`): a power of two from 2.

    Members
    -------
    i_left, i_right : Front
        As of `MergeNode`.
    o : stream of `pair_layout`
    o_bound : order_bits
        No tag that is at ``o`` or still to come is below it, modulo 2^order_bits; from the second clock after reset on.
    o_busy : 1
        A tag is inside or at ``o``.

    Latency: `latency` = 3 clocks; 4 for an odd tag that nothing follows: its time bounds the even ones in the clock in which it comes.
    Throughput: two tags per clock if each side brings one or runs of one side are up to 4 depth long; 1.97 with random sides and depth
    16; one while only one side has tags.
    Overflow: none; ``ready`` holds the sides.
    """

    latency = Dealer.latency + MergeNode.latency + 1

    def __init__(self, *, order_bits: int = ORDER_BITS, left_bits: int, right_bits: int, depth: int = DEPTH):
        super().__init__(
            {
                "i_left": In(Front(order_bits=order_bits, channel_bits=left_bits)),
                "i_right": In(Front(order_bits=order_bits, channel_bits=right_bits)),
                "o": Out(stream.Signature(pair_layout(order_bits, left_bits + 1))),
                "o_bound": Out(order_bits),
                "o_busy": Out(1),
            }
        )
        self._order_bits = order_bits
        self._left_bits, self._right_bits = left_bits, right_bits
        self._left = Dealer(order_bits=order_bits, channel_bits=left_bits, depth=depth)
        self._right = Dealer(order_bits=order_bits, channel_bits=right_bits, depth=depth)

    def _key(self, front) -> Value:
        """Time and channel; a bound is before all tags of its time."""
        return Cat(Mux(front.valid, front.channel, 0), front.time)

    def elaborate(self, platform):
        m = Module()
        m.submodules.left = left = self._left
        m.submodules.right = right = self._right
        nodes = []
        for name in ("even", "odd"):
            node = MergeNode(order_bits=self._order_bits, left_bits=self._left_bits, right_bits=self._right_bits)
            m.submodules[name] = node
            wiring.connect(m, getattr(left, f"o_{name}"), node.i_left)
            wiring.connect(m, getattr(right, f"o_{name}"), node.i_right)
            nodes.append(node)
        wiring.connect(m, wiring.flipped(self.i_left), left.i)
        wiring.connect(m, wiring.flipped(self.i_right), right.i)
        even, odd = nodes[0].o, nodes[1].o

        # What is left of the pair: both out of order, or one that was too late for it. E_0 is the rest of a first pair.
        rest_even, rest_odd = Signal(init=1), Signal()
        rest = Signal()
        m.d.comb += rest.eq(rest_even | rest_odd)
        odd_first = Signal()
        m.d.comb += odd_first.eq(~(self._key(even) - self._key(odd))[self._order_bits + self._left_bits])

        o = self.o
        free = Signal()
        both, takes_even, takes_odd = Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(~o.valid | o.ready),
            both.eq(~rest & even.valid & odd.valid),
            takes_even.eq(even.valid & Mux(rest, rest_even, odd.valid | ~odd_first)),
            takes_odd.eq(odd.valid & Mux(rest, rest_odd, even.valid | odd_first)),
            even.ready.eq(free & takes_even),
            odd.ready.eq(free & takes_odd),
        ]
        with m.If(free):
            with m.If(rest):
                m.d.sync += [rest_even.eq(rest_even & ~takes_even), rest_odd.eq(rest_odd & ~takes_odd)]
            with m.Else():
                m.d.sync += [rest_even.eq(takes_odd & ~takes_even), rest_odd.eq(takes_even & ~takes_odd)]
            lane_0_odd = Mux(rest, rest_odd, odd_first)
            m.d.sync += [
                o.valid.eq(takes_even | takes_odd),
                o.payload.both.eq(both),
                o.payload.tags[0].time.eq(Mux(lane_0_odd, odd.time, even.time)),
                o.payload.tags[0].channel.eq(Mux(lane_0_odd, odd.channel, even.channel)),
                o.payload.tags[1].time.eq(Mux(odd_first, even.time, odd.time)),
                o.payload.tags[1].channel.eq(Mux(odd_first, even.channel, odd.channel)),
            ]
        # With a rest, its tag or bound is the first; else the earlier of the two.
        m.d.comb += [
            self.o_bound.eq(o.payload.tags[0].time),
            self.o_busy.eq(
                o.valid
                | even.valid
                | odd.valid
                | left.o_even.valid
                | left.o_odd.valid
                | right.o_even.valid
                | right.o_odd.valid
            ),
        ]
        return m
