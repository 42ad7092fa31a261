"""Fine time: from table entries and scales of a channel's chains to the edge's ticks into its clock.

Source: "Fine time" of docs/timetagger.md: ``y4 = X + ((X sigma) >> 18)`` (quarter ticks), ``elapsed = (sum y4 + 2 chains) >>
(2 + log2 chains)`` clamped to 1 .. S, ``fine = (lane + 1) S - elapsed``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import CHAINS, CHAINS_ALLOWED, QUARTER_BITS, SIGMA_SHIFT, span_ticks


def scaled(x: NDArray[np.int64], sigma: int) -> NDArray[np.int64]:
    """y4, before clamping."""
    return x + ((x * sigma) >> SIGMA_SHIFT)


def elapsed_ticks(y4: NDArray[np.int64], *, lanes: int) -> NDArray[np.int64]:
    """Ticks from hit to TDC edge; ``y4`` of all chains in quarter ticks, shape (hits, chains)."""
    values = np.asarray(y4, dtype=np.int64)
    chains = values.shape[1]
    if chains not in CHAINS:
        raise ValueError(f"fine time: chains is {chains}; allowed: {CHAINS_ALLOWED}")
    shift = QUARTER_BITS + chains.bit_length() - 1
    return np.clip((values.sum(axis=1) + 2 * chains) >> shift, 1, span_ticks(lanes))


def fine_ticks(y4: NDArray[np.int64], hit_lanes: NDArray[np.integer], *, lanes: int) -> NDArray[np.int64]:
    """Fine time of each hit (ticks into the system clock, 0 .. 8191): `elapsed_ticks` before the end of its lane."""
    return (np.asarray(hit_lanes, dtype=np.int64) + 1) * span_ticks(lanes) - elapsed_ticks(y4, lanes=lanes)
