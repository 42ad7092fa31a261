"""Gains of the bit-exact click tracker that find D and Q by themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from run_seeds import run_seed

from twinphase_sim.tracking.estimators.fixed import LATENCY_S, fixed
from twinphase_sim.tracking.judge import judge
from twinphase_sim.tracking.scenario import FOUR_PHASE, STEERED, Scenario, Scheme


@dataclass(frozen=True)
class Point:
    """A walk D, a slope walk Q, clicks R, and epochs that suit them."""

    diffusion: float
    slope_noise: float
    rate_hz: float
    epoch_bits: int
    scheme: Scheme

    @property
    def scenario(self) -> Scenario:
        return Scenario(
            diffusion_rad2_per_s=self.diffusion,
            slope_noise_rad2_per_s3=self.slope_noise,
            count_rate_hz=self.rate_hz,
            scheme=self.scheme,
            delay_s=LATENCY_S,
        )


POINTS = [
    Point(754.0, 0.0, 1e6, 11, FOUR_PHASE),
    pytest.param(Point(63.0, 0.0, 1e7, 11, STEERED), marks=pytest.mark.long),
    pytest.param(Point(1.1, 0.0, 1e5, 16, STEERED), marks=pytest.mark.long),
    Point(0.5, 1.6e10, 1e6, 11, FOUR_PHASE),
    pytest.param(Point(0.5, 1.6e10, 1e6, 13, STEERED), marks=pytest.mark.long),
    pytest.param(Point(3.34, 40.0, 4.7e4, 10, FOUR_PHASE), marks=pytest.mark.long),
]
"""The last as psi_d of the seed's lab: its kappa is 7, and steps of w are far below their unit."""


@pytest.mark.parametrize("point", POINTS)
def test_wrong_walk_and_slope_noise_cost_little(point: Point) -> None:
    """D or Q ten times too large or too small: after adaptation 5 % at most, measured 0.2 to 2.5 %.

    4000 time constants of the same light for all, those of the adaptation among them; as the noise is the same, two efficiencies
    differ by far less than the 2.2 % to which each is known: 1 % is granted.
    """
    seed, scenario = run_seed(61), point.scenario

    def efficiency(a_gain: int, walk: float = 1.0, slope_noise: float = 1.0) -> float:
        estimator = fixed(
            scenario, a_gain=a_gain, wrong_walk=walk, wrong_slope_noise=slope_noise, epoch_bits=point.epoch_bits
        )
        verdict = judge(scenario, estimator, seed=seed, time_constants=4000)
        assert verdict.slips == 0
        return verdict.efficiency

    right = efficiency(0)
    told = [(1.0, 1.0), (10.0, 1.0), (0.1, 1.0)] + ([(1.0, 10.0), (1.0, 0.1)] if point.slope_noise else [])
    found = {factors: efficiency(1, *factors) for factors in told}
    table = ", ".join(f"D x {d:g} Q x {q:g} {e:.3f}" for (d, q), e in found.items())
    print(
        f"{point.scheme} D {point.diffusion:g} Q {point.slope_noise:g} R {point.rate_hz:g}, bound "
        f"{math.sqrt(scenario.bound_mse()):.3f} rad: {right:.3f} told right; adapting {table}"
    )
    assert found[1.0, 1.0] > right * 0.98
    for factors, reached in found.items():
        assert reached > right * (0.95 - 0.01), factors


def test_without_adaptation_it_costs_much() -> None:
    """The test above can fail: a D ten times too small costs a third of the efficiency where nothing adapts."""
    scenario = Point(754.0, 0.0, 1e6, 11, FOUR_PHASE).scenario
    wrong = judge(scenario, fixed(scenario, wrong_walk=0.1), seed=run_seed(62), time_constants=2000)
    assert wrong.efficiency < 0.75
