"""Mode pairing as the host sees it: which heralds of a block stand for a pair, and the pair's detector. Source: docs/rules.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 255
"""Detector of a herald whose record has not come."""


def paired(pulse: NDArray[np.int64], present: NDArray[np.bool_], span: int) -> NDArray[np.bool_]:
    """Heralds of one block that are the second of a pair, of those ``present``: the one before is there, no second itself, and at most
    ``span`` pulses earlier."""
    near = _near(pulse, present, span)
    second = np.zeros(pulse.size, np.bool_)
    # In a run of heralds each of which is near the one before, every other one is a second, from the run's first on.
    place = np.arange(pulse.size)
    start = np.maximum.accumulate(np.where(near, 0, place)) if pulse.size else place
    second[:] = near & ((place - start) % 2 == 1)
    return second


def could_pair(pulse: NDArray[np.int64], present: NDArray[np.bool_], span: int, second: NDArray[np.bool_]) -> bool:
    """Whether some of the heralds ``present`` pair so: what clients do that have both missed the others."""
    follows = second.copy()
    follows[1:] &= second[:-1]
    follows[:1] = False
    return not follows.any() and bool((_near(pulse, present, span) | ~second).all())


def pair_detector(detector: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of the herald before and this one, R of one xor R of the other; UNKNOWN where either is."""
    before = np.concatenate([np.full(min(detector.size, 1), UNKNOWN, np.uint8), detector[:-1]])
    known = (detector != UNKNOWN) & (before != UNKNOWN)
    return np.where(known, detector ^ before, np.uint8(UNKNOWN))


def _near(pulse: NDArray[np.int64], present: NDArray[np.bool_], span: int) -> NDArray[np.bool_]:
    near = np.zeros(pulse.size, np.bool_)
    near[1:] = present[1:] & present[:-1] & (pulse[1:] - pulse[:-1] <= span)
    return near
