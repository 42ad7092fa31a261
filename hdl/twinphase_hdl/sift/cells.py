"""Event counters in block RAM: one increment, many cells."""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.sns import CELL_BITS, CELLS

CELL_ADDRESS_BITS = (CELLS - 1).bit_length()


class CellCounters(wiring.Component):
    """CELLS counters that start at 0 and are never cleared.

    Formula: ``cell[i_index] += 1`` (modulo 2^32) for each clock with ``i_valid``.

    Members
    -------
    i_valid, i_index : In(1), In(7), one event; events are at least ``spacing`` clocks apart
    o_busy : Out(1), an event is on its way into the memory
    i_address, o_count : In(7), Out(32), read port, one clock

    Latency: 5 clocks until a read sees the event. Throughput: one per ``spacing`` clocks (block RAM is read, registered, counted and
    written back, all a clock after the event). Overflow: wraps. Source: `twinphase_spec.sns.cell_index`.
    """

    i_valid: In(1)
    i_index: In(CELL_ADDRESS_BITS)
    o_busy: Out(1)
    i_address: In(CELL_ADDRESS_BITS)
    o_count: Out(CELL_BITS)

    spacing = 4
    """Fewest clocks between two events."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cells = cells = memory.Memory(shape=CELL_BITS, depth=CELLS, init=[])
        write, read, host = cells.write_port(), cells.read_port(), cells.read_port()

        asked, fetched, registered, summed = Signal(), Signal(), Signal(), Signal()
        count, one_more = Signal(CELL_BITS, reset_less=True), Signal(CELL_BITS)
        index = Signal(CELL_ADDRESS_BITS)
        m.d.sync += [
            *(asked.eq(self.i_valid), fetched.eq(asked), registered.eq(fetched), summed.eq(registered)),
            *(count.eq(read.data), one_more.eq(count + 1)),
        ]
        with m.If(self.i_valid):
            m.d.sync += index.eq(self.i_index)
        m.d.comb += [
            read.addr.eq(index),
            write.en.eq(summed),
            write.addr.eq(index),
            write.data.eq(one_more),
            host.addr.eq(self.i_address),
            self.o_count.eq(host.data),
            self.o_busy.eq(asked | fetched | registered | summed),
        ]
        return m
