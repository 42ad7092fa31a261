"""Where the actuator was at the light of clicks. Source: "Applied phase" of docs/actuator.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.actuator import RING_REACH, check_group_log


def applied_positions(
    position: NDArray[np.int64],
    blank: NDArray[np.bool_],
    *,
    first_clock: int,
    looked_up: NDArray[np.int64],
    time: NDArray[np.int64],
    delay: int,
    group_log: int = 3,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(x, blank) of clicks that come in clock count ``looked_up``; ``position`` and ``blank`` by clock count from ``first_clock`` on.

    Before ``first_clock`` both count as in it.
    """
    g = check_group_log(group_log)
    acted = (time - delay) >> g
    age = (looked_up >> g) - acted
    known = (age >= 1) & (age <= RING_REACH)
    first_group = -(-first_clock >> g)
    groups = np.arange(first_group, (first_clock + position.size) >> g)
    within = (groups[:, None] << g) + np.arange(1 << g) - first_clock
    place = np.where(known, acted - first_group, 0)
    inside = place >= 0
    place = np.maximum(place, 0)
    x = np.where(inside, position[within[:, -1]][place], position[0])
    blanked = np.where(inside, blank[within].any(axis=1)[place], blank[0])
    return np.where(known, x, 0), np.where(known, blanked, True)


def applied_from_changes(
    clock: NDArray[np.int64],
    position: NDArray[np.int64],
    blank: NDArray[np.bool_],
    *,
    time: NDArray[np.int64],
    delay: int,
    group_log: int = 3,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The same for clicks that come in time, from the changes of position and blank: ``clock`` (rising) is the first of each.

    Before the first change both count as after it.
    """
    g = check_group_log(group_log)
    first = ((time - delay) >> g) << g
    begins = np.maximum(np.searchsorted(clock, first, side="right") - 1, 0)
    ends = np.maximum(np.searchsorted(clock, first + (1 << g) - 1, side="right") - 1, 0)
    blanks = np.concatenate([[0], np.cumsum(blank)])
    return position[ends], blanks[ends + 1] > blanks[begins]
