"""Clock and reset of a board: its oscillator through one PLL to the 125 MHz domain ``sync``."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import io, wiring

from twinphase_spec.units import CLOCK_HZ

from .pll import solve_pll


class BoardClock(wiring.Component):
    """Domain ``sync`` at `CLOCK_HZ`. Until the PLL has locked, and while the board's reset button is held, the part's global
    set/reset (SGSR) keeps all registers at their initial values."""

    def __init__(self) -> None:
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock_pin = clock = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        reset_button: Any = Const(0)
        if platform.default_rst is not None:
            m.submodules.reset_pin = button = io.Buffer("i", platform.request(platform.default_rst, dir="-"))
            reset_button = button.i
        dividers = solve_pll(platform.default_clk_frequency, CLOCK_HZ)
        m.domains.sync = ClockDomain("sync", reset_less=True)
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_CLKI_DIV=dividers.clki_div,
            p_CLKFB_DIV=dividers.clkfb_div,
            p_CLKOP_DIV=dividers.clkop_div,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=dividers.clkop_cphase,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            a_FREQUENCY_PIN_CLKI=f"{platform.default_clk_frequency / 1e6:g}",
            a_FREQUENCY_PIN_CLKOP=f"{CLOCK_HZ / 1e6:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            i_CLKI=clock.i,
            i_CLKFB=ClockSignal("sync"),
            i_RST=0,
            i_STDBY=0,
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=0,
            i_PHASESTEP=0,
            i_PHASELOADREG=0,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=0,
            o_CLKOP=ClockSignal("sync"),
            o_LOCK=locked,
        )
        # The part's own reset network sets every register to its initial value, and costs neither routes nor logic: a reset that is
        # a net has some ten thousand sinks. Its synchroniser must not be reset by itself.
        meta, running = Signal(), Signal()
        flip_flop = {"p_GSR": "DISABLED", "i_CK": ClockSignal("sync")}
        m.submodules.reset_meta = Instance("FD1S3AX", i_D=locked & ~reset_button, o_Q=meta, **flip_flop)
        m.submodules.reset_sync = Instance("FD1S3AX", i_D=meta, o_Q=running, **flip_flop)
        m.submodules.reset = Instance("SGSR", i_CLK=ClockSignal("sync"), i_GSR=running)
        return m
