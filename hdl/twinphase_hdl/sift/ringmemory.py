"""The memory of a ring of symbols: deep banks of block RAM behind registers."""

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.symbol_ring import CODE_SYMBOL_BITS, WORD_SYMBOLS, RingConfig

from ..core.along import delayed
from .columns import column_bits

WORD_BITS = WORD_SYMBOLS * CODE_SYMBOL_BITS
COLUMNS = ((0, 45, 2048), (45, 47, 8192), (47, WORD_BITS, 16384))
"""First bit, the bit after the last, and depth of their block RAMs, which have words of 9, 2 and 1 bits."""
ROW_BANKS = 8
"""Banks among which one step of the selection chooses."""


def chosen_in_two(m: Module, words: list[Value], number: Value, name: str) -> Value:
    """Word ``number`` of up to 64, two clocks later: of every eight one, then among those."""
    rows = []
    for row in range(0, len(words), ROW_BANKS):
        part = Signal(len(words[0]), name=f"{name}_row{row}", reset_less=True)
        m.d.sync += part.eq(Array(words[row : row + ROW_BANKS])[number[:3]])
        rows.append(part)
    chosen = Signal(len(words[0]), name=f"{name}_chosen", reset_less=True)
    m.d.sync += chosen.eq(Array(rows)[delayed(m, number[3:], 1, f"{name}_upper")] if len(rows) > 1 else rows[0])
    return chosen


class RingMemory(wiring.Component):
    """Words of WORD_SYMBOLS symbols, as few block RAMs as hold them: columns of 9 bits, one of 2, one of 1.

    Members
    -------
    i_write, i_write_address, i_write_data : In(1), In(address bits), In(48)
    i_read_address : In(address bits), below ``words``
    o_data : Out(48), word ``i_read_address`` of `latency` clocks ago

    Latency: a word is in the memory one clock after the clock of ``i_write``; a read at least a clock later gives it. `latency` from
    address to data (address; block RAM; its output; two steps of the selection). Throughput: a read and a write per clock; a read of the
    word that is being written gives any. Overflow: none. Source: docs/symbols.md.

    ``ring``: `RingConfig`.
    """

    latency = 5

    def __init__(self, *, ring: RingConfig) -> None:
        self._words = ring.words
        address_bits = (ring.words - 1).bit_length()
        super().__init__(
            {
                "i_write": In(1),
                "i_write_address": In(address_bits),
                "i_write_data": In(WORD_BITS),
                "i_read_address": In(address_bits),
                "o_data": Out(WORD_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        write_address, read_address = (Signal.like(self.i_read_address, name=name) for name in ("write_at", "read_at"))
        data = Signal(WORD_BITS, reset_less=True)
        m.d.sync += [
            write_address.eq(self.i_write_address),
            read_address.eq(self.i_read_address),
            data.eq(self.i_write_data),
        ]
        taken_from = delayed(m, read_address, 2, "taken_from")
        parts = []
        for low, high, depth in COLUMNS:
            place_bits = depth.bit_length() - 1
            outputs: list[Value] = []
            for bank in range(-(-self._words // depth)):
                mine = Signal(name=f"writes_{low}_{bank}")
                m.d.sync += mine.eq(self.i_write & (self.i_write_address[place_bits:] == bank))
                output = Signal(high - low, name=f"output_{low}_{bank}", reset_less=True)
                for bit in range(low, high, column_bits(depth)):
                    width = min(column_bits(depth), high - bit)
                    block = memory.Memory(shape=width, depth=depth, init=[])
                    m.submodules[f"bits{bit}_{bank}"] = block
                    write, read = block.write_port(), block.read_port()
                    m.d.comb += [
                        write.en.eq(mine),
                        write.addr.eq(write_address[:place_bits]),
                        write.data.eq(data[bit : bit + width]),
                        read.en.eq(1),
                        read.addr.eq(read_address[:place_bits]),
                    ]
                    m.d.sync += output[bit - low : bit - low + width].eq(read.data)
                outputs.append(output)
            number = Signal(6, name=f"bank_{low}")
            m.d.comb += number.eq(taken_from[place_bits:])
            parts.append(chosen_in_two(m, outputs, number, f"word{low}"))
        m.d.comb += self.o_data.eq(Cat(parts))
        return m
