"""Counts cycle slips of an estimator over runs of any length, chunk by chunk.

A slip is a first passage of the unwrapped error to a turn from where it was locked, as in Viterbi's theory (Principles of Coherent
Communication, 1966, ch. 4). The error is that of the unwrapped estimate itself. Where an estimator says that it has no phase, what
comes after it is a new one, whose whole turns nobody has promised: no slip, but a break, which `telling` shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinphase_spec.units import CLOCK_HZ

from .clicks import EVALUATION, chunks
from .contract import Estimator
from .judge import BURN_IN_CLICKS, EVALUATIONS_PER_CONSTANT, TURN_RAD, Run
from .scenario import Scenario


@dataclass(frozen=True)
class SlipCount:
    """What a run has shown."""

    slips: int
    updates: int
    """Clicks that the estimator saw."""
    seconds: float
    mse_rad2: float
    """Of the error to the nearest turn."""
    known: float
    """Part of the evaluations in which the estimator had a phase."""
    state: NDArray[Any]
    """Of the estimator at the end."""

    def rate_ci_hz(self, confidence: float = 0.95) -> tuple[float, float]:
        """Exact Poisson interval of slips per second (Garwood, Biometrika 28, 1936, 437), each end at ``(1 + confidence) / 2``."""
        tail = (1 - confidence) / 2
        low = float(stats.chi2.ppf(tail, 2 * self.slips)) / 2 if self.slips else 0.0
        return low / self.seconds, float(stats.chi2.ppf(1 - tail, 2 * self.slips + 2)) / 2 / self.seconds


@numba.njit
def passages(errors_rad: NDArray[np.float64], centre_rad: float) -> tuple[int, float]:
    """First passages of unwrapped errors to a turn from the last lock point, and that point after them.

    Not-a-number: no phase, and no lock point until the next error gives one.
    """
    slips = 0
    for error in errors_rad:
        if math.isnan(error):
            centre_rad = math.nan
        elif math.isnan(centre_rad):
            centre_rad = TURN_RAD * round(error / TURN_RAD)
        else:
            turns = math.trunc((error - centre_rad) / TURN_RAD)
            slips += abs(turns)
            centre_rad += turns * TURN_RAD
    return slips, centre_rad


def count_slips_of(
    scenario: Scenario, estimator: Estimator, *, updates: int, seed: int, gain_per_s: float | None = None
) -> SlipCount:
    """Plays about so many clicks, with EVALUATIONS_PER_CONSTANT evaluations per 1/K, K = ``gain_per_s`` (default: the optimal loop's).

    The first BURN_IN_CLICKS are not judged. ValueError where they are not even a tenth of the run.
    """
    if updates < 10 * BURN_IN_CLICKS:
        raise ValueError(f"slips: a run of {updates} updates is too short; give at least {10 * BURN_IN_CLICKS}")
    gain = scenario.gain_per_s() if gain_per_s is None else gain_per_s
    spacing_clocks = max(CLOCK_HZ / (gain * EVALUATIONS_PER_CONSTANT), 1.0)
    candidates = math.ceil(updates * scenario.candidate_hz * scenario.open_fraction / scenario.click_rate_hz)
    from_clock = round(BURN_IN_CLICKS / scenario.click_rate_hz * CLOCK_HZ)
    run = Run(scenario, estimator)
    centre, slips, squares, evaluated, unlocked, last = math.nan, 0, 0.0, 0, 0, from_clock
    for stimulus in chunks(scenario, candidates=candidates, evaluation_clocks=spacing_clocks, seed=(seed,)):
        estimates = run.play(stimulus)
        asked = stimulus.kinds == EVALUATION
        kept = stimulus.clocks[asked] >= from_clock
        errors = (estimates - stimulus.phases_rad[asked])[kept]
        known = errors[~np.isnan(errors)]
        more, centre = passages(errors, centre)
        slips += more
        squares += float(np.sum((known - TURN_RAD * np.round(known / TURN_RAD)) ** 2))
        evaluated += known.size
        unlocked += errors.size - known.size
        last = max(last, int(stimulus.clocks[-1]))
    return SlipCount(
        slips=slips,
        updates=run.clicks,
        seconds=(last - from_clock) / CLOCK_HZ,
        mse_rad2=squares / max(evaluated, 1),
        known=evaluated / max(evaluated + unlocked, 1),
        state=run.state,
    )
