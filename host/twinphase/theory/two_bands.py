"""Limits of the phase at the quantum wavelength, ``psi_q = psi_r + psi_d``, from clicks of two bands.

Clicks of the reference band measure psi_r (at the quantum wavelength) with the white noise 1/J_r, in-band clicks psi_r + psi_d with
1/J_d. Motions of both are independent. At each frequency the posterior covariance of (psi_r, psi_d) is the inverse of
``((1/S_r + J_r + J_d, J_d), (J_d, 1/S_d + J_d))``; its sum over all four elements is what is left of psi_q when the past and the
future are known (Wiener, Extrapolation, Interpolation and Smoothing of Stationary Time Series, 1949, ch. 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tracking import causal_mse, matched_slope_noise

FREQUENCIES = np.geomspace(1e-5, 1e9, 8000)
"""Hz; of every motion less than 1e-4 of the error lies outside for gains of 1 to 1e6 1/s."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A walk D, a slope walk Q and noise of the fibre's shape: a phase's two-sided density."""

    diffusion: float = 0.0
    slope_noise: float = 0.0
    rate_rms_rad_per_s: float = 0.0
    corner_hz: float = 100.0

    def density(self, frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        """``[D + Q/(2 pi f)^2 + (r^2 / 2 fc) (fc/(f + fc))^2] / (2 pi f)^2`` in rad^2/Hz."""
        square = (2 * np.pi * frequency_hz) ** 2
        shape = (self.corner_hz / (frequency_hz + self.corner_hz)) ** 2
        fibre = self.rate_rms_rad_per_s**2 / (2 * self.corner_hz) * shape
        return np.asarray((self.diffusion + self.slope_noise / square + fibre) / square, np.float64)

    def causal_mse(self, rate: float, delay_s: float = 0.0) -> float:
        """Least error in rad^2 of psi(t + tau) from clicks up to t that inform at the rate J; see `tracking.matched_slope_noise`."""
        slope_noise = matched_slope_noise(
            rate,
            diffusion=self.diffusion,
            slope_noise=self.slope_noise,
            rate_rms_rad_per_s=self.rate_rms_rad_per_s,
            corner_hz=self.corner_hz,
        )
        return causal_mse(self.diffusion, rate, delay_s, slope_noise)


def smoothed_mse(motion: Motion, rate: float) -> float:
    """Least error in rad^2 of psi(t) from all clicks before and after: ``integral S / (1 + J S) df``."""
    density = motion.density(FREQUENCIES)
    return _integral(density / (1 + rate * density))


def two_band_smoothed_mse(r: Motion, rate_r: float, d: Motion, rate_d: float) -> float:
    """Least error in rad^2 of psi_q from all clicks of both bands, before and after; rates J_r and J_d in rad^-2/s."""
    s_r, s_d = r.density(FREQUENCIES), d.density(FREQUENCIES)
    # times S_r S_d, so that a motion of nothing is allowed
    determinant = 1 + (rate_r + rate_d) * s_r + rate_d * s_d + rate_r * rate_d * s_r * s_d
    return _integral((s_r + s_d + rate_r * s_r * s_d) / determinant)


def two_band_causal_mse(r: Motion, rate_r: float, d: Motion, rate_d: float, delay_s: float = 0.0) -> float:
    """Error in rad^2 of psi_q(t + tau) from clicks up to t when both phases are followed as well as can be, each for itself.

    The sum of both least errors: near the common limit where psi_d is much slower than psi_r, and above it.
    """
    return r.causal_mse(rate_r, delay_s) + d.causal_mse(rate_d, delay_s)


def _integral(density: NDArray[np.float64]) -> float:
    """Over all frequencies of both signs."""
    return 2 * float(np.trapezoid(density * FREQUENCIES, np.log(FREQUENCIES)))
