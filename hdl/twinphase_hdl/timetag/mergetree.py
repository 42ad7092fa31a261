"""Brings the tags of all channels into one order."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.tagger import MAX_CHANNELS, ORDER_BITS

from .front import Front
from .mergenode import MergeNode


class MergeTree(wiring.Component):
    """Emits the tags of all channels in the order of (time, channel), one per clock: `MergeNode` in levels.

    A tag leaves when no other channel's tag or bound is before it. Lower channels are left, and the left half is a whole power of
    two, so that the sides that a tag has passed are its channel's bits.

    Parameters
    ----------
    channels : int
        2 to 32.
    order_bits : int
        Fronts that are compared must be closer together than 2^(order_bits - 1) ticks: with 32 bits the output must not hold back a tag
        for 2^17 clocks (1 ms), because the other channels' bounds go on.

    Members
    -------
    i : array of Front
        Per channel, without channel bits. A channel's tags are in order.
    o : Front
        Its channel has `channel_bits`.
    o_busy : 1
        A tag is inside.

    Latency: `latency` = ceil(log2(channels)) clocks, one per level, if no other channel is before it.
    Throughput: one tag per clock. Overflow: none; ``ready`` holds the channels.
    """

    def __init__(self, *, channels: int, order_bits: int = ORDER_BITS):
        if not 2 <= channels <= MAX_CHANNELS:
            raise ValueError(f"MergeTree: channels is {channels}; allowed: 2 to {MAX_CHANNELS}")
        self.channel_bits = (channels - 1).bit_length()
        super().__init__(
            {
                "i": In(Front(order_bits=order_bits, channel_bits=0)).array(channels),
                "o": Out(Front(order_bits=order_bits, channel_bits=self.channel_bits)),
                "o_busy": Out(1),
            }
        )
        self._order_bits = order_bits

    @property
    def latency(self) -> int:
        """Levels."""
        return self.channel_bits * MergeNode.latency

    def _join(self, m: Module, fronts: Sequence[Any]) -> tuple[Any, int]:
        """The fronts' common front and the width of its channel."""
        if len(fronts) == 1:
            return fronts[0], 0
        half = 1 << ((len(fronts) - 1).bit_length() - 1)
        left, left_bits = self._join(m, fronts[:half])
        right, right_bits = self._join(m, fronts[half:])
        node = MergeNode(order_bits=self._order_bits, left_bits=left_bits, right_bits=right_bits)
        m.submodules += node
        with m.If(node.o.valid):
            m.d.comb += self.o_busy.eq(1)
        wiring.connect(m, left, node.i_left)
        wiring.connect(m, right, node.i_right)
        return node.o, left_bits + 1

    def elaborate(self, platform):
        m = Module()
        root, _ = self._join(m, [wiring.flipped(front) for front in self.i])
        wiring.connect(m, root, wiring.flipped(self.o))
        return m
