"""The loop of `steady` that finds its own gains: neither D nor Q need be known.

The logarithms of K1 and K2 climb the likelihood of the clicks. With the sensitivities ``z = d phase / d ln K`` and
``w = d slope / d ln K`` of each gain, a click of score s changes ``ln K`` by ``(2 mu / F) s z`` and then, h since the click before,

    z <- z + h w (before),   z <- (1 - K1 F) z [+ K1 s for K1],   w <- w - K2 F z [+ K2 s for K2].

s z has the mean d ln(likelihood)/d ln K, and vanishes where the scores are white: where K is the optimum. The variance of z is about
K1/2, so the gains move by the same part per time constant of the loop whatever the light is. mu = 1/128 settles in some hundred
time constants and costs 1 - 2 %; 1/32 costs more, and can lose lock where slope noise rules. K1 stays within a factor RANGE of where it
began; K2 below ``K1^2 F R / 2``, where the walk D would be negative, and above SLOWEST of that.
Source: recursive prediction error method, Ljung and Soederstroem, Theory and Practice of Recursive Identification (1983), ch. 3.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase.theory import tracking
from twinphase_spec.units import CLOCK_HZ

from ..contract import Estimator
from ..scenario import Scenario
from .acquisition import START_CLICKS, add_click, angle
from .likelihood import LIKELIHOOD_CONSTANTS, likelihood_constants, score

STEP = 1 / 128
"""mu."""
RANGE = 8.0
"""A gain 8 times wrong is that of a walk 64 times wrong; whatever goes further is a lock that was lost."""
SLOWEST = 1e-3
PHASE, SLOPE, CLOCK, COUNT, INFORMATION, FIRST, LOG_PHASE, LOG_SLOPE, Z_PHASE, W_PHASE, Z_SLOPE, W_SLOPE, SUMS = range(
    13
)
STATES = SUMS + 2
C_INFORMATION, C_STEP, C_RATE, C_SLOPE_VARIANCE, C_LOG_PHASE = range(LIKELIHOOD_CONSTANTS, LIKELIHOOD_CONSTANTS + 5)


@numba.njit
def update(state: NDArray[np.float64], c: NDArray[np.float64], clock: int, reference_rad: float, port: int) -> None:
    """See `contract`."""
    if state[COUNT] < START_CLICKS:
        if state[COUNT] == 0:
            state[FIRST] = clock
        state[COUNT] += 1
        state[CLOCK] = clock
        sums = state[SUMS : SUMS + 2]
        add_click(sums, reference_rad, port)
        if state[COUNT] == START_CLICKS:
            state[PHASE] = angle(sums)
            state[INFORMATION] = START_CLICKS * c[0] * c[0] / 2
        return
    f = c[C_INFORMATION]
    h = (clock - state[CLOCK]) / CLOCK_HZ
    since = max(clock - state[FIRST], 1) / CLOCK_HZ
    state[CLOCK] = clock
    k1, k2 = math.exp(state[LOG_PHASE]), math.exp(state[LOG_SLOPE])
    line = min(3 / state[INFORMATION], c[C_SLOPE_VARIANCE] * since * since / 4)
    gain = max(k1, 1 / state[INFORMATION] + line)
    gain_slope = max(k2, min(6 / (state[INFORMATION] * since), c[C_SLOPE_VARIANCE] * since))
    state[INFORMATION] += f
    state[PHASE] += h * state[SLOPE]
    slope, _ = score(state[PHASE] + reference_rad, k1, port, c)
    state[PHASE] += gain * slope
    state[SLOPE] += gain_slope * slope
    if gain > k1 or gain_slope > k2:
        return  # the cold start's gains say nothing of K1 and K2
    z1, z2 = state[Z_PHASE] + h * state[W_PHASE], state[Z_SLOPE] + h * state[W_SLOPE]
    step = c[C_STEP] * 2 / f * slope
    away = math.log(RANGE)
    state[LOG_PHASE] = min(max(state[LOG_PHASE] + step * z1, c[C_LOG_PHASE] - away), c[C_LOG_PHASE] + away)
    most = math.log(k1 * k1 * f * c[C_RATE] / 2)
    state[LOG_SLOPE] = min(max(state[LOG_SLOPE] + step * z2, most + math.log(SLOWEST)), most)
    state[Z_PHASE] = (1 - k1 * f) * z1 + k1 * slope
    state[W_PHASE] -= k2 * f * z1
    state[Z_SLOPE] = (1 - k1 * f) * z2
    state[W_SLOPE] += k2 * (slope - f * z2)


@numba.njit
def predict(state: NDArray[np.float64], c: NDArray[np.float64], clock: int) -> tuple[float, bool]:
    """See `contract`."""
    return state[PHASE] + (clock - state[CLOCK]) / CLOCK_HZ * state[SLOPE], state[COUNT] >= START_CLICKS


def adaptive(scenario: Scenario, *, slope_rms_rad_per_s: float = 0.0, step: float = STEP) -> Estimator:
    """The loop, starting from the gains of what ``scenario`` says; of its walk and slope noise it needs no more."""
    rate = scenario.mean_rate()
    gains = tracking.steady_covariance(scenario.diffusion_rad2_per_s, rate, scenario.slope_noise_at(rate))
    state = np.zeros(STATES)
    state[LOG_PHASE] = math.log(float(gains.p11))
    state[LOG_SLOPE] = math.log(max(float(gains.p12), SLOWEST * float(gains.p11) ** 2 * rate / 2))
    own = [rate / scenario.click_rate_hz, step, scenario.click_rate_hz, slope_rms_rad_per_s**2, state[LOG_PHASE]]
    return Estimator(
        name="adaptive gains",
        update=update,
        predict=predict,
        state=state,
        constants=np.concatenate([likelihood_constants(scenario), own]),
    )
