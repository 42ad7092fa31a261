"""The CORDIC of `twinphase_spec.fixed`, vectorised and bit-exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinphase_spec.fixed import CORDIC_ANGLE_BITS, CORDIC_ATAN, CORDIC_NORMAL_BITS
from twinphase_spec.units import TURN_BITS

HALF = 1 << (CORDIC_ANGLE_BITS - 1)
QUARTER = HALF >> 1
GUARD_BITS = CORDIC_ANGLE_BITS - TURN_BITS


def normalise(x: NDArray[np.int64], y: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both shifted alike, so that the longer has CORDIC_NORMAL_BITS magnitude bits; right shifts are arithmetic."""
    length = np.frexp(np.maximum(np.abs(x), np.abs(y)).astype(np.float64))[1].astype(np.int64)
    left = np.clip(CORDIC_NORMAL_BITS - length, 0, None)
    right = np.clip(length - CORDIC_NORMAL_BITS, 0, None)
    return x << left >> right, y << left >> right


def vectoring(x: ArrayLike, y: ArrayLike) -> NDArray[np.uint16]:
    """Angle of (x, y) in 2^-16 turn. (0, 0) has none: what is returned there means nothing.

    |x|, |y| < 2^53, so that a float64 gives their bit lengths exactly.
    """
    a, b = normalise(np.asarray(x, dtype=np.int64), np.asarray(y, dtype=np.int64))
    sign = np.where(a < 0, np.int64(-1), np.int64(1))
    z = np.where(a < 0, np.int64(HALF), np.int64(0))
    a, b = a * sign, b * sign
    for i, angle in enumerate(CORDIC_ATAN):
        sign = np.where(b >= 0, np.int64(1), np.int64(-1))
        a, b, z = a + sign * (b >> i), b - sign * (a >> i), z + sign * angle
    return ((z + (1 << (GUARD_BITS - 1))) >> GUARD_BITS).astype(np.uint16)


def rotation(x: ArrayLike, y: ArrayLike, angle_turns: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(x, y) rotated by +angle (2^-16 turn, taken modulo one turn), times the CORDIC's gain 1.6468."""
    turns = np.asarray(angle_turns, dtype=np.int64)
    z = (((turns << GUARD_BITS) + HALF) & (2 * HALF - 1)) - HALF
    flip = np.where(z >= QUARTER, np.int64(1), np.where(z < -QUARTER, np.int64(-1), np.int64(0)))
    sign = np.where(flip == 0, np.int64(1), np.int64(-1))
    a, b, z = np.asarray(x, dtype=np.int64) * sign, np.asarray(y, dtype=np.int64) * sign, z - flip * HALF
    for i, angle in enumerate(CORDIC_ATAN):
        sign = np.where(z >= 0, np.int64(1), np.int64(-1))
        a, b, z = a - sign * (b >> i), b + sign * (a >> i), z - sign * angle
    return a, b
