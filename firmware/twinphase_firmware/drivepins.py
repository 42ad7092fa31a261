"""The pins of a board on which the DAC words of a client's modulators come out (docs/client_board.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twinphase_spec.drive import DRIVE_BITS
from twinphase_spec.emission import FRACTION_BITS

WORDS = ("q_intensity", "q_phase", "r_intensity", "r_phase")


@dataclass(frozen=True, kw_only=True)
class DrivePins:
    """Pins of a board's connectors for the four DACs of a client, each as ``<connector>_<number>:<pin>``.

    ``clocks``: copies of the bus clock. ``valid``: pulses are emitted. ``q_intensity``, ``q_phase``, ``r_intensity``, ``r_phase``: a
    DAC's word, `DRIVE_BITS` pins, lowest bit first. ``fraction``: the highest bits of the fraction of a correction, lowest first, of
    which a board may have fewer pins than there are bits. ValueError for another number of pins, or a pin named twice.
    """

    clocks: str
    valid: str
    q_intensity: str
    q_phase: str
    r_intensity: str
    r_phase: str
    fraction: str = ""

    def __post_init__(self) -> None:
        for name in WORDS:
            if (found := len(getattr(self, name).split())) != DRIVE_BITS:
                raise ValueError(f"drive pins: {name} has {found} pins; allowed: {DRIVE_BITS}")
        if (found := len(self.fraction.split())) > FRACTION_BITS:
            raise ValueError(f"drive pins: fraction has {found} pins; allowed: at most {FRACTION_BITS}")
        if not self.clocks.split() or len(self.valid.split()) != 1:
            raise ValueError("drive pins: clocks or valid have no pin, or valid several; allowed: clocks, one valid")
        pins = [pin for group in self.groups().values() for pin in group.split()]
        if again := sorted({pin for pin in pins if pins.count(pin) > 1}):
            raise ValueError(f"drive pins: {', '.join(again)} named twice; allowed: every pin once")

    def groups(self) -> dict[str, str]:
        """Names of the lines with their pins; those of which the board has any."""
        names = ("clocks", "valid", *WORDS, "fraction")
        return {name: pins for name in names if (pins := getattr(self, name))}

    def resource(self, attributes: Any) -> Any:
        """The Amaranth resource ``drive``: subsignals clocks, valid, those of `WORDS`, fraction; ``attributes`` of the pins."""
        from amaranth.build import Pins, Resource, Subsignal

        lines = (Subsignal(name, Pins(pins, dir="o")) for name, pins in self.groups().items())
        return Resource("drive", 0, *lines, attributes)


def _on(connector: str, pins: str) -> str:
    return " ".join(f"{connector}:{pin}" for pin in pins.split())


def _gp(first: int, lines: int) -> str:
    """So many pins of a ULX3S from GP<first>+, GP<first>- on."""
    return _on("gpio_0", " ".join(f"{first + line // 2}{'+-'[line % 2]}" for line in range(lines)))


def _pmods(low: int, half: str, high: int) -> str:
    """Pins of a word: its lowest four bits on ``half`` of Pmod ``low``, the others on all of Pmod ``high``."""
    return f"{_on(f'pmod_{low}', half)} {_on(f'pmod_{high}', '1 2 3 4 7 8 9 10')}"


ULX3S_DRIVE = DrivePins(
    clocks=_on("gpio_0", "26+ 12+"),
    valid=_on("gpio_0", "26-"),
    q_intensity=_gp(14, 12),
    q_phase=_gp(20, 12),
    r_intensity=_gp(0, 12),
    r_phase=f"{_gp(11, 2)} {_gp(6, 10)}",
    fraction=_on("gpio_0", "12- 13+ 13- 27+ 27-"),
)
"""The q band on J2, the r band on J1, with a clock each; of J1 the pins GP11 to GP13, which the ESP32 shares, have the lowest bits of a
word and a part of the fraction, of whose bits there are the five highest."""
ECPIX5_DRIVE = DrivePins(
    clocks=_on("pmod_6", "10") + " " + _on("pmod_7", "10"),
    valid=_on("pmod_6", "9"),
    q_intensity=_pmods(2, "1 2 3 4", 0),
    q_phase=_pmods(2, "7 8 9 10", 1),
    r_intensity=_pmods(5, "1 2 3 4", 3),
    r_phase=_pmods(5, "7 8 9 10", 4),
    fraction=_on("pmod_6", "1 2 3 4 7 8") + " " + _on("pmod_7", "1 2 3 4 7 8 9"),
)
"""All 64 pins: the upper eight bits of a word on a Pmod of their own, the lower four of both words of a band on half a Pmod each."""
