"""Rate of cycle slips that are too rare to count: multilevel splitting (Kahn and Harris, Natl. Bur. Stand. Appl. Math. Ser. 12, 27, 1951;
fixed effort: Garvels, The Splitting Method in Rare Event Simulation, 2000).

From where it is locked (an error below NEAR_RAD) an estimator comes to the first of several levels of abs(error) often: that flux is
counted. From the states that it had there, drawn at random, trials go on with clicks of their own until they are at the next level
or locked again; and so on up to the neighbouring lock point. The flux times the parts that came through is the rate, without bias
whatever the levels are; a trial in which the estimator says that it has no phase has not come through (`telling`). Repeats give the
interval.

Four-phase light, a walk, no delay, no dead time: where one click and the state before it are all that counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinphase_spec.units import CLOCK_HZ

from .contract import Estimator
from .scenario import FOUR_PHASE, Scenario

NEAR_RAD, FIRST_RAD = 0.35, 0.7
"""Locked below; least first level."""
NATS_PER_LEVEL = 1.2
"""Levels are that far apart in ``rho (1 - cos)``: about a third comes through each."""
BURN_IN_CLICKS = 2000
TIME, PHASE, CENTRE = 0, 1, 2
"""Of a trial: time in clocks, psi, and the whole turns of the lock point it came from; rad."""
MEAN_GAP, WALK, VISIBILITY, SLOT = 0, 1, 2, 3
"""Of the light: clocks between clicks, D per clock, V, clocks per slot."""
FAR = math.inf
"""Error of an estimator without a phase."""

Kernel = Callable[..., Any]


@dataclass(frozen=True)
class RareSlips:
    """What the repeats have shown, in slips per second in which there is a phase."""

    rates_hz: NDArray[np.float64]

    @property
    def rate_hz(self) -> float:
        """Mean of the repeats."""
        return float(np.mean(self.rates_hz))

    def ci_hz(self, confidence: float = 0.95) -> tuple[float, float]:
        """Of the mean: ``+- t s / sqrt(n)``."""
        n = self.rates_hz.size
        half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(self.rates_hz, ddof=1)) / math.sqrt(n)
        return self.rate_hz - half, self.rate_hz + half


def levels(variance_rad2: float) -> NDArray[np.float64]:
    """Levels of \\|error\\| in rad for an estimator of this linear variance, the last the neighbouring lock point."""
    count = math.ceil(2 / variance_rad2 / NATS_PER_LEVEL)
    rising = np.arccos(1 - 2 * np.arange(count + 1) / count)
    return np.append(rising[rising > FIRST_RAD], 2 * math.pi - NEAR_RAD)


def rare_slips(
    scenario: Scenario,
    estimator: Estimator,
    *,
    variance_rad2: float,
    seed: int,
    clicks: int = 1_000_000,
    trials: int = 10_000,
    repeats: int = 8,
) -> RareSlips:
    """``clicks`` for the flux and ``trials`` from each level, all ``repeats`` times over; ``variance_rad2`` places the levels.

    ValueError for light that is not four-phase with a walk alone, and for a first level that is never reached.
    """
    plain = Scenario(
        diffusion_rad2_per_s=scenario.diffusion_rad2_per_s,
        count_rate_hz=scenario.count_rate_hz,
        visibility=scenario.visibility,
        start_phase_rad=scenario.start_phase_rad,
        slot_clocks=scenario.slot_clocks,
        scheme=FOUR_PHASE,
    )
    if scenario != plain:
        raise ValueError(
            "splitting: only four-phase light with a walk, without delay, dead time or background, can be split"
        )
    light = np.array(
        [
            CLOCK_HZ / scenario.count_rate_hz,
            scenario.diffusion_rad2_per_s / CLOCK_HZ,
            scenario.visibility,
            scenario.slot_clocks,
        ]
    )
    at = levels(variance_rad2)
    kernels = (estimator.update, estimator.predict)
    rates = np.empty(repeats)
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        states = np.empty((trials, estimator.state.size), dtype=estimator.state.dtype)
        motions = np.empty((trials, 3))
        motion = np.array([0.0, scenario.start_phase_rad, 0.0])
        came, known = _flux(
            rng, *kernels, estimator.state.copy(), estimator.constants, light, motion, clicks, at[0], states, motions
        )
        if came == 0:
            raise ValueError(f"splitting: {clicks} clicks never led to an error of {at[0]:.2f} rad; give more")
        rate = came / known * CLOCK_HZ
        came = min(came, trials)
        for level in at[1:]:
            states, motions, came = _climb(
                rng, *kernels, estimator.constants, light, states[:came], motions[:came], trials, level
            )
            rate *= came / trials
            if came == 0:
                break
        rates[repeat] = rate
    return RareSlips(rates)


@numba.njit
def _click(
    rng: np.random.Generator,
    update: Kernel,
    state: NDArray[Any],
    constants: NDArray[Any],
    light: NDArray[np.float64],
    motion: NDArray[np.float64],
) -> float:
    """The next click, put to the estimator; the clocks that it took."""
    gap = light[MEAN_GAP] * rng.standard_exponential()
    motion[TIME] += gap
    motion[PHASE] += math.sqrt(light[WALK] * gap) * rng.standard_normal()
    clock = int(motion[TIME])
    reference = (clock // int(light[SLOT]) & 3) * (math.pi / 2)
    left = (1 + light[VISIBILITY] * math.cos(motion[PHASE] + reference)) / 2
    update(state, constants, clock, reference, 0 if rng.random() < left else 1)
    return gap


@numba.njit
def _error(predict: Kernel, state: NDArray[Any], constants: NDArray[Any], motion: NDArray[np.float64]) -> float:
    """From the lock point, or FAR."""
    estimate, locked = predict(state, constants, int(motion[TIME]))
    return estimate - motion[PHASE] - motion[CENTRE] if locked else FAR


@numba.njit
def _flux(
    rng: np.random.Generator,
    update: Kernel,
    predict: Kernel,
    state: NDArray[Any],
    constants: NDArray[Any],
    light: NDArray[np.float64],
    motion: NDArray[np.float64],
    clicks: int,
    level: float,
    states: NDArray[Any],
    motions: NDArray[np.float64],
) -> tuple[int, float]:
    """How often an error came to ``level`` from a lock point, and the clocks in which there was a phase.

    ``states`` and ``motions`` take what was there then, all alike likely to be among the kept.
    """
    came, known, near = 0, 0.0, False
    for i in range(BURN_IN_CLICKS + clicks):
        gap = _click(rng, update, state, constants, light, motion)
        error = _error(predict, state, constants, motion)
        if error == FAR:
            near = False
            continue
        if i >= BURN_IN_CLICKS:
            known += gap
        turns = 2 * math.pi * round(error / (2 * math.pi))
        if abs(error - turns) < NEAR_RAD:
            motion[CENTRE] += turns
            near = True
        elif near and abs(error) >= level:
            near = False
            if i >= BURN_IN_CLICKS:
                place = came if came < states.shape[0] else rng.integers(0, came + 1)
                if place < states.shape[0]:
                    states[place] = state
                    motions[place] = motion
                came += 1
    return came, known


@numba.njit
def _climb(
    rng: np.random.Generator,
    update: Kernel,
    predict: Kernel,
    constants: NDArray[Any],
    light: NDArray[np.float64],
    states: NDArray[Any],
    motions: NDArray[np.float64],
    trials: int,
    level: float,
) -> tuple[NDArray[Any], NDArray[np.float64], int]:
    """Trials from states of one level: those that came to the next, and how many they are."""
    reached = np.empty((trials, states.shape[1]), dtype=states.dtype)
    moved = np.empty((trials, 3))
    came = 0
    for _ in range(trials):
        start = rng.integers(0, states.shape[0])
        state, motion = states[start].copy(), motions[start].copy()
        while True:
            error = abs(_error(predict, state, constants, motion))
            if error == FAR or error < NEAR_RAD:
                break
            if error >= level:
                reached[came] = state
                moved[came] = motion
                came += 1
                break
            _click(rng, update, state, constants, light, motion)
    return reached, moved, came
