"""Lines in a phase spectrum: vibrations and hum that stand out of their surroundings."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .phase_spectrum import PhaseSpectrum

SURROUNDINGS = 24
"""Bins to each side whose median is the background."""
LEAST_SURROUNDINGS = 6
PEAK = 2
"""Bins to each side of a line's top that a Hann window spreads it over."""
FALSE_ALARM = 0.01
"""Chance that a spectrum of noise alone has any line."""


@dataclass(frozen=True)
class PhaseLine:
    """A sinusoid ``a cos(2 pi f t)`` in the phase."""

    frequency_hz: float
    amplitude_rad: float
    """a, corrected for the averaging within a sample."""
    density_ratio: float
    """Density at the top over the background."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def phase_lines(spectrum: PhaseSpectrum) -> list[PhaseLine]:
    """The lines, largest amplitude first.

    Background of a bin: median of the SURROUNDINGS bins to each side (fewer, but as many, near the ends), which is right in the middle
    of any falling spectrum and takes no notice of a line; divided by the median of ``chi2 / edf``. A line is a largest bin among its
    neighbours above the quantile that noise passes in any bin with FALSE_ALARM. From the density above the background over
    ``PEAK`` bins to each side, ``a^2 / 2 = df sum (S - B)`` (Parseval), and the frequency is their centre of mass. Lines closer than
    twice PEAK bins are one. A line in the first LEAST_SURROUNDINGS bins is not looked for.
    """
    density, bins, edf = spectrum.density, len(spectrum.density), spectrum.edf
    background = np.full(bins, np.nan)
    for k in range(LEAST_SURROUNDINGS, bins - LEAST_SURROUNDINGS):
        half = min(SURROUNDINGS, k, bins - 1 - k)
        background[k] = np.median(density[k - half : k + half + 1])
    background /= float(stats.chi2.median(edf)) / edf
    # the background itself is an estimate of finite sample; its spread widens the ratio's like an F distribution's
    own = 2 * LEAST_SURROUNDINGS * edf / 2
    limit = float(stats.f.isf(FALSE_ALARM / max(bins, 1), edf, own))
    ratio = density / background
    lines = []
    for k in np.argsort(-np.nan_to_num(ratio)):
        if not ratio[k] > limit:
            break
        if density[max(0, k - PEAK) : k + PEAK + 1].max() > density[k]:
            continue
        lines.append(_line(spectrum, background, int(k), float(ratio[k])))
    return sorted(lines, key=lambda line: -line.amplitude_rad)


def line_bins(spectrum: PhaseSpectrum, lines: list[PhaseLine]) -> NDArray[np.bool_]:
    """Which bins belong to a line."""
    taken = np.zeros(len(spectrum.frequency_hz), bool)
    for line in lines:
        taken |= np.abs(spectrum.frequency_hz - line.frequency_hz) < (PEAK + 1) * spectrum.resolution_hz
    return taken


def _line(spectrum: PhaseSpectrum, background: NDArray[np.float64], k: int, ratio: float) -> PhaseLine:
    part = slice(max(0, k - PEAK), k + PEAK + 1)
    excess = np.maximum(spectrum.density[part] - background[k], 0.0)
    frequency = float(np.sum(excess * spectrum.frequency_hz[part]) / np.sum(excess))
    amplitude = math.sqrt(2 * float(np.sum(excess)) * spectrum.resolution_hz)
    return PhaseLine(frequency, amplitude / float(np.sinc(frequency * spectrum.averaging_s)), ratio)
