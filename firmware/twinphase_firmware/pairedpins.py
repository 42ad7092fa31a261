"""Four samples per clock from any pin of an ECP5: double-data-rate input registers at twice the system clock, and a register behind.

The registers that make four samples of one clock (`oversampling`) are at the left and right edge of the die only. Those at its top and
bottom take two, at up to 250 MHz: here two of their clocks make one of the system clock. Both come from one PLL, every edge of the slower
together with one of the faster, so that all channels are in step however the clocks start, and nextpnr's log says how long what crosses
takes, which the build checks.

Source: Lattice FPGA-TN-02035 (ECP5 and ECP5-5G high-speed I/O interface), FPGA-DS-02012 (data sheet: GDDRX1).
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import data, io, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.oversample import INPUT_LATENCY, SAMPLES
from twinphase_spec.units import CLOCK_HZ

from .clocking import board_inputs, make_pll, release_registers

USB_RESET_BITS = 12
"""Domain ``usb`` and its PHY are reset for 2^12 - 1 clocks (68 us at 60 MHz), from the release of the part's registers."""


class PairedClock(wiring.Component):
    """Domains ``sync`` at `CLOCK_HZ` and ``edge`` at twice that, as `BoardClock` releases them.

    With ``usb`` a domain of this name too, which is the oscillator: that of a board with an ULPI PHY has 60 MHz. The first step of its
    reset's counter changes one bit, so that registers which do not all leave the part's reset at one edge count rightly.
    """

    def __init__(self, *, usb: bool = False) -> None:
        self._usb = usb
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock, button = board_inputs(m, platform)
        m.domains.sync = ClockDomain("sync", reset_less=True)
        m.domains.edge = ClockDomain("edge", reset_less=True)
        locked = make_pll(
            m, platform.default_clk_frequency, clock, 2 * CLOCK_HZ, ClockSignal("edge"), half=ClockSignal("sync")
        )
        release_registers(m, locked & ~button)
        if self._usb:
            m.domains.oscillator = ClockDomain("oscillator", reset_less=True, local=True)
            m.domains.usb = usb = ClockDomain("usb")
            left = Signal(USB_RESET_BITS, init=-1)
            m.d.comb += [ClockSignal("oscillator").eq(clock), usb.clk.eq(clock)]
            m.d.oscillator += [left.eq(left - (left != 0)), usb.rst.eq(left != 0)]
        return m


class PairGears(wiring.Component):
    """Two samples per clock of ``edge`` to four per clock of ``sync``.

    Members
    -------
    i_pairs : array of 2 bits per channel, domain ``edge``
        Bit 0 the earlier.
    o_samples : array of 4 bits per channel, domain ``sync``
        Bit 0 the earliest.

    Latency: what ``i_pairs`` holds before an edge of ``sync`` is the later half of ``o_samples`` after it.
    """

    def __init__(self, *, channels: int) -> None:
        self._channels = channels
        super().__init__(
            {"i_pairs": In(data.ArrayLayout(2, channels)), "o_samples": Out(data.ArrayLayout(SAMPLES, channels))}
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for channel in range(self._channels):
            before = Signal(2, name=f"before_{channel}")
            m.d.edge += before.eq(self.i_pairs[channel])
            m.d.sync += self.o_samples[channel].eq(Cat(before, self.i_pairs[channel]))
        return m


class PairedPins(wiring.Component):
    """The pins' levels four times per clock of ``sync``; in simulation `twinphase_hdl.timetag.oversample.SampledPins` takes its place.

    Members
    -------
    o_samples : array of 4 bits per channel
        Bit 0 the earliest.

    Latency: `latency` clocks of ``sync``, nominal: constant, and alike for all channels.
    """

    latency = INPUT_LATENCY

    def __init__(self, pins: Any) -> None:
        self._pins = pins
        super().__init__({"o_samples": Out(data.ArrayLayout(SAMPLES, len(pins)))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.pins = pins = io.DDRBuffer("i", self._pins, i_domain="edge")
        m.submodules.gears = gears = PairGears(channels=len(self._pins))
        m.d.comb += [
            *(
                gears.i_pairs[channel].eq(Cat(pins.i[0][channel], pins.i[1][channel]))
                for channel in range(len(self._pins))
            ),
            self.o_samples.eq(gears.o_samples),
        ]
        return m
