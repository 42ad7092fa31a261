"""Clock and reset of a board: its oscillator through one PLL to the 125 MHz domain ``sync``, and to ``tdc`` if one is asked for."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import io, wiring

from twinphase_spec.tdc import span_ticks
from twinphase_spec.units import CLOCK_HZ

from .pll import solve_pll


class BoardClock(wiring.Component):
    """Domain ``sync`` at `CLOCK_HZ`. Until the PLL has locked, and while the board's reset button is held, the part's global
    set/reset (SGSR) keeps all registers at their initial values.

    With ``lanes`` there is a domain ``tdc`` too: for 2 at twice `CLOCK_HZ`, every second of its edges together with one of ``sync`` (the
    same PLL's second output), for 1 it is the clock of ``sync``. With ``net`` there is a domain ``net`` at half of `CLOCK_HZ`, each of
    its edges together with one of ``sync`` (its third). Raises ValueError for other numbers of lanes.
    """

    def __init__(self, *, lanes: int = 0, net: bool = False) -> None:
        if lanes:
            span_ticks(lanes)
        self._lanes, self._net = lanes, net
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock, button = board_inputs(m, platform)
        m.domains.sync = ClockDomain("sync", reset_less=True)
        double = None
        if self._lanes:
            m.domains.tdc = ClockDomain("tdc", reset_less=True)
            if self._lanes == 2:
                double = ClockSignal("tdc")
            else:
                m.d.comb += ClockSignal("tdc").eq(ClockSignal("sync"))
        half = None
        if self._net:
            m.domains.net = ClockDomain("net", reset_less=True)
            half = ClockSignal("net")
        locked = make_pll(m, platform.default_clk_frequency, clock, CLOCK_HZ, ClockSignal("sync"), double, half)
        release_registers(m, locked & ~button)
        return m


def board_inputs(m: Module, platform: Any) -> tuple[Value, Value]:
    """The board's oscillator and its reset button (1: pressed; 0 on a board without)."""
    m.submodules.clock_pin = clock = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
    if platform.default_rst is None:
        return clock.i, Const(0)
    m.submodules.reset_pin = button = io.Buffer("i", platform.request(platform.default_rst, dir="-"))
    return clock.i, button.i


def make_pll(
    m: Module,
    input_hz: float,
    clock: Value,
    output_hz: float,
    output: Value,
    double: Value | None = None,
    half: Value | None = None,
) -> Value:
    """A PLL (``m.submodules.pll``) from ``clock`` to ``output``, to ``double``, twice as fast, and to ``half``, half as fast. Returns
    whether it has locked."""
    dividers = solve_pll(input_hz, output_hz, second_hz=0 if double is None else 2 * output_hz)
    second: dict[str, Any] = {}
    if double is not None:
        second = {
            "p_CLKOS_ENABLE": "ENABLED",
            "p_CLKOS_DIV": dividers.clkos_div,
            "p_CLKOS_CPHASE": dividers.clkos_cphase,
            "p_CLKOS_FPHASE": 0,
            "a_FREQUENCY_PIN_CLKOS": f"{2 * output_hz / 1e6:g}",
            "o_CLKOS": double,
        }
    if half is not None:
        second |= {
            "p_CLKOS2_ENABLE": "ENABLED",
            "p_CLKOS2_DIV": dividers.half_div,
            "p_CLKOS2_CPHASE": dividers.half_cphase,
            "p_CLKOS2_FPHASE": 0,
            "a_FREQUENCY_PIN_CLKOS2": f"{output_hz / 2e6:g}",
            "o_CLKOS2": half,
        }
    if dividers.clkos3_div:
        second |= {"p_CLKOS3_ENABLE": "ENABLED", "p_CLKOS3_DIV": dividers.clkos3_div}
        second |= {"p_CLKOS3_CPHASE": dividers.clkos3_div - 1, "p_CLKOS3_FPHASE": 0}
    outside = {} if dividers.clkos3_div else {"i_CLKFB": output}
    locked = Signal()
    m.submodules.pll = Instance(
        "EHXPLLL",
        p_CLKI_DIV=dividers.clki_div,
        p_CLKFB_DIV=dividers.clkfb_div,
        p_CLKOP_DIV=dividers.clkop_div,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_CPHASE=dividers.clkop_cphase,
        p_CLKOP_FPHASE=0,
        p_FEEDBK_PATH=dividers.feedback_path,
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        a_FREQUENCY_PIN_CLKI=f"{input_hz / 1e6:g}",
        a_FREQUENCY_PIN_CLKOP=f"{output_hz / 1e6:g}",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        i_CLKI=clock,
        **outside,
        i_RST=0,
        i_STDBY=0,
        i_PHASESEL0=0,
        i_PHASESEL1=0,
        i_PHASEDIR=0,
        i_PHASESTEP=0,
        i_PHASELOADREG=0,
        i_PLLWAKESYNC=0,
        i_ENCLKOP=0,
        o_CLKOP=output,
        o_LOCK=locked,
        **second,
    )
    return locked


def release_registers(m: Module, ready: Value) -> None:
    """Keeps all registers at their initial values until ``ready`` (asynchronous), by the part's own reset network, which costs neither
    routes nor logic: a reset that is a net has some ten thousand sinks. Its synchroniser must not be reset by itself."""
    meta, running = Signal(), Signal()
    flip_flop = {"p_GSR": "DISABLED", "i_CK": ClockSignal("sync")}
    m.submodules.reset_meta = Instance("FD1S3AX", i_D=ready, o_Q=meta, **flip_flop)
    m.submodules.reset_sync = Instance("FD1S3AX", i_D=meta, o_Q=running, **flip_flop)
    m.submodules.reset = Instance("SGSR", i_CLK=ClockSignal("sync"), i_GSR=running)
