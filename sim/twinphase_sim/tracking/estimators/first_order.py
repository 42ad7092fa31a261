"""Fixed-gain first-order loop with a sine characteristic: what the theory of cycle slips is about.

``psi += g e``, ``e = -+ sin(estimate + r)``, upper sign for L. Over the four steps ``E e = (V/2) sin(psi - estimate)`` and
``E e^2 = 1/2``, so a click rate R gives the loop ``K = g R V / 2`` and the variance ``sigma^2 = g / (2 V)`` (no walk, g small).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from ..contract import Estimator

PHASE, STATES = 0, 1
C_GAIN = 0


@numba.njit
def update(state: NDArray[np.float64], c: NDArray[np.float64], clock: int, reference_rad: float, port: int) -> None:
    """See `contract`."""
    state[PHASE] -= (1 - 2 * port) * c[C_GAIN] * math.sin(state[PHASE] + reference_rad)


@numba.njit
def predict(state: NDArray[np.float64], c: NDArray[np.float64], clock: int) -> tuple[float, bool]:
    """See `contract`."""
    return state[PHASE], True


def first_order(*, gain_rad: float, start_phase_rad: float = 0.0) -> Estimator:
    """The loop with ``gain_rad`` per click, starting at ``start_phase_rad``."""
    if not 0 < gain_rad < 1:
        raise ValueError(f"first-order loop: the gain per click is {gain_rad} rad; give a number between 0 and 1")
    return Estimator(
        name="first-order loop",
        update=update,
        predict=predict,
        state=np.array([start_phase_rad]),
        constants=np.array([gain_rad]),
    )


def loop_gain_per_s(gain_rad: float, count_rate_hz: float, visibility: float) -> float:
    """``K = g R V / 2`` in 1/s."""
    return gain_rad * count_rate_hz * visibility / 2


def linear_variance(gain_rad: float, visibility: float) -> float:
    """``sigma^2 = g / (2 V)`` rad^2 of the linear theory: noise ``g^2 R / 2`` per second over ``2 K``."""
    return gain_rad / (2 * visibility)
