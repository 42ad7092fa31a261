"""Which D and Q a tracker of two states is given for a phase of any spectrum.

A filter for ``dpsi = s dt + sqrt(D) dW1, ds = sqrt(Q) dW2`` is in its steady state the loop ``H = (K1 s + K2)/(s^2 + K1 s + K2)`` with
``K1 = J P11``, ``K2 = J P12``. Its mean square error on a phase of the two-sided density S, with clicks that inform at the rate J, is::

    integral S |1 - H|^2 df  +  (K1 + K2/K1) / (2 J)

The loop of least error is found, and D and Q are those of which it is the optimal one: ``D = (K1^2 - 2 K2)/J``, ``Q = K2^2/J``. So a
filter made from D and Q is the best of its kind for that spectrum, and knows the error that it has. For a walk or a slope walk
these are the true D and Q. A fibre's noise ``r^2/fc (fc/(f + fc))^2 / (2 pi f)^2`` (one-sided, r^2 = (2 pi)^2 l L fc) is a walk of
``D = r^2/(2 fc)`` to a loop slower than fc and a slope walk of ``Q = 2 pi^2 r^2 fc = (2 pi)^4 l L fc^2 / 2`` to a faster one; between the
two neither, and taking the second would make the loop too fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lab import Lab

LEAST_SLOPE_PART = 0.02
"""2 K2 / K1^2 at the least: a steady drift then leaves no error in the end. Costs 1 % of variance where there is no slope noise."""
SLOPE_PARTS = np.array([LEAST_SLOPE_PART, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
SPECTRUM_POINTS = 512
BAND_MIDDLES = (np.arange(64) + 0.5) / 64
GAIN_ROUNDS = 40
"""Golden sections of the logarithm of K1: of a factor 1e9 to below 1e-6."""


@dataclass(frozen=True, kw_only=True)
class PhaseNoise:
    """Everything that moves a phase for good: a walk, noise of the fibre's shape, lines and noise bands."""

    diffusion_rad2_per_s: float = 0.0
    rate_rms_rad_per_s: float = 0.0
    """r of the fibre's noise."""
    corner_hz: float = 100.0
    lines: tuple[tuple[float, float], ...] = ()
    """(frequency in Hz, amplitude in rad)."""
    bands: tuple[tuple[float, float, float], ...] = ()
    """(lowest, highest frequency in Hz, RMS in rad) of flat noise, at its strongest."""
    drift_rad_per_s: float = 0.0
    """Largest steady rate; the loop follows it, and it must be found at the start."""

    @property
    def slope_rms_rad_per_s(self) -> float:
        """Rate that a cold start may meet (RMS)."""
        lines = sum((2 * math.pi * f * a) ** 2 / 2 for f, a in self.lines)
        bands = sum((2 * math.pi * rms) ** 2 * (b * b + a * b + a * a) / 3 for a, b, rms in self.bands)
        return math.sqrt(self.rate_rms_rad_per_s**2 + self.drift_rad_per_s**2 + lines + bands)

    def left(self, k1: float, k2: NDArray[np.float64]) -> NDArray[np.float64]:
        """``integral S |1 - H|^2 df`` in rad^2 for each K2."""
        f = np.geomspace(1e-7, 1e5, SPECTRUM_POINTS) * (k1 + self.corner_hz)
        shape = self.rate_rms_rad_per_s**2 / self.corner_hz * (self.corner_hz / (f + self.corner_hz)) ** 2
        # S |1 - H|^2 with S ~ f^-2, so that nothing is divided by f
        fibre = np.trapezoid(shape * f * (2 * np.pi * f) ** 2 / _denominator(f, k1, k2), np.log(f))
        total: NDArray[np.float64] = np.asarray(fibre) + self.diffusion_rad2_per_s / (2 * k1)
        for frequency, amplitude in self.lines:
            total = total + amplitude**2 / 2 * _missed(np.array([frequency]), k1, k2)[:, 0]
        for low, high, rms in self.bands:
            middles = low + (high - low) * BAND_MIDDLES
            total = total + rms**2 * _missed(middles, k1, k2).mean(axis=1)
        return total


@dataclass(frozen=True, kw_only=True)
class LoopDesign:
    """D and Q for the filter, and what the loop made from them leaves."""

    diffusion_rad2_per_s: float
    slope_noise_rad2_per_s3: float
    fisher_hz: float
    mse_rad2: float
    """Causal, without delay."""


