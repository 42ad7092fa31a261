"""Runs an estimator against a scenario and holds it against the bound, with confidence intervals.

Confidence: a run's squared errors are correlated over the loop's time constant 1/K, so their mean is taken in B batches much longer
than that, and the batch means are treated as independent: interval ``mean +- t(0.975, B - 1) s / sqrt(B)``. The squared error of a
linear loop has the autocorrelation exp(-2 K u) and the relative variance 2; a batch of length T then has a mean of relative variance
``2 / (K T)``, and the means of neighbours have the covariance ``2 / (2 K T)^2``: a correlation of 1/(4 K T), 0.25 % at K T = 100,
which makes the interval narrow by as much. (Batch means: Law and Kelton, Simulation Modeling and Analysis, ch. 9.) Without slips;
a slip is an outlier of its batch and widens the interval as it should.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinphase.theory import tracking
from twinphase_spec.units import CLOCK_HZ

from .clicks import EVALUATION, Stimulus, chunks
from .contract import Estimator
from .scenario import STEERED, Scenario

EVALUATIONS_PER_CONSTANT = 4
"""Evaluations per time constant: the squared errors of neighbours are correlated by exp(-1/2), more of them tell little new."""
MIN_BATCH_CONSTANTS = 50
"""Shortest batch in time constants: the interval is then narrow by half a percent."""
MIN_BATCHES = 10
BURN_IN_CONSTANTS = 20
BURN_IN_CLICKS = 400
TURN_RAD = 2 * math.pi


@numba.njit
def advance(
    update: Callable[..., None],
    predict: Callable[..., tuple[float, bool]],
    state: NDArray[Any],
    constants: NDArray[Any],
    events: tuple[NDArray[Any], ...],
    ports: NDArray[np.float64],
    last: NDArray[np.int64],
    steered: bool,
    delay_clocks: int,
    dead_clocks: NDArray[np.int64],
    offsets: NDArray[np.float64],
) -> tuple[NDArray[np.float64], int]:
    """Plays events to an estimator: its estimates at the evaluations in rad (not a number before it has one), and the clicks.

    ``dead_clocks`` by port; ``offsets`` in rad by step: what the reference that is told has more than the light's.
    ``ports`` holds ``W_L, V_L, W_R, V_R`` with W per candidate; ``last`` the last click of each port, kept between calls.
    """
    clocks, kinds, slots, steps, uniforms, phases = events
    estimates = np.empty(int(np.sum(kinds)))
    evaluated, clicks = 0, 0
    for i in range(clocks.size):
        if kinds[i]:
            estimate, locked = predict(state, constants, clocks[i] + delay_clocks)
            estimates[evaluated] = estimate if locked else np.nan
            evaluated += 1
            continue
        reference = steps[i] * (math.pi / 2)
        if steered:
            estimate, locked = predict(state, constants, clocks[i])
            reference = reference - estimate if locked else (slots[i] & 3) * (math.pi / 2)
        cosine = math.cos(phases[i] + reference)
        left = ports[0] * (1 + ports[1] * cosine)
        right = ports[2] * (1 - ports[3] * cosine)
        if uniforms[i] < left:
            port = 0
        elif uniforms[i] < left + right:
            port = 1
        else:
            continue
        if clocks[i] - last[port] < dead_clocks[port]:
            continue
        last[port] = clocks[i]
        clicks += 1
        update(state, constants, clocks[i], reference + offsets[steps[i]], port)
    return estimates, clicks


class Run:
    """An estimator in its scenario: state and detectors go on from chunk to chunk."""

    def __init__(
        self, scenario: Scenario, estimator: Estimator, *, offsets_rad: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    ) -> None:
        self.state = estimator.state.copy()
        self._scenario, self._estimator = scenario, estimator
        (left, right), (v_left, v_right) = scenario.port_rates_hz, scenario.port_visibilities
        self._ports = np.array([left, v_left, right, v_right])
        self._ports[[0, 2]] /= scenario.candidate_hz
        self._offsets = np.array(offsets_rad)
        self._dead_clocks = np.array([round(dead_s * CLOCK_HZ) for dead_s in scenario.dead_times_s], dtype=np.int64)
        self._last = -self._dead_clocks
        self.clicks = 0

    def play(self, stimulus: Stimulus) -> NDArray[np.float64]:
        """Estimates in rad at the chunk's evaluations."""
        s = stimulus
        estimates, clicks = advance(
            self._estimator.update,
            self._estimator.predict,
            self.state,
            self._estimator.constants,
            (s.clocks, s.kinds, s.slots, s.steps, s.uniforms, s.phases_rad),
            self._ports,
            self._last,
            self._scenario.scheme == STEERED,
            self._scenario.delay_clocks,
            self._dead_clocks,
            self._offsets,
        )
        self.clicks += int(clicks)
        return np.asarray(estimates)


@dataclass(frozen=True)
class Verdict:
    """What a run says of an estimator. Intervals have 95 % confidence."""

    estimator: str
    mse_rad2: float
    """Mean of the squared error, wrapped to +-pi, of the estimate for t + tau from clicks up to t."""
    mse_ci95_rad2: tuple[float, float]
    bound_rad2: float
    """Least mean square error for the scheme used; four-phase: along the true path of psi."""
    efficiency: float
    """``bound / MSE``."""
    efficiency_ci95: tuple[float, float]
    bias_rad: float
    bias_ci95_rad: tuple[float, float]
    slips: int
    """Times that the error reached a turn from where it was locked (first passage, as in Viterbi's theory)."""
    seconds: float
    """Judged time, without the burn-in."""
    clicks: int
    """All clicks that the estimator saw."""
    batches: int

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return asdict(self)


