"""Counts per bin in block RAM: one hit per clock, and passes over all bins."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

WINDOW = 3
"""Clocks after a bin is read in which its new count cannot be read yet."""
SCANNED = WINDOW + 1
"""Clocks from a scan to its count."""


class Histogram(wiring.Component):
    """Adds one to ``memory[i_bin]`` per hit; wraps.

    A read, an addition and a write take longer than a clock. So that no count is read before it is written, hits wait in
    a short line: the foremost takes those of the same bin with it that are at most `WINDOW` clocks behind, and adds them as one.

    Parameters
    ----------
    bin_bits, count_bits : int

    Members
    -------
    i_hit, i_bin : 1, bin_bits
    i_scan, i_scan_bin : 1, bin_bits
        Reads a bin, in clocks in which no hit waits (`SETTLED` clocks after the last).
    i_rewrite, i_halve, i_clear : 1
        With ``i_scan``, and held until `SCANNED` clocks after it: the bin is written again, halved (floor), zero, or as it was.
    o_scanned, o_bin, o_count : 1, bin_bits, count_bits
        `SCANNED` clocks after ``i_scan``: its bin and the count that it has now (with ``i_halve`` and ``i_clear``: halved, zero).
    o_idle : 1
        No hit waits or is being added.

    Throughput: one hit or one bin per clock.
    """

    SETTLED = 8

    def __init__(self, *, bin_bits: int, count_bits: int):
        super().__init__(
            {
                "i_hit": In(1),
                "i_bin": In(bin_bits),
                "i_scan": In(1),
                "i_scan_bin": In(bin_bits),
                "i_rewrite": In(1),
                "i_halve": In(1),
                "i_clear": In(1),
                "o_scanned": Out(1),
                "o_bin": Out(bin_bits),
                "o_count": Out(count_bits),
                "o_idle": Out(1),
            }
        )
        self._bin_bits, self._count_bits = bin_bits, count_bits

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = ram = memory.Memory(shape=self._count_bits, depth=1 << self._bin_bits, init=[])
        read, write = ram.read_port(), ram.write_port()

        # The line; the foremost is the last, and the input the first.
        waits = [self.i_hit, *(Signal(name=f"waits_{k}") for k in range(1, WINDOW + 1))]
        places = [self.i_bin, *(Signal(self._bin_bits, name=f"place_{k}") for k in range(1, WINDOW + 1))]
        same = [Signal(name=f"same_{k}") for k in range(WINDOW)]
        for k in range(WINDOW):
            # Whether two places are the same does not change while they move on: known a clock before, but for the input's.
            equal = Signal(name=f"equal_{k}")
            if k:
                m.d.sync += equal.eq(places[k - 1] == places[WINDOW - 1])
            else:
                m.d.comb += equal.eq(places[0] == places[WINDOW])
            m.d.comb += same[k].eq(waits[WINDOW] & waits[k] & equal)
            m.d.sync += [waits[k + 1].eq(waits[k] & ~same[k]), places[k + 1].eq(places[k])]

        # A scan's bin takes the foremost place: no hit waits then.
        scan, rewrite, halve, clear = Signal(), Signal(), Signal(), Signal()
        with m.If(self.i_scan):
            m.d.sync += places[WINDOW].eq(self.i_scan_bin)

        # Read, register, add, write.
        hits = Signal(range(WINDOW + 2))
        m.d.sync += [
            scan.eq(self.i_scan),
            rewrite.eq(self.i_rewrite),
            halve.eq(self.i_halve),
            clear.eq(self.i_clear),
        ]
        m.d.comb += [
            hits.eq(waits[WINDOW] + sum(same)),
            read.addr.eq(places[WINDOW]),
        ]
        added, scanned, writes, place = hits, scan, waits[WINDOW] | (scan & rewrite), read.addr
        busy = waits[0]
        for k in range(1, WINDOW + 1):
            later = [Signal.like(v, name=f"{n}_{k}") for n, v in (("scanned", scanned), ("writes", writes))]
            m.d.sync += [later[0].eq(scanned), later[1].eq(writes)]
            scanned, writes = later
            place_later = Signal(self._bin_bits, name=f"row_{k}")
            m.d.sync += place_later.eq(place)
            place = place_later
            if k < WINDOW:
                added_later = Signal.like(hits, name=f"added_{k}")
                m.d.sync += added_later.eq(added)
                added = added_later
            busy |= waits[k] | writes
        count = Signal(self._count_bits, reset_less=True)  # the block's own output register
        m.d.sync += [
            count.eq(read.data),
            self.o_count.eq(Mux(halve, count >> 1, count) + added),
        ]
        with m.If(clear):
            m.d.sync += self.o_count.eq(0)
        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(self.o_count),
            write.en.eq(writes),
            self.o_scanned.eq(scanned),
            self.o_bin.eq(place),
            self.o_idle.eq(~busy),
        ]
        return m
