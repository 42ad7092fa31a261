"""Bounds of phase tracking: golden values of docs/physics.md, limits, and formulas against each other."""

import math

import numpy as np
import pytest

from twinphase.theory import tracking

V = 0.98


@pytest.mark.parametrize(
    ("diffusion", "rate_hz", "delay_s", "mid_fringe", "four_phase"),
    [(754, 1e6, 10e-6, 0.189, 0.1955), (63, 1e7, 5e-6, 0.0536, 0.0559), (1.1, 1e5, 10e-6, 0.058, 0.0610)],
)
def test_golden_residuals(
    diffusion: float, rate_hz: float, delay_s: float, mid_fringe: float, four_phase: float
) -> None:
    for information, expected in (
        (tracking.mid_fringe_information(V), mid_fringe),
        (tracking.four_phase_mean_information(V), four_phase),
    ):
        rate = tracking.fisher_rate(information, rate_hz)
        assert math.sqrt(tracking.causal_mse(diffusion, rate, delay_s)) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("visibility", [0.3, 0.95, 0.99])
def test_information_of_the_schemes(visibility: float) -> None:
    psi = np.arange(1024) * (2 * math.pi / 1024)
    mean = tracking.four_phase_mean_information(visibility)
    assert tracking.port_information(visibility, psi).mean() == pytest.approx(mean, rel=1e-9)
    four = tracking.four_phase_information(visibility, psi)
    assert four.mean() == pytest.approx(mean, rel=1e-9)
    assert four[0] == pytest.approx(visibility**2 / 2)
    assert four[128] == pytest.approx(visibility**2 / (2 - visibility**2))
    assert tracking.steered_information(visibility) == pytest.approx(15 / 16 * visibility**2)
    assert tracking.steered_information(visibility, orthogonal_fraction=0) == pytest.approx(visibility**2)
    # a steering error makes the extremes tell something
    assert tracking.steered_information(visibility, error_rms_rad=0.1) != tracking.steered_information(visibility)


def test_steered_average_has_enough_nodes() -> None:
    """Against a fine sum over the Gaussian error, where the fringe is narrowest against it."""
    error, visibility = 0.2, 0.99
    e = np.linspace(-8 * error, 8 * error, 20001)
    weight = np.exp(-((e / error) ** 2) / 2)
    expected = (
        15 / 16 * tracking.port_information(visibility, e + math.pi / 2)
        + 1 / 16 * tracking.port_information(visibility, e)
    ) @ (weight / weight.sum())
    assert tracking.steered_information(visibility, error_rms_rad=error) == pytest.approx(float(expected), rel=1e-3)


def test_riccati_equation_holds() -> None:
    d, q, j = 300.0, 1e9, 2e5
    p = tracking.steady_covariance(d, j, q)
    assert 2 * p.p12 + d - j * p.p11**2 == pytest.approx(0, abs=1e-9 * d)
    assert p.p22 == pytest.approx(j * p.p11 * p.p12)
    assert j * p.p12**2 == pytest.approx(q)


def test_path_of_constant_information_stays() -> None:
    d, q, j, tau = 754.0, 1e8, 8e5, 1e-5
    times = np.linspace(0, 1e-3, 200)
    along = tracking.path_mse(times, np.full(200, j), diffusion=d, delay_s=tau, slope_noise=q)
    assert along == pytest.approx(tracking.causal_mse(d, j, tau, q), rel=1e-3)


def test_path_between_its_limits() -> None:
    """A path that turns slowly against the loop has the frozen mean, one that turns fast the bound of the mean information."""
    d, r = 100.0, 1e6
    gain = math.sqrt(d * r * tracking.four_phase_mean_information(V))
    uniform = tracking.four_phase_information(V, np.arange(256) * (math.pi / 128)) * r
    frozen, mean = tracking.frozen_mse(d, uniform), tracking.causal_mse(d, uniform.mean())
    assert frozen > mean
    for turns_per_constant, turns, expected in ((0.001, 2, frozen), (10.0, 100, mean)):
        psi = np.linspace(0, 2 * math.pi * turns, 4000)
        times = psi / (2 * math.pi * turns_per_constant * gain)
        along = tracking.path_mse(times, tracking.four_phase_information(V, psi) * r, diffusion=d)
        # the second half has forgotten its start, 5 time constants ago in the fast path
        assert along[2000:].mean() == pytest.approx(expected, rel=2e-3)


