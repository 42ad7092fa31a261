"""The exact posterior of a phase that walks at random: no causal estimator has a smaller circular error.

The posterior is held as its circular moments ``m_n = E exp(i n psi)``, n = 0 ... ORDERS. A walk over h multiplies them by
``exp(-n^2 D h / 2)``; a click whose likelihood is proportional to ``1 + v cos(psi + r)`` gives
``m_n + v/2 (m_(n+1) e^(i r) + m_(n-1) e^(-i r))``, over the same of n = 0; the estimate is the angle of m_1. There is no slope, no
dead time and no imbalance here: it says how near to the bound *anything* can come (the bound is a Gaussian filter's; fringes
are not Gaussian).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import CLOCK_HZ

from ..contract import Estimator
from ..scenario import Scenario

ORDERS = 160
"""Moments kept: a Gaussian of sigma has ``m_n = exp(-n^2 sigma^2 / 2)``, 1e-7 at n = 160 for sigma = 0.036 rad."""
CLOCK, CLICKS, REAL = 0, 1, 2
IMAG = REAL + ORDERS + 2
STATES = IMAG + ORDERS + 2
C_DIFFUSION, C_LEFT, C_RIGHT, C_START = range(4)


@numba.njit
def update(state: NDArray[np.float64], c: NDArray[np.float64], clock: int, reference_rad: float, port: int) -> None:
    """See `contract`."""
    real, imag = state[REAL:IMAG], state[IMAG:STATES]
    decay = math.exp(-c[C_DIFFUSION] * (clock - state[CLOCK]) / CLOCK_HZ / 2)
    state[CLOCK] = clock
    state[CLICKS] += 1
    # exp(-n^2 x) from n - 1 to n: times exp(-(2 n - 1) x)
    factor, ratio = 1.0, decay
    for n in range(1, ORDERS + 1):
        factor *= ratio
        ratio *= decay * decay
        real[n] *= factor
        imag[n] *= factor
    v = c[C_LEFT + port] / 2
    cosine, sine = v * math.cos(reference_rad), v * math.sin(reference_rad)
    norm = 1 + 2 * (real[1] * cosine - imag[1] * sine)
    below_real, below_imag = real[1], -imag[1]  # m_(-1)
    for n in range(ORDERS + 1):
        here_real, here_imag = real[n], imag[n]
        real[n] = (here_real + cosine * (real[n + 1] + below_real) - sine * (imag[n + 1] - below_imag)) / norm
        imag[n] = (here_imag + cosine * (imag[n + 1] + below_imag) + sine * (real[n + 1] - below_real)) / norm
        below_real, below_imag = here_real, here_imag


@numba.njit
def predict(state: NDArray[np.float64], c: NDArray[np.float64], clock: int) -> tuple[float, bool]:
    """See `contract`."""
    return math.atan2(state[IMAG + 1], state[REAL + 1]), state[CLICKS] >= c[C_START]


def exact(scenario: Scenario, *, start_clicks: int = 24) -> Estimator:
    """The exact filter. ValueError where the scenario has what it does not model."""
    if scenario.total_slope_noise or scenario.drift_rad_per_s or scenario.dead_time_s or scenario.port_imbalance:
        raise ValueError("exact filter: it models a random walk and equal detectors without dead time only")
    state = np.zeros(STATES)
    state[REAL] = 1.0
    v = scenario.mean_visibility
    return Estimator(
        name="exact filter",
        update=update,
        predict=predict,
        state=state,
        constants=np.array([scenario.diffusion_rad2_per_s, v, -v, float(start_clicks)]),
    )
