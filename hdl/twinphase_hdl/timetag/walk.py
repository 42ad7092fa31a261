"""The time-walk correction."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .sizes import Sizes

FACTOR_BITS = 18
"""Of a multiplier, which shifts."""


class WalkTable(wiring.Component):
    """``o_walk = table[min(distance >> i_shift, last entry)]``, the last entry if the edge is far; 0 for none.

    A far edge has a distance of 2^dead_time_bits or more, or is the first.

    Members
    -------
    i_distance, i_far : dead_time_bits, 1
    i_none : 1
        Three clocks after ``i_distance``: there is no edge. The table's second half, which is never written, holds the 0.
    i_shift : walk_shift_bits
        May change only while no edge is inside, and acts two clocks later.
    i_write, i_address, i_data : 1, walk_index_bits, signed walk_bits
        Writes an entry; all are 0 out of reset.
    o_walk : signed walk_bits, ticks

    Latency: 5 clocks. Throughput: one per clock. The block RAM's output goes straight to the register ``o_walk``.
    """

    latency = 5

    def __init__(self, *, sizes: Sizes):
        super().__init__(
            {
                "i_distance": In(sizes.dead_time_bits),
                "i_far": In(1),
                "i_none": In(1),
                "i_shift": In(sizes.walk_shift_bits),
                "i_write": In(1),
                "i_address": In(sizes.walk_index_bits),
                "i_data": In(signed(sizes.walk_bits)),
                "o_walk": Out(signed(sizes.walk_bits)),
            }
        )
        self._index_bits = sizes.walk_index_bits
        self.table = memory.Memory(
            shape=signed(sizes.walk_bits), depth=2 << sizes.walk_index_bits, init=[], attrs={"ram_style": "block"}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = self.table
        write, read = self.table.write_port(), self.table.read_port()
        index_bits, bits = self._index_bits, len(self.i_distance)
        skipped = max(bits - FACTOR_BITS, 0)
        """Bits that are left out when the shift is at least that many."""

        # A shift to the right by s is the upper part of a product with 2^(FACTOR_BITS - 1 - s).
        far_shift = Signal()
        power, window, product = Signal(FACTOR_BITS), Signal(FACTOR_BITS), Signal(2 * FACTOR_BITS)
        beyond = [Signal(name=f"beyond_{k}") for k in range(2)]
        m.d.comb += far_shift.eq(self.i_shift >= skipped)
        for k in range(FACTOR_BITS):
            is_k = self.i_shift == k + Mux(far_shift, skipped, 0)
            m.d.sync += power[FACTOR_BITS - 1 - k].eq(is_k)
        m.d.sync += [
            window.eq(Mux(far_shift, self.i_distance[skipped:], self.i_distance[:FACTOR_BITS])),
            beyond[0].eq(self.i_far | (~far_shift & self.i_distance[FACTOR_BITS:].any())),
            beyond[1].eq(beyond[0]),
            product.eq(window * power),
        ]
        shifted = product[FACTOR_BITS - 1 :]
        too_high = beyond[1] | shifted[index_bits:].any()
        index = Signal(index_bits)
        m.d.sync += index.eq(shifted[:index_bits] | too_high.replicate(index_bits))
        m.d.comb += [
            read.addr.eq(Cat(index, self.i_none)),
            write.addr.eq(self.i_address),
            write.data.eq(self.i_data),
            write.en.eq(self.i_write),
        ]
        m.d.sync += self.o_walk.eq(read.data)
        return m