def test_delay_and_lag() -> None:
    d, j = 754.0, 8e5
    k = math.sqrt(d * j)
    assert tracking.fixed_lag_mse(d, j, 0) == pytest.approx(tracking.causal_mse(d, j))
    assert tracking.fixed_lag_mse(d, j, 1.15 / k) == pytest.approx(0.55 * tracking.causal_mse(d, j), rel=1e-3)
    assert tracking.integrator_mse(d, j, k, 0) == pytest.approx(tracking.causal_mse(d, j))
    assert tracking.integrator_mse(d, j, 2e5, 1e-5) == math.inf


@pytest.mark.parametrize("delay_s", [0.0, 1e-6, 1e-4])
def test_best_gain_is_a_minimum(delay_s: float) -> None:
    d, j = 754.0, 8e5
    best = tracking.best_integrator_gain(d, j, delay_s)
    least = tracking.integrator_mse(d, j, best, delay_s)
    for factor in (0.97, 1.03):
        assert tracking.integrator_mse(d, j, best * factor, delay_s) >= least


def test_laser_loop() -> None:
    """Best loop of a noiseless white-FM beat: 1.53 times the variance D tau that the delay alone leaves, at K tau = 0.739."""
    d, tau = 2 * math.pi * 1e6, 125e-9
    best = tracking.best_integrator_gain(d, 1e15, tau)
    assert best * tau == pytest.approx(0.739, abs=0.002)
    assert tracking.integrator_mse(d, 1e15, best, tau) / (d * tau) == pytest.approx(1.53, abs=0.01)


def test_windows() -> None:
    d, j = 754.0, 8e5
    # fed ever more often, the filter of windows is the filter of clicks
    assert tracking.window_filter_mse(d, j, 1e-10) == pytest.approx(tracking.causal_mse(d, j), rel=1e-2)
    best = tracking.best_last_window_s(d, 1e6, V)
    least = tracking.last_window_mse(d, 1e6, V, best)
    assert least > 2 * tracking.causal_mse(d, j)
    for factor in (0.97, 1.03):
        assert tracking.last_window_mse(d, 1e6, V, best * factor) > least


def test_budget() -> None:
    rate = tracking.fisher_rate(tracking.mid_fringe_information(V), 1e6)
    assert tracking.require_budget(0.2, diffusion=754, rate=rate, delay_s=10e-6) == pytest.approx(0.189, rel=5e-3)
    with pytest.raises(ValueError, match=r"no less than 0\.189 rad: give more photons"):
        tracking.require_budget(0.1, diffusion=754, rate=rate, delay_s=10e-6)
    with pytest.raises(ValueError, match=r"the delay alone leaves 0\.868 rad, so shorten the delay"):
        tracking.require_budget(0.1, diffusion=754, rate=rate, delay_s=1e-3)


def test_fibre_slope_noise_is_the_tail_of_its_spectrum() -> None:
    rms, corner, f = 2871.0, 100.0, 1e6
    density = rms**2 / corner * (corner / (f + corner)) ** 2
    walk = 2 * tracking.fibre_slope_noise(rms, corner) / (2 * math.pi * f) ** 2
    assert walk == pytest.approx(density, rel=1e-3)


def test_spectra_agree_with_states() -> None:
    """The spectral error of walk and slope walk is the Riccati equation's; fibre noise far above its corner is a slope walk."""
    none = {"rate_rms_rad_per_s": 0.0, "corner_hz": 100.0}
    for d, q in ((754.0, 0.0), (50.0, 1e10)):
        spectral = tracking.spectral_mse(8e5, diffusion=d, slope_noise=q, **none)
        assert spectral == pytest.approx(tracking.causal_mse(d, 8e5, 0, q), rel=1e-3)
    fibre = {"diffusion": 10.0, "slope_noise": 0.0, "rate_rms_rad_per_s": 2871.0}
    tail = tracking.fibre_slope_noise(2871.0, 100.0)
    assert 0.5 * tail < tracking.matched_slope_noise(8e5, corner_hz=100.0, **fibre) < 0.95 * tail
    slow = tracking.fibre_slope_noise(2871.0, 0.1)
    assert tracking.matched_slope_noise(8e5, corner_hz=0.1, **fibre) == pytest.approx(slow, rel=0.02)


def test_slips_grow_rare_with_the_error() -> None:
    gain = 1e3
    assert tracking.slip_time_s(0.5, gain) == pytest.approx(math.pi**2 * 2 * 2.27959**2 / 500, rel=1e-4)
    assert tracking.slip_time_s(0.1, gain) > 1e4 * tracking.slip_time_s(0.5, gain)
