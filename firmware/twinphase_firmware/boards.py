"""The boards: their Amaranth platform, the detector inputs on it, its serial port, and the nodes that are built for it.

Every board takes detector pulses as LVCMOS33 logic on the pins listed in ``input_pins``: a server the first four (qL, qR, rL, rR in
this order), a time tagger as many as it has channels. The serial port runs at `BAUD`; no USB bridge of these boards is asked for more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twinphase.errors import TwinphaseError
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.units import CLOCK_HZ

from .family import ECP5, ICE40, Family

BAUD = 3_000_000
ACTUATOR_LINES = ("select", "clock", "data", "level")


@dataclass(frozen=True, kw_only=True)
class Board:
    """One lab board. ``platform`` makes its Amaranth platform; imported only when called."""

    name: str
    part: str
    family: Family = ECP5
    clock_hz: int = CLOCK_HZ
    platform: Callable[[], Any]
    connector: tuple[str, int]
    input_pins: str
    """Pins of the connector, in the order of channels."""
    output_pin: tuple[str, int, str]
    """The time tagger's test pulser: connector and pin."""
    actuator_pins: tuple[str, int, str] | None = None
    """The server's phase actuator: connector, and its pins for a serial DAC's select, clock and data and for a sigma-delta level."""
    uart: int = 0
    uart_flow: dict[str, str] = field(default_factory=dict)
    """Further wires of the serial port, requested but unused."""
    nodes: dict[str, TaggerOptions]
    """Nodes that are built for this board, and what their front ends are, unless asked otherwise."""

    def prepare(self, channels: int = 4) -> Any:
        """The platform with the resources ``detectors`` (``channels`` pins), ``pulser`` and, if it has pins for one, ``actuator`` added.

        Raises TwinphaseError for more channels than pins.
        """
        from amaranth.build import Attrs, Pins, Resource, Subsignal

        pins = self.input_pins.split()
        if channels > len(pins):
            raise TwinphaseError(
                f"board {self.name}: {channels} channels were asked for; allowed: {len(pins)}, which it has pins for"
            )
        platform = self.platform()
        connector, number, pin = self.output_pin
        platform.add_resources(
            [
                Resource(
                    "detectors",
                    0,
                    Pins(" ".join(pins[:channels]), dir="i", conn=self.connector),
                    Attrs(**self.family.input_attributes),
                ),
                Resource(
                    "pulser", 0, Pins(pin, dir="o", conn=(connector, number)), Attrs(**self.family.output_attributes)
                ),
            ]
        )
        if self.actuator_pins is not None:
            connector, number, wires = self.actuator_pins
            lines = (
                Subsignal(name, Pins(pin, dir="o", conn=(connector, number)), Attrs(**self.family.output_attributes))
                for name, pin in zip(ACTUATOR_LINES, wires.split(), strict=True)
            )
            platform.add_resources([Resource("actuator", 0, *lines)])
        return platform


def _ecpix5() -> Any:
    from amaranth_boards.ecpix5 import ECPIX585Platform

    return ECPIX585Platform()


def _ulx3s(size: str) -> Callable[[], Any]:
    def platform() -> Any:
        from amaranth_boards import ulx3s

        return getattr(ulx3s, f"ULX3S_{size}_Platform")()

    return platform


def _versa() -> Any:
    from amaranth_boards.versa_ecp5_5g import VersaECP55GPlatform

    return VersaECP55GPlatform()


def _hx8k() -> Any:
    from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

    return ICE40HX8KBEVNPlatform()


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ecpix5-85f",
            part="LFE5UM5G-85F-8BG554",
            platform=_ecpix5,
            connector=("pmod", 0),
            input_pins="1 2 3 4 7 8 9 10",
            output_pin=("pmod", 1, "1"),
            actuator_pins=("pmod", 1, "7 8 9 10"),
            nodes={
                "server": TaggerOptions(channels=4, frontend="delay line", lanes=1, taps=416),
                "timetagger": TaggerOptions(frontend="delay line", lanes=2),
            },
        ),
        Board(
            name="ulx3s-85f",
            part="LFE5U-85F-6BG381",
            platform=_ulx3s("85F"),
            connector=("gpio", 0),
            input_pins="14+ 15+ 16+ 17+ 18+ 19+ 20+ 21+",
            output_pin=("gpio", 0, "22+"),
            actuator_pins=("gpio", 0, "23+ 24+ 25+ 26+"),
            uart_flow={"rts": "-", "dtr": "-"},
            nodes={
                "server": TaggerOptions(channels=4, frontend="ddr"),
                "timetagger": TaggerOptions(frontend="delay line", lanes=1),
            },
        ),
        Board(
            name="ulx3s-25f",
            part="LFE5U-25F-6BG381",
            platform=_ulx3s("25F"),
            connector=("gpio", 0),
            input_pins="14+ 15+ 16+ 17+ 18+ 19+ 20+ 21+",
            output_pin=("gpio", 0, "22+"),
            uart_flow={"rts": "-", "dtr": "-"},
            nodes={"timetagger": TaggerOptions(frontend="oversampling", lanes=1)},
        ),
        Board(
            name="versa-ecp5-5g",
            part="LFE5UM5G-45F-8BG381",
            platform=_versa,
            connector=("expcon", 2),
            input_pins="4 5 6 7",
            output_pin=("expcon", 2, "8"),
            actuator_pins=("expcon", 2, "9 10 13 14"),
            nodes={"server": TaggerOptions(channels=4, frontend="ddr")},
        ),
        Board(
            name="ice40-hx8k",
            part="iCE40HX8K-CT256",
            family=ICE40,
            clock_hz=120_000_000,  # the nearest to 125 MHz that the PLL makes from 12 MHz
            platform=_hx8k,
            connector=("j", 2),
            input_pins="4 5",
            output_pin=("j", 2, "6"),
            uart_flow=dict.fromkeys(("rts", "cts", "dtr", "dsr", "dcd"), "-"),
            nodes={
                "timetagger": TaggerOptions(
                    channels=2,
                    frontend="oversampling",
                    depth=1024,
                    burst=512,
                    small=True,
                )
            },
        ),
    )
}


def find_board(name: str) -> Board:
    """The board called ``name``. TwinphaseError lists the boards there are."""
    if name not in BOARDS:
        raise TwinphaseError(f"board {name} is not known; allowed: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
