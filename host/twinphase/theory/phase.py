"""Phase from reference counts: variances of the four-phase estimator, and the best window.

Model: ``n_L,k ~ Poisson(N_k (1 + V cos(psi + k pi/2)) / 2 + b)``, n_R,k with minus, equal N_k; ``D_k = n_L,k - n_R,k``,
``psi = atan2(D3 - D1, D0 - D2)``. Both arguments have the variance N/2 (N counts in all) and the amplitude N V / 2.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def four_phase_estimate(differences: tuple[float, float, float, float]) -> float:
    """``psi = atan2(D3 - D1, D0 - D2)`` in rad, of D_k = n_L,k - n_R,k."""
    d0, d1, d2, d3 = differences
    return math.atan2(d3 - d1, d0 - d2)


def effective_visibility(visibility: float, signal: float, background: float) -> float:
    """``V S / (S + B)``: visibility of S signal counts among B background counts (rates or numbers)."""
    if signal + background <= 0:
        raise ValueError("phase: no counts at all; give a signal or background above 0")
    return visibility * signal / (signal + background)


def shot_noise_variance(counts: float, visibility: float) -> float:
    """``2 / (N V^2)`` rad^2, the large-N limit: sigma = sqrt(2/N)/V (0.147 rad at N = 100, V = 0.97)."""
    if counts <= 0 or visibility <= 0 or counts * visibility**2 == 0:  # also where the product underflows
        return math.inf
    return 2 / (counts * visibility**2)


def four_phase_variance(counts: float, visibility: float) -> float:
    """The same to second order in ``x = 2 / (N V^2)``, mean over psi: ``x (1 + x (1 - V^2 / 2))``, at most ``pi^2 / 3``.

    Expansion of the angle e of (A + c, s), c and s radial and transverse noise of variance N/2, A = N V / 2:
    ``e^2 = s^2/A^2 (1 - 2c/A + 3c^2/A^2) - (2/3) s^4/A^4``, with the third cumulant ``<s^2 c> = A sin^2(2 psi) / 2`` of the Poisson
    counts. Within 1 % of the true variance from N = 40 up, 3 % at N = 20; pi^2 / 3 is that of no signal at all.
    """
    return float(four_phase_variances(np.array(counts), np.array(visibility)))


def four_phase_variances(counts: NDArray[np.floating], visibility: NDArray[np.floating]) -> NDArray[np.float64]:
    """`four_phase_variance` of every element."""
    squared = visibility**2
    with np.errstate(over="ignore"):
        x = 2 / np.maximum(counts * squared, np.finfo(np.float64).tiny)
        return np.minimum(x * (1 + x * (1 - squared / 2)), math.pi**2 / 3)


def drift_variance(drift_rad_per_s: float, window_s: float) -> float:
    """``(r T)^2 / 12``: mean square distance of a drifting phase from its mean over the (centred) window."""
    return (drift_rad_per_s * window_s) ** 2 / 12


def noise_window_variance(rate_rms: float, corner_hz: float, window_s: float) -> float:
    """Mean square distance in rad^2 of fibre noise from its mean over a window.

    ``integral S(f) [1 - (sin(pi f T) / (pi f T))^2] df`` with ``S = r^2 / fc (fc / (f + fc))^2 / (2 pi f)^2``, r the RMS rate: the
    spectrum of docs/physics.md. ``(r T)^2 / 12`` where T is much below 1/fc.
    """
    if rate_rms == 0:
        return 0.0
    frequency = np.geomspace(1e-4 * corner_hz, 1e4 * (corner_hz + 1 / window_s), 20000)
    density = rate_rms**2 / corner_hz * (corner_hz / (frequency + corner_hz)) ** 2 / (2 * math.pi * frequency) ** 2
    angle = math.pi * frequency * window_s
    # 1 - sinc^2 loses all digits at small angles; its series there is angle^2 / 3
    spread = np.where(angle < 1e-3, angle**2 / 3, 1 - np.sinc(frequency * window_s) ** 2)
    return float(np.trapezoid(density * spread, frequency))


def walk_variance(diffusion: float, window_s: float) -> float:
    """``D T / 6``: the same for a random walk ``<dphi^2> = D t`` (mean of D T (1/3 - x (1 - x)) over the window)."""
    return diffusion * window_s / 6


def line_variance(amplitude_rad: float, frequency_hz: float, window_s: float) -> float:
    """``a^2 / 2 (1 - (sin(pi f T) / (pi f T))^2)``: the same for a line ``a sin(2 pi f t)``, mean over its phase."""
    angle = math.pi * frequency_hz * window_s
    # 1 - sinc^2 loses all digits at small angles; its series there is angle^2 / 3
    spread = angle**2 / 3 if angle < 1e-3 else 1 - (math.sin(angle) / angle) ** 2
    return amplitude_rad**2 / 2 * spread


def window_variance(*, count_rate: float, visibility: float, window_s: float, drift_rad_per_s: float) -> float:
    """``2 / (R T V^2) + (r T)^2 / 12`` rad^2, centred window T, count rate R, drift r."""
    return shot_noise_variance(count_rate * window_s, visibility) + drift_variance(drift_rad_per_s, window_s)


def causal_window_variance(*, count_rate: float, visibility: float, window_s: float, drift_rad_per_s: float) -> float:
    """``2 / (R T V^2) + 13 (r T)^2 / 12``: the last complete window, used for the next one (no waiting)."""
    drift = 13 * drift_variance(drift_rad_per_s, window_s)
    return shot_noise_variance(count_rate * window_s, visibility) + drift


def best_window_s(*, count_rate: float, visibility: float, drift_rad_per_s: float) -> float:
    """``T = (12 / (R V^2 r^2))^(1/3)``, where `window_variance` is least."""
    if count_rate <= 0 or visibility <= 0 or drift_rad_per_s == 0:
        raise ValueError("phase: the best window needs a count rate and visibility above 0 and a drift other than 0")
    return (12 / (count_rate * visibility**2 * drift_rad_per_s**2)) ** (1 / 3)
