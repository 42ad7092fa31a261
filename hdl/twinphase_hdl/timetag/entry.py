"""Which edges of a clock a channel has."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .lanequeue import LaneQueue
from .sizes import Sizes


class Entry(wiring.Component):
    """The channel's edges, one per clock: those of the pin, or with ``i_pulser`` that of the test pulser, if it is enabled.

    Every clock has a *slot*, with an edge or without one (then ``o_fine`` is 0). No edge of a later slot is before a slot's clock count.

    Members
    -------
    i_enable, i_pulser : 1
    i_valid, i_fine, i_clock : lanes, array of fine_bits, coarse_bits
    i_pulse, i_pulse_fine : 1, fine_bits
    o_edge, o_fine, o_clock : 1, fine_bits, coarse_bits
        The slot.
    o_absent : 1
        The channel was not enabled.
    o_seen, o_generated, o_overrun : 0 .. lanes, 1, 1
        Numbers of edges, one clock after them.
    o_busy : 1
        An edge is inside, or a number is not 0.

    ``beginning``: the slot's clock before the first one, see `apart`.

    Latency: `latency` = 1 clock, 2 with a lane queue. Throughput: one edge per clock, for a while `lanes`.
    Overflow: as in `LaneQueue`.
    """

    def __init__(self, *, lanes: int, sizes: Sizes, beginning: int = 0):
        if lanes not in (1, 2):
            raise ValueError(f"input channel: lanes is {lanes}; allowed: 1 or 2 edges per clock")
        super().__init__(
            {
                "i_enable": In(1),
                "i_pulser": In(1),
                "i_valid": In(lanes),
                "i_fine": In(data.ArrayLayout(sizes.fine_bits, lanes)),
                "i_clock": In(sizes.coarse_bits),
                "i_pulse": In(1),
                "i_pulse_fine": In(sizes.fine_bits),
                "o_edge": Out(1),
                "o_fine": Out(sizes.fine_bits),
                "o_clock": Out(sizes.coarse_bits, init=beginning),
                "o_absent": Out(1),
                "o_seen": Out(range(lanes + 1)),
                "o_generated": Out(1),
                "o_overrun": Out(1),
                "o_busy": Out(1),
            }
        )
        self._lanes = lanes
        self.queue = LaneQueue(sizes=sizes) if lanes == 2 else None

    @property
    def latency(self) -> int:
        """Clocks from an edge to its slot."""
        return 1 + (self.queue.latency if self.queue else 0)

    def elaborate(self, platform):
        m = Module()
        valid = Signal(self._lanes)
        fine = Signal.like(self.i_fine)
        m.d.comb += [
            valid.eq(Mux(self.i_pulser, self.i_pulse, self.i_valid) & self.i_enable.replicate(self._lanes)),
            fine.eq(self.i_fine),
        ]
        with m.If(self.i_pulser):
            m.d.comb += fine[0].eq(self.i_pulse_fine)
        m.d.sync += [
            self.o_seen.eq(Mux(self.i_pulser, 0, sum(valid))),
            self.o_generated.eq(self.i_pulser & valid[0]),
        ]
        counts = self.o_seen.any() | self.o_generated
        if self.queue is None:
            m.d.sync += [
                self.o_edge.eq(valid[0]),
                self.o_fine.eq(Mux(valid[0], fine[0], 0)),
                self.o_clock.eq(self.i_clock),
                self.o_absent.eq(~self.i_enable),
            ]
            m.d.comb += self.o_busy.eq(self.o_edge | counts)
        else:
            m.submodules.queue = queue = self.queue
            absent = Signal()
            m.d.comb += [
                queue.i_valid.eq(valid),
                queue.i_fine.eq(fine),
                queue.i_clock.eq(self.i_clock),
                self.o_overrun.eq(queue.o_overrun),
                self.o_busy.eq(queue.o_edge | self.o_edge | counts),
            ]
            m.d.sync += [
                absent.eq(~self.i_enable),
                self.o_edge.eq(queue.o_edge),
                self.o_fine.eq(Mux(queue.o_edge, queue.o_fine, 0)),
                self.o_clock.eq(queue.o_clock),
                self.o_absent.eq(absent & ~queue.o_edge),
            ]
        return m
