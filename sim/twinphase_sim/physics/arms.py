"""Lateness of each arm's light against time: fibre, client's clock, random walk, and what the client's emission delay takes off."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.lab import Lab
from twinphase_spec.lab_arms import DAY_S, DELAY_PS_PER_K_KM, PS_PER_S_PER_PPB, Arm

GRID_S = 2.0**-5
"""Of the walk; in between it is straight."""
SEGMENT_POINTS = 1 << 14
KEPT_SEGMENTS = 4


class ArmDrift:
    """Lateness of an uncorrected arm in ps; the same for a seed and a time, whatever was asked before."""

    def __init__(self, arm: Arm, length_km: float, seed: tuple[int, ...]) -> None:
        self._arm, self._length_km, self._seed = arm, length_km, seed
        self._starts = [0.0]
        self._segments: OrderedDict[int, NDArray[np.float64]] = OrderedDict()

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """At ``seconds`` after pulse 0; before it the walk stands still."""
        arm = self._arm
        kelvin = arm.kelvin_per_s * seconds + arm.day_kelvin / 2 * np.sin(2 * math.pi / DAY_S * seconds)
        late = arm.offset_ps + DELAY_PS_PER_K_KM * self._length_km * kelvin + PS_PER_S_PER_PPB * arm.clock_ppb * seconds
        return late + self._walk(seconds) if arm.walk_ps_per_sqrt_s else late

    def _walk(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        grid = np.maximum(seconds, 0.0) / GRID_S
        point = grid.astype(np.int64)
        segments, points = np.divmod(point, SEGMENT_POINTS)
        walk = np.empty(np.shape(seconds))
        for number in np.unique(segments):
            chosen = segments == number
            values, index = self._segment(int(number)), points[chosen]
            walk[chosen] = values[index] + (grid - point)[chosen] * (values[index + 1] - values[index])
        return walk

    def _segment(self, number: int) -> NDArray[np.float64]:
        for earlier in range(len(self._starts) - 1, number):
            self._segment(earlier)
        if number not in self._segments:
            sigma = self._arm.walk_ps_per_sqrt_s * math.sqrt(GRID_S)
            steps = np.random.default_rng([*self._seed, number]).normal(0, sigma, SEGMENT_POINTS)
            values = self._starts[number] + np.concatenate(([0.0], np.cumsum(steps)))
            if len(self._starts) == number + 1:
                self._starts.append(float(values[-1]))
            self._segments[number] = values
            if len(self._segments) > KEPT_SEGMENTS:
                self._segments.popitem(last=False)
        return self._segments[number]


def arm_drifts(lab: Lab, seed: int) -> tuple[ArmDrift, ArmDrift]:
    """Both arms of a lab."""
    lengths = lab.fibre.length_a_km, lab.fibre.length_b_km
    a, b = (
        ArmDrift(arm, km, (seed, 8, k))
        for k, (arm, km) in enumerate(zip((lab.arms.a, lab.arms.b), lengths, strict=True))
    )
    return a, b
