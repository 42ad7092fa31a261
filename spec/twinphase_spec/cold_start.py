"""How well the click tracker's cold start knows the phase, for whatever reference its clicks come under (docs/tracking.md).

The first START_CLICKS clicks are summed up by port and by the nearest quarter turn q of their reference r::

    C = sum a c(q),  S = sum a s(q),   a = +-1 for L, R,   c = 1, 0, -1, 0,  s = 0, -1, 0, 1  for q = 0, 1, 2, 3,   psi = atan2(S, C)

Of equally many clicks under four steps, r = k pi/2, the angle has no bias and the variance 2/(N V^2). Steps of unequal parts favour one
of the two sums: with 1/16 of the clicks under k = 1, 3 and all others under k = 0, 2, atan2 would tell hardly more than a half-plane. A
reference that has an offset of its own (what an actuator takes off, psi_r in the reference of psi_d) turns the angle by what the
rounding to q leaves of it; one that goes round during the start makes all parts equal, whatever the steps, at 0.9 of the sums.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .tracking import START_CLICKS

PSI = (np.arange(64) + 0.5) / 64
"""Phases in turns over which the error is averaged."""
UNKNOWN_RAD2 = math.pi**2 / 3
"""Error of a guess, the most that is told."""
SCENARIOS = (np.arange(32) + 0.5) / 32
STRETCH = (np.arange(48) + 0.5) / 48 - 0.5
COSINES = np.array([1.0, 0.0, -1.0, 0.0])
SINES = np.array([0.0, -1.0, 0.0, 1.0])


def start_variance(visibility: float, parts: NDArray[np.float64], offsets: NDArray[np.float64]) -> float:
    """Mean square error in rad^2 of the starting angle, to first order in its noise, averaged over psi and scenarios.

    ``parts``: of the clicks under k = 0 ... 3, shape (4,), sum 1. ``offsets``: what is added to k/4 turn, in turns, shape (scenarios,
    samples): the samples of a row pass during the start, which row it is is not known before.
    """
    quarter = np.arange(4) / 4
    reference = quarter[None, :, None] + offsets[:, None, :]
    nearest = np.rint(4 * reference).astype(np.int64) % 4
    weights = np.stack([COSINES[nearest], SINES[nearest]])
    share = np.broadcast_to((parts / offsets.shape[1])[None, :, None], reference.shape)
    fringe = visibility * np.cos(2 * np.pi * (PSI[:, None, None, None] + reference[None]))
    mean = START_CLICKS * np.einsum("wokn,okn,pokn->wpo", weights, share, fringe)
    # a^2 = 1; what the means of single clicks take from their variances is left out, which errs on the side of a larger error
    power = START_CLICKS * np.einsum("wokn,okn->wo", weights**2, share)
    length = np.maximum(np.hypot(*mean), 1e-9)
    across = (power[0] * mean[1] ** 2 + power[1] * mean[0] ** 2) / length**4
    angle = np.arctan2(mean[1], mean[0]) - 2 * np.pi * PSI[:, None]
    bias = (angle + np.pi) % (2 * np.pi) - np.pi
    return float(np.minimum(bias**2 + across, UNKNOWN_RAD2).mean())


def steady_offset(turns: float = 0.0) -> NDArray[np.float64]:
    """Offsets of a reference that has one for good."""
    return np.array([[turns]])


def unknown_offset(turns_on_the_way: float = 0.0) -> NDArray[np.float64]:
    """Of one that may be anywhere and goes so far during the start."""
    return SCENARIOS[:, None] + turns_on_the_way * STRETCH[None, :]


def noisy_offset(turns: float, rms_turns: float) -> NDArray[np.float64]:
    """Of one that is held, with a noise faster than the start."""
    ranks = (np.arange(64) + 0.5) / 64
    return turns + rms_turns * _normal_quantiles(ranks)[None, :]


def _normal_quantiles(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of the normal distribution by interpolation of its integral."""
    x = np.linspace(-5, 5, 2001)
    cumulated = np.cumsum(np.exp(-(x**2) / 2))
    return np.interp(ranks, (cumulated - cumulated[0] / 2) / cumulated[-1], x)
