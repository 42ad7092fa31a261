"""Deep block RAM without a multiplexer behind its slow output."""

from amaranth.hdl import Module, ShapeLike, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

BLOCK_BITS = 16384
"""Bits of one block RAM when a word of it is 1, 2 or 4 bits wide (ECP5 DP16KD)."""
WIDE_BLOCK_BITS = 18432
"""The same when a word is 9, 18 or 36 bits wide."""
DEPTHS = {512, 1024, 2048, 4096, 8192, 16384}


def column_bits(depth: int) -> int:
    """Bits of a word that one block RAM of ``depth`` words holds."""
    return (BLOCK_BITS if depth >= 4096 else WIDE_BLOCK_BITS) // depth


class ColumnMemory(wiring.Component):
    """``depth`` words, each spread over block RAMs that hold a few bits of every word.

    Left to itself, synthesis stacks wide and shallow block RAMs and selects between their outputs, which come 5.8 ns after
    the clock already. Columns of full depth need no selection.

    Members
    -------
    i_write, i_write_address, i_write_data : In(1), In(address bits), In(shape)
    i_read, i_read_address : In(1), In(address bits)
    o_data : Out(shape), word ``i_read_address`` of the last clock with ``i_read``, one clock later

    Latency: 1 clock. Throughput: one write and one read per clock; a read of the word being written gives the old one.

    ``depth``: a power of two from 512 to 16384. ValueError otherwise.
    """

    def __init__(self, *, shape: ShapeLike, depth: int) -> None:
        if depth not in DEPTHS:
            raise ValueError(f"ColumnMemory: depth is {depth}; allowed: {', '.join(map(str, sorted(DEPTHS)))}")
        self._depth = depth
        address_bits = (depth - 1).bit_length()
        super().__init__(
            {
                "i_write": In(1),
                "i_write_address": In(address_bits),
                "i_write_data": In(shape),
                "i_read": In(1),
                "i_read_address": In(address_bits),
                "o_data": Out(shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = column_bits(self._depth)
        written, read_back = Value.cast(self.i_write_data), Value.cast(self.o_data)
        for low in range(0, len(written), width):
            bits = written[low : low + width]
            m.submodules[f"bits{low}"] = column = memory.Memory(shape=len(bits), depth=self._depth, init=[])
            write, read = column.write_port(), column.read_port()
            m.d.comb += [
                write.en.eq(self.i_write),
                write.addr.eq(self.i_write_address),
                write.data.eq(bits),
                read.en.eq(self.i_read),
                read.addr.eq(self.i_read_address),
                read_back[low : low + width].eq(read.data),
            ]
        return m