def design(noise: PhaseNoise, fisher_hz: float, *, least_rad2: float, most_rad2: float) -> LoopDesign:
    """The loop of least error whose own variance ``P11 = K1/J`` stays within the given limits.

    A phase quieter than ``least_rad2`` allows gets that loop; one that would need more than ``most_rad2`` gets the loop there, whose
    `mse_rad2` says how bad it is. ValueError where J is not above 0.
    """
    if not 0 < fisher_hz < math.inf:
        raise ValueError(f"an information rate of {fisher_hz:.3g} /s; allowed: above 0: give a light that informs")

    def errors(log_gain: float) -> NDArray[np.float64]:
        k1 = math.exp(log_gain)
        k2 = SLOPE_PARTS * k1 * k1 / 2
        return noise.left(k1, k2) + (k1 + k2 / k1) / (2 * fisher_hz)

    low, high = math.log(fisher_hz * least_rad2), math.log(fisher_hz * most_rad2)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(GAIN_ROUNDS):
        lower, upper = high - ratio * (high - low), low + ratio * (high - low)
        if errors(lower).min() < errors(upper).min():
            high = upper
        else:
            low = lower
    all_errors = errors((low + high) / 2)
    best = int(np.argmin(all_errors))
    k1 = math.exp((low + high) / 2)
    k2 = float(SLOPE_PARTS[best]) * k1 * k1 / 2
    return LoopDesign(
        diffusion_rad2_per_s=max(0.0, k1 * k1 - 2 * k2) / fisher_hz,
        slope_noise_rad2_per_s3=k2 * k2 / fisher_hz,
        fisher_hz=fisher_hz,
        mse_rad2=float(all_errors[best]),
    )


def smoothed_mse(
    noise: PhaseNoise, *, diffusion_rad2_per_s: float, slope_noise_rad2_per_s3: float, fisher_hz: float
) -> float:
    """Error in rad^2 of the smoother made from D, Q and J, with all clicks before and after, on a phase of another spectrum S.

    In the middle of a long run it is the filter ``G = S'/(S' + 1/J)``, ``S' = D/(2 pi f)^2 + Q/(2 pi f)^4``; what it leaves is
    ``integral S |1 - G|^2 + |G|^2 / J df``.
    """

    def missed(f: NDArray[np.float64]) -> NDArray[np.float64]:
        w2 = (2 * np.pi * f) ** 2
        return w2 * w2 / (w2 * w2 + fisher_hz * (diffusion_rad2_per_s * w2 + slope_noise_rad2_per_s3))

    p11 = math.sqrt((diffusion_rad2_per_s + 2 * math.sqrt(slope_noise_rad2_per_s3 / fisher_hz)) / fisher_hz)
    f = np.geomspace(1e-7, 1e5, 8 * SPECTRUM_POINTS) * (p11 * fisher_hz + noise.corner_hz)
    w2 = (2 * np.pi * f) ** 2
    shape = (noise.corner_hz / (f + noise.corner_hz)) ** 2
    rate = 2 * noise.diffusion_rad2_per_s + noise.rate_rms_rad_per_s**2 / noise.corner_hz * shape
    density = rate / w2 * missed(f) ** 2 + 2 * (1 - missed(f)) ** 2 / fisher_hz
    total = float(np.trapezoid(density * f, np.log(f)))
    for frequency, amplitude in noise.lines:
        total += amplitude**2 / 2 * float(missed(np.array([frequency]))[0]) ** 2
    return total


def reference_noise(lab: Lab) -> PhaseNoise:
    """What moves psi_r: lasers, fibre, drift and scene.

    Trucks count at their strongest, all of them at once, and ramps all at once. Not covered: knocks, which pass within milliseconds and
    may lose the phase (then it is found again), and fluctuating power beyond its mean.
    """
    fibre, scene = lab.fibre, lab.scene
    length = fibre.length_a_km + fibre.length_b_km
    return PhaseNoise(
        diffusion_rad2_per_s=lab.lasers.diffusion_rad2_per_s,
        rate_rms_rad_per_s=2 * math.pi * math.sqrt(fibre.noise_rad2_hz_per_km * length * fibre.noise_corner_hz),
        corner_hz=fibre.noise_corner_hz,
        lines=tuple((line.frequency_hz, line.amplitude_rad) for line in scene.lines),
        bands=tuple((truck.low_hz, truck.high_hz, truck.rms_rad) for truck in scene.trucks),
        drift_rad_per_s=abs(fibre.drift_rad_per_s) + sum(abs(ramp.rate_rad_per_s) for ramp in scene.ramps),
    )


def differential_noise(lab: Lab) -> PhaseNoise:
    """What moves psi_d: noise of the fibre's spectral shape with the lab's RMS rate."""
    return PhaseNoise(rate_rms_rad_per_s=lab.bands.differential_drift_rad_per_s, corner_hz=lab.fibre.noise_corner_hz)


def _denominator(f: NDArray[np.float64], k1: float, k2: NDArray[np.float64]) -> NDArray[np.float64]:
    """``|s^2 + K1 s + K2|^2`` at s = 2 pi i f: (K2, f)."""
    w = 2 * np.pi * f[None, :]
    return (k2[:, None] - w * w) ** 2 + (k1 * w) ** 2


def _missed(f: NDArray[np.float64], k1: float, k2: NDArray[np.float64]) -> NDArray[np.float64]:
    """``|1 - H|^2``: (K2, f)."""
    return (2 * np.pi * f[None, :]) ** 4 / _denominator(f, k1, k2)
