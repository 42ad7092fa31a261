"""Limits of psi_q against closed forms and against a Kalman smoother of both bands."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twinphase.theory.tracking import spectral_mse, steady_covariance
from twinphase.theory.two_bands import Motion, smoothed_mse, two_band_causal_mse, two_band_smoothed_mse


@pytest.mark.parametrize(("diffusion", "rate"), [(1.0, 1e4), (754.0, 1e6), (8e3, 1e7)])
def test_a_walk_is_smoothed_to_half_its_causal_error(diffusion: float, rate: float) -> None:
    assert smoothed_mse(Motion(diffusion=diffusion), rate) == pytest.approx(math.sqrt(diffusion / rate) / 2, rel=2e-3)


def test_a_slope_walk_is_smoothed_to_a_quarter() -> None:
    """``Q^(1/4) J^(-3/4) / (2 sqrt 2)`` of ``sqrt(2) Q^(1/4) J^(-3/4)``."""
    causal = float(steady_covariance(0.0, 1e6, 1e10).p11)
    assert smoothed_mse(Motion(slope_noise=1e10), 1e6) == pytest.approx(causal / 4, rel=2e-3)


def test_motions_that_are_not_there_do_not_count() -> None:
    r, still = Motion(diffusion=100.0), Motion()
    # a d that does not move makes both bands one
    assert two_band_smoothed_mse(r, 2e5, still, 1e5) == pytest.approx(smoothed_mse(r, 3e5), rel=1e-6)
    # without clicks of the reference band, or with an r that does not move, the in-band clicks have it all
    both = Motion(diffusion=104.0)
    assert two_band_smoothed_mse(r, 1e-9, Motion(diffusion=4.0), 1e5) == pytest.approx(
        smoothed_mse(both, 1e5), rel=1e-6
    )
    assert two_band_smoothed_mse(still, 2e5, r, 1e5) == pytest.approx(smoothed_mse(r, 1e5), rel=1e-6)


def test_two_bands_against_a_smoother_that_knows_them() -> None:
    """Discrete random walks in steps of 0.08 time constants of r, 10 of d to each side: covariance of the middle by solving for it."""
    d_r, d_d, j_r, j_d, h, n = 1000.0, 400.0, 4e5, 4e5, 4e-6, 401
    walk = np.diag(np.full(n, 2.0)) - np.diag(np.ones(n - 1), 1) - np.diag(np.ones(n - 1), -1)
    walk[0, 0] = walk[-1, -1] = 1
    eye = np.eye(n)
    information = np.block(
        [[walk / (d_r * h) + (j_r + j_d) * h * eye, j_d * h * eye], [j_d * h * eye, walk / (d_d * h) + j_d * h * eye]]
    )
    covariance = np.linalg.inv(information)
    at = [n // 2, n + n // 2]
    expected = covariance[np.ix_(at, at)].sum()
    found = two_band_smoothed_mse(Motion(diffusion=d_r), j_r, Motion(diffusion=d_d), j_d)
    assert found == pytest.approx(expected, rel=0.02)
    alone = smoothed_mse(Motion(diffusion=d_r), j_r) + smoothed_mse(Motion(diffusion=d_d), j_d)
    assert found < alone


def test_the_causal_error_is_that_of_both_bands_and_grows_with_the_delay() -> None:
    r = Motion(diffusion=6.3, rate_rms_rad_per_s=2871.0)
    d = Motion(rate_rms_rad_per_s=33.0)
    noise = {"diffusion": 6.3, "slope_noise": 0.0, "rate_rms_rad_per_s": 2871.0, "corner_hz": 100.0}
    assert r.causal_mse(3.3e5) == pytest.approx(spectral_mse(3.3e5, **noise), rel=1e-9)
    now, later = (two_band_causal_mse(r, 3.3e5, d, 3.3e4, delay) for delay in (0.0, 2e-5))
    assert now == pytest.approx(r.causal_mse(3.3e5) + d.causal_mse(3.3e4))
    assert later > now
