"""The alignment loop over a simulated day of 5 K, with clock errors and a random walk, against its derived bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twinphase.alignment import AlignmentConfig, AlignmentLost, ArmLoop, residual_bound_ps
from twinphase_sim.lab.alignment import run_loop
from twinphase_sim.physics.arms import ArmDrift
from twinphase_spec.lab_arms import DAY_S, Arm, Arms

CLICKS_HZ, SIGMA_PS, WAIT_S = 1700.0, 75.0, 0.09
"""One-sided clicks of an arm of `seed-370km`; jitter of 65 ps and counts by eighths of a nanosecond."""
NOISE = SIGMA_PS**2 / CLICKS_HZ
SWING_PS = 36.8 * 185 * 5
DAY_RATE = SWING_PS / 2 * 2 * math.pi / DAY_S
DAY_BEND = SWING_PS / 2 * (2 * math.pi / DAY_S) ** 2


def run(arm: Arm, config: AlignmentConfig, *, seconds: float, interval_s: float, seed: int = 1):
    return run_loop(
        config,
        ArmDrift(arm, 185.0, (seed, 8, 0)),
        seconds=seconds,
        interval_s=interval_s,
        wait_s=WAIT_S if interval_s > WAIT_S else 0.9 * interval_s,
        click_rate_hz=CLICKS_HZ,
        click_sigma_ps=SIGMA_PS,
        seed=seed,
    )


def check(residual: np.ndarray, bound: float) -> None:
    """Gaussian residuals are beyond 4 sigma 6e-5 of the time; they are correlated over 1/K, so ten times that is allowed."""
    assert np.mean(np.abs(residual) > bound) < 6e-4
    assert np.abs(residual).max() < 1.5 * bound
    # Not a bound that holds for want of a test: the residual uses a quarter of it.
    assert np.percentile(np.abs(residual), 99.9) > bound / 4


@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_of_5_kelvin(seed: int) -> None:
    """34 ns of arrival time, 34 pulses, come and go; pulses of 100 ps FWHM lose less than 1 % of their fringe."""
    config = AlignmentConfig(period_ps=1000.0, rate_walk_ps2_per_s3=1e-5, start_rate_ps_per_s=10.0)
    arm = Arm(day_kelvin=5.0, offset_ps=12_345.0, clock_ppb=0.003)
    played = run(arm, config, seconds=DAY_S, interval_s=1.0, seed=seed)
    bound = residual_bound_ps(
        config, noise_ps2_s=NOISE, interval_s=1.0, wait_s=WAIT_S, rate_ps_per_s=DAY_RATE + 3.0, bend_ps_per_s2=DAY_BEND
    )
    settled = played.residual_ps[400:]
    assert bound < 5
    check(settled, bound)
    assert 1 - Arms(pulse_fwhm_ps=100.0).overlap(2 * np.sqrt(np.mean(settled**2))) < 0.01


def test_a_clock_of_two_ppb_and_a_walk() -> None:
    """2 ns/s are followed by the integral term, at intervals of 20 ms."""
    config = AlignmentConfig(period_ps=1000.0, walk_ps2_per_s=4.0, start_rate_ps_per_s=2000.0, most_step_ps=100.0)
    played = run(Arm(clock_ppb=2.0, walk_ps_per_sqrt_s=2.0), config, seconds=600.0, interval_s=0.02)
    bound = residual_bound_ps(
        config, noise_ps2_s=NOISE, interval_s=0.02, wait_s=0.018, rate_ps_per_s=2000.0, bend_ps_per_s2=0.0
    )
    assert bound < 45
    check(played.residual_ps[5000:], bound)


def test_silence_is_bridged_and_too_much_of_it_is_told() -> None:
    config = AlignmentConfig(period_ps=1000.0, start_rate_ps_per_s=10.0)
    loop = ArmLoop(config)
    with pytest.raises(AlignmentLost, match="search for whole pulses first"):
        loop.measure(0.0, 1.0, 0.0, 1.0)
    with pytest.raises(AlignmentLost, match="search for whole pulses first"):
        loop.command(0.0, 1.0)
    loop.start(0.0, 7_400.0, 10.0)
    first = loop.command(0.1, 1.1)
    assert (first.pulses, first.delay_ps) == (-8, pytest.approx(-7400, abs=1))
    # The arm jumps by 120 ps: no more than a step per command.
    delays = [first.delay_ps]
    for k in range(1, 40):
        loop.measure(k + 0.2, k + 1.0, 520.0 - 400.0 + (delays[-1] + 7400.0), 4.0)
        delays.append(loop.command(k + 1.1, k + 2.1).delay_ps)
    steps = np.diff(delays)
    assert np.abs(steps).max() <= 50.5
    assert np.abs(steps[:2]).min() > 40
    assert delays[-1] == pytest.approx(-7520, abs=3)
    # A new search sees what is left with the last command in force.
    loop.start(41.0, 2003.0, 10.0)
    again = loop.command(41.1, 42.1)
    assert again.delay_ps == pytest.approx(delays[-1] - 2003, abs=1)
    assert 0 <= again.fraction_ps < 1000
    with pytest.raises(AlignmentLost, match="search for whole pulses again"):
        loop.measure(20_000.0, 20_001.0, 0.0, 4.0)
    with pytest.raises(AlignmentLost, match="search for whole pulses first"):
        loop.command(20_002.0, 20_003.0)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="a quarter of the period"):
        AlignmentConfig(period_ps=1000.0, most_step_ps=251.0)
    with pytest.raises(ValueError, match="unit_ps is 0"):
        AlignmentConfig(period_ps=1000.0, unit_ps=0)
    config = AlignmentConfig(period_ps=1000.0)
    with pytest.raises(ValueError, match="at most most_step_ps per interval, 50"):
        residual_bound_ps(config, noise_ps2_s=1.0, interval_s=1.0, wait_s=0.1, rate_ps_per_s=51.0, bend_ps_per_s2=0.0)
    with pytest.raises(ValueError, match="less than the interval"):
        run_loop(
            config,
            ArmDrift(Arm(), 185.0, (1, 8, 0)),
            seconds=1.0,
            interval_s=0.1,
            wait_s=0.1,
            click_rate_hz=1.0,
            click_sigma_ps=1.0,
            seed=1,
        )
