"""Cold start: four-phase sums of the first clicks until they give an angle to start from.

``C = sum(+- cos r)``, ``S = sum(-+ sin r)``, upper signs for L, r the reference of the click: ``E C = N V cos(psi)/2`` and
``E S = N V sin(psi)/2`` over the four steps (docs/physics.md), the angle has the variance 2/(N V^2).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

START_CLICKS = 24
"""Clicks of the sums, 0.29 rad at V = 0.98: the score's average over that uncertainty is still Gaussian enough."""


@numba.njit
def add_click(sums: NDArray[np.float64], reference_rad: float, port: int) -> None:
    """Adds one click to ``sums``, the pair (C, S)."""
    sign = 1.0 - 2.0 * port
    sums[0] += sign * math.cos(reference_rad)
    sums[1] -= sign * math.sin(reference_rad)


@numba.njit
def angle(sums: NDArray[np.float64]) -> float:
    """The estimate ``atan2(S, C)`` in rad."""
    return math.atan2(sums[1], sums[0])
