"""Where edges come from. All front ends have the output ``o`` of `Edges` and a constant ``latency``."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import units

DDR_FINE_TICKS = (units.TICKS_PER_CLOCK // 4, 3 * units.TICKS_PER_CLOCK // 4)
"""Centres of the two half clocks."""


class Edges(wiring.Signature):
    """At most one edge per channel, lane and clock: ``valid`` (one bit each) and ``fine`` (ticks into the clock).

    Lane k of channel c has the index ``c * lanes + k``; the edges of a channel and clock are in the order of the lanes.
    """

    def __init__(self, channels: int, fine_bits: int = units.FRACTION_BITS, *, lanes: int = 1):
        if channels < 1:
            raise ValueError(f"front end: channels is {channels}; allowed: at least 1")
        if lanes not in (1, 2):
            raise ValueError(f"front end: lanes is {lanes}; allowed: 1 or 2 edges per channel and clock")
        super().__init__({"valid": Out(channels * lanes), "fine": Out(data.ArrayLayout(fine_bits, channels * lanes))})


class SimulationFrontEnd(wiring.Component):
    """Passes edges straight on: an edge presented while the clock count is c has the time ``c * 8192 + fine``.

    Members
    -------
    i_valid : channels * lanes
    i_fine : array of 13 bits, ticks
    o : Edges

    Latency: 0. Throughput: one edge per channel, lane and clock.
    """

    latency = 0

    def __init__(self, *, channels: int, lanes: int = 1):
        edges = Edges(channels, lanes=lanes)
        super().__init__(
            {
                "i_valid": In(channels * lanes),
                "i_fine": In(data.ArrayLayout(units.FRACTION_BITS, channels * lanes)),
                "o": Out(edges),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.o.valid.eq(self.i_valid), self.o.fine.eq(self.i_fine)]
        return m


class DdrFrontEnd(wiring.Component):
    """Finds the first rising edge among two samples per clock.

    ``fine`` is the centre of the half clock whose sample is the first high one: 2048 for sample 0, the earlier, 6144 for
    sample 1. A second rise in the same clock is not seen. A pin that is high at reset gives no edge.

    Members
    -------
    i_samples : array of 2 bits
        Per channel, bit 0 the earlier sample. Pins, input registers and their latency belong to the board.
    o : Edges

    Latency: 1 clock. Throughput: one edge per channel and clock.
    """

    latency = 1

    def __init__(self, *, channels: int):
        edges = Edges(channels)
        super().__init__({"i_samples": In(data.ArrayLayout(2, channels)), "o": Out(edges)})
        self._channels = channels

    def elaborate(self, platform):
        m = Module()
        last = Signal(self._channels, init=-1)
        for channel in range(self._channels):
            first, second = self.i_samples[channel]
            rises_first = first & ~last[channel]
            m.d.sync += [
                last[channel].eq(second),
                self.o.valid[channel].eq(rises_first | (second & ~first)),
                self.o.fine[channel].eq(Mux(rises_first, *DDR_FINE_TICKS)),
            ]
        return m
