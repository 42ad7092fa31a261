"""Ticks of a node whose oscillator is off and drifts, at given SI times; pulses of a reference and of a PPS as it sees them."""

from __future__ import annotations

import numpy as np

from twinphase_spec.units import TICKS_PER_SECOND

CLOCK, PPS = 3, 4
START = 40_000 * TICKS_PER_SECOND  # half a day: float64 would not hold these times


class Truth:
    """Node ticks of SI seconds: ``t = start + TPS (s + offset s + drift s^2 / 2)``, computed without losing ticks."""

    def __init__(self, offset=0.0, drift=0.0):
        self.offset, self.drift = offset, drift

    def ticks(self, second, fraction):
        """Node time (float part apart) of SI second + fraction since START."""
        s = second + fraction
        error = self.offset * s + self.drift * s * s / 2
        return START + second * TICKS_PER_SECOND, fraction * TICKS_PER_SECOND + error * TICKS_PER_SECOND

    def rounded(self, second, fraction, jitter=0.0):
        whole, rest = self.ticks(second, fraction)
        return whole + np.rint(rest + jitter).astype(np.int64)


def pulses(truth, seconds, rate, jitter_ticks=0.0, seed=1):
    rng = np.random.default_rng(seed)
    n = np.arange(round(seconds * rate))
    second = n // rate
    return truth.rounded(second, (n - second * rate) / rate, rng.normal(0, jitter_ticks, len(n)))


def pps_pulses(truth, seconds, phase=0.0):
    n = np.arange(int(seconds - phase) + 1)
    return truth.rounded(n, np.full(len(n), phase))
