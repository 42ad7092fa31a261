"""Fits of D, Q and noise, and of the fibre's spectrum: bias and coverage; slips, jumps and losses."""

import numpy as np
import pytest
from phase_paths import DT, fibre_path, trace_of, walk_path

from twinphase.errors import TwinphaseError
from twinphase.measure.fibre_fit import fibre_fit
from twinphase.measure.phase_events import phase_events
from twinphase.measure.phase_spectrum import phase_spectrum
from twinphase.measure.walk_fit import walk_fit

SEED = 30
PATHS = 60


def check(values, errors, truth, least=0.85):
    """Bias below 4 sigma of the mean over the paths; 95 % intervals hold the truth: of 60 paths, below 85 % has a probability of 3e-3
    at the true coverage of 95 %, and fixed seeds make it once and for all."""
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))
    assert np.mean(np.abs(values - truth) < 1.96 * errors) > least


@pytest.mark.parametrize("averaged", [False, True])
def test_walk_rate_walk_and_noise_without_bias(averaged):
    """D 50 rad^2/s, Q 3e7 rad^2/s^3, 0.1 rad of noise, 4000 samples of 0.1 ms."""
    rng = np.random.default_rng(SEED + averaged)
    truth = {"walk_rad2_per_s": 50.0, "rate_walk_rad2_per_s3": 3e7, "noise_rad2": 0.01}
    fits = []
    for _ in range(PATHS):
        path = walk_path(rng, 4000, walk=50.0, rate_walk=3e7, noise=0.01, averaged=averaged)
        fits.append(walk_fit(trace_of(path, averaging_s=DT if averaged else 0.0)))
    for name, error in (
        ("walk_rad2_per_s", "walk_error"),
        ("rate_walk_rad2_per_s3", "rate_walk_error"),
        ("noise_rad2", "noise_error"),
    ):
        check(np.array([getattr(f, name) for f in fits]), np.array([getattr(f, error) for f in fits]), truth[name])
    assert np.mean([f.probability < 0.05 for f in fits]) < 0.2


def test_a_walk_without_rate_walk_does_not_invent_one():
    """Q is within 3 errors of 0 in at least 57 of 60 (one-sided 0.1 % each)."""
    rng = np.random.default_rng(SEED)
    fits = [walk_fit(trace_of(walk_path(rng, 4000, walk=50.0, noise=0.01))) for _ in range(PATHS)]
    assert sum(f.rate_walk_rad2_per_s3 < 3 * f.rate_walk_error for f in fits) >= 57
    check(np.array([f.walk_rad2_per_s for f in fits]), np.array([f.walk_error for f in fits]), 50.0)


def test_gaps_leave_the_fit_alone_and_a_line_is_not_a_walk():
    rng = np.random.default_rng(SEED)
    path = walk_path(rng, 20_000, walk=50.0, noise=0.01)
    index = np.arange(20_000) + 33 * (np.arange(20_000) // 5000)
    fit = walk_fit(trace_of(path, index=index))
    assert abs(fit.walk_rad2_per_s - 50) < 4 * fit.walk_error
    assert fit.samples == 20_000
    shaken = walk_fit(trace_of(path + np.sin(2 * np.pi * 700 * DT * np.arange(20_000))))
    assert fit.probability > 1e-3
    assert shaken.probability < 1e-6
    with pytest.raises(TwinphaseError, match="too short for a fit"):
        walk_fit(trace_of(path[:10]))


def test_fibre_spectrum_without_bias():
    """l L = 2072 rad^2 Hz (5.6 over 370 km), fc 100 Hz, floor of 0.03 rad rms; 40 paths of 1.6 s."""
    rng = np.random.default_rng(SEED)
    fits = []
    for _ in range(40):
        path = fibre_path(rng, 1 << 14, strength=2072.0, corner=100.0) + rng.normal(0, 0.03, 1 << 14)
        fits.append(fibre_fit(phase_spectrum(trace_of(path)), length_km=370.0))
    for name, error, truth in (
        ("strength_rad2_hz", "strength_error", 2072.0),
        ("corner_hz", "corner_error", 100.0),
        ("floor_rad2_per_hz", "floor_error", 2 * 0.03**2 * DT),
    ):
        values, errors = (np.array([getattr(f, key) for f in fits]) for key in (name, error))
        assert np.mean(np.abs(values - truth) < 1.96 * errors) > 0.8, name
        assert np.median(values) == pytest.approx(
            truth, abs=2.5 * np.median(errors) / np.sqrt(len(fits)) * 1.25 + 0.05 * truth
        )
    assert fits[0].per_km_rad2_hz == pytest.approx(fits[0].strength_rad2_hz / 370)


def test_slips_jumps_and_losses_are_found_and_named():
    """Noise 0.05 rad: 3 sigma of the step is 0.2 rad. No false alarm among 20 000 places at 6 sigma (4e-5)."""
    rng = np.random.default_rng(SEED)
    path = walk_path(rng, 20_000, walk=5.0, noise=0.0025)
    steps = {3000: np.pi, 7000: -2 * np.pi, 9000: 1.2, 15_000: 3 * np.pi}
    for place, step in steps.items():
        path[place:] += step
    valid = np.ones(20_000, bool)
    valid[12_000:12_040] = False
    events = phase_events(trace_of(path, valid=valid))
    assert [round(s.time_s / DT) for s in events.steps] == sorted(steps)
    assert [s.half_turns for s in events.steps] == [1, -2, 0, 3]
    assert [s.step_rad for s in events.steps] == pytest.approx(list(steps.values()), abs=0.4)
    assert [(g.kind, g.samples) for g in events.gaps] == [("invalid", 40)]
    assert events.gaps[0].length_s == pytest.approx(40 * DT)
    assert events.slip_rad == pytest.approx(np.pi)
    assert [s["kind"] for s in events.as_dict()["steps"]] == ["slip", "slip", "jump", "slip"]


def test_a_restless_phase_says_what_it_cannot_tell():
    rng = np.random.default_rng(SEED)
    assert phase_events(trace_of(rng.normal(0, 0.35, 4000))).slip_rad == pytest.approx(2 * np.pi)
    events = phase_events(trace_of(rng.normal(0, 1.0, 4000)))
    assert events.slip_rad is None
    assert not events.slips
