"""Score and curvature of a click's likelihood, averaged over the estimator's own Gaussian uncertainty.

Given a click, it is at L with ``p_L = W_L (1 + V_L cos theta) / (W_L + W_R) / (1 + V_D cos theta)``,
``V_D = (W_L V_L - W_R V_R) / (W_L + W_R)``; at R with W_R, -V_R in the place of W_L, V_L. Averaged over a Gaussian theta of
variance P, a factor ``1 + v cos theta`` becomes ``1 + v exp(-P/2) cos(mean)``.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from ..scenario import Scenario

V_LEFT, V_RIGHT, V_BOTH, DEAD_LEFT, DEAD_RIGHT, LIKELIHOOD_CONSTANTS = range(6)


def likelihood_constants(scenario: Scenario) -> NDArray[np.float64]:
    """``V_L, -V_R, V_D`` and ``W V t_d`` of both ports, signed alike: what `score` needs of a scenario."""
    (w_left, w_right), (v_left, v_right) = scenario.port_rates_hz, scenario.port_visibilities
    both = (w_left * v_left - w_right * v_right) / (w_left + w_right)
    dead = scenario.dead_time_s
    return np.array([v_left, -v_right, both, w_left * v_left * dead, -w_right * v_right * dead])


@numba.njit
def score(theta_rad: float, variance: float, port: int, constants: NDArray[np.float64]) -> tuple[float, float]:
    """``d ln Z / d mean`` and ``-d^2 ln Z / d mean^2`` in rad^-1 and rad^-2 of a click at mean theta with variance P.

    Each factor gives ``g(v) = -v sin / (1 + v cos)`` and ``-g' = v (cos + v) / (1 + v cos)^2`` with v times exp(-P/2). While a
    detector is dead the other is alone and its silence informs: a click at one port takes away ``lambda' t_d`` of the other.
    """
    blur = math.exp(-variance / 2)
    sine, cosine = math.sin(theta_rad), math.cos(theta_rad)
    v = constants[V_LEFT + port] * blur
    below = 1 + v * cosine
    slope = -v * sine / below
    curvature = v * (cosine + v) / (below * below)
    if constants[V_BOTH] != 0:
        v = constants[V_BOTH] * blur
        below = 1 + v * cosine
        slope += v * sine / below
        curvature -= v * (cosine + v) / (below * below)
    dead = constants[DEAD_RIGHT - port] * blur
    return slope + dead * sine, curvature - dead * cosine
