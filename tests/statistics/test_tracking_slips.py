"""Cycle slips: the fixed-gain first-order loop against Viterbi's theory, and the bit-exact click tracker beside it on the same light.

Light: four-phase, a walk D for which the loop's best gain ``K = sqrt(D J)``, J = V^2 R/2, leaves the linear variance sigma^2; then
walk and shot noise drive the loop alike, and ``rho = 1/sigma^2`` holds as without a walk. What the tracker says itself (a phase given
up and found again, half a turn added by evidence) is a break, not a slip: no herald has a phase across it. Rates are per second in which
there is a phase; intervals are exact Poisson ones of 99 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from run_seeds import run_seed

from twinphase.theory import tracking
from twinphase_sim.tracking.estimators.first_order import first_order, loop_gain_per_s
from twinphase_sim.tracking.estimators.fixed import fixed
from twinphase_sim.tracking.estimators.telling import BREAKS, telling
from twinphase_sim.tracking.scenario import FOUR_PHASE, STEERED, Scenario, Scheme
from twinphase_sim.tracking.slips import SlipCount, count_slips_of, passages
from twinphase_spec.units import CLOCK_HZ

RATE = 1e6
CONFIDENCE = 0.99
EPOCH_BITS = 11


@dataclass(frozen=True)
class Point:
    """sigma^2 in rad^2 and V."""

    variance: float
    visibility: float

    @property
    def scenario(self) -> Scenario:
        information = self.visibility**2 * RATE / 2
        return Scenario(
            diffusion_rad2_per_s=self.variance**2 * information, count_rate_hz=RATE, visibility=self.visibility
        )

    @property
    def gain_rad(self) -> float:
        """Of the loop per click."""
        return self.variance * self.visibility

    @property
    def gain_hz(self) -> float:
        """K."""
        return loop_gain_per_s(self.gain_rad, RATE, self.visibility)

    def first_order(self, updates: int, seed: int) -> SlipCount:
        loop = first_order(gain_rad=self.gain_rad, start_phase_rad=self.scenario.start_phase_rad)
        return count_slips_of(self.scenario, loop, updates=updates, seed=seed, gain_per_s=self.gain_hz)

    def tracker(self, updates: int, seed: int) -> SlipCount:
        watched = telling(
            fixed(self.scenario, detect=True, epoch_bits=EPOCH_BITS), clocks=round(CLOCK_HZ / self.gain_hz)
        )
        return count_slips_of(self.scenario, watched, updates=updates, seed=seed, gain_per_s=self.gain_hz)


def per_known_second(count: SlipCount) -> tuple[float, float]:
    low, high = count.rate_ci_hz(CONFIDENCE)
    return low / count.known, high / count.known


def long(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("point", "updates"),
    [
        (Point(0.25, 0.98), 6_000_000),
        long(Point(0.3, 0.98), 10_000_000),
        long(Point(0.2, 0.98), 100_000_000),
        long(Point(0.2, 0.7), 100_000_000),
        long(Point(0.15, 0.98), 600_000_000),
    ],
)
def test_first_order_loop_is_within_a_factor_of_two(point: Point, updates: int) -> None:
    """Measured over theory at V 0.98: 0.65, 0.57, 0.51 at 0.3, 0.25, 0.2 rad^2, 0.35 (5 slips) at 0.15; 0.65 at V 0.7, as part of the
    noise is ``1 - V^2/2`` of what the linear theory takes. The interval may not lie outside of half to double."""
    count = point.first_order(updates, run_seed(91))
    theory = 1 / tracking.slip_time_s(point.variance, point.gain_hz)
    low, high = per_known_second(count)
    print(f"{point}: {count.slips} slips in {count.updates} updates, theory {theory * count.seconds:.1f}")
    assert low < 2 * theory
    assert high > theory / 2
    assert count.slips > 0


@pytest.mark.parametrize(
    ("point", "updates"),
    [
        (Point(0.25, 0.98), 3_000_000),
        long(Point(0.25, 0.98), 30_000_000),
        long(Point(0.2, 0.98), 100_000_000),
        long(Point(0.2, 0.7), 60_000_000),
        long(Point(0.15, 0.98), 400_000_000),
    ],
)
def test_the_tracker_slips_no_more_often(point: Point, updates: int) -> None:
    """Measured, tracker against loop: 6 and 5 slips in 4e8 updates at 0.15 rad^2 (theory 14, 99.92 % of the time with a phase); 1 and
    205 in 3e7 at 0.25, where it has a phase for 48 % of the time only.

    The intervals may not say that the tracker slips more often; where the phase is given up it is a break, not a slip.
    """
    seed = run_seed(92)
    loop, tracker = point.first_order(updates, seed), point.tracker(updates, seed)
    print(
        f"{point}, {updates} updates: loop {loop.slips} slips, {loop.mse_rad2:.3f} rad^2; tracker {tracker.slips}, "
        f"{tracker.mse_rad2:.3f} rad^2, {tracker.state[BREAKS]} breaks, a phase for {tracker.known:.1%} of the time"
    )
    assert per_known_second(tracker)[0] <= per_known_second(loop)[1]
    assert tracker.mse_rad2 < loop.mse_rad2
    assert tracker.state[BREAKS] > 0


@pytest.mark.parametrize(
    ("scheme", "updates"),
    [
        (FOUR_PHASE, 2_000_000),
        long(FOUR_PHASE, 1_000_000_000),
        long(STEERED, 100_000_000),
    ],
)
def test_none_below_a_twentieth(scheme: Scheme, updates: int) -> None:
    """No slip where the error is just below 0.05 rad^2: D 1.3e4, R 1e7, 0.048 four-phase. 1e9 updates, 12 minutes of a core, had none, so
    that with 95 % confidence there are less than 3 in 1e9; 85 times in them the tracker said itself that it had lost the phase."""
    scenario = Scenario(diffusion_rad2_per_s=1.3e4, count_rate_hz=1e7, scheme=scheme)
    watched = telling(fixed(scenario, detect=True, epoch_bits=9), clocks=round(CLOCK_HZ / scenario.gain_per_s()))
    count = count_slips_of(scenario, watched, updates=updates, seed=run_seed(8))
    print(f"{scheme}: {count.updates} updates, {count.mse_rad2:.4f} rad^2, {count.state[BREAKS]} breaks")
    assert 0.03 < count.mse_rad2 < 0.05
    assert count.known > 0.999
    assert count.slips == 0


def test_what_counts_as_a_slip() -> None:
    """First passages of the unwrapped error to a turn from where it was locked; a stretch without a phase begins anew."""
    turn, nothing = 2 * math.pi, math.nan
    for errors, expected in (
        ([0.1, 3.0, 6.0, 0.0], 0),
        ([0.1, 3.0, 6.3, 6.0, 6.3, 0.5, -0.1], 2),
        ([turn + 0.1, turn, 1.9 * turn, 2.1 * turn], 1),
        ([0.1, nothing, turn + 0.1, turn], 0),
        ([0.1, 2 * turn + 0.1], 2),
        ([0.1, -turn - 0.1, -2.2 * turn], 2),
    ):
        assert passages(np.array(errors), math.nan)[0] == expected, errors


def test_a_run_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="a run of 100 updates is too short; give at least 4000"):
        Point(0.2, 0.9).first_order(100, 1)
