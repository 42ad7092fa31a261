"""X windows as the demo sees them, with both users' own slices: where a protocol keeps a bit of the slice as its key, the error of a
window is that of the two key bits, which no node knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import sns

SLICE = np.uint32(15)


def with_own_slices(alice: NDArray[Any], bob: NDArray[Any]) -> NDArray[Any]:
    """Alice's X records, of heralds that both users have sifted, with Bob's own slice in the place of what he told of it, and the error
    bit of both in full: kept, and not the detector that ``d`` of the full slices expects.

    Where slices are revealed in full (SNS) these are Alice's records as they are. Elsewhere it is the error of the key: with
    ``key = own slice's bit 3``, at Bob xor detector xor branch (docs/rules.md), the two keys differ.
    """
    of_a, of_b = (records[records["word"] & sns.SIFTED_X != 0] for records in (alice, bob))
    _, at_a, at_b = np.intersect1d(of_a["number"], of_b["number"], assume_unique=True, return_indices=True)
    merged = of_a[at_a].copy()
    word, told = merged["word"], of_b["word"][at_b]
    slice_a = word >> np.uint32(sns.SIFTED_OWN_SLICE_SHIFT) & SLICE
    slice_b = told >> np.uint32(sns.SIFTED_OWN_SLICE_SHIFT) & SLICE
    heard_a = told >> np.uint32(sns.SIFTED_PEER_SLICE_SHIFT) & SLICE
    heard_b = word >> np.uint32(sns.SIFTED_PEER_SLICE_SHIFT) & SLICE
    # All that is kept back of a slice is its bit 3: half a turn, if it differs, moves the light to the other detector.
    kept_back = ((slice_a - heard_a) - (slice_b - heard_b) & SLICE) >= SLICE // np.uint32(2)
    branch = word & np.uint32(sns.SIFTED_BRANCH) != 0
    detector = word & np.uint32(sns.SIFTED_DETECTOR) != 0
    wrong = (word & np.uint32(sns.SIFTED_KEEP) != 0) & (detector != branch ^ kept_back)
    cleared = word & ~(SLICE << np.uint32(sns.SIFTED_PEER_SLICE_SHIFT)) & ~np.uint32(sns.SIFTED_ERROR)
    merged["word"] = cleared | slice_b << np.uint32(sns.SIFTED_PEER_SLICE_SHIFT) | wrong * np.uint32(sns.SIFTED_ERROR)
    return merged


@dataclass(frozen=True)
class XEvents:
    """X words of `with_own_slices`: time, d in 2^-16 turn, detector, kept, error."""

    ticks: NDArray[np.int64]
    d_turns: NDArray[np.uint16]
    detector: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    error: NDArray[np.bool_]


def x_events(records: NDArray[Any], pulse_ticks: NDArray[np.int64]) -> XEvents:
    """``pulse_ticks``: of every herald."""
    word = records["word"]
    alice, bob = word >> sns.SIFTED_OWN_SLICE_SHIFT & 15, word >> sns.SIFTED_PEER_SLICE_SHIFT & 15
    return XEvents(
        ticks=pulse_ticks[records["number"]],
        d_turns=((alice - bob) * 4096 + (word & sns.SIFTED_PSI_MASK)).astype(np.uint16),
        detector=word & sns.SIFTED_DETECTOR != 0,
        kept=word & sns.SIFTED_KEEP != 0,
        error=word & sns.SIFTED_ERROR != 0,
    )
