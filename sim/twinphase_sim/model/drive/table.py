"""Table words between entries, and DAC codes. Source: "Table" and "Code" of docs/actuator.md."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinphase_spec.actuator import (
    INTERPOLATION_BITS,
    POSITION_BITS,
    TABLE_ENTRIES,
    TABLE_LOG,
    WORD_BITS,
    check_dac_bits,
)

WORDS = 1 << WORD_BITS


def look_up(position: NDArray[np.int64], words: ArrayLike) -> NDArray[np.int64]:
    """``a + ((b - a) f + 2^13 >> 14) mod 2^18`` for positions in 2^-32 turn, b - a wrapped to a signed number of 18 bits."""
    table = np.asarray(words, dtype=np.int64)
    shift = POSITION_BITS - TABLE_LOG
    k = position >> shift
    f = (position >> (shift - INTERPOLATION_BITS)) & ((1 << INTERPOLATION_BITS) - 1)
    a, b = table[k], table[np.minimum(k + 1, TABLE_ENTRIES - 1)]
    difference = (b - a + WORDS // 2) % WORDS - WORDS // 2
    return (a + ((difference * f + (1 << (INTERPOLATION_BITS - 1))) >> INTERPOLATION_BITS)) % WORDS


@numba.njit(cache=True)
def _codes(
    word: NDArray[np.int64],
    dither: NDArray[np.bool_],
    taken: NDArray[np.bool_],
    drop: int,
    most: int,
    code: NDArray[np.int64],
) -> None:
    rest, left_over = 0, 0
    for c in range(word.size - 1):
        if taken[c]:
            left_over = rest
        total = word[c] + (left_over if dither[c] else 1 << (drop - 1))
        code[c + 1] = min(total >> drop, most)
        rest = total % (1 << drop)


def codes(
    word: NDArray[np.int64], dither: NDArray[np.bool_], taken: NDArray[np.bool_], *, bits: int
) -> NDArray[np.int64]:
    """DAC codes by clock, from words, dither and taken by clock; 0 in clock 0."""
    out = np.zeros(word.size, dtype=np.int64)
    drop = WORD_BITS - check_dac_bits(bits)
    _codes(word, dither, taken, drop, (1 << bits) - 1, out)
    return out
