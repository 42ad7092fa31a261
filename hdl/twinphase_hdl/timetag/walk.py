"""The time-walk correction."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .sizes import Sizes

FINE_SHIFT_BITS = 3
"""The distance is shifted in two clocks: by multiples of 8, then by 0 to 7."""


class WalkTable(wiring.Component):
    """``o_walk = table[min(distance >> i_shift, last entry)]``, the last entry if the edge is far.

    A far edge has a distance of 2^dead_time_bits or more, or is the first.

    Members
    -------
    i_distance, i_far : dead_time_bits, 1
    i_shift : walk_shift_bits
        May change only while no edge is inside.
    i_write, i_address, i_data : 1, walk_index_bits, signed walk_bits
        Writes an entry; all are 0 out of reset.
    o_walk : signed walk_bits, ticks

    Latency: 4 clocks. Throughput: one per clock. The block RAM's output goes straight to the register ``o_walk``.
    """

    latency = 4

    def __init__(self, *, sizes: Sizes):
        super().__init__(
            {
                "i_distance": In(sizes.dead_time_bits),
                "i_far": In(1),
                "i_shift": In(sizes.walk_shift_bits),
                "i_write": In(1),
                "i_address": In(sizes.walk_index_bits),
                "i_data": In(signed(sizes.walk_bits)),
                "o_walk": Out(signed(sizes.walk_bits)),
            }
        )
        self._index_bits = sizes.walk_index_bits
        self.table = memory.Memory(
            shape=signed(sizes.walk_bits), depth=1 << sizes.walk_index_bits, init=[], attrs={"ram_style": "block"}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = self.table
        write, read = self.table.write_port(), self.table.read_port()
        index_bits = self._index_bits
        kept = index_bits + (1 << FINE_SHIFT_BITS) - 1

        fine = self.i_shift[:FINE_SHIFT_BITS]
        coarse = self.i_shift[FINE_SHIFT_BITS:]
        shifted, beyond = Signal(kept), Signal()
        with m.Switch(coarse):
            for k in range(1 << len(coarse)):
                with m.Case(k):
                    part = self.i_distance[k << FINE_SHIFT_BITS :]
                    m.d.sync += [shifted.eq(part), beyond.eq(self.i_far | part[kept:].any())]

        index = Signal(index_bits)
        with m.Switch(fine):
            for k in range(1 << len(fine)):
                with m.Case(k):
                    too_high = beyond | shifted[k + index_bits :].any()
                    m.d.sync += index.eq(shifted[k:] | too_high.replicate(index_bits))
        m.d.comb += [
            read.addr.eq(index),
            write.addr.eq(self.i_address),
            write.data.eq(self.i_data),
            write.en.eq(self.i_write),
        ]
        m.d.sync += self.o_walk.eq(read.data)
        return m
