"""The fibre's spectrum fitted to a measured one: strength l L, corner frequency and white floor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..theory.phase_noise import fibre_density, sampled_density
from .phase_lines import PhaseLine, line_bins
from .phase_spectrum import PhaseSpectrum
from .spectral_fit import groups, probability_of_fit

HANN_CORRELATION = 1 + 2 * (4 / 9 + 1 / 36)
"""Sum of the squared correlations of a bin with its neighbours under a Hann window: so much fewer are the independent bins."""


@dataclass(frozen=True, kw_only=True)
class FibreFit:
    """``S(f) = s / f^2 (fc / (f + fc))^2 + floor``, ``s = l L``. Errors are one sigma; a large one: the spectrum does not tell."""

    strength_rad2_hz: float
    strength_error: float
    corner_hz: float
    corner_error: float
    floor_rad2_per_hz: float
    floor_error: float
    per_km_rad2_hz: float | None
    """l in rad^2 Hz/km; None where the length of the fibre is unknown."""
    probability: float
    """Chance of the worst octave's misfit if the model were right; see `probability_of_fit`."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def fibre_model(spectrum: PhaseSpectrum, frequency_hz: NDArray[np.float64], fit: FibreFit) -> NDArray[np.float64]:
    """Density that samples of the fitted fibre have (averaging and folding included), with the floor."""
    return _model(spectrum, frequency_hz, fit.strength_rad2_hz, fit.corner_hz) + fit.floor_rad2_per_hz


def fibre_fit(
    spectrum: PhaseSpectrum, lines: list[PhaseLine] | None = None, *, length_km: float | None = None
) -> FibreFit:
    """Largest likelihood of gamma-distributed densities, the bins of ``lines`` left out.

    Minimises ``sum w (ln M + P / M)``, ``w = edf / 2`` over the correlation of neighbouring bins, M the model as samples see it
    (Whittle's likelihood for an averaged spectrum; P. Whittle, Ark. Mat. 2, 423 (1953)). Errors: inverse Fisher information.
    """
    used = ~line_bins(spectrum, lines or [])
    frequency, density = spectrum.frequency_hz[used], spectrum.density[used]
    at = groups(frequency)
    count = np.add.reduceat(np.ones_like(frequency), at)
    frequency, density = np.add.reduceat(frequency, at) / count, np.add.reduceat(density, at) / count
    weight = count * spectrum.edf / 2 / HANN_CORRELATION

    def model(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        strength, corner, floor = np.exp(logarithms)
        return _model(spectrum, frequency, strength, corner) + floor

    def loss(logarithms: NDArray[np.float64]) -> float:
        expected = model(logarithms)
        return float(np.sum(weight * (np.log(expected) + density / expected)))

    floor = float(density.min())
    first = float(np.median(density[:8] * frequency[:8] ** 2))
    starts = [
        np.log([first * ((frequency[0] + corner) / corner) ** 2, corner, part * floor])
        for corner in np.geomspace(frequency[0], frequency[-1], 8)
        for part in (0.7, 1e-3)
    ]
    start = min(starts, key=loss)
    found = optimize.minimize(
        loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-5, "maxiter": 2000, "adaptive": False}
    )
    values, expected = np.exp(found.x), model(found.x)
    slopes = np.array([(model(found.x + step) - model(found.x - step)) / 2e-4 / expected for step in 1e-4 * np.eye(3)])
    errors = values * np.sqrt(np.diag(np.linalg.pinv((slopes * weight) @ slopes.T, rcond=1e-15)))
    return FibreFit(
        strength_rad2_hz=float(values[0]),
        strength_error=float(errors[0]),
        corner_hz=float(values[1]),
        corner_error=float(errors[1]),
        floor_rad2_per_hz=float(values[2]),
        floor_error=float(errors[2]),
        per_km_rad2_hz=None if length_km is None else float(values[0]) / length_km,
        probability=probability_of_fit(frequency, density / expected, weight),
    )


def _model(
    spectrum: PhaseSpectrum, frequency_hz: NDArray[np.float64], strength: float, corner: float
) -> NDArray[np.float64]:
    return sampled_density(
        lambda f: fibre_density(f, strength, corner),
        frequency_hz,
        interval_s=spectrum.interval_s,
        averaging_s=spectrum.averaging_s,
    )
