"""Transmittance of the two arms against time: steady, or fluctuating by a bounded factor of mean 1.

The factor is ``exp(s g - s^2 / 2)`` with g an Ornstein-Uhlenbeck process of variance 1, one-sided PSD
``(2 / (pi fc)) / (1 + (f / fc)^2)``, clipped at +-POWER_CLIP_SIGMAS: that lowers the mean by less than 1e-4 of s and gives every
click an upper bound of its probability. Log-normal power has two physical grounds: losses multiply, and it stays positive.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from twinphase_spec.lab import Lab
from twinphase_spec.scene import POWER_CLIP_SIGMAS, Power
from twinphase_spec.units import TICKS_PER_SECOND

POINTS_PER_TIME_CONSTANT = 64
"""At least; between grid points g is interpolated linearly, which takes a third of a grid step, 0.5 % of its variance, off."""
SEGMENT_POINTS = 1 << 14
KEPT_SEGMENTS = 4


class PowerProcess:
    """Factor of one arm's transmittance; the same for a seed and a time, whatever was asked before."""

    def __init__(self, power: Power, seed: tuple[int, ...]) -> None:
        self._power = power
        self._seed = seed
        constant_ticks = TICKS_PER_SECOND / (2 * math.pi * power.corner_hz)
        self._grid_bits = int(math.log2(constant_ticks / POINTS_PER_TIME_CONSTANT))
        self._kept = math.exp(-(1 << self._grid_bits) / constant_ticks)
        """Correlation of neighbouring grid points."""
        self._starts = [float(np.random.default_rng([*seed, 0]).normal())]
        self._segments: OrderedDict[int, NDArray[np.float64]] = OrderedDict()

    def at(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Factor at ``ticks`` (0 or more) after the start."""
        grid = ticks >> self._grid_bits
        fraction = (ticks & ((1 << self._grid_bits) - 1)) / (1 << self._grid_bits)
        segments, points = np.divmod(grid, SEGMENT_POINTS)
        g = np.empty(ticks.shape)
        for number in np.unique(segments):
            chosen = segments == number
            values, index = self._segment(int(number)), points[chosen]
            low = values[index]
            g[chosen] = low + fraction[chosen] * (values[index + 1] - low)
        sigma = self._power.log_sigma
        return np.exp(sigma * np.clip(g, -POWER_CLIP_SIGMAS, POWER_CLIP_SIGMAS) - sigma**2 / 2)

    def _segment(self, number: int) -> NDArray[np.float64]:
        """g at the SEGMENT_POINTS + 1 grid points of a segment: ``g' = kept g + sqrt(1 - kept^2) normal``."""
        for earlier in range(len(self._starts) - 1, number):
            self._segment(earlier)
        if number in self._segments:
            self._segments.move_to_end(number)
            return self._segments[number]
        noise = np.random.default_rng([*self._seed, 1, number]).normal(size=SEGMENT_POINTS)
        start = self._starts[number]
        later, _ = lfilter([math.sqrt(1 - self._kept**2)], [1.0, -self._kept], noise, zi=[self._kept * start])
        values = np.concatenate(([start], later))
        if len(self._starts) == number + 1:
            self._starts.append(float(values[-1]))
        self._segments[number] = values
        if len(self._segments) > KEPT_SEGMENTS:
            self._segments.popitem(last=False)
        return values


class LinkPower:
    """Both arms. ``largest``: upper bound of each arm's transmittance. Before ``start_ticks`` the power is that of the start."""

    def __init__(self, lab: Lab, seed: int, start_ticks: int) -> None:
        self._start_ticks = start_ticks
        self._steady = lab.fibre.transmittance("a"), lab.fibre.transmittance("b")
        powers = lab.scene.power_of("a"), lab.scene.power_of("b")
        self._processes = [PowerProcess(power, (seed, 6, arm)) if power else None for arm, power in enumerate(powers)]
        self.largest = [
            steady * (power.largest if power else 1.0) for steady, power in zip(self._steady, powers, strict=True)
        ]

    def transmittances(
        self, times_ticks: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64] | float, NDArray[np.float64] | float]:
        """Transmittance of arm a and arm b at each time; a plain number where it is steady."""
        ticks = np.maximum(times_ticks - self._start_ticks, 0)
        a, b = (
            steady * process.at(ticks) if process else steady
            for steady, process in zip(self._steady, self._processes, strict=True)
        )
        return a, b


def interference_factor(lab: Lab) -> float:
    """Mean of ``sqrt(f_A f_B)`` over the factors of both arms: ``exp(-(s_A^2 + s_B^2) / 8)``; it multiplies the mean fringe."""
    return math.exp(-sum(power.log_sigma**2 for power in lab.scene.power) / 8)
