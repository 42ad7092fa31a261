"""Fixed gains, as gateware would have them: phase and slope move by constants times the score of a click.

``phase += K1 s``, ``slope += K2 s`` with the steady gains ``K1 = P11``, ``K2 = P12`` of (D, Q, J) and the score s averaged over
the steady uncertainty. The innovation is computed from the state of ``stale_clocks`` ago, carried on to the click: a pipeline does
not know of the clicks inside it. Cold start: the sums of `acquisition`, then the gains of a straight line through all clicks so far,
``K1 = max(P11, 1/I + min(3/I, (S t)^2 / 4))``, ``K2 = max(P12, min(6/(I t), S^2 t))``, with the information ``I += F`` per click, F the
mean information, t since the first click and S the rms slope before any.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase.theory import tracking
from twinphase_spec.units import CLOCK_HZ

from ..contract import Estimator
from ..scenario import Scenario
from .acquisition import START_CLICKS, add_click, angle
from .likelihood import LIKELIHOOD_CONSTANTS, likelihood_constants, score

PIPELINE = 32
"""Most clicks inside the pipeline: 32 clocks at 10 Mcps hold 2.6 on average."""
PHASE, SLOPE, CLOCK, COUNT, INFORMATION, NEWEST, FIRST, SUMS = range(8)
OLD_CLOCK = SUMS + 2
OLD_PHASE = OLD_CLOCK + PIPELINE
OLD_SLOPE = OLD_PHASE + PIPELINE
STATES = OLD_SLOPE + PIPELINE
C_GAIN_PHASE, C_GAIN_SLOPE, C_SLOPE_VARIANCE, C_INFORMATION, C_STALE, C_START = range(
    LIKELIHOOD_CONSTANTS, LIKELIHOOD_CONSTANTS + 6
)


@numba.njit
def update(state: NDArray[np.float64], c: NDArray[np.float64], clock: int, reference_rad: float, port: int) -> None:
    """See `contract`."""
    if state[COUNT] < c[C_START]:
        if state[COUNT] == 0:
            state[FIRST] = clock
        state[COUNT] += 1
        sums = state[SUMS : SUMS + 2]
        add_click(sums, reference_rad, port)
        state[CLOCK] = clock
        if state[COUNT] == c[C_START]:
            state[PHASE] = angle(sums)
            state[INFORMATION] = c[C_START] * c[0] * c[0] / 2
            state[OLD_CLOCK : OLD_CLOCK + PIPELINE] = clock
            state[OLD_PHASE : OLD_PHASE + PIPELINE] = state[PHASE]
        return
    old = int(state[NEWEST])
    for _ in range(PIPELINE - 1):
        if state[OLD_CLOCK + old] <= clock - c[C_STALE]:
            break
        old = (old - 1) % PIPELINE
    before = state[OLD_PHASE + old] + (clock - state[OLD_CLOCK + old]) / CLOCK_HZ * state[OLD_SLOPE + old]
    since = (clock - state[FIRST]) / CLOCK_HZ
    line = min(3 / state[INFORMATION], c[C_SLOPE_VARIANCE] * since * since / 4)
    gain = max(c[C_GAIN_PHASE], 1 / state[INFORMATION] + line)
    gain_slope = max(
        c[C_GAIN_SLOPE], min(6 / (state[INFORMATION] * max(since, 1 / CLOCK_HZ)), c[C_SLOPE_VARIANCE] * since)
    )
    slope, _ = score(before + reference_rad, gain, port, c)
    state[INFORMATION] += c[C_INFORMATION]
    state[PHASE] += (clock - state[CLOCK]) / CLOCK_HZ * state[SLOPE] + gain * slope
    state[SLOPE] += gain_slope * slope
    state[CLOCK] = clock
    newest = (int(state[NEWEST]) + 1) % PIPELINE
    state[NEWEST] = newest
    state[OLD_CLOCK + newest] = clock
    state[OLD_PHASE + newest] = state[PHASE]
    state[OLD_SLOPE + newest] = state[SLOPE]


@numba.njit
def predict(state: NDArray[np.float64], c: NDArray[np.float64], clock: int) -> tuple[float, bool]:
    """See `contract`."""
    return state[PHASE] + (clock - state[CLOCK]) / CLOCK_HZ * state[SLOPE], state[COUNT] >= c[C_START]


def steady(
    scenario: Scenario, *, stale_clocks: int = 0, slope_rms_rad_per_s: float = 0.0, start_clicks: int = START_CLICKS
) -> Estimator:
    """The loop with the gains of what ``scenario`` says; ``slope_rms_rad_per_s`` is S.

    ValueError where the pipeline would hold too many clicks, and for an S without slope noise: K2 would go to 0 and leave the slope
    that the cold start took from the walk.
    """
    if slope_rms_rad_per_s and not scenario.total_slope_noise:
        raise ValueError(
            "steady loop: a slope at the start needs slope noise, or the cold start's slope stays for good"
        )
    if scenario.click_rate_hz * stale_clocks / CLOCK_HZ > PIPELINE / 4:
        raise ValueError(
            f"steady loop: {stale_clocks} clocks hold {scenario.click_rate_hz * stale_clocks / CLOCK_HZ:.3g} clicks on average;"
            f" the pipeline is kept for up to {PIPELINE // 4}"
        )
    rate = scenario.mean_rate()
    gains = tracking.steady_covariance(scenario.diffusion_rad2_per_s, rate, scenario.slope_noise_at(rate))
    own = [
        float(gains.p11),
        float(gains.p12),
        slope_rms_rad_per_s**2,
        rate / scenario.click_rate_hz,
        float(stale_clocks),
        float(start_clicks),
    ]
    return Estimator(
        name="steady gains",
        update=update,
        predict=predict,
        state=np.zeros(STATES),
        constants=np.concatenate([likelihood_constants(scenario), own]),
    )
