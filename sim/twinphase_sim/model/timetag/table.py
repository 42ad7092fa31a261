"""The table of a delay line's chain from its histogram: bin centres, and the check that the hits are spread evenly.

Source: "Calibration" of docs/timetagger.md.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import GROUP_CODES, MIN_GROUPS


@numba.njit
def is_even(histogram: NDArray[np.int64]) -> bool:
    """At least MIN_GROUPS groups strictly between the first and the last that is not empty, and 2 max <= 3 min over these."""
    groups = histogram.size // GROUP_CODES
    sums = np.zeros(groups, dtype=np.int64)
    first, last = groups, -1
    for g in range(groups):
        sums[g] = histogram[g * GROUP_CODES : (g + 1) * GROUP_CODES].sum()
        if sums[g] > 0:
            first = min(first, g)
            last = g
    if last - first - 1 < MIN_GROUPS:
        return False
    interior = sums[first + 1 : last]
    return 2 * interior.max() <= 3 * interior.min()


@numba.njit
def bin_centres(histogram: NDArray[np.int64], hits: int, full_scale: int, most: int, table: NDArray[np.int64]) -> None:
    """X of one polarity into ``table``: ``min(most, floor((2 A + W) full_scale / (2 hits)))``; hits > 0 (their sum).

    W is the histogram up to the last code that occurs; beyond it w, a sixteenth of the group before that code's group. A is
    the sum of W below, in which the last code that occurs counts at least w.
    """
    last = 0
    for code in range(histogram.size):
        if histogram[code] > 0:
            last = code
    group = last // GROUP_CODES
    beyond = 0
    if group > 0:
        beyond = histogram[(group - 1) * GROUP_CODES : group * GROUP_CODES].sum() // GROUP_CODES
    below = 0
    for code in range(histogram.size):
        width = histogram[code] if code <= last else beyond
        table[code] = min(most, ((2 * below + width) * full_scale) // (2 * hits))
        below += max(width, beyond) if code == last else width
