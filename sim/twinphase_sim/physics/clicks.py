"""Clicks as columns: those that leave a detector, and those that its dead time and recovery still have to judge."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

DARK = -1
"""Pulse index of a dark count in the truth."""


@dataclass(frozen=True, eq=False)
class Clicks:
    """Clicks in the order of (time, channel).

    ``times_ticks`` (int64): edge times. ``channels`` (u1): 0-3 as in `registers.CHANNELS`. Truth: ``pulses`` (int64): pulse whose
    light made the click, DARK for a dark count.
    """

    times_ticks: NDArray[np.int64]
    channels: NDArray[np.uint8]
    pulses: NDArray[np.int64]

    def __len__(self) -> int:
        return self.times_ticks.size

    def __getitem__(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        return type(self)(*[column[chosen] for column in self._columns()])

    def _columns(self) -> list[NDArray[Any]]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True, eq=False)
class RawClicks(Clicks):
    """Clicks of rested detectors. ``needs`` (float64): fraction of its efficiency that a detector must have for the click.

    Light of mean detected photons I clicks at the fraction r with ``1 - exp(-r I)``. An exponential variable E of mean 1 decides
    that for all r at once, ``E < r I``: a raw click has E < I, and ``needs = E / I``.
    """

    needs: NDArray[np.float64]

    def clicks(self, chosen: NDArray[np.bool_]) -> Clicks:
        """Those of them that became clicks."""
        return Clicks(self.times_ticks[chosen], self.channels[chosen], self.pulses[chosen])


@dataclass(frozen=True, eq=False)
class Candidates(Clicks):
    """What clicks or not, by the light's phase when it comes: light of mean photons ``base + amplitude cos(2 pi theta)``.

    theta (turns, float64): phase without an actuator. ``energy``: exponential variable E of mean 1, as `RawClicks` has it: a rested
    detector clicks if E is below the mean photons. A dark count has base 1, amplitude 0 and as its energy what it ``needs``.
    """

    theta_turns: NDArray[np.float64]
    energy: NDArray[np.float64]
    base: NDArray[np.float64]
    amplitude: NDArray[np.float64]

    @property
    def light(self) -> NDArray[np.float64]:
        """(n, 4): theta, energy, base, amplitude."""
        return np.stack((self.theta_turns, self.energy, self.base, self.amplitude), axis=1)

    def undisturbed(self) -> RawClicks:
        """Those that click where nothing acts on the phase."""
        photons = self.base + self.amplitude * np.cos(2 * np.pi * self.theta_turns)
        clicks = self.energy < photons
        needs = self.energy[clicks] / photons[clicks]
        return RawClicks(self.times_ticks[clicks], self.channels[clicks], self.pulses[clicks], needs)


C = TypeVar("C", bound=Clicks)


def join_clicks(parts: list[C]) -> C:
    """All clicks of ``parts``, which are of one kind, in the order of (time, channel)."""
    columns = [np.concatenate(column) for column in zip(*(part._columns() for part in parts), strict=True)]
    joined = type(parts[0])(*columns)
    return joined[np.lexsort((joined.channels, joined.times_ticks))]


NO_CLICKS = Clicks(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.int64))
NO_CANDIDATES = Candidates(
    np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.int64), *(np.empty(0) for _ in range(4))
)
NO_RAW_CLICKS = RawClicks(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0))
