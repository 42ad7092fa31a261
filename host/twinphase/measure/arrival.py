"""Arrival times of the two arms' light in the pulse, from a server's ARRIVAL records (docs/alignment.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.arrival import BINS, PLACES
from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch
from ..device import Device
from ..errors import TwinphaseError

TICKS_PER_PS = TICKS_PER_SECOND / 1e12
UNEVEN = 0.05
"""A direction shorter than this part of the clicks is that of darkness: the mean would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class ArmOffset:
    """f of one band and arm: how much later than the middle of a pulse its light comes, whole pulses left out."""

    band: str
    arm: str
    clicks: int
    offset_ps: float | None
    """None without clicks, and where they are spread evenly over the period."""
    error_ps: float | None
    """Standard error of the mean, an upper bound: clicks are taken to fill their eighth of the period."""
    width_ps: float | None
    """Rms of the clicks' positions, bound likewise."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))


def offset_of(counts: NDArray[np.integer[Any]], sum_ticks: int, period_ticks: float) -> tuple[float, float] | None:
    """(f, rms of the positions) in ticks from a place's eight counts and its sum; None where they tell nothing."""
    c = np.asarray(counts, np.float64)
    total = c.sum()
    middles = (np.arange(BINS) + 0.5) / BINS
    direction = complex((c * np.exp(2j * np.pi * middles)).sum())
    if not total or abs(direction) < UNEVEN * total:
        return None
    cut = round(BINS * (math.atan2(direction.imag, direction.real) / (2 * math.pi) + 0.5)) % BINS
    mean = (sum_ticks + period_ticks * c[:cut].sum()) / total
    unwrapped = middles + (np.arange(BINS) < cut)
    spread = (c * (unwrapped - (c * unwrapped).sum() / total) ** 2).sum() / total
    rms = period_ticks * math.sqrt(spread + 1 / (12 * BINS**2))
    return (mean % period_ticks) - period_ticks / 2, rms


class Arrival:
    """Adds up ARRIVAL records. ``period_ticks``: P. `newest` has the sums of the last interval alone."""

    def __init__(self, period_ticks: float) -> None:
        self.period_ticks = period_ticks
        self.intervals = 0
        self._counts = np.zeros((len(PLACES), BINS), np.int64)
        self._sums = [0] * len(PLACES)
        self._newest: dict[int, tuple[NDArray[np.int64], int]] = {}

    @classmethod
    def of_device(cls, device: Device) -> Arrival:
        """Of a server. Raises TwinphaseError where it makes no ARRIVAL records."""
        node = device.identity().node
        if node is not NodeType.SERVER:
            raise TwinphaseError(
                f"{device.url} is a {node.name.lower()} node, which does not see the arms: give its server"
            )
        if not device.read("ARRIVAL_WINDOWS") or not device.read("STREAM_ENABLE") >> Stream.ARRIVAL & 1:
            raise TwinphaseError(
                f"{device.url} makes no ARRIVAL records: set ARRIVAL_WINDOWS and bit {int(Stream.ARRIVAL)} of STREAM_ENABLE before "
                "its frame starts"
            )
        return cls(device.read("PERIOD") / 2**32)

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        records = batch.get(Stream.ARRIVAL)
        if records is None:
            return
        counts = np.stack([records[f"bin_{k}"].astype(np.int64) for k in range(BINS)], axis=1)
        places = (records["place"] % len(PLACES)).astype(np.int64)
        np.add.at(self._counts, places, counts)
        for place, row, total in zip(places.tolist(), counts, records["sum_ticks"].tolist(), strict=True):
            self._sums[place] += total
            self._newest[place] = row, total
        self.intervals += int(np.count_nonzero(places == 0))

    def offsets(self) -> list[ArmOffset]:
        """Of all records so far, by place."""
        return [self._offset(place, self._counts[place], self._sums[place]) for place in range(len(PLACES))]

    def newest(self) -> list[ArmOffset]:
        """Of each place's last record."""
        return [self._offset(place, *self._newest[place]) for place in sorted(self._newest)]

    def _offset(self, place: int, counts: NDArray[np.int64], total: int) -> ArmOffset:
        band, arm = PLACES[place]
        clicks = int(counts.sum())
        found = offset_of(counts, total, self.period_ticks)
        offset_ps = error_ps = width_ps = None
        if found is not None:
            offset_ps, width_ps = (ticks / TICKS_PER_PS for ticks in found)
            error_ps = width_ps / math.sqrt(clicks)
        return ArmOffset(band=band, arm=arm, clicks=clicks, offset_ps=offset_ps, error_ps=error_ps, width_ps=width_ps)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"intervals": self.intervals, "arms": [offset.as_dict() for offset in self.offsets()]}
