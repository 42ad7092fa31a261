"""Brings the tags of all channels into one order, two per clock."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.tagger import MAX_CHANNELS, ORDER_BITS

from .front import Front
from .mergenode import MergeNode
from .mergetree import MergeTree
from .widemerge import DEPTH, WideMerge, pair_layout


class WideTree(wiring.Component):
    """`MergeTree` with a `WideMerge` for its last node: the tags of all channels in the order of (time, channel), up to two per clock.

    Lower channels are left, and the left half is a whole power of two. A half is a tree of its own, or a channel.

    Parameters
    ----------
    channels : int
        2 to 32.
    order_bits : int
        As of `MergeTree`.
    depth : int
        Of `WideMerge`.

    Members
    -------
    i : array of Front
        Per channel, without channel bits. A channel's tags are in order.
    o : stream of `pair_layout`
        Its channels have `channel_bits`.
    o_bound : order_bits
        As of `WideMerge`.
    o_busy : 1
        A tag is inside.

    Latency: `latency` = ceil(log2(channels)) + 2 clocks if no other channel is before it, 1 more for an odd tag that nothing follows.
    Throughput: that of `WideMerge` with halves that bring one tag per clock each. Overflow: none; ``ready`` holds the channels.
    """

    def __init__(self, *, channels: int, order_bits: int = ORDER_BITS, depth: int = DEPTH):
        if not 2 <= channels <= MAX_CHANNELS:
            raise ValueError(f"WideTree: channels is {channels}; allowed: 2 to {MAX_CHANNELS}")
        self.channel_bits = (channels - 1).bit_length()
        half = 1 << self.channel_bits - 1
        self._halves = (range(half), range(half, channels))
        self._order_bits = order_bits
        self._merge = WideMerge(
            order_bits=order_bits,
            left_bits=self.channel_bits - 1,
            right_bits=(channels - half - 1).bit_length(),
            depth=depth,
        )
        super().__init__(
            {
                "i": In(Front(order_bits=order_bits, channel_bits=0)).array(channels),
                "o": Out(stream.Signature(pair_layout(order_bits, self.channel_bits))),
                "o_bound": Out(order_bits),
                "o_busy": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Levels of the halves, and the wide merge's."""
        return (self.channel_bits - 1) * MergeNode.latency + self._merge.latency

    def _half(self, m: Module, name: str, fronts: Sequence[Any]) -> Any:
        """The fronts' common front."""
        if len(fronts) == 1:
            return fronts[0]
        m.submodules[name] = tree = MergeTree(channels=len(fronts), order_bits=self._order_bits)
        for front, inner in zip(fronts, tree.i, strict=True):
            wiring.connect(m, front, inner)
        with m.If(tree.o_busy):
            m.d.comb += self.o_busy.eq(1)
        return tree.o

    def elaborate(self, platform):
        m = Module()
        m.submodules.merge = merge = self._merge
        m.d.comb += self.o_bound.eq(merge.o_bound)
        with m.If(merge.o_busy):
            m.d.comb += self.o_busy.eq(1)
        for name, channels, side in zip(("left", "right"), self._halves, (merge.i_left, merge.i_right), strict=True):
            wiring.connect(m, self._half(m, name, [wiring.flipped(self.i[c]) for c in channels]), side)
        wiring.connect(m, merge.o, wiring.flipped(self.o))
        return m
