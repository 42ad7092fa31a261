"""Spectrum and rate of the synthesised phase."""

from __future__ import annotations

import numpy as np
import pytest
from run_seeds import run_seed

from twinphase_sim.physics.phase import GRID_S, SEGMENT_POINTS, PhaseProcess, fibre_rate_rms

POINTS = 4 * SEGMENT_POINTS


def sampled(process: PhaseProcess, points: int) -> np.ndarray:
    return process.at(np.arange(points), np.zeros(points))


def test_spectrum_is_the_fibres() -> None:
    """PSD of the rate, averaged over octaves from 20 Hz to 20 kHz, of 4.3 s.

    A bin of a Hann periodogram is exponential and neighbours are correlated: the mean of K bins has a relative sigma of at most
    sqrt(2 / K); 5 sigma.
    """
    noise, length, corner = 5.6, 370.0, 100.0
    process = PhaseProcess((run_seed(7),), rate_rms=fibre_rate_rms(noise, length, corner), corner_hz=corner)
    rate = np.diff(sampled(process, POINTS + 1)) / GRID_S
    window = np.hanning(POINTS)
    power = np.abs(np.fft.rfft(rate * window)) ** 2 * 2 * GRID_S / (window**2).sum()
    frequency = np.fft.rfftfreq(POINTS, GRID_S)
    for low in 20.0 * 2.0 ** np.arange(10):
        octave = (frequency >= low) & (frequency < 2 * low)
        f = frequency[octave]
        density = noise * length / f**2 * (corner / (f + corner)) ** 2 * (2 * np.pi * f) ** 2
        ratio = float(np.mean(power[octave] / density))
        assert abs(ratio - 1) < 5 * np.sqrt(2 / octave.sum()), f"octave from {low:g} Hz"


def test_seed_drift_is_reproduced() -> None:
    """2.871 rad/ms at 370 km.

    The rate's variance over 4.3 s has a relative sigma of sqrt(2 Tc / T), Tc about 1 / (2 fc) = 5 ms (the correlation time of the
    squared rate): 5 %, so 2.5 % of the rms; 15 % is 6 sigma.
    """
    process = PhaseProcess((run_seed(8),), rate_rms=fibre_rate_rms(5.6, 370, 100), corner_hz=100)
    rate = np.diff(sampled(process, POINTS)) / GRID_S
    assert np.sqrt(np.mean(rate**2)) == pytest.approx(2871, rel=0.15)
    # no seam between blocks: the rate there is as large as elsewhere
    seams = np.arange(1, 4) * SEGMENT_POINTS
    assert np.abs(rate[seams]).max() < 5 * 2871


def test_walk_and_drift() -> None:
    """Increments over 1.07 s of a pure walk with drift: variance D per second.

    2^18 increments, relative sigma 0.28 %, 5 sigma 1.4 %.
    """
    diffusion, drift = 300.0, -50.0
    process = PhaseProcess((run_seed(9),), rate_rms=0.0, corner_hz=100, drift=drift, diffusion=diffusion)
    steps = np.diff(sampled(process, SEGMENT_POINTS))
    assert steps.var() / GRID_S == pytest.approx(diffusion, rel=0.014)
    assert abs(steps.sum() / (SEGMENT_POINTS * GRID_S) - drift) < 5 * np.sqrt(diffusion / (SEGMENT_POINTS * GRID_S))
