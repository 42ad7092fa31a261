"""Spectrum, lines, structure function and Allan deviation of synthetic phases with known figures."""

import numpy as np
import pytest
from phase_paths import DT, fibre_path, trace_of, walk_path

from twinphase.errors import TwinphaseError
from twinphase.measure.allan import allan_deviation
from twinphase.measure.phase_lines import phase_lines
from twinphase.measure.phase_spectrum import phase_spectrum
from twinphase.measure.structure_function import structure_function

SEED = 20
PATHS = 60
SAMPLES = 2048


def covered(results, value, low, high, truth):
    """Share of results whose interval holds the truth, mean over all its entries but per entry at first."""
    return np.mean([(getattr(r, low) <= truth) & (truth <= getattr(r, high)) for r in results], axis=0)


@pytest.mark.parametrize(("power", "worst"), [(0, 0.06), (2, 0.06), (4, 0.10)])
def test_density_of_white_noise_walk_and_wandering_rate(power, worst):
    """Mean of 60 spectra with some 27 degrees of freedom each: relative sigma sqrt(2 / 1600) = 3.5 % per bin, so that none of 28
    octave means (3.5 % at bin 4, below 1.5 % from 16 bins up) is off by more than 4.5 sigma; the stated bias is added."""
    rng = np.random.default_rng(SEED + power)
    spectra = []
    for _ in range(PATHS):
        x = rng.normal(size=SAMPLES)
        for _ in range(power // 2):
            x = np.cumsum(x)
        spectra.append(phase_spectrum(trace_of(x)))
    frequency = spectra[0].frequency_hz
    truth = 2 * DT / (2 * np.sin(np.pi * frequency * DT)) ** power
    ratio = np.mean([s.density for s in spectra], axis=0) / truth
    for low in 4 * 2 ** np.arange(5):
        octave = slice(low - 4, 2 * low - 4)
        assert abs(ratio[octave].mean() - 1) < worst + 4.5 * 0.035 / np.sqrt(low / 2), f"bins from {low}"
    share = covered(spectra, "density", "low", "high", truth)[4:]
    # 60 spectra of 120 bins, of which a Hann window leaves half independent: sigma of the share sqrt(.05 .95 / 3600) = 0.4 %
    assert share.mean() == pytest.approx(0.95, abs=0.02)


def test_floor_is_the_density_of_the_estimation_noise():
    rng = np.random.default_rng(SEED)
    spectrum = phase_spectrum(trace_of(rng.normal(0, 0.1, 1 << 15), variance=0.01))
    assert spectrum.floor == pytest.approx(2 * 0.01 * DT)
    # 2000 bins of 27 degrees of freedom: 0.6 %, with Hann's correlation 0.9 %; 5 sigma
    assert spectrum.density.mean() == pytest.approx(spectrum.floor, rel=0.045)


def test_gaps_end_blocks_and_are_not_filled():
    """A trace with a lost stretch, across which the phase jumps by 1000 rad, has the spectrum of its parts."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=8000)
    x[4000:] += 1000
    index = np.arange(8000) + 77 * (np.arange(8000) >= 4000)
    spectrum = phase_spectrum(trace_of(x, index=index))
    assert spectrum.blocks == 2 * ((3999 - 512) // 256 + 1)
    assert spectrum.density.max() < 2 * DT * 4
    structure = structure_function(trace_of(rng.normal(size=8000), index=index, variance=1.0))
    assert structure.pairs[0] == 7998
    # <d^2> - 2 of 8000 independent differences: sigma 2 sqrt(2 * 1.5 / 8000) = 4 %; 5 sigma
    assert abs(structure.value_rad2[0]) < 0.2


def test_too_short_or_too_fine_is_said_in_a_sentence():
    with pytest.raises(
        TwinphaseError, match=r"too short for a power spectral density: the longest stretch .* 100 samples"
    ):
        phase_spectrum(trace_of(np.zeros(100)))
    with pytest.raises(TwinphaseError, match="resolution of 1 Hz needs 16385 samples"):
        phase_spectrum(trace_of(np.zeros(1000)), resolution_hz=1.0)


def test_lines_have_their_frequency_and_amplitude():
    """Two lines over a walk and white noise. The amplitude's sigma in a density S over time T is about sqrt(1.5 S / T): 0.7 mrad
    for the first, 0.2 mrad for the second; 5 sigma. Frequency: a tenth of a bin."""
    rng = np.random.default_rng(SEED)
    times = np.arange(1 << 15) * DT
    x = walk_path(rng, len(times), walk=1.0, noise=1e-4) + 0.05 * np.cos(2 * np.pi * 333.3 * times)
    x += 0.02 * np.sinc(1900 * DT) * np.cos(2 * np.pi * 1900 * times + 1)
    spectrum = phase_spectrum(trace_of(x, averaging_s=DT))
    first, second = phase_lines(spectrum)[:2]
    assert first.frequency_hz == pytest.approx(333.3, abs=spectrum.resolution_hz / 5)
    assert first.amplitude_rad == pytest.approx(0.05 / np.sinc(333.3 * DT), abs=4e-3)
    assert second.frequency_hz == pytest.approx(1900, abs=spectrum.resolution_hz / 5)
    assert second.amplitude_rad == pytest.approx(0.02, abs=1e-3)
    assert len(phase_lines(spectrum)) == 2


def test_noise_alone_has_hardly_ever_a_line():
    """Stated chance 1 % per spectrum; of 60 spectra more than 4 have a line with a probability of 3e-4."""
    rng = np.random.default_rng(SEED)
    found = sum(
        bool(phase_lines(phase_spectrum(trace_of(fibre_path(rng, SAMPLES, strength=2e3, corner=100)))))
        for _ in range(PATHS)
    )
    assert found <= 4


@pytest.mark.parametrize("kind", ["walk", "fibre"])
def test_structure_function_and_its_interval(kind):
    """60 paths. Walk: D T of instants, mean within 5 sigma. Both: 95 % intervals hold the mean of all paths in 93 % and more of the
    cases at short lags (60 paths of 10 correlated lags: sigma 1.5 %), and 84 % at the longest, where few stretches are left."""
    rng = np.random.default_rng(SEED)
    noise = 0.01
    results = []
    for _ in range(PATHS):
        path = (
            walk_path(rng, SAMPLES, walk=50.0) if kind == "walk" else fibre_path(rng, SAMPLES, strength=2e3, corner=100)
        )
        results.append(structure_function(trace_of(path + rng.normal(0, noise**0.5, SAMPLES), variance=noise)))
    values = np.array([r.value_rad2 for r in results])
    truth = values.mean(axis=0)
    if kind == "walk":
        sigma = values.std(axis=0) / np.sqrt(PATHS)
        assert np.all(np.abs(truth - 50.0 * results[0].lag_s) < 5 * sigma)
        truth = 50.0 * results[0].lag_s
    share = covered(results, "value_rad2", "low_rad2", "high_rad2", truth)
    short = results[0].lag_s < 0.1 * results[0].lag_s[-1]
    assert share[short].mean() > 0.90
    assert share.min() > 0.78
    assert results[0].noise_rad2 == pytest.approx(2 * noise)


def test_allan_deviation_of_walk_and_of_white_noise():
    """Walk of phase (white frequency noise): AVAR = D / (4 pi^2 tau); white phase noise: 3 sigma^2 / (4 pi^2 tau^2)."""
    rng = np.random.default_rng(SEED)
    walks = [allan_deviation(trace_of(walk_path(rng, SAMPLES, walk=50.0)), optical_hz=2e14) for _ in range(PATHS)]
    tau = walks[0].tau_s
    truth = np.sqrt(50.0 / tau) / (2 * np.pi)
    share = covered(walks, "deviation_hz", "low_hz", "high_hz", truth)
    assert share[tau < 0.1 * tau[-1]].mean() > 0.90
    assert share.min() > 0.78
    variance = np.array([w.deviation_hz**2 for w in walks])
    assert np.all(np.abs(variance.mean(0) - truth**2) < 5 * variance.std(0) / np.sqrt(PATHS))
    assert walks[0].as_dict()["fractional"][0] == pytest.approx(walks[0].deviation_hz[0] / 2e14)
    white = allan_deviation(trace_of(rng.normal(0, 0.1, 1 << 14), variance=0.01))
    # 16 000 degrees of freedom at short times: relative sigma of the deviation 0.6 %; 5 sigma
    assert white.deviation_hz[:5] == pytest.approx(white.noise_hz[:5], rel=0.03)
    assert white.as_dict()["fractional"] is None
