"""Counters of sifted heralds in block RAM: cells, and bins of psi, with a copy of one instant."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.sns import CELL_BITS, CELLS, PSI_BINS

CELL_ADDRESS_BITS = (CELLS - 1).bit_length()
BIN_ADDRESS_BITS = (PSI_BINS - 1).bit_length()
ENTRY_BITS = CELL_ADDRESS_BITS + 1
WORD = 32


class CellCounters(wiring.Component):
    """CELLS counters and PSI_BINS more, which start at 0 and are never cleared, and a copy of all of them.

    Formula: ``cell[i_cell] += 1``, and with ``i_binned`` also ``bin[i_bin] += 1`` (modulo 2^64), for each clock with ``i_valid``. The
    copy is what they were when ``i_snapshot`` was last high: with events of earlier clocks, without those of this clock and later ones.

    Members
    -------
    i_valid, i_cell, i_binned, i_bin : In(1), In(7), In(1), In(6), one event; events are at least ``spacing`` clocks apart
    i_snapshot : In(1), strobe, not while ``o_copying``
    o_copying : Out(1), the copy is not complete
    o_hold : Out(1), no more than one event may come as long as this is high
    o_busy : Out(1), an event is on its way into the memory, or ``o_copying``
    i_cell_address, o_cell : In(8), Out(32), read port of the cells' copy, one clock: low word of cell c at 2 c, high word at 2 c + 1
    i_bin_address, o_bin : In(7), Out(32), the same of the bins' copy

    Latency: 7 clocks from an event to the memory; a copy takes `copy_clocks`. Throughput: one event per ``spacing`` clocks (block RAM is
    read, registered, counted and written back, all a clock after the event). Overflow: counters wrap.
    Source: `twinphase_spec.sns.cell_index`, docs/contract.md.
    """

    i_valid: In(1)
    i_cell: In(CELL_ADDRESS_BITS)
    i_binned: In(1)
    i_bin: In(BIN_ADDRESS_BITS)
    i_snapshot: In(1)
    o_copying: Out(1)
    o_hold: Out(1)
    o_busy: Out(1)
    i_cell_address: In(CELL_ADDRESS_BITS + 1)
    o_cell: Out(WORD)
    i_bin_address: In(BIN_ADDRESS_BITS + 1)
    o_bin: Out(WORD)

    spacing = 4
    """Fewest clocks between two events."""
    settle_clocks = 8
    """From a snapshot to the first read of its copy: the last event before it is written."""
    copy_clocks = settle_clocks + 2 * (CELLS + PSI_BINS) + 6
    """From a snapshot to the end of ``o_copying``, at most."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.counts = counts = memory.Memory(shape=CELL_BITS, depth=1 << ENTRY_BITS, init=[])
        write, read = counts.write_port(), counts.read_port()

        # An event waits while a copy is being made.
        waits, take = Signal(), Signal()
        cell, binned, bin_number = Signal(CELL_ADDRESS_BITS), Signal(), Signal(BIN_ADDRESS_BITS)
        m.d.comb += take.eq(waits & ~self.o_copying)
        m.d.sync += waits.eq(self.i_valid | (waits & self.o_copying))
        with m.If(self.i_valid):
            m.d.sync += [cell.eq(self.i_cell), binned.eq(self.i_binned), bin_number.eq(self.i_bin)]

        starts, sweeping, sweep = Signal(self.settle_clocks), Signal(), Signal(ENTRY_BITS + 1)
        swept = Signal(4)
        m.d.sync += [starts.eq(Cat(self.i_snapshot, starts)), swept.eq(Cat(sweeping, swept))]
        with m.If(self.i_snapshot):
            m.d.sync += self.o_copying.eq(1)
        with m.Elif(swept[-1] & ~swept[-2]):
            m.d.sync += self.o_copying.eq(0)
        with m.If(starts[-1]):
            m.d.sync += [sweeping.eq(1), sweep.eq(0)]
        with m.If(sweeping):
            m.d.sync += [sweep.eq(sweep + 1), sweeping.eq(sweep != 2 * (CELLS + PSI_BINS) - 1)]

        # An event's cell goes first, its bin a clock later: they are never the same word. A sweep reads each word for two clocks.
        entry, bin_follows, count = Signal(ENTRY_BITS), Signal(), Signal(CELL_BITS, reset_less=True)
        m.d.sync += [bin_follows.eq(take & binned), count.eq(read.data)]
        with m.If(bin_follows):
            m.d.sync += entry.eq(CELLS + bin_number)
        with m.Elif(sweeping):
            m.d.sync += entry.eq(sweep[1:])
        with m.Elif(waits):
            m.d.sync += entry.eq(cell)
        adding, added = Signal(4), entry
        m.d.sync += adding.eq(Cat(take | bin_follows, adding))
        for k in range(1, len(adding)):
            later = Signal(ENTRY_BITS, name=f"entry_{k}")
            m.d.sync += later.eq(added)
            added = later
        one_more = Signal(CELL_BITS)
        m.d.sync += one_more.eq(count + 1)
        m.d.comb += [
            read.addr.eq(entry),
            write.en.eq(adding[-1]),
            write.addr.eq(added),
            write.data.eq(one_more),
            self.o_hold.eq(self.o_copying),
            self.o_busy.eq(self.o_copying | waits | adding.any() | bin_follows),
        ]

        # ``count`` is that of two clocks before ``entry``'s, so of three before ``sweep``'s.
        place, half, word = sweep, Signal(), Signal(WORD)
        for k in range(len(swept)):
            later = Signal(ENTRY_BITS + 1, name=f"place_{k}")
            m.d.sync += later.eq(place)
            place = later
            if k == len(swept) - 2:
                m.d.comb += half.eq(place[0])
        m.d.sync += word.eq(Mux(half, count[WORD:], count[:WORD]))
        for name, depth, low, address, out in (
            ("cells", 2 * CELLS, 0, self.i_cell_address, self.o_cell),
            ("bins", 2 * PSI_BINS, 2 * CELLS, self.i_bin_address, self.o_bin),
        ):
            m.submodules[f"{name}_copy"] = copy = memory.Memory(shape=WORD, depth=depth, init=[])
            copy_write, copy_read = copy.write_port(), copy.read_port()
            m.d.comb += [
                copy_write.en.eq(swept[-1] & (place[-1] == bool(low))),
                copy_write.addr.eq(place),
                copy_write.data.eq(word),
                copy_read.addr.eq(address),
                out.eq(copy_read.data),
            ]
        return m
