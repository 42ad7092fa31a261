"""Batches of tags for measurements that come from other batches: cut into short ones, or put together from pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import Stream

from ..batch import TAG_DTYPE, Batch, Gap


class TagBatch:
    """Collects tags and the places between them where others are missing."""

    def __init__(self) -> None:
        self._times: list[NDArray[np.int64]] = []
        self._channels: list[NDArray[np.uint8]] = []
        self._gaps: list[Gap] = []
        self._count = 0

    def add(self, times: NDArray[np.int64], channels: NDArray[np.uint8]) -> None:
        """Tags (ticks, channel numbers) behind those that are there."""
        if len(times):
            self._times.append(times)
            self._channels.append(channels)
            self._count += len(times)

    def gap(self, records: int = 0) -> None:
        """Tags are missing here, ``records`` of them lost on the way to the host."""
        self._gaps.append(Gap(index=self._count, records=records, packets=0, time_ticks=0))

    def batch(self, time_ticks: int | None) -> Batch:
        """What was collected; ``time_ticks``: up to where the tags are complete."""
        made = Batch(time_ticks=time_ticks)
        if self._count:
            tags = np.empty(self._count, TAG_DTYPE)
            tags["time_ticks"], tags["channel"] = np.concatenate(self._times), np.concatenate(self._channels)
            made.records[Stream.TAG] = tags
            at = int(tags["time_ticks"][0])
            self._gaps = [
                replace(gap, time_ticks=int(tags["time_ticks"][gap.index]) if gap.index < self._count else at)
                for gap in self._gaps
            ]
        if self._gaps:
            made.gaps[Stream.TAG] = self._gaps
        return made


def slices(batch: Batch, span_ticks: int) -> Iterator[Batch]:
    """The batch's tags in batches of at most ``span_ticks`` (one cut more where time goes back), gaps in their places; the last one
    has its ``time_ticks``. Other streams are left out."""
    tags, gaps = batch.get(Stream.TAG), batch.gaps.get(Stream.TAG, [])
    if tags is None or not len(tags):
        yield Batch(gaps={Stream.TAG: gaps} if gaps else {}, time_ticks=batch.time_ticks)
        return
    times = tags["time_ticks"]
    cuts = np.flatnonzero(np.diff((times - times[0]) // span_ticks)) + 1
    bounds = [0, *cuts.tolist(), len(tags)]
    for start, stop in pairwise(bounds):
        last = stop == len(tags)
        inside = [
            replace(gap, index=gap.index - start)
            for gap in gaps
            if start <= gap.index < stop or (last and gap.index >= stop)
        ]
        yield Batch(
            records={Stream.TAG: tags[start:stop]},
            gaps={Stream.TAG: inside} if inside else {},
            time_ticks=batch.time_ticks if last else None,
        )
