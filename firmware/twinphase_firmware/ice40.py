"""Clock and four-fold oversampled pins of an iCE40 (HX): input registers at both edges of a clock of twice the system clock.

The system clock is that clock divided by two in a flip-flop. So it can stand still until the PLL has locked, and what crosses is
stable for half a period around its edge, however long the way to its global net is.

Source: Lattice FPGA-DS-02029 (iCE40 LP/HX family data sheet), FPGA-TN-02052 (iCE40 sysCLOCK PLL).
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import data, io, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.oversample import INPUT_LATENCY, SAMPLES

from .ice40_pll import solve_pll

HOLD_BITS = 9
"""The system clock stands still for 2^(HOLD_BITS - 1) clocks of the oscillator (21 us at 12 MHz) after the lock: an iCE40's block RAM
reads 0 for some microseconds after configuration."""


class Ice40Clock(wiring.Component):
    """Domains ``sync`` at ``clock_hz`` and ``edge`` at twice that, from the board's oscillator.

    Flip-flops begin with their initial values, as the part configures them; no edge of ``sync`` comes before ``edge`` is stable.

    Members
    -------
    o_take : 1, in ``edge``: at this edge ``sync`` falls
    """

    def __init__(self, *, clock_hz: int) -> None:
        self._clock_hz = clock_hz
        super().__init__({"o_take": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock_pin = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.domains.oscillator = ClockDomain("oscillator", reset_less=True, local=True)
        m.domains.edge = ClockDomain("edge", reset_less=True)
        m.domains.sync = ClockDomain("sync", reset_less=True)
        m.d.comb += ClockSignal("oscillator").eq(pin.i)
        edge, locked = Signal(), Signal()
        divisors = solve_pll(platform.default_clk_frequency, 2 * self._clock_hz)
        m.submodules.pll = Instance(
            "SB_PLL40_CORE",
            p_FEEDBACK_PATH="SIMPLE",
            p_PLLOUT_SELECT="GENCLK",
            p_DIVR=Const(divisors.divr, 4),
            p_DIVF=Const(divisors.divf, 7),
            p_DIVQ=Const(divisors.divq, 3),
            p_FILTER_RANGE=Const(divisors.filter_range, 3),
            i_REFERENCECLK=pin.i,
            i_RESETB=Const(1, 1),
            i_BYPASS=Const(0, 1),
            o_PLLOUTGLOBAL=edge,
            o_LOCK=locked,
        )
        m.d.comb += ClockSignal("edge").eq(edge)

        held, lock = Signal(HOLD_BITS), Signal(2)
        m.d.oscillator += lock.eq(Cat(locked, lock))
        with m.If(~lock[-1]):
            m.d.oscillator += held.eq(0)
        with m.Elif(~held[-1]):
            m.d.oscillator += held.eq(held + 1)
        m.submodules.half = half = HalfClock()
        m.d.comb += [half.i_run.eq(held[-1]), ClockSignal("sync").eq(half.o_clock), self.o_take.eq(half.o_take)]
        return m


class HalfClock(wiring.Component):
    """A clock of half the frequency of domain ``edge``, from a flip-flop, that stands still until it may run.

    Members
    -------
    i_run : 1, asynchronous
    o_clock : 1
    o_take : 1
        At this edge ``o_clock`` falls. A flip-flop of its own, beside those that it enables; it starts two edges later and so in step.

    Latency: from ``i_run`` to the first rise 3 edges.
    """

    def __init__(self) -> None:
        super().__init__({"i_run": In(1), "o_clock": Out(1), "o_take": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        runs = Signal(4)
        m.d.edge += [
            runs.eq(Cat(self.i_run, runs)),
            self.o_clock.eq(runs[1] & ~self.o_clock),
            self.o_take.eq(runs[3] & ~self.o_take),
        ]
        return m


class PairGearbox(wiring.Component):
    """Two samples per edge clock to four per clock of ``sync``.

    Members
    -------
    i_pairs : array of 2 bits per channel, domain ``edge``
        Bit 0 the earlier.
    i_take : 1, of `HalfClock`
    o_samples : array of 4 bits per channel, domain ``sync``
        Bit 0 the earliest.

    Latency: with the input registers before it `INPUT_LATENCY` clocks of ``sync`` from the clock in which a pin is sampled.
    """

    def __init__(self, *, channels: int) -> None:
        self._channels = channels
        super().__init__(
            {
                "i_pairs": In(data.ArrayLayout(2, channels)),
                "i_take": In(1),
                "o_samples": Out(data.ArrayLayout(SAMPLES, channels)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for channel in range(self._channels):
            before, word = Signal(2, name=f"before_{channel}"), Signal(SAMPLES, name=f"word_{channel}")
            m.d.edge += before.eq(self.i_pairs[channel])
            with m.If(self.i_take):
                m.d.edge += word.eq(Cat(before, self.i_pairs[channel]))
            m.d.sync += self.o_samples[channel].eq(word)
        return m


class Ice40Samples(wiring.Component):
    """The pins' levels four times per clock of ``sync``; in simulation `twinphase_hdl.timetag.oversample.SampledPins` takes its place.

    Members
    -------
    i_take : 1
        Of `Ice40Clock`.
    o_samples : array of 4 bits per channel
        Bit 0 the earliest.

    Latency: `latency` clocks of ``sync``, constant, and alike for all channels.
    """

    latency = INPUT_LATENCY

    def __init__(self, pins: Any) -> None:
        self._pins = pins
        super().__init__({"i_take": In(1), "o_samples": Out(data.ArrayLayout(SAMPLES, len(pins)))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        channels = range(len(self._pins))
        m.submodules.pins = pins = io.DDRBuffer("i", self._pins, i_domain="edge")
        m.submodules.gearbox = gearbox = PairGearbox(channels=len(self._pins))
        m.d.comb += [
            *(gearbox.i_pairs[channel].eq(Cat(pins.i[0][channel], pins.i[1][channel])) for channel in channels),
            gearbox.i_take.eq(self.i_take),
            self.o_samples.eq(gearbox.o_samples),
        ]
        return m
