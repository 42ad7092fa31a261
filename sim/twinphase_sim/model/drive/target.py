"""Target words at the modulator's wavelength. Source: "Wavelength" of docs/actuator.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.actuator import PHASE_BITS, SCALE_PERIOD

SCALE_CLOCKS = 11
"""From the start of a word's work to its result."""


@dataclass(frozen=True)
class TargetWords:
    """Words by the clock in which they are offered. All arrays have one element per clock."""

    valid: NDArray[np.bool_]
    phase: NDArray[np.int64]
    """Unwrapped, 2^-32 turn."""
    locked: NDArray[np.bool_]


@dataclass(frozen=True)
class ScaledWords:
    """Scaled words by the clock in which they come out; phase and locked mean nothing where valid is False."""

    valid: NDArray[np.bool_]
    phase: NDArray[np.int64]
    """Fraction of a turn, 0 .. 2^32 - 1."""
    locked: NDArray[np.bool_]


def scaled_phase(unwrapped: NDArray[np.int64], ratio: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(U + ((U C) >> 32)) mod 2^32``: bits 32 to 63 of the product, which wrapping 64-bit arithmetic gives exactly."""
    mask = np.int64((1 << PHASE_BITS) - 1)
    product = unwrapped.astype(np.int64) * ratio.astype(np.int64)
    return ((unwrapped & mask) + (product >> PHASE_BITS)) & mask


def started(valid: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clocks in which a word's work starts, and the clocks in which these words were offered."""
    starts, sources = [], []
    free_from = 0
    offered = np.flatnonzero(valid)
    k = 0
    while k < offered.size:
        start = max(int(offered[k]) + 1, free_from)
        # Words that came before the start replaced the one that waited.
        while k + 1 < offered.size and offered[k + 1] < start:
            k += 1
        starts.append(start)
        sources.append(int(offered[k]))
        free_from = start + SCALE_PERIOD
        k += 1
    return np.array(starts, dtype=np.int64), np.array(sources, dtype=np.int64)


def scale_targets(words: TargetWords, ratio: NDArray[np.int64]) -> ScaledWords:
    """``ratio`` is RATIO by clock; a word is scaled by that of the clock in which its work starts."""
    clocks = words.valid.size
    starts, sources = started(words.valid)
    inside = starts + SCALE_CLOCKS < clocks
    starts, sources = starts[inside], sources[inside]
    valid = np.zeros(clocks, dtype=np.bool_)
    phase = np.zeros(clocks, dtype=np.int64)
    locked = np.zeros(clocks, dtype=np.bool_)
    at = starts + SCALE_CLOCKS
    valid[at] = True
    phase[at] = scaled_phase(words.phase[sources], ratio[starts])
    locked[at] = words.locked[sources]
    return ScaledWords(valid=valid, phase=phase, locked=locked)
