"""Spectra and moments of the drawn scenes against their formulas: lines, trucks, lasers, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from run_seeds import run_seed

from twinphase_sim.physics.phase import GRID_S, SEGMENT_POINTS, LinkPhase
from twinphase_sim.physics.power import PowerProcess, interference_factor
from twinphase_sim.physics.scene import ScenePhase
from twinphase_sim.physics.truck import TruckPhase
from twinphase_spec.lab import parse_lab
from twinphase_spec.scene import Power, Scene, Truck
from twinphase_spec.units import TICKS_PER_SECOND


def ticks(seconds: np.ndarray) -> np.ndarray:
    return np.rint(seconds * TICKS_PER_SECOND).astype(np.int64)


def test_lines_are_where_they_should_be() -> None:
    """Whole periods in 2 s: a line's power a^2/2 lies in its bin, and nothing elsewhere; deterministic, to rounding of times."""
    lines = [{"frequency_hz": f, "amplitude_rad": a} for f, a in ((50.0, 3.0), (333.5, 0.2), (2.5, 40.0))]
    process = ScenePhase(Scene.model_validate({"lines": lines}), 0, 0)
    rate = 4096
    power = np.abs(np.fft.rfft(process.at(ticks(np.arange(2 * rate) / rate))) / rate) ** 2 / 2
    for line in lines:
        assert power[round(2 * line["frequency_hz"])] == pytest.approx(line["amplitude_rad"] ** 2 / 2, rel=1e-6)
        power[round(2 * line["frequency_hz"])] = 0
    assert power.sum() < 1e-9


