"""Events of the click tracker's channels, as counters have them. Source: "Events" of docs/phase.md."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec import smoothing
from twinphase_spec import tracking as t

NAMES = ("starts", "lost", "faded", "jumps", "unlocked")
STARTS, LOST, FADED, JUMPS, UNLOCKED, EVENTS = range(6)
WAS_LOCKED, WAS_BROKE, BEFORE = range(3)
"""What is kept of a channel's output before: L', b'."""


@numba.njit(cache=True)
def tell(before: NDArray[np.int64], kind: int, locked: int, broke: int, counts: NDArray[np.int64]) -> None:
    """One output of a channel: adds to ``counts``, shape (EVENTS,), and keeps in ``before`` what the next one asks for."""
    was_locked, was_broke = before[WAS_LOCKED], before[WAS_BROKE]
    before[WAS_LOCKED] = locked
    before[WAS_BROKE] = 0 if kind == t.TURN else broke
    if kind == t.STARTING:
        counts[STARTS] += 1
    elif was_locked and locked and broke and not was_broke:
        counts[JUMPS] += 1
    if was_locked and not locked:
        counts[LOST if kind == t.TURN else FADED] += 1
    if kind == t.TURN and not locked:
        counts[UNLOCKED] += 1


@dataclass(frozen=True)
class TrackEvents:
    """Counters of a run, arrays of int64."""

    counts: NDArray[np.int64]
    """Shape (2 channels, EVENTS)."""
    locked: NDArray[np.int64]
    """Shape (2,): 0 or 1, at the end."""

    def counters(self) -> dict[str, int]:
        """By the server map's names."""
        values = {f"locked_{channel}": int(self.locked[c]) for c, channel in enumerate(smoothing.CHANNELS)}
        for c, channel in enumerate(smoothing.CHANNELS):
            values |= {f"{name}_{channel}": int(self.counts[c, k]) for k, name in enumerate(NAMES)}
        return values
