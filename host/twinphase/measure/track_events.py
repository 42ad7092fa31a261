"""What a click tracker's records tell of its phase: lost, found again, jumped by half a turn."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF_TURN_WITHIN_RAD = 0.8
"""A break whose step is so near to half a turn is a jump; another one is a phase that was lost and found between two records."""


@dataclass(frozen=True)
class TrackEvent:
    """One event."""

    time_s: float
    """Of the record that tells of it, on the trace's time."""
    kind: str
    """lost: no phase from here on; found: there is one again; jump: half a turn further, without a loss."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def track_events(
    index: NDArray[np.int64],
    locked: NDArray[np.bool_],
    broke: NDArray[np.bool_],
    step_rad: NDArray[np.float64],
    interval_s: float,
) -> list[TrackEvent]:
    """Events between records at the grid places ``index``; ``step_rad[i]``: from record i to i + 1, the slope's part taken off.

    A break over a gap in the records is not named: what was lost may explain it.
    """
    events: list[TrackEvent] = []
    before, after = locked[:-1], locked[1:]
    for i in np.flatnonzero((before != after) | (before & after & broke[1:])).tolist():
        time_s = float(index[i + 1]) * interval_s
        if before[i] != after[i]:
            events.append(TrackEvent(time_s, "found" if after[i] else "lost"))
        elif index[i + 1] - index[i] == 1:
            if abs(math.remainder(step_rad[i] - math.pi, 2 * math.pi)) < HALF_TURN_WITHIN_RAD:
                events.append(TrackEvent(time_s, "jump"))
            else:
                events += [TrackEvent(time_s, "lost"), TrackEvent(time_s, "found")]
    return events
