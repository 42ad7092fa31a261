"""Spectra of an optical phase: what a fibre, a walk and the estimation put into the samples of a trace. One-sided, rad^2/Hz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FOLDS = 4
"""Sampling frequencies to each side from which power is folded; of an f^-2 spectrum the rest is below 1 % at the last frequency."""


def fibre_density(frequency_hz: NDArray[np.float64], strength_rad2_hz: float, corner_hz: float) -> NDArray[np.float64]:
    """``s / f^2 (fc / (f + fc))^2``; the strength ``s = l L`` of a fibre of L km with l rad^2 Hz/km (Bertaina et al.,
    arXiv:2310.08621)."""
    return strength_rad2_hz / frequency_hz**2 * (corner_hz / (frequency_hz + corner_hz)) ** 2


def noise_floor(variance_rad2: float, interval_s: float) -> float:
    """``2 sigma^2 dt``: density of estimation noise that is white from sample to sample."""
    return 2 * variance_rad2 * interval_s


def sampled_density(
    density: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    frequency_hz: NDArray[np.float64],
    *,
    interval_s: float,
    averaging_s: float,
) -> NDArray[np.float64]:
    """Density of the samples ``sum_k S(|f + k / dt|) (sin(pi x) / (pi x))^2, x = (f + k / dt) averaging``: each sample is a mean
    over ``averaging_s``, and what lies above half the sampling frequency is folded. ``frequency_hz`` above 0."""
    total = np.zeros_like(frequency_hz)
    for k in range(-FOLDS, FOLDS + 1):
        shifted = np.abs(frequency_hz + k / interval_s)
        total += density(shifted) * np.sinc(shifted * averaging_s) ** 2
    return total
