"""The memory of a ring of symbols: rows of block RAM, one after the other."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.symbol_ring import CODE_SYMBOL_BITS, WORD_SYMBOLS, RingConfig

from ..core.along import delayed
from .columns import column_bits

WORD_BITS = WORD_SYMBOLS * CODE_SYMBOL_BITS
COLUMNS = ((0, 45, 2048), (45, 47, 8192), (47, WORD_BITS, 16384))
"""First bit, the bit after the last, and depth of their block RAMs, which have words of 9, 2 and 1 bits."""
ROW_BANKS = 4
"""Depths that a row has: as many block RAMs of a column are reached at one clock."""
BANK_BITS = ROW_BANKS.bit_length() - 1
READ_CLOCKS = 5
"""From the address at a row to what it chose (address; block RAM; its output; the way from there; choice)."""


class RingMemory(wiring.Component):
    """Words of WORD_SYMBOLS symbols, as few block RAMs as hold them: columns of 9 bits, one of 2, one of 1.

    Rows hand address, data and what they have read on to the next, so that no register has to reach block RAM all over the device in a
    clock. Row k is written and read k clocks after row 0: what is written before it is read in row 0, is so in all.

    Members
    -------
    i_write, i_write_address, i_write_data : In(1), In(address bits), In(48)
    i_read_address : In(address bits), below ``words``
    o_data : Out(48), word ``i_read_address`` of ``latency`` clocks ago

    Latency: ``latency`` from address to data; a word that is written is there for addresses of the next clock on. Throughput: a read
    and a write per clock; a read of the word that is being written gives any. Overflow: none. Source: docs/symbols.md.

    ``ring``: `RingConfig`.
    """

    def __init__(self, *, ring: RingConfig) -> None:
        self._words = ring.words
        self.rows = self._rows(COLUMNS[0][2])
        """Of the column that has most."""
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

    @property
    def latency(self) -> int:
        """Clocks from i_read_address to o_data."""
        return READ_CLOCKS + self.rows

    def _rows(self, depth: int) -> int:
        return -(-self._words // (depth * ROW_BANKS))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_data.eq(Cat(self._column(m, *column) for column in COLUMNS))
        return m

    def _column(self, m: Module, low: int, high: int, depth: int) -> Value:
        """Bits ``low`` to ``high`` - 1 of the word that is read."""
        place_bits = depth.bit_length() - 1
        writes, write_address, data = self.i_write, self.i_write_address, self.i_write_data[low:high]
        read_address, found = self.i_read_address, Signal(high - low, name=f"found{low}")
        for row in range(self._rows(depth)):
            # This row's own registers.
            name, bits = f"{low}_{row}", high - low
            row_writes = Signal(name=f"writes{name}")
            row_write_address, row_read_address = (
                Signal.like(self.i_read_address, name=f"{port}_address{name}", reset_less=True)
                for port in ("write", "read")
            )
            row_data = Signal(bits, name=f"data{name}", reset_less=True)
            first = row * ROW_BANKS
            banks = range(first, min(first + ROW_BANKS, -(-self._words // depth)))
            bank_writes = Signal(len(banks), name=f"bank_writes{name}")
            m.d.sync += [
                row_writes.eq(writes),
                row_write_address.eq(write_address),
                row_read_address.eq(read_address),
                row_data.eq(data),
                *(bank_writes[k].eq(writes & (write_address[place_bits:] == bank)) for k, bank in enumerate(banks)),
            ]
            outputs = []
            for k, bank in enumerate(banks):
                output = Signal(bits, name=f"output{low}_{bank}", reset_less=True)
                for bit in range(0, bits, column_bits(depth)):
                    width = min(column_bits(depth), bits - bit)
                    block = memory.Memory(shape=width, depth=depth, init=[])
                    m.submodules[f"bits{low + bit}_{bank}"] = block
                    write, read = block.write_port(), block.read_port()
                    m.d.comb += [
                        write.en.eq(bank_writes[k]),
                        write.addr.eq(row_write_address[:place_bits]),
                        write.data.eq(row_data[bit : bit + width]),
                        read.en.eq(1),
                        read.addr.eq(row_read_address[:place_bits]),
                    ]
                    # No reset: the block RAM takes this register in.
                    m.d.sync += output[bit : bit + width].eq(read.data)
                # A block RAM can lie far from the others of its row.
                arrived = Signal(bits, name=f"arrived{low}_{bank}", reset_less=True)
                m.d.sync += arrived.eq(output)
                outputs.append(arrived)

            # What this row has, then the choice between it and the rows before, a clock after theirs.
            number = delayed(m, row_read_address[place_bits:], READ_CLOCKS - 2, f"number{name}")
            own, chosen, is_own = (
                Signal(bits, name=f"own{name}"),
                Signal(bits, name=f"chosen{name}"),
                Signal(name=f"is{name}"),
            )
            m.d.sync += [
                own.eq(Array(outputs)[number[:BANK_BITS]] if len(outputs) > 1 else outputs[0]),
                is_own.eq(number[BANK_BITS:] == row),
                chosen.eq(Mux(is_own, own, found)),
            ]
            writes, write_address, read_address, data = row_writes, row_write_address, row_read_address, row_data
            found = chosen
        return delayed(m, found, self.rows - self._rows(depth), f"found{low}_waits")