def test_spectrum_and_envelope_of_trucks() -> None:
    """400 trucks, 10 to 40 Hz, 2 s wide: RMS at five times, and the spectrum of the noise in the middle half second.

    Mean square of 400 independent Gaussian values: relative sigma sqrt(2/400) = 7.1 %, 5 sigma 35 %. Spectrum: energy
    inside 8 to 42 Hz (band and the width of a Hann window of 1 s at most) over all is 1 but for the window's side lobes, below 2 %; and
    octaves 10-20 and 20-40 Hz have energies as their widths: about 10 independent bins of 1 Hz each times 400 trucks, 5 sigma 8 %.
    """
    seed = run_seed(301)
    truck = Truck(time_s=5.0, duration_s=2.0, rms_rad=3.0, low_hz=10.0, high_hz=40.0)
    rate = 256
    t = 5.0 + np.arange(-512, 512) / rate
    phases = np.array([TruckPhase(truck, (seed, number)).at(t) for number in range(400)])
    for late in (0.0, 0.5, 1.0, -1.0, 1.5):
        expected = 3.0 * math.exp(-4 * math.log(2) * (late / 2.0) ** 2)
        mean_square = np.mean(phases[:, 512 + round(late * rate)] ** 2)
        assert mean_square == pytest.approx(expected**2, rel=0.35), late
    window = np.hanning(rate)
    power = (np.abs(np.fft.rfft(phases[:, 512 - rate // 2 : 512 + rate // 2] * window)) ** 2).mean(axis=0)
    frequency = np.fft.rfftfreq(rate, 1 / rate)
    inside = (frequency >= 8) & (frequency <= 42)
    assert power[inside].sum() > 0.98 * power.sum()
    # 12 to 20 and 20 to 38 Hz: away from the edges, which the window blurs
    low, high = power[(frequency >= 12) & (frequency < 20)].mean(), power[(frequency >= 20) & (frequency < 38)].mean()
    assert low == pytest.approx(high, rel=0.1)


def test_two_lasers_walk_as_their_linewidths_add_up() -> None:
    """D = 2 pi (200 + 150) of the steps over 4.1 us, fibre and drift off: 2^17 steps, relative sigma 0.39 %, 5 sigma 2 %."""
    quiet = "[fibre]\nnoise_rad2_hz_per_km = 0.0\ndrift_rad_per_s = 0.0\n"
    lab = parse_lab('base = "metro-50km-lasers"\n' + quiet, "quiet")
    steps = np.diff(LinkPhase(lab, run_seed(302), 0).reference(ticks(np.arange(SEGMENT_POINTS // 2) * GRID_S)))
    # times are rounded to ticks, within 1e-6 of a step
    assert np.var(steps) / GRID_S == pytest.approx(2 * math.pi * 350, rel=0.02)


@pytest.mark.parametrize("corner", [3.0, 2000.0])
def test_power_is_a_clipped_log_normal_of_one_pole(corner: float) -> None:
    """Mean 1, relative RMS r, correlation e^(-2 pi fc t) of the logarithm, and its spectrum.

    T = 3000 time constants tau = 1 / (2 pi fc): variance of a mean over T is 2 tau / T of one value's, so a relative sigma of the
    mean of r 0.026 (5 sigma: 3.9 % at r = 0.3) and of the variance sqrt(2 tau / T) = 2.6 % (squares decorrelate twice as fast; 5 sigma
    13 %). Spectrum, octaves from fc/8 to 4 fc: a Hann bin's mean over K bins is known to sqrt(2/K), 5 sigma, and 1.5 % for interpolation.
    """
    r = 0.3
    power = Power(relative_rms=r, corner_hz=corner)
    tau = 1 / (2 * math.pi * corner)
    step = tau / 16
    factor = PowerProcess(power, (run_seed(303),)).at(ticks(np.arange(3000 * 16) * step))
    assert factor.mean() == pytest.approx(1, abs=5 * r * math.sqrt(2 / 3000))
    assert factor.std() == pytest.approx(r, rel=0.13)
    logarithm = np.log(factor) + power.log_sigma**2 / 2
    for lag in (4, 16, 32):
        measured = np.mean(logarithm[lag:] * logarithm[:-lag])
        # a covariance over T has a sigma of about sqrt(2 tau / T) of the variance
        assert measured == pytest.approx(power.log_sigma**2 * math.exp(-lag / 16), abs=5 * 0.026 * power.log_sigma**2)
    window = np.hanning(logarithm.size)
    density = np.abs(np.fft.rfft(logarithm * window)) ** 2 * 2 * step / (window**2).sum()
    frequency = np.fft.rfftfreq(logarithm.size, step)
    for low in corner / 8 * 2.0 ** np.arange(5):
        octave = (frequency >= low) & (frequency < 2 * low)
        expected = power.log_sigma**2 * 2 / (math.pi * corner) / (1 + (frequency[octave] / corner) ** 2)
        ratio = np.mean(density[octave] / expected)
        # sampling folds what lies beyond 8 pi fc back: below 1 % at 4 fc and less further down
        assert abs(ratio - 1) < 5 * math.sqrt(2 / octave.sum()) + 0.03, low


def test_mean_fringe_under_fluctuating_power() -> None:
    """<sqrt(f_A f_B)> = exp(-(s_A^2 + s_B^2) / 8) = 0.967 at 0.4 and 0.3.

    sqrt(f) varies by about r / 2 = 0.25 in all; over 2000 time constants its mean is known to 0.8 %. The mean of f itself, drawn with
    it and 1 by definition, takes most of that scatter off: fringe / sqrt(mean f_A mean f_B) is known to about a tenth of it; 1 %.
    """
    seed = run_seed(304)
    text = "".join(
        f'[[scene.power]]\narm = "{arm}"\nrelative_rms = {rms}\ncorner_hz = 1000.0\n'
        for arm, rms in (("a", 0.4), ("b", 0.3))
    )
    lab = parse_lab('base = "seed-370km"\n' + text, "restless")
    times = ticks(np.arange(20_000) * 1.6e-5)
    a, b = (PowerProcess(power, (seed, number)).at(times) for number, power in enumerate(lab.scene.power))
    assert np.mean(np.sqrt(a * b)) / math.sqrt(a.mean() * b.mean()) == pytest.approx(interference_factor(lab), rel=0.01)
