"""Short codes in pairs, so that they leave no more often than every second clock."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .golomb import HERALDS, CodeShape


class CodePairs(wiring.Component):
    """Entries for a `CodePacker`, of which two that come in clocks one after the other become one::

        bits = first | second << length of first,   length = sum,   if both have up to w / 2 bits and neither is ``whole``

    So codes that come one per clock leave the packer time for what takes it longer: heads and ends of packets.

    Members
    -------
    i_push, i_bits, i_length, i_end : In - an entry of `CodePacker`.
    i_whole : In(1) - it is not joined to another; 1 with ``i_end``.
    o_push, o_bits, o_length, o_end : Out - to the packer.
    o_joined : Out(1) - strobe: two entries have become one.
    o_idle : Out(1) - nothing is inside.

    Latency: `latency` clocks. Throughput: an entry per clock. Overflow: none. Source: docs/heralds.md.
    """

    latency = 3

    def __init__(self, *, shape: CodeShape = HERALDS) -> None:
        self._shape = shape
        entry = {"bits": shape.code_bits, "length": shape.length_bits, "end": 1}
        super().__init__(
            {
                "i_push": In(1),
                "i_whole": In(1),
                **{f"i_{name}": In(bits) for name, bits in entry.items()},
                "o_push": Out(1),
                **{f"o_{name}": Out(bits) for name, bits in entry.items()},
                "o_joined": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        most = self._shape.word_bits // 2
        # The entry that came last, the one before, and what becomes of them.
        parts = ("bits", "length", "end")
        last = {name: Signal.like(getattr(self, f"i_{name}"), name=f"last_{name}") for name in parts}
        before = {name: Signal.like(last[name], name=f"before_{name}") for name in parts}
        came, held = Signal(), Signal()
        short, held_short = Signal(), Signal()
        joins = Signal()
        m.d.comb += joins.eq(came & short & held_short)
        m.d.sync += [
            *(last[name].eq(getattr(self, f"i_{name}")) for name in last),
            *(before[name].eq(last[name]) for name in last),
            *(came.eq(self.i_push), short.eq(self.i_push & ~self.i_whole & (self.i_length <= most))),
            *(held.eq(came & ~joins), held_short.eq(short & ~joins)),
            *(self.o_push.eq(held), self.o_joined.eq(joins), self.o_end.eq(before["end"])),
            self.o_bits.eq(before["bits"] | Mux(joins, last["bits"][:most] << self._place(before["length"]), 0)),
            self.o_length.eq(before["length"] + Mux(joins, last["length"], 0)),
        ]
        m.d.comb += self.o_idle.eq(~(came | held | self.o_push | self.o_joined))
        return m

    def _place(self, length: Value) -> Value:
        """Of the second code's first bit."""
        return length[: (self._shape.word_bits // 2).bit_length()]
