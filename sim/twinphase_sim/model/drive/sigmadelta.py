"""Bits of a sigma-delta pin. Source: "Sigma-delta" of docs/actuator.md."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.actuator import CLAMP_BITS, CLAMP_HIGH, CLAMP_LOW, SET_BACK_SCALES


@numba.njit(cache=True)
def _second_order(
    level: NDArray[np.int64], scale: int, far: int, out: NDArray[np.uint8], errors: NDArray[np.int64]
) -> None:
    last, before, silent = 0, 0, 0
    for n in range(level.size):
        if silent:
            silent -= 1
            continue
        v = level[n] + 2 * last - before
        out[n] = v >= scale // 2
        before, last = last, v - out[n] * scale
        if v >= far or v < -far:
            before, last, silent = 0, 0, 2
        errors[n] = last


def clamped(level: NDArray[np.int64], *, bits: int = 16) -> NDArray[np.int64]:
    """What the second order takes for a level."""
    unit = 1 << (bits - CLAMP_BITS)
    return np.clip(level, CLAMP_LOW * unit, CLAMP_HIGH * unit)


def sigma_delta(level: NDArray[np.int64], *, order: int, bits: int = 16) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bit that follows each level, and the error behind it."""
    scale = 1 << bits
    if order == 1:
        total = np.cumsum(level)
        return np.diff(total // scale, prepend=0).astype(np.uint8), total % scale
    out, errors = np.zeros(level.size, dtype=np.uint8), np.zeros(level.size, dtype=np.int64)
    _second_order(clamped(level, bits=bits), scale, SET_BACK_SCALES * scale, out, errors)
    return out, errors
