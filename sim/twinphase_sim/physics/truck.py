"""Noise of a frequency band under a Gaussian envelope: a truck that drives by."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from twinphase_spec.scene import Truck

POINTS_PER_PERIOD = 32
"""Grid of the noise, per period of ``high_hz``: a cubic spline errs by at most 5/384 (2 pi / 32)^4 = 2e-5 of the amplitude."""
CUT_SIGMAS = 6.0
"""Beyond this many standard deviations of the envelope there is nothing: it is 1.5e-8 there."""


class TruckPhase:
    """Phase of one truck: ``rms e^(-(t - time)^2 / (2 w^2)) n(t)``, ``w = duration / (2 sqrt(2 ln 2))``.

    n is Gaussian noise of variance 1 whose one-sided PSD is ``1 / (high - low)`` in the band: independent Gaussian cosines and
    sines on all multiples of 1 / span in the band, where span is the whole time until the cut; so n does not repeat within it.
    """

    def __init__(self, truck: Truck, seed: tuple[int, ...]) -> None:
        self.truck = truck
        self._width_s = truck.duration_s / (2 * math.sqrt(2 * math.log(2)))
        self._reach_s = CUT_SIGMAS * self._width_s
        self._seed = seed
        self._noise: CubicSpline | None = None

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Phase in rad."""
        phase = np.zeros(seconds.shape)
        late = seconds - self.truck.time_s
        near = np.flatnonzero(np.abs(late) < self._reach_s)
        if near.size:
            if self._noise is None:  # drawn when it is first heard: a lab with many trucks starts at once
                self._noise = self._draw()
            envelope = np.exp(-(late[near] ** 2) / (2 * self._width_s**2))
            phase[near] = self.truck.rms_rad * envelope * self._noise(late[near] + self._reach_s)
        return phase

    def _draw(self) -> CubicSpline:
        """n against the time since the cut before the truck."""
        span_s = 2 * self._reach_s
        count = math.ceil(span_s * self.truck.high_hz * POINTS_PER_PERIOD / 2) * 2
        frequency = np.arange(count // 2 + 1) / span_s
        inside = (frequency >= self.truck.low_hz) & (frequency <= self.truck.high_hz) & (frequency > 0)
        spectrum = np.zeros(frequency.size, dtype=np.complex128)
        parts = np.random.default_rng(self._seed).normal(size=(2, int(inside.sum())))
        # n = sum over bins of sqrt(1 / bins) (x cos + y sin), x and y of variance 1: variance 1 in all
        spectrum[inside] = (parts[0] - 1j * parts[1]) * (count / 2 / math.sqrt(int(inside.sum())))
        values = np.fft.irfft(spectrum, count)
        times = np.arange(count + 1) * (span_s / count)
        return CubicSpline(times, np.append(values, values[0]), bc_type="natural")