def wrap_rad(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """To [-pi, pi)."""
    return (angle + math.pi) % TURN_RAD - math.pi


def count_slips(errors_rad: NDArray[np.float64]) -> int:
    """Slips in a dense series of wrapped errors: first passages of the unwrapped error to a turn from the last lock point."""
    unwrapped = np.unwrap(errors_rad)
    centre, slips = 0.0, 0
    for index in np.flatnonzero(np.abs(np.diff(np.floor(unwrapped / TURN_RAD))) > 0):
        away = unwrapped[index + 1] - centre
        if abs(away) >= TURN_RAD:
            turns = math.trunc(away / TURN_RAD)
            slips += abs(turns)
            centre += turns * TURN_RAD
    return slips


def batch_interval(means: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean of batch means and its 95 % interval: (mean, low, high)."""
    mean = float(means.mean())
    half = float(stats.t.ppf(0.975, means.size - 1) * means.std(ddof=1) / math.sqrt(means.size))
    return mean, mean - half, mean + half


def _burn_in_s(scenario: Scenario, gain_per_s: float) -> float:
    return BURN_IN_CONSTANTS / gain_per_s + BURN_IN_CLICKS / scenario.click_rate_hz


def stimuli(scenario: Scenario, *, seed: int, time_constants: float, gain_per_s: float) -> Iterator[Stimulus]:
    """What `judge` plays: the burn-in and so many time constants, with EVALUATIONS_PER_CONSTANT."""
    seconds = time_constants / gain_per_s + _burn_in_s(scenario, gain_per_s)
    candidates = math.ceil(seconds * scenario.candidate_hz * scenario.open_fraction)
    spacing_clocks = CLOCK_HZ / (gain_per_s * EVALUATIONS_PER_CONSTANT)
    return chunks(scenario, candidates=candidates, evaluation_clocks=max(spacing_clocks, 1.0), seed=(seed,))


def judge(
    scenario: Scenario,
    estimator: Estimator,
    *,
    seed: int,
    time_constants: float = 4000,
    batches: int = 40,
    gain_per_s: float | None = None,
    offsets_rad: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
) -> Verdict:
    """Judge an estimator over a run of so many time constants 1/K, K = ``gain_per_s`` (default: the optimal loop's).

    ``offsets_rad``: what the estimator is told of the reference of step k = 0 ... 3 more than it is.

    The first BURN_IN_CONSTANTS and BURN_IN_CLICKS are left out. ValueError where batches would be too few or too short, or where
    the estimator has no estimate after the burn-in.
    """
    if batches < MIN_BATCHES or time_constants / batches < MIN_BATCH_CONSTANTS:
        raise ValueError(
            f"judge: {batches} batches of {time_constants / batches:.3g} time constants; give at least {MIN_BATCHES}"
            f" batches of at least {MIN_BATCH_CONSTANTS}"
        )
    gain = scenario.gain_per_s() if gain_per_s is None else gain_per_s
    burn_in_s = _burn_in_s(scenario, gain)
    run = Run(scenario, estimator, offsets_rad=offsets_rad)
    parts: list[tuple[NDArray[Any], ...]] = []
    for stimulus in stimuli(scenario, seed=seed, time_constants=time_constants, gain_per_s=gain):
        asked = stimulus.kinds == EVALUATION
        parts.append((stimulus.clocks[asked], stimulus.phases_rad[asked], run.play(stimulus)))
    clocks, truth, estimates = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = clocks >= burn_in_s * CLOCK_HZ
    clocks, truth, errors = clocks[kept], truth[kept], wrap_rad(estimates[kept] - truth[kept])
    if np.isnan(errors).any():
        raise ValueError(f"judge: {estimator.name} has no estimate {burn_in_s:.3g} s after the start")
    length = clocks.size // batches
    clocks, truth, errors = (a[: batches * length].reshape(batches, length) for a in (clocks, truth, errors))
    bound = _bound(scenario, clocks / CLOCK_HZ, truth)
    mse, mse_low, mse_high = batch_interval((errors**2).mean(axis=1))
    bias, bias_low, bias_high = batch_interval(errors.mean(axis=1))
    return Verdict(
        estimator=estimator.name,
        mse_rad2=mse,
        mse_ci95_rad2=(mse_low, mse_high),
        bound_rad2=bound,
        efficiency=bound / mse,
        efficiency_ci95=(bound / mse_high, bound / mse_low if mse_low > 0 else math.inf),
        bias_rad=bias,
        bias_ci95_rad=(bias_low, bias_high),
        slips=count_slips(errors.reshape(-1)),
        seconds=float(clocks[-1, -1] - clocks[0, 0]) / CLOCK_HZ,
        clicks=run.clicks,
        batches=batches,
    )


def _bound(scenario: Scenario, times_s: NDArray[np.float64], psi_rad: NDArray[np.float64]) -> float:
    """Least mean square error in rad^2; batches of shape (B, n), each from its own steady state."""
    if scenario.scheme == STEERED:
        return scenario.bound_mse()
    along = tracking.path_mse(
        times_s,
        scenario.four_phase_rate(psi_rad),
        diffusion=scenario.diffusion_rad2_per_s,
        delay_s=scenario.delay_s,
        slope_noise=scenario.total_slope_noise,
    )
    return float(along.mean())
