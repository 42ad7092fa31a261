"""Reference counts of every window and band. Source: ``phase.counts`` of docs/contract.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.core.framer import Clicks
from twinphase_spec.fixed import COUNT_MAX, TOTAL_MAX
from twinphase_spec.frame import SlotClass


@dataclass(frozen=True)
class WindowCounts:
    """Counts of consecutive windows, arrays of shape (2 bands: q and r, windows[, 4 steps])."""

    difference: NDArray[np.int64]
    """D_k: clicks of L minus clicks of R in REF(k) slots."""
    total: NDArray[np.int64]
    """N: clicks in REF(k) slots."""

    @property
    def cosine(self) -> NDArray[np.int64]:
        """D0 - D2, (2, windows)."""
        return self.difference[..., 0] - self.difference[..., 2]

    @property
    def sine(self) -> NDArray[np.int64]:
        """D3 - D1, (2, windows)."""
        return self.difference[..., 3] - self.difference[..., 1]


def window_counts(
    clicks: Clicks,
    windows: int,
    *,
    first_window: int = 0,
    swap: int = 0,
    count_max: int = COUNT_MAX,
    total_max: int = TOTAL_MAX,
) -> WindowCounts:
    """Counts of windows ``first_window`` to ``first_window + windows - 1`` (modulo 2^32) over clicks in time order.

    ``swap`` is the SWAP register: bit 0 exchanges L and R of the quantum band, bit 1 of the reference band.
    """
    index = (clicks.window - np.uint32(first_window & 0xFFFFFFFF)).astype(np.int64)
    used = clicks.reference & (index < windows)
    index, band = index[used], clicks.band[used].astype(np.int64)
    step = clicks.slot_class[used].astype(np.int64) - SlotClass.REF0
    swapped = np.array([swap & 1, swap >> 1 & 1])[band]
    change = 1 - 2 * ((clicks.channel[used] & 1) ^ swapped)
    cell = (band * windows + index) * 4 + step
    size = 2 * windows * 4
    clicks_of_cell = np.bincount(cell, minlength=size)
    difference = 2 * np.bincount(cell[change > 0], minlength=size) - clicks_of_cell
    for full in np.flatnonzero(clicks_of_cell > count_max):
        difference[full] = _saturating_sum(change[cell == full], count_max)
    total = clicks_of_cell.reshape(2, windows, 4).sum(axis=2)
    return WindowCounts(
        difference=difference.astype(np.int64).reshape(2, windows, 4),
        total=np.minimum(total, total_max).astype(np.int64),
    )


def _saturating_sum(changes: NDArray[np.int64], bound: int) -> int:
    """Sum of +-1 steps, held within +-bound after every step: depends on their order."""
    value = 0
    for change in changes.tolist():
        value = max(-bound, min(bound, value + change))
    return value
