"""Two edges per clock in, one out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .sizes import Sizes


class LaneQueue(wiring.Component):
    """Up to ``lane_depth`` edges in the order of (clock, lane), of which one leaves in every clock in which there is one.

    With ``level`` edges inside at the beginning of a clock, the edge of lane 0 is lost if ``level = lane_depth``, and that of lane 1 if
    ``level + (edge of lane 0 that is not lost) = lane_depth``; one leaves if ``level > 0``. So only lane 1 loses edges: the level at the
    beginning of a clock is ``lane_depth - 1`` at most.

    Edges of a clock lie in one row: the oldest row in a register, the others in LUT RAM. A row has the low bits of its clock
    count only; nothing waits so long that they could come again.

    Members
    -------
    i_valid, i_fine, i_clock : 2, array of 2 x fine_bits, coarse_bits
    o_edge, o_fine, o_clock : 1, fine_bits, coarse_bits
        The edge that leaves in this clock; without one, ``o_clock`` is the count of the clock before, to which no edge is still to come.
    o_overrun : 1
        Strobe, one clock after the edge of lane 1 that was lost.
    o_level : 0 .. lane_depth - 1

    Latency: 1 clock. Throughput: one edge per clock. Overflow: an edge that finds it full is lost.
    """

    latency = 1

    def __init__(self, *, sizes: Sizes):
        super().__init__(
            {
                "i_valid": In(2),
                "i_fine": In(data.ArrayLayout(sizes.fine_bits, 2)),
                "i_clock": In(sizes.coarse_bits),
                "o_edge": Out(1),
                "o_fine": Out(sizes.fine_bits),
                "o_clock": Out(sizes.coarse_bits),
                "o_overrun": Out(1),
                "o_level": Out(range(sizes.lane_depth)),
            }
        )
        self._sizes = sizes
        row = data.StructLayout(
            {"valid": 2, "fine": data.ArrayLayout(sizes.fine_bits, 2), "clock": sizes.age_bits},
        )
        # State, here so that a proof can speak of it.
        self.row = Signal(row)
        self.rows = memory.Memory(shape=row, depth=sizes.lane_depth, init=[], attrs={"ram_style": "distributed"})
        self.write_place = Signal(range(sizes.lane_depth))
        self.read_place = Signal(range(sizes.lane_depth))
        self.waiting = Signal()  # rows in the memory
        self.nearly = Signal()  # o_level = lane_depth - 1

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = self.rows
        write, read = self.rows.write_port(), self.rows.read_port(domain="comb")
        row, depth, age_bits = self.row, self._sizes.lane_depth, self._sizes.age_bits

        taken = Signal(2)
        arriving = Signal.like(row)
        last = Signal()  # at most one edge is left in the row
        m.d.comb += [
            taken[0].eq(self.i_valid[0]),
            taken[1].eq(self.i_valid[1] & ~(self.nearly & self.i_valid[0])),
            arriving.valid.eq(taken),
            arriving.fine.eq(self.i_fine),
            arriving.clock.eq(self.i_clock),
            last.eq(~row.valid.all()),
            self.o_edge.eq(row.valid.any()),
            self.o_fine.eq(Mux(row.valid[0], row.fine[0], row.fine[1])),
            write.addr.eq(self.write_place),
            write.data.eq(arriving),
            write.en.eq(taken.any() & (self.waiting | ~last)),
            read.addr.eq(self.read_place),
        ]
        m.d.sync += [
            self.o_overrun.eq(self.i_valid[1] & ~taken[1]),
            self.o_level.eq(self.o_level + taken[0] + taken[1] - self.o_edge),
            self.nearly.eq(((self.o_level == depth - 2) & taken.all()) | (self.nearly & taken.any())),
        ]
        only = Signal()
        m.d.comb += only.eq((self.write_place - self.read_place)[: len(self.write_place)] == 1)
        with m.If(last):
            m.d.sync += [
                row.eq(Mux(self.waiting, read.data, arriving)),
                self.read_place.eq(self.read_place + self.waiting),
            ]
        with m.Else():
            m.d.sync += row.valid[0].eq(0)
        with m.If(write.en):
            m.d.sync += self.write_place.eq(self.write_place + 1)
        m.d.sync += self.waiting.eq(write.en | (self.waiting & ~(last & only)))

        # The count of the row: the last one with its low bits.
        before = Signal(self._sizes.coarse_bits)
        high_before = Signal(self._sizes.coarse_bits - age_bits)  # one less than its high bits
        passed = Signal()
        m.d.sync += [before.eq(self.i_clock), high_before.eq(self.i_clock[age_bits:] - 1)]
        m.d.comb += [
            passed.eq(self.o_edge & (row.clock > before[:age_bits])),
            self.o_clock.eq(
                Cat(
                    Mux(self.o_edge, row.clock, before[:age_bits]),
                    Mux(passed, high_before, before[age_bits:]),
                )
            ),
        ]
        return m
