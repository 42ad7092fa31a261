"""Supplies of a board's ports that the gateware sets: ButterStick's SYZYGY ports, whose regulators start when a pin enables them.

Each port's regulator holds its feedback pin at `REFERENCE_V`; into that pin flow the currents from its output over `OUTPUT_OHM` and from
a pin of the part, through a low-pass, over `CONTROL_OHM`, and out of it one over `GROUND_OHM`:

    (V_port - V_ref) / R_output + (V_control - V_ref) / R_control = V_ref / R_ground

so that the pin's mean, `control_volts`, sets the port: the lower, the higher, with 0 V for 3.55 V. Resistors: the schematic of
ButterStick r1.0, as amaranth-boards cites them.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import Out

from twinphase_spec.units import CLOCK_HZ

from .boards import Board

REFERENCE_V, SUPPLY_V = 0.6, 3.3
OUTPUT_OHM, CONTROL_OHM, GROUND_OHM = 53_600, 68_000, 13_000
FILTER_SECONDS = CONTROL_OHM * 100e-9
SETTLING_SECONDS = 10 * FILTER_SECONDS
"""From the first pulse to the enable: whatever was on the filters before, less than a millivolt of it is left."""
DUTY_BITS = 10
"""Steps of 2.5 mV of a port; the pulses' 122 kHz leave 0.3 mV of ripple."""
ALLOWED_V = (1.2, 3.3)
NOT_CHECKED = "the supplies of ports that the gateware sets, computed from the board's schematic: measure them before a pod is plugged in"
"""What a manifest says of such a board."""


def control_volts(port_volts: float) -> float:
    """Mean of the control pin that gives ``port_volts``. ValueError for volts outside of `ALLOWED_V`."""
    if not ALLOWED_V[0] <= port_volts <= ALLOWED_V[1]:
        raise ValueError(f"port of {port_volts:g} V; allowed: {ALLOWED_V[0]:g} to {ALLOWED_V[1]:g} V")
    flowing = REFERENCE_V / GROUND_OHM - (port_volts - REFERENCE_V) / OUTPUT_OHM
    return REFERENCE_V + CONTROL_OHM * flowing


class PortVolts(wiring.Component):
    """Pulses that set the ports' supplies, and their enable.

    ``volts``: of each port; ValueError as `control_volts`. ``clock_hz``: of ``sync``.

    Members
    -------
    o_control : Out(ports)
        High for ``duties[port]`` of every 2^`DUTY_BITS` clocks.
    o_enable : Out(1)
        `SETTLING_SECONDS` after the start, for good.
    """

    def __init__(self, volts: tuple[float, ...], *, clock_hz: float = CLOCK_HZ) -> None:
        self.duties = [round(control_volts(port) / SUPPLY_V * (1 << DUTY_BITS)) for port in volts]
        self.settling = round(SETTLING_SECONDS * clock_hz)
        super().__init__({"o_control": Out(len(volts)), "o_enable": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        phase = Signal(DUTY_BITS)
        m.d.sync += phase.eq(phase + 1)
        for port, duty in enumerate(self.duties):
            m.d.sync += self.o_control[port].eq(phase < duty)
        left = Signal(range(self.settling + 1), init=self.settling)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.sync += self.o_enable.eq(left == 0)
        return m


def connect_port_volts(m: Module, platform: Any, board: Board) -> None:
    """`PortVolts` on the pins of a board that has such ports."""
    if not board.port_volts:
        return
    pins = platform.request("vccio_ctrl", dir={"pdm": "-", "en": "-"})
    m.submodules.port_volts = volts = PortVolts(tuple(board.port_volts.values()))
    m.submodules.port_control = control = io.FFBuffer("o", pins.pdm)
    m.submodules.port_enable = enable = io.Buffer("o", pins.en)
    m.d.comb += [control.o.eq(volts.o_control), enable.o.eq(volts.o_enable)]
