"""Clock and reset of a board: its oscillator through one PLL to the 125 MHz domain ``sync``."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from twinphase_spec.units import CLOCK_HZ

from .pll import solve_pll


class BoardClock(wiring.Component):
    """Domain ``sync`` at `CLOCK_HZ`, in reset until the PLL has locked and while the board's reset button is held."""

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
        m.domains.sync = ClockDomain("sync")
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
        m.submodules.reset = ResetSynchronizer(~locked | reset_button, domain="sync")
        return m
