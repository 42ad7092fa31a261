"""Edges from four samples per clock: the finder, and a box for simulation in place of the part's input registers."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import units

from .frontend import Edges

SAMPLES = 4
QUARTER_TICKS = units.TICKS_PER_CLOCK // SAMPLES
INPUT_LATENCY = 2
"""Clocks from the system clock in which a quarter lies to the one in which its sample leaves the part's input registers."""


class OversamplingFrontEnd(wiring.Component):
    """Finds rising edges among four samples per clock: a high sample after a low one.

    With j the number of the first high sample, ``fine = 1024 + 2048 j``: the edge lies in the quarter before the sample, and this is the
    centre of quarter j, a constant offset that is the same for all channels. With one lane the first edge of a clock counts, a second
    one is not seen; with two lanes, samples 0 and 1 give lane 0, samples 2 and 3 lane 1, and no edge is left out. A pin that is
    high (with ``i_invert``: low) at reset gives no edge.

    Members
    -------
    i_samples : array of 4 bits
        Per channel, bit 0 the earliest sample. Pins, input registers and their latency belong to the board.
    i_invert : channels
        1: falling edges of the pin instead of rising ones. A change may give an edge.
    o : Edges with ``lanes``

    Latency: `latency` = 2 clocks. Throughput: ``lanes`` edges per channel and clock. Raises ValueError unless lanes is 1 or 2.
    """

    latency = 2

    def __init__(self, *, channels: int, lanes: int = 1):
        edges = Edges(channels, lanes=lanes)
        super().__init__(
            {"i_samples": In(data.ArrayLayout(SAMPLES, channels)), "i_invert": In(channels), "o": Out(edges)}
        )
        self._channels, self._lanes = channels, lanes

    def elaborate(self, platform):
        m = Module()
        per_lane = SAMPLES // self._lanes
        for channel in range(self._channels):
            # Sample 0 is the last one of the clock before.
            samples = Signal(SAMPLES + 1, name=f"samples{channel}", init=-1)
            invert = self.i_invert[channel].replicate(SAMPLES)
            m.d.sync += [samples[0].eq(samples[-1]), samples[1:].eq(self.i_samples[channel] ^ invert)]
            rises = samples[1:] & ~samples[:-1]
            for lane in range(self._lanes):
                first = lane * per_lane
                fine = QUARTER_TICKS // 2 + QUARTER_TICKS * (first + per_lane - 1)
                for sample in reversed(range(first, first + per_lane - 1)):
                    fine = Mux(rises[sample], QUARTER_TICKS // 2 + QUARTER_TICKS * sample, fine)
                index = channel * self._lanes + lane
                m.d.sync += [
                    self.o.valid[index].eq(rises[first : first + per_lane].any()),
                    self.o.fine[index].eq(fine),
                ]
        return m


class SampledPins(wiring.Component):
    """Simulation in place of the part's four-fold input registers: the samples of a clock, `INPUT_LATENCY` clocks later.

    Members
    -------
    i_samples, o_samples : array of 4 bits per channel, bit 0 the earliest

    Latency: `latency` clocks, that of the part's registers. Before the first samples have passed, all are 0.
    """

    latency = INPUT_LATENCY

    def __init__(self, *, channels: int):
        layout = data.ArrayLayout(SAMPLES, channels)
        super().__init__({"i_samples": In(layout), "o_samples": Out(layout)})

    def elaborate(self, platform):
        m = Module()
        samples = self.i_samples.as_value()
        for clock in range(self.latency):
            later = Signal.like(samples, name=f"samples_{clock}")
            m.d.sync += later.eq(samples)
            samples = later
        m.d.comb += self.o_samples.as_value().eq(samples)
        return m
