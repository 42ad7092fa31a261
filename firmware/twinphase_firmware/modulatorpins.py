"""The pins of a board on which a client's modulator codes come out.

Lab boards have single-ended pins only, none of which carries a pulse every nanosecond. What comes out is therefore a bus of up to
four pulses side by side, for parallel DACs or for serialisers on a board of the experimenter's: docs/client_board.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twinphase_spec.symbols import LEVEL_BITS, SLICE_BITS

COLUMNS = 4
"""Pulses side by side, at most."""
QUARTER_BITS = 2
"""Phase bits of a reference step."""
Q_LINES = LEVEL_BITS + SLICE_BITS
"""Lines of a column in the q band: the level, lowest bit first, then the upper bits of the phase, lowest first."""
R_LINES = 1 + QUARTER_BITS
"""Lines of a column in the r band: reference on, then the upper bits of the phase, lowest first."""


@dataclass(frozen=True, kw_only=True)
class ModulatorPins:
    """Pins of a board's connectors for a client, each as ``<connector>_<number>:<pin>``.

    ``clocks``: as many copies of the bus clock as there are connectors to go to. ``valid``: codes are emitted. ``q``, ``r``: the pins of
    each column, `Q_LINES` and `R_LINES` in this order. ValueError for another number of columns or lines, or a pin named twice.
    """

    clocks: str
    valid: str
    q: tuple[str, ...]
    r: tuple[str, ...]

    def __post_init__(self) -> None:
        for band, columns, lines in (("q", self.q, Q_LINES), ("r", self.r, R_LINES)):
            found = [len(column.split()) for column in columns]
            if found != [lines] * COLUMNS:
                raise ValueError(
                    f"modulator pins: band {band} has columns of {found} pins; allowed: {COLUMNS} columns of {lines}"
                )
        pins = [pin for group in (self.clocks, self.valid, *self.q, *self.r) for pin in group.split()]
        if again := sorted({pin for pin in pins if pins.count(pin) > 1}):
            raise ValueError(f"modulator pins: {', '.join(again)} named twice; allowed: every pin once")

    def resource(self, attributes: Any, *, number: int = 0, columns: int = COLUMNS, clocks: str | None = None) -> Any:
        """The Amaranth resource ``modulators``, ``number``: subsignals clocks, valid, q0 .., r0 ..; ``attributes`` of the pins.

        ``columns``: of the first ones only; ``clocks``: those in the place of all.
        """
        from amaranth.build import Pins, Resource, Subsignal

        groups = {"clocks": self.clocks if clocks is None else clocks, "valid": self.valid}
        groups |= {f"q{column}": pins for column, pins in enumerate(self.q[:columns])}
        groups |= {f"r{column}": pins for column, pins in enumerate(self.r[:columns])}
        return Resource(
            "modulators", number, *(Subsignal(name, Pins(pins, dir="o")) for name, pins in groups.items()), attributes
        )
