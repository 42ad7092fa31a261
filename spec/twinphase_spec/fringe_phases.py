"""At which phases of the fringe a band's reference clicks: where the light is steered, and where it is not.

A click of REF(k) comes at ``theta = psi + k pi/2``. The fibre takes psi everywhere, so that without an actuator, and in the quantum band
with one (psi_d is not steered), theta is uniform whatever the steps are. Behind an actuator that works psi is its lock point and
what the loop does not know, a Gaussian error: then it matters how much of the table each step has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .frame import SlotClass
from .lab import Lab

Band = Literal["q", "r"]
UNIFORM_POINTS = 256
STEPS = (SlotClass.REF0, SlotClass.REF1, SlotClass.REF2, SlotClass.REF3)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
"""Averages over a standard normal error; what is averaged is smooth over sqrt(2 (1 - V))."""
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True, kw_only=True)
class FringePhases:
    """Phases theta of a reference's clicks, as points with weights."""

    parts: tuple[float, float, float, float]
    """Of the reference slots under k = 0 ... 3; sum 1."""
    lock_rad: float | None = None
    """Lock point of steered light."""
    error_rad: float = 0.0
    """RMS of its psi around that."""

    @cached_property
    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(theta in rad, weight), each of shape (n,)."""
        if self.lock_rad is None:
            theta = (np.arange(UNIFORM_POINTS, dtype=np.float64) + 0.5) * (2 * np.pi / UNIFORM_POINTS)
            return theta, np.full(UNIFORM_POINTS, 1 / UNIFORM_POINTS)
        theta = (
            self.lock_rad + np.arange(4, dtype=np.float64)[:, None] * (math.pi / 2) + self.error_rad * NODES[None, :]
        )
        return theta.ravel(), np.outer(self.parts, WEIGHTS).ravel()

    def information(self, visibility: float) -> float:
        """Fisher information per click in rad^-2: the mean of ``V^2 sin^2 / (1 - V^2 cos^2)``; ``1 - sqrt(1 - V^2)`` where theta is
        uniform."""
        if self.lock_rad is None:
            return 1 - math.sqrt(max(0.0, 1 - visibility**2))
        theta, weights = self.points
        return float(weights @ ((visibility * np.sin(theta)) ** 2 / (1 - (visibility * np.cos(theta)) ** 2)))


def step_parts(lab: Lab, band: Band) -> tuple[float, float, float, float]:
    """Parts of a band's REF(k) slots; all 0 where it has none."""
    classes = [entry[0] if band == "q" else entry[1] for entry in lab.frame.table()]
    counts = [classes.count(step) for step in STEPS]
    a, b, c, d = (count / max(1, sum(counts)) for count in counts)
    return a, b, c, d


def steered(lab: Lab, band: Band) -> bool:
    """Whether an actuator holds psi of this band's reference."""
    return band == "r" and lab.actuator is not None and lab.actuator.on


def fringe_phases(lab: Lab, band: Band, error_rad: float = 0.0) -> FringePhases:
    """Those of a lab; ``error_rad``: RMS of what is not steered away."""
    if not steered(lab, band):
        return FringePhases(parts=step_parts(lab, band))
    assert lab.actuator is not None
    return FringePhases(parts=step_parts(lab, band), lock_rad=math.radians(lab.actuator.lock_deg), error_rad=error_rad)
