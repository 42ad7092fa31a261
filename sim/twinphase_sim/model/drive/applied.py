"""Residual and total phase of clicks. Source: "Applied phase" of docs/actuator.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.actuator import RING_ENTRIES, check_group_log
from twinphase_spec.units import TURN_BITS


@dataclass(frozen=True)
class ClickPhases:
    """One element per click."""

    applied: NDArray[np.int64]
    total: NDArray[np.int64]
    blank: NDArray[np.bool_]
    known: NDArray[np.bool_]


def click_phases(
    phase: NDArray[np.int64],
    blank: NDArray[np.bool_],
    *,
    first_clock: int,
    looked_up: NDArray[np.int64],
    time: NDArray[np.int64],
    residual: NDArray[np.int64],
    delay: int,
    group_log: int = 3,
) -> ClickPhases:
    """``phase`` and ``blank`` by clock count from ``first_clock`` on, the first after a restart; clicks are looked up in clock
    count ``looked_up``."""
    g = check_group_log(group_log)
    acted = (time - delay) >> g
    age = (looked_up >> g) - acted
    first_group = -(-first_clock >> g)
    whole = (looked_up >> g) - first_group
    known = (age >= 1) & (age <= np.minimum(whole, RING_ENTRIES - 1))

    groups = np.arange(first_group, (first_clock + phase.size) >> g)
    within = (groups[:, None] << g) + np.arange(1 << g) - first_clock
    place = np.where(known, acted - first_group, 0)
    applied = np.where(known, phase[within[:, -1]][place], 0)
    return ClickPhases(
        applied=applied,
        total=(residual + applied) & ((1 << TURN_BITS) - 1),
        blank=np.where(known, blank[within].any(axis=1)[place], True),
        known=known,
    )
