"""Efficiency of the floating-point phase estimators against the bound, cold start, drift, slips.

Efficiencies: lower ends of 95 % intervals from batch means (`twinphase_sim.tracking.judge`). The relative sigma of a run of T
time constants is about ``sqrt(2 / T)``; each test says its own and how far the asked value lies below what was measured.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from run_seeds import run_seed

from twinphase.theory import tracking
from twinphase_sim.tracking.clicks import chunks
from twinphase_sim.tracking.estimators.adaptive import adaptive
from twinphase_sim.tracking.estimators.exact import exact
from twinphase_sim.tracking.estimators.first_order import first_order, linear_variance, loop_gain_per_s
from twinphase_sim.tracking.estimators.per_click import per_click
from twinphase_sim.tracking.estimators.steady import steady
from twinphase_sim.tracking.estimators.windows import windows
from twinphase_sim.tracking.judge import Run, judge, wrap_rad
from twinphase_sim.tracking.scenario import FOUR_PHASE, STEERED, Scenario, Scheme
from twinphase_spec.units import CLOCK_HZ

POINTS = [(754.0, 1e6, 10e-6), (63.0, 1e7, 5e-6), (1.1, 1e5, 10e-6)]


def scenario_of(point: tuple[float, float, float], scheme: Scheme, visibility: float = 0.98) -> Scenario:
    diffusion, rate, delay = point
    return Scenario(
        diffusion_rad2_per_s=diffusion, count_rate_hz=rate, visibility=visibility, delay_s=delay, scheme=scheme
    )


@pytest.mark.parametrize("scheme", [STEERED, FOUR_PHASE])
@pytest.mark.parametrize("point", [POINTS[0], *(pytest.param(p, marks=pytest.mark.long) for p in POINTS[1:])])
def test_efficiency(point: tuple[float, float, float], scheme: Scheme) -> None:
    """10 000 time constants, sigma 1.4 %. Measured: per click .96 four-phase and .99 steered, fixed gains from a state 32 clocks
    old .95 and .99; asked 0.90 of the estimate, 4 sigma below, and that the interval reaches the goal of 0.95."""
    scenario = scenario_of(point, scheme)
    for estimator in (per_click(scenario), steady(scenario, stale_clocks=32)):
        verdict = judge(scenario, estimator, seed=run_seed(21), time_constants=10000)
        assert verdict.efficiency > 0.90, estimator.name
        assert verdict.efficiency_ci95[1] > 0.95, estimator.name
        # nothing beats the bound: 5 sigma
        assert verdict.efficiency < 1.07, estimator.name
        assert verdict.slips == 0


def test_exact_posterior_judges_the_filters() -> None:
    """Same light, 10 000 time constants: the moment-matching filter is within 1 % of the exact posterior's error, fixed gains within
    4 %. Differences of runs on the same clicks are ten times more certain than the runs (sigma of the ratio about 0.2 %)."""
    scenario = scenario_of(POINTS[0], FOUR_PHASE)
    best, full, fixed = (
        judge(scenario, make(scenario), seed=run_seed(22), time_constants=10000).mse_rad2
        for make in (exact, per_click, steady)
    )
    assert best * 0.998 < full < best * 1.012
    assert full * 0.998 < fixed < best * 1.04


def test_windows_are_far_from_the_bound() -> None:
    """The last complete window at its best length, no delay, 5000 time constants: sigma 2 %, the formula within 5 sigma."""
    scenario = replace(scenario_of(POINTS[0], FOUR_PHASE), delay_s=0.0)
    verdict = judge(scenario, windows(scenario), seed=run_seed(23), time_constants=5000)
    window = tracking.best_last_window_s(754, 1e6, 0.98)
    assert verdict.mse_rad2 == pytest.approx(tracking.last_window_mse(754, 1e6, 0.98, window), rel=0.1)
    assert verdict.efficiency < 0.5


@pytest.mark.parametrize("runs", [400, pytest.param(4000, marks=pytest.mark.long)])
def test_cold_start(runs: int) -> None:
    """Wrapped error after 120 photons, V = 0.98, four-phase, start phase uniform: 99 % within 0.3 rad.

    0.85 % lie outside (0.65 % of the exact posterior's), of 40 000 drawn starts. As many as ``0.01 n + 3 sqrt(0.01 n)`` of n may: a
    filter that has 1 % passes with 99.7 % confidence.
    """
    rng = np.random.default_rng(run_seed(24))
    outside = 0
    for number in range(runs):
        scenario = Scenario(
            diffusion_rad2_per_s=1.0, count_rate_hz=1e6, start_phase_rad=float(rng.uniform(-np.pi, np.pi))
        )
        stimulus = next(chunks(scenario, candidates=240, evaluation_clocks=1e9, seed=(24, number)))
        stimulus = type(stimulus)(**{name: array[:120] for name, array in vars(stimulus).items()})
        estimator = per_click(scenario)
        run = Run(scenario, estimator)
        run.play(stimulus)
        estimate, locked = estimator.predict(run.state, estimator.constants, int(stimulus.clocks[-1]))
        assert locked
        outside += abs(wrap_rad(np.array(estimate - stimulus.phases_rad[-1]))) > 0.3
    assert outside <= 0.01 * runs + 3 * np.sqrt(0.01 * runs)


@pytest.mark.parametrize("scheme", [STEERED, FOUR_PHASE])
def test_no_bias_under_drift(scheme: Scheme) -> None:
    """20 rad/ms through a delay of 10 us is 0.2 rad: with the slope known the bias stays below 2 mrad beyond its interval."""
    truth = Scenario(diffusion_rad2_per_s=63.0, count_rate_hz=1e7, delay_s=10e-6, drift_rad_per_s=2e4, scheme=scheme)
    design = replace(truth, slope_noise_rad2_per_s3=1e9, drift_rad_per_s=0.0)
    for estimator in (
        per_click(design, slope_rms_rad_per_s=2e4),
        steady(design, stale_clocks=32, slope_rms_rad_per_s=2e4),
    ):
        verdict = judge(truth, estimator, seed=run_seed(25), time_constants=4000)
        low, high = verdict.bias_ci95_rad
        assert low - 0.002 < 0 < high + 0.002
        assert verdict.slips == 0


@pytest.mark.long
@pytest.mark.parametrize("scheme", [STEERED, FOUR_PHASE])
@pytest.mark.parametrize(("diffusion", "slope_noise"), [(754.0, 0.0), (63.0, 0.0), (50.0, 1e10), (300.0, 1e8)])
@pytest.mark.parametrize("wrong", [0.1, 10.0])
def test_gains_adapt(diffusion: float, slope_noise: float, scheme: Scheme, wrong: float) -> None:
    """D and Q believed 10 times wrong, 10 000 time constants: the adaptive loop's error is within 5 % of the loop's that knows them.

    Measured 1 to 2 %; on the same clicks the ratio's sigma is about 0.5 %. Fixed gains have 1.35 to 1.95 times the error.
    """
    scenario = Scenario(
        diffusion_rad2_per_s=diffusion, slope_noise_rad2_per_s3=slope_noise, count_rate_hz=1e6, scheme=scheme
    )
    believed = replace(scenario, diffusion_rad2_per_s=diffusion * wrong, slope_noise_rad2_per_s3=slope_noise * wrong)
    start = 1e3 if slope_noise else 0.0
    knows, adapts, fixed = (
        judge(scenario, make(belief, slope_rms_rad_per_s=start), seed=run_seed(28), time_constants=10000).mse_rad2
        for make, belief in ((steady, scenario), (adaptive, believed), (steady, believed))
    )
    print(f"{scheme} {diffusion} {slope_noise} x{wrong}: adaptive {adapts / knows:.3f}, fixed {fixed / knows:.3f}")
    assert adapts < 1.05 * knows
    assert fixed > 1.15 * knows


@pytest.mark.long
@pytest.mark.parametrize(
    "setting",
    [
        {"background_hz": 1e5},
        {"port_imbalance": 0.1},
        {"duty": 0.5},
        {"dead_time_s": 5e-8},
        {"slope_noise_rad2_per_s3": 1e10, "diffusion_rad2_per_s": 50.0},
        {"fibre_rate_rms_rad_per_s": 2871.0, "diffusion_rad2_per_s": 50.0},
    ],
)
def test_efficiency_with_faults_of_light_and_detectors(setting: dict[str, float]) -> None:
    """Four-phase at R = 1e6 with one thing changed, 10 000 time constants, sigma 1.4 %; 0.90 is asked of the estimate."""
    scenario = replace(scenario_of((754.0, 1e6, 0.0), FOUR_PHASE), **setting)
    verdict = judge(scenario, per_click(scenario, slope_rms_rad_per_s=3e3), seed=run_seed(26), time_constants=10000)
    assert 0.90 < verdict.efficiency < 1.07
    low, high = verdict.bias_ci95_rad
    assert low - 0.005 < 0 < high + 0.005


def test_slips_of_the_first_order_loop() -> None:
    """Mean time to a slip of the loop at rho = 2, against ``pi^2 rho I0(rho)^2 / (2 B_L)``.

    60 000 time constants hold 290 slips: sigma 6 %, 4 sigma 24 %; the finite step of 0.2 rad per click and V^2 in the noise
    shift it by a few percent.
    """
    visibility, gain_rad, rate = 0.2, 0.2, 1e6
    scenario = Scenario(
        diffusion_rad2_per_s=0.0, count_rate_hz=rate, visibility=visibility, start_phase_rad=0.0, slot_clocks=4
    )
    gain = loop_gain_per_s(gain_rad, rate, visibility)
    verdict = judge(scenario, first_order(gain_rad=gain_rad), seed=run_seed(27), time_constants=60000, gain_per_s=gain)
    expected = verdict.seconds / tracking.slip_time_s(linear_variance(gain_rad, visibility), gain)
    assert verdict.slips == pytest.approx(expected, rel=0.24)
    assert verdict.clicks > 100 * verdict.slips
    assert CLOCK_HZ / rate > scenario.slot_clocks
