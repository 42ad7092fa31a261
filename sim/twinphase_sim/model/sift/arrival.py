"""ARRIVAL records of a run. Source: docs/alignment.md, counts of one-sided slots."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.core.framer import Clicks
from twinphase_spec.arrival import BINS, COUNT_BITS, PLACES, SUM_BITS
from twinphase_spec.frame import PERIOD_FRACTION_BITS, SlotClass
from twinphase_spec.packets import ARRIVAL_DTYPE


def position_bins(positions: NDArray[np.integer[Any]], period_q32: int) -> NDArray[np.int64]:
    """Bin of each position: three times the upper or the lower half, of whole ticks, of what is left."""
    left, bins = positions.astype(np.int64), np.zeros(len(positions), np.int64)
    part = period_q32 >> PERIOD_FRACTION_BITS
    for _ in range(BINS.bit_length() - 1):
        part >>= 1
        upper = left >= part
        left -= upper * part
        bins = 2 * bins + upper
    return bins


def arrival_records(clicks: Clicks, period_q32: int, windows_per_interval: int, closed: int) -> NDArray[Any]:
    """Records of all intervals whose windows are among the first ``closed`` ones; none with ``windows_per_interval`` 0.

    ``clicks`` are those of windows from 0 on, as many as 2^32 at most.
    """
    intervals = closed // windows_per_interval if windows_per_interval else 0
    records = np.zeros(intervals * len(PLACES), ARRIVAL_DTYPE)
    if not intervals:
        return records
    one_sided = clicks.framed & np.isin(clicks.slot_class, (SlotClass.REF_A, SlotClass.REF_B))
    interval = clicks.window.astype(np.int64) // windows_per_interval
    used = np.flatnonzero(one_sided & (interval < intervals))
    place = 2 * clicks.band[used].astype(np.int64) + (clicks.slot_class[used] == SlotClass.REF_B)
    row = interval[used] * len(PLACES) + place
    size, positions = records.size, clicks.position[used].astype(np.int64)
    sums = np.zeros(size, np.int64)
    np.add.at(sums, row, positions)
    counts = np.bincount(row * BINS + position_bins(positions, period_q32), minlength=size * BINS)
    of_interval, records["place"] = np.divmod(np.arange(size), len(PLACES))
    records["window"] = (of_interval + 1) * windows_per_interval - 1 & 0xFFFFFFFF
    records["sum_ticks"] = sums % (1 << SUM_BITS)
    for k in range(BINS):
        records[f"bin_{k}"] = counts[k::BINS] % (1 << COUNT_BITS)
    return records
