"""The loop that a phase's spectrum gets: the optimal one where two states are enough, near the optimum of all filters elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from twinphase.theory.tracking import fibre_slope_noise, spectral_mse
from twinphase.theory.two_bands import Motion
from twinphase.theory.two_bands import smoothed_mse as least_smoothed_mse
from twinphase_spec.phase_noise_design import LEAST_SLOPE_PART, PhaseNoise, design, smoothed_mse
from twinphase_spec.smoothing import steady_covariance

LIMITS = {"least_rad2": 1e-6, "most_rad2": 1.0}


@settings(max_examples=30, deadline=None)
@given(st.floats(3, 9), st.floats(4, 7))
def test_a_slope_walk_gets_its_own_q(log_q: float, log_j: float) -> None:
    """Fibre noise far above its corner is a slope walk of Q = 2 pi^2 r^2 fc: D = 0 and the Kalman-Bucy error are found again."""
    corner, q, j = 1e-3, 10**log_q, 10**log_j
    rate_rms = math.sqrt(q / (2 * math.pi**2 * corner))
    assert fibre_slope_noise(rate_rms, corner) == pytest.approx(q)
    found = design(PhaseNoise(rate_rms_rad_per_s=rate_rms, corner_hz=corner), j, **LIMITS)
    p11 = steady_covariance(0.0, q, j)[0]
    assert found.diffusion_rad2_per_s <= 0.02 * j * p11**2
    assert found.slope_noise_rad2_per_s3 == pytest.approx(q, rel=0.02)
    assert found.mse_rad2 == pytest.approx(p11, rel=5e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 4), st.floats(4, 7))
def test_a_walk_gets_its_own_d_but_for_the_slope_that_is_always_there(log_d: float, log_j: float) -> None:
    """With 2 K2 = x K1^2 the error of a walk is (K1 + x K1/2)/(2 J) + D/(2 K1): at most 1 + x/4 times the optimum."""
    d, j = 10**log_d, 10**log_j
    found = design(PhaseNoise(diffusion_rad2_per_s=d), j, **LIMITS)
    assert math.sqrt(d / j) <= found.mse_rad2 <= math.sqrt(d / j) * (1 + LEAST_SLOPE_PART / 4 + 1e-6)
    assert found.diffusion_rad2_per_s == pytest.approx(d, rel=0.04)
    assert found.slope_noise_rad2_per_s3 > 0


@pytest.mark.parametrize("corner_hz", [1.0, 100.0, 3000.0])
@pytest.mark.parametrize("rate_rms", [30.0, 3000.0])
@pytest.mark.parametrize("diffusion", [0.0, 10.0, 1000.0])
def test_fibre_noise_is_followed_within_five_percent_of_the_best_filter_of_any_order(
    corner_hz: float, rate_rms: float, diffusion: float
) -> None:
    j = 3e5
    noise = PhaseNoise(diffusion_rad2_per_s=diffusion, rate_rms_rad_per_s=rate_rms, corner_hz=corner_hz)
    found = design(noise, j, **LIMITS)
    best = spectral_mse(j, diffusion=diffusion, slope_noise=0.0, rate_rms_rad_per_s=rate_rms, corner_hz=corner_hz)
    assert best * 0.995 <= found.mse_rad2 <= 1.05 * best


def test_the_error_of_a_loop_is_the_integral_it_stands_for() -> None:
    k1, k2 = 900.0, 300.0**2
    noise = PhaseNoise(
        diffusion_rad2_per_s=20.0,
        rate_rms_rad_per_s=500.0,
        corner_hz=40.0,
        lines=((100.0, 0.8),),
        bands=((5.0, 45.0, 6.0),),
    )

    def missed(f: float) -> float:
        s = 2j * math.pi * f
        return abs(s * s / (s * s + k1 * s + k2)) ** 2

    def density(f: float) -> float:
        rate = 2 * 20.0 + 500.0**2 / 40.0 * (40.0 / (f + 40.0)) ** 2
        return rate / (2 * math.pi * f) ** 2

    smooth = sum(
        quad(lambda f: density(f) * missed(f), a, b, limit=200)[0]
        for a, b in ((1e-6, 1.0), (1.0, 1e3), (1e3, 1e5), (1e5, 1e9))
    )
    band = 6.0**2 / 40.0 * quad(missed, 5.0, 45.0)[0]
    expected = smooth + 0.8**2 / 2 * missed(100.0) + band
    assert noise.left(k1, np.array([k2]))[0] == pytest.approx(expected, rel=2e-3)


def test_limits_hold_and_a_loop_at_its_limit_says_what_it_leaves() -> None:
    quiet = design(PhaseNoise(), 1e6, least_rad2=1e-4, most_rad2=0.1)
    assert steady_covariance(quiet.diffusion_rad2_per_s, quiet.slope_noise_rad2_per_s3, 1e6)[0] == pytest.approx(1e-4)
    wild = design(PhaseNoise(diffusion_rad2_per_s=1e6), 1e4, least_rad2=1e-4, most_rad2=0.1)
    assert steady_covariance(wild.diffusion_rad2_per_s, wild.slope_noise_rad2_per_s3, 1e4)[0] == pytest.approx(0.1)
    assert wild.mse_rad2 > 10
    with pytest.raises(ValueError, match="an information rate of 0 /s; allowed: above 0: give a light that informs"):
        design(PhaseNoise(), 0.0, least_rad2=1e-4, most_rad2=0.1)


def test_the_rate_that_a_cold_start_meets_counts_everything() -> None:
    noise = PhaseNoise(
        rate_rms_rad_per_s=3.0, drift_rad_per_s=4.0, lines=((1 / math.pi, 6.0),), bands=((0.0, 1.0, 1.0),)
    )
    # line: (2 pi f a)^2 / 2 = 72; band: mean of (2 pi f)^2 over it is (2 pi)^2 / 3
    assert noise.slope_rms_rad_per_s**2 == pytest.approx(9 + 16 + 72 + (2 * math.pi) ** 2 / 3)


@pytest.mark.parametrize("corner_hz", [1.0, 100.0, 3000.0])
@pytest.mark.parametrize("diffusion", [0.0, 1000.0])
def test_the_smoother_is_near_the_best_one_too(corner_hz: float, diffusion: float) -> None:
    j, rate_rms = 3e5, 3000.0
    noise = PhaseNoise(diffusion_rad2_per_s=diffusion, rate_rms_rad_per_s=rate_rms, corner_hz=corner_hz)
    found = design(noise, j, **LIMITS)
    settings_of = {
        "diffusion_rad2_per_s": found.diffusion_rad2_per_s,
        "slope_noise_rad2_per_s3": found.slope_noise_rad2_per_s3,
        "fisher_hz": j,
    }
    best = least_smoothed_mse(Motion(diffusion=diffusion, rate_rms_rad_per_s=rate_rms, corner_hz=corner_hz), j)
    smoothed = smoothed_mse(noise, **settings_of)
    assert best * 0.995 <= smoothed <= 1.06 * best
    # a slow line is followed, a fast one is left as it is
    for frequency, left in ((1.0, 0.0), (1e6, 0.08)):
        with_line = PhaseNoise(
            diffusion_rad2_per_s=diffusion,
            rate_rms_rad_per_s=rate_rms,
            corner_hz=corner_hz,
            lines=((frequency, 0.4),),
        )
        assert smoothed_mse(with_line, **settings_of) - smoothed == pytest.approx(left, abs=1e-4)
