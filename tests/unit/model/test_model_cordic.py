"""CORDIC: bit for bit against a scalar transcription of the spec, and within the derived bound of atan2."""

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from twinphase_sim.model.phase.cordic import rotation, vectoring
from twinphase_sim.model.phase.float_reference import (
    GAIN,
    PASS_ERROR,
    TRUNCATION_RADIUS,
    TURNS_PER_RAD,
    VECTORING_ERROR,
    angle_difference,
)
from twinphase_spec.fixed import CORDIC_ATAN, wrap_signed

COUNTS = st.integers(-(2**20), 2**20)
SUMS = st.integers(-(2**47), 2**47 - 1)


def scalar_vectoring(x: int, y: int) -> int:
    b = max(abs(x), abs(y)).bit_length()
    x, y = (x << 22 - b, y << 22 - b) if b <= 22 else (x >> b - 22, y >> b - 22)
    z = 0
    if x < 0:
        x, y, z = -x, -y, 1 << 19
    for i, angle in enumerate(CORDIC_ATAN):
        if y >= 0:
            x, y, z = x + (y >> i), y - (x >> i), z + angle
        else:
            x, y, z = x - (y >> i), y + (x >> i), z - angle
    return ((z + 8) >> 4) % 65536


def scalar_rotation(x: int, y: int, a: int) -> tuple[int, int]:
    z = wrap_signed(a << 4, 20)
    if z >= 1 << 18:
        x, y, z = -x, -y, z - (1 << 19)
    elif z < -(1 << 18):
        x, y, z = -x, -y, z + (1 << 19)
    for i, angle in enumerate(CORDIC_ATAN):
        if z >= 0:
            x, y, z = x - (y >> i), y + (x >> i), z - angle
        else:
            x, y, z = x + (y >> i), y - (x >> i), z + angle
    return x, y


@given(st.lists(st.tuples(COUNTS | SUMS, COUNTS | SUMS), min_size=1, max_size=30))
@example(
    [(-(2**47), -(2**47)), (2**47 - 1, -(2**47)), (-1, 0), (0, -1), (0, 1), (1, 0), (2**22 - 1, -1), (-(2**22), 2**22)]
)
def test_vectoring_bits(vectors: list[tuple[int, int]]) -> None:
    x, y = np.array(vectors, dtype=np.int64).T
    angles = vectoring(x, y)
    for i, (a, b) in enumerate(vectors):
        if (a, b) != (0, 0):
            assert angles[i] == scalar_vectoring(a, b)
            exact = math.atan2(b, a) * TURNS_PER_RAD
            assert abs(angle_difference(angles[i], np.float64(exact))) <= VECTORING_ERROR


@given(st.lists(st.tuples(COUNTS, COUNTS, st.integers(0, 65535)), min_size=1, max_size=30))
@example([(5, 7, a) for a in (0, 16383, 16384, 16385, 32767, 32768, 49151, 49152, 65535)])
def test_rotation_bits(cases: list[tuple[int, int, int]]) -> None:
    x, y, a = np.array(cases, dtype=np.int64).T
    u, v = rotation(x, y, a)
    for i, case in enumerate(cases):
        assert (u[i], v[i]) == scalar_rotation(*case)
        exact = GAIN * complex(case[0], case[1]) * np.exp(1j * case[2] / TURNS_PER_RAD)
        allowed = GAIN * abs(complex(case[0], case[1])) * PASS_ERROR / TURNS_PER_RAD + TRUNCATION_RADIUS
        assert abs(complex(u[i], v[i]) - exact) <= allowed


def test_every_angle_of_a_circle_is_within_the_bound() -> None:
    """65536 directions with long vectors: also shows that the bound is not idle (the worst case comes within a factor 2)."""
    angle = np.arange(65536) + 0.37
    x, y = (np.round(2e9 * f(angle / TURNS_PER_RAD)).astype(np.int64) for f in (np.cos, np.sin))
    error = np.abs(angle_difference(vectoring(x, y).astype(np.float64), angle))
    assert error.max() <= VECTORING_ERROR
    assert error.max() > VECTORING_ERROR / 2


def test_negative_angles_and_empty() -> None:
    assert rotation(np.array([100]), np.array([3]), np.array([-1])) == rotation(
        np.array([100]), np.array([3]), np.array([65535])
    )
    assert vectoring(np.zeros(0), np.zeros(0)).size == 0
