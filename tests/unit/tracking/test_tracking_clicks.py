"""Stimulus: order, slots, duty, rates, and the truth's increments."""

from collections.abc import Iterator

import numpy as np
import pytest

from twinphase_sim.tracking.clicks import CANDIDATE, CHUNK_CANDIDATES, EVALUATION, PhaseWalk, Stimulus, chunks
from twinphase_sim.tracking.scenario import Scenario
from twinphase_spec.units import CLOCK_HZ

SCENARIO = Scenario(diffusion_rad2_per_s=754.0, count_rate_hz=1e6, duty=0.5, delay_s=1e-6)


def run(scenario: Scenario, candidates: int, seed: int = 3) -> Iterator[Stimulus]:
    return chunks(scenario, candidates=candidates, evaluation_clocks=1000.0, seed=(seed,))


def test_events_are_in_order_and_in_their_slots() -> None:
    clocks = [s.clocks for s in run(SCENARIO, 3 * CHUNK_CANDIDATES)]
    assert len(clocks) == 3
    assert (np.diff(np.concatenate(clocks)) >= 0).all()
    s = next(run(SCENARIO, 20000))
    assert (s.slots == s.clocks // 32).all()
    assert (s.steps == s.slots % 4).all()
    clicks = s.clocks[s.kinds == CANDIDATE]
    assert (clicks % 32).max() == 15


def test_rates() -> None:
    """Poisson number of candidates and stratified evaluations of 0.04 s; 5 sigma."""
    s = next(run(SCENARIO, 20000))
    seconds = s.clocks[-1] / CLOCK_HZ
    expected = SCENARIO.candidate_hz * 0.5 * seconds
    assert abs((s.kinds == CANDIDATE).sum() - expected) < 5 * np.sqrt(expected)
    assert (s.kinds == EVALUATION).sum() == pytest.approx(seconds * CLOCK_HZ / 1000, abs=2)


def test_the_seed_decides() -> None:
    first, again, other = (next(run(SCENARIO, 2000, seed)) for seed in (1, 1, 2))
    assert (first.phases_rad == again.phases_rad).all()
    assert first.phases_rad.size != other.phases_rad.size or (first.phases_rad != other.phases_rad).any()


def test_walk_of_phase_and_slope_is_exact_for_any_gaps() -> None:
    """Covariance of (phase step less drift) over 10 000 clocks drawn in uneven gaps: variance ``D T + Q T^3 / 3``.

    4000 walks, relative sigma of a variance sqrt(2/4000) = 2.2 %, 5 sigma 11 %.
    """
    d, q = 50.0, 2e10
    scenario = Scenario(diffusion_rad2_per_s=d, count_rate_hz=1e6, slope_noise_rad2_per_s3=q, drift_rad_per_s=1e3)
    clocks = np.array([0, 1, 1, 700, 9000, 10000], dtype=np.int64)
    t = 10000 / CLOCK_HZ
    ends = np.empty(4000)
    for seed in range(4000):
        walk = PhaseWalk(scenario, (seed,))
        walk.at(clocks[:4])
        ends[seed] = walk.at(clocks[4:])[-1] - 1.0 - 1e3 * t
    expected = d * t + q * t**3 / 3
    assert ends.var() == pytest.approx(expected, rel=0.11)
    assert abs(ends.mean()) < 5 * np.sqrt(expected / 4000)


def test_fibre_starts_at_the_start_phase() -> None:
    scenario = Scenario(
        diffusion_rad2_per_s=0.0, count_rate_hz=1e6, fibre_rate_rms_rad_per_s=2871.0, start_phase_rad=0.25
    )
    walk = PhaseWalk(scenario, (5,))
    phases = walk.at(np.array([0, 125_000], dtype=np.int64))
    assert phases[0] == pytest.approx(0.25)
    assert 0 < abs(phases[1] - 0.25) < 5 * 2.871
