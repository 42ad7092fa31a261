"""Estimator variances."""

import math

import numpy as np
import pytest

from twinphase.theory import phase


def test_golden_sigma() -> None:
    assert math.sqrt(phase.four_phase_variance(100, 0.97)) == pytest.approx(0.147, abs=5e-4)
    assert phase.shot_noise_variance(100, 0.97) == pytest.approx(0.02 / 0.97**2)


@pytest.mark.parametrize(("causal", "expected"), [(False, 0.167), (True, 0.33)])
def test_golden_windows(causal: bool, expected: float) -> None:
    variance = phase.causal_window_variance if causal else phase.window_variance
    rms = math.sqrt(variance(count_rate=1e6, visibility=0.98, window_s=100e-6, drift_rad_per_s=2871))
    assert rms == pytest.approx(expected, rel=0.02)


def test_best_window_is_a_minimum() -> None:
    setting = {"count_rate": 4e5, "visibility": 0.95, "drift_rad_per_s": 2871.0}
    best = phase.best_window_s(**setting)
    least = phase.window_variance(window_s=best, **setting)
    for factor in (0.97, 1.03):
        assert phase.window_variance(window_s=best * factor, **setting) > least


def test_noise_in_short_and_long_windows() -> None:
    short = phase.noise_window_variance(2871, 100, 1e-4)
    assert short == pytest.approx(phase.drift_variance(2871, 1e-4), rel=0.08)
    assert short < phase.drift_variance(2871, 1e-4)
    assert phase.noise_window_variance(2871, 100, 1e-6) == pytest.approx(phase.drift_variance(2871, 1e-6), rel=2e-3)


def test_sign_of_the_estimate() -> None:
    psi = 0.7
    left = [1 + math.cos(psi + k * math.pi / 2) for k in range(4)]
    right = [1 - math.cos(psi + k * math.pi / 2) for k in range(4)]
    d0, d1, d2, d3 = (a - b for a, b in zip(left, right, strict=True))
    assert phase.four_phase_estimate((d0, d1, d2, d3)) == pytest.approx(psi)


@pytest.mark.parametrize(("counts", "visibility", "tolerance"), [(40, 0.985, 0.02), (120, 0.9, 0.01)])
def test_variance_against_drawn_counts(counts: int, visibility: float, tolerance: float) -> None:
    """Variance of 4e5 estimates: relative statistical error sqrt(2 / 4e5) = 0.22 %, so 1 % is 4.5 sigma; at 40 counts the expansion
    may add 1 %."""
    generator = np.random.default_rng(20)
    psi = generator.uniform(0, 2 * np.pi, 400_000)
    d = [
        generator.poisson(counts / 8 * (1 + visibility * np.cos(psi + k * np.pi / 2))).astype(float)
        - generator.poisson(counts / 8 * (1 - visibility * np.cos(psi + k * np.pi / 2)))
        for k in range(4)
    ]
    error = (np.arctan2(d[3] - d[1], d[0] - d[2]) - psi + np.pi) % (2 * np.pi) - np.pi
    assert error.var() == pytest.approx(phase.four_phase_variance(counts, visibility), rel=tolerance)


def test_no_counts() -> None:
    assert phase.four_phase_variance(0, 0.9) == pytest.approx(math.pi**2 / 3)
