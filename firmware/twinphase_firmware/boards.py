"""The boards: their Amaranth platform, the detector inputs on it, and its serial port.

Every board takes four detector pulses (qL, qR, rL, rR in this order) as LVCMOS33 logic on the pins listed in
``detector_pins``. The serial port runs at `BAUD`; no USB bridge of these boards is asked for more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twinphase.errors import TwinphaseError
from twinphase_spec.registers import CHANNELS

BAUD = 3_000_000


@dataclass(frozen=True, kw_only=True)
class Board:
    """One lab board. ``platform`` makes its Amaranth platform; imported only when called."""

    name: str
    part: str
    platform: Callable[[], Any]
    connector: tuple[str, int]
    detector_pins: str
    """Pins of the connector, one per channel of `twinphase_spec.registers.CHANNELS`."""
    uart: int = 0
    uart_flow: dict[str, str] = field(default_factory=dict)
    """Further wires of the serial port, requested but unused."""

    def prepare(self) -> Any:
        """The platform with the resource ``detectors`` added."""
        from amaranth.build import Attrs, Pins, Resource

        assert len(self.detector_pins.split()) == len(CHANNELS)
        platform = self.platform()
        platform.add_resources(
            [
                Resource(
                    "detectors",
                    0,
                    Pins(self.detector_pins, dir="i", conn=self.connector),
                    Attrs(IO_TYPE="LVCMOS33", PULLMODE="DOWN"),
                )
            ]
        )
        return platform


def _ecpix5() -> Any:
    from amaranth_boards.ecpix5 import ECPIX585Platform

    return ECPIX585Platform()


def _ulx3s() -> Any:
    from amaranth_boards.ulx3s import ULX3S_85F_Platform

    return ULX3S_85F_Platform()


def _versa() -> Any:
    from amaranth_boards.versa_ecp5_5g import VersaECP55GPlatform

    return VersaECP55GPlatform()


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ecpix5-85f",
            part="LFE5UM5G-85F-8BG554",
            platform=_ecpix5,
            connector=("pmod", 0),
            detector_pins="1 2 3 4",
        ),
        Board(
            name="ulx3s-85f",
            part="LFE5U-85F-6BG381",
            platform=_ulx3s,
            connector=("gpio", 0),
            detector_pins="14+ 15+ 16+ 17+",
            uart_flow={"rts": "-", "dtr": "-"},
        ),
        Board(
            name="versa-ecp5-5g",
            part="LFE5UM5G-45F-8BG381",
            platform=_versa,
            connector=("expcon", 2),
            detector_pins="4 5 6 7",
        ),
    )
}


def find_board(name: str) -> Board:
    """The board called ``name``. TwinphaseError lists the boards there are."""
    if name not in BOARDS:
        raise TwinphaseError(f"board {name} is not known; allowed: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
