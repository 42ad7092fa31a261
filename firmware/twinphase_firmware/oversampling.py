"""Four samples per clock from a pin of an ECP5: double-data-rate input registers on an edge clock of twice the system clock.

Only pins at the left and right edge of the die have such registers; all channels share one edge clock and must start in step, or else
two channels would differ by a period of it (4 ns).

Source: Lattice FPGA-TN-02035 (ECP5 and ECP5-5G high-speed I/O interface).
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.oversample import INPUT_LATENCY, SAMPLES
from twinphase_spec.units import CLOCK_HZ

from .clocking import board_inputs, make_pll, release_registers

START_STEPS = 16
"""Clocks of the board's oscillator from the PLL's lock to the release of the part's registers."""
STOP_FROM, RESET_FROM, RESET_TO, STOP_TO = 3, 6, 9, 12
"""Of these: the edge clock stands still, and within that time its divider and the input registers are reset."""


class OversamplingClock(wiring.Component):
    """`BoardClock` for `OversampledPins`: domain ``sync`` at `CLOCK_HZ`, divided from the edge clock at twice that.

    Members
    -------
    o_edge_clock : 1, the edge clock, to input registers only
    o_reset : 1, resets the input registers while the edge clock stands still
    """

    def __init__(self) -> None:
        super().__init__({"o_edge_clock": Out(1), "o_reset": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock, button = board_inputs(m, platform)
        double, stop = Signal(), Signal()
        locked = make_pll(m, platform.default_clk_frequency, clock, 2 * CLOCK_HZ, double)
        # The sequence must run while the part's reset holds everything else, so that its registers have none.
        steps = [locked & ~button]
        for step in range(START_STEPS):
            after = Signal(name=f"step{step}")
            m.submodules[f"step{step}"] = Instance("FD1S3AX", p_GSR="DISABLED", i_CK=clock, i_D=steps[-1], o_Q=after)
            steps.append(after)
        m.d.comb += [
            stop.eq(steps[STOP_FROM] & ~steps[STOP_TO]),
            self.o_reset.eq(steps[RESET_FROM] & ~steps[RESET_TO]),
        ]
        m.submodules.start_stop = Instance("ECLKSYNCB", i_ECLKI=double, i_STOP=stop, o_ECLKO=self.o_edge_clock)
        m.domains.sync = ClockDomain("sync", reset_less=True)
        m.submodules.divider = Instance(
            "CLKDIVF",
            p_DIV="2.0",
            i_CLKI=self.o_edge_clock,
            i_RST=self.o_reset,
            o_CDIVX=ClockSignal("sync"),
        )
        release_registers(m, steps[-1])
        return m


class OversampledPins(wiring.Component):
    """The pins' levels four times per clock; in simulation `twinphase_hdl.timetag.oversample.SampledPins` takes its place.

    Members
    -------
    i_pins : channels
        Straight from their input buffers.
    i_edge_clock, i_reset : 1
        From `OversamplingClock`.
    o_samples : array of 4 bits per channel
        Bit 0 the earliest.

    Latency: `latency` clocks of ``sync``, nominal: constant, and alike for all channels.
    """

    latency = INPUT_LATENCY

    def __init__(self, *, channels: int) -> None:
        super().__init__(
            {
                "i_pins": In(channels),
                "i_edge_clock": In(1),
                "i_reset": In(1),
                "o_samples": Out(data.ArrayLayout(SAMPLES, channels)),
            }
        )
        self._channels = channels

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for channel in range(self._channels):
            # GSR would reset the registers again after the edge clock has started.
            m.submodules[f"input{channel}"] = Instance(
                "IDDRX2F",
                p_GSR="DISABLED",
                i_D=self.i_pins[channel],
                i_ECLK=self.i_edge_clock,
                i_SCLK=ClockSignal("sync"),
                i_RST=self.i_reset,
                **{f"o_Q{sample}": self.o_samples[channel][sample] for sample in range(SAMPLES)},
            )
        return m
