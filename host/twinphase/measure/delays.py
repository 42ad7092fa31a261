"""Delays of channels on the host, longer than the time tagger's own: cables, fibres, whatever makes signals late."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICK_PS, TICKS_PER_SECOND

from ..batch import Batch
from .tag_batch import TagBatch
from .tag_stream import TagStream

MOST_TICKS = TICKS_PER_SECOND
CHANNELS = 64
_Part = tuple[NDArray[np.int64], NDArray[np.uint8]]


class HostDelays:
    """Adds a delay to every tag of a channel, ``t + D[c]``, and puts the tags back into the order of (time, channel).

    ``delays_ticks``: D by channel number, at most one second either way; channels that are not named have 0. With
    ``low = min(0, D)`` and ``high = max(0, D)`` a tag at node time t tells that all tags up to ``t + low`` are known: those leave, the
    others, not more than come within ``high - low``, wait. What lies between the first and last tag (a, b) of a gapless stretch of the
    stream is known of every channel from ``a + high`` to ``b + low`` only: tags outside, of which the other channels' partners are not
    known, are left out and counted (`cut`), so that rates and accidentals stay right. Tags in = out + `held` + `cut`.

    About 40 ns per tag on one core. ValueError for channels and delays that are not allowed.
    """

    def __init__(self, delays_ticks: Mapping[int, int]) -> None:
        for channel, delay in delays_ticks.items():
            if not 0 <= channel < CHANNELS:
                raise ValueError(f"delay: channel {channel}; allowed: 0 to {CHANNELS - 1}")
            if not abs(delay) <= MOST_TICKS:
                raise ValueError(
                    f"delay: {delay * TICK_PS / 1000:g} ns at channel {channel}; allowed: +-{MOST_TICKS * TICK_PS / 1000:g} ns"
                )
        self.delays_ticks = dict(delays_ticks)
        self.stream = TagStream()
        self.cut = 0
        """Tags at the ends of gapless stretches whose partners in other channels are not known."""
        self._distinct = sorted({0, *delays_ticks.values()})
        self._low, self._high = self._distinct[0], self._distinct[-1]
        self._row = np.full(256, self._distinct.index(0), np.uint8)
        for channel, delay in delays_ticks.items():
            self._row[channel] = self._distinct.index(delay)
        # tags of one delay are in order among themselves
        self._queues: list[deque[_Part]] = [deque() for _ in self._distinct]
        self._from: int | None = None
        self._last = 0
        self._told = 0

    @property
    def held(self) -> int:
        """Tags that wait for earlier ones of other channels."""
        return sum(len(times) for queue in self._queues for times, _ in queue)

    def update(self, batch: Batch) -> Batch:
        """The tags that are complete with this batch, delayed, and the gaps between them; other streams are left out."""
        out = TagBatch()
        for piece in self.stream.split(batch):
            if piece.fresh and self._from is not None:
                self._end(out)
                out.gap(self.stream.lost_tags - self._told)
                self._told = self.stream.lost_tags
            if self._from is None:
                self._from = int(piece.times[0]) + self._high
            self._last = int(piece.times[-1])
            rows = self._row[piece.channels]
            for row, (delay, queue) in enumerate(zip(self._distinct, self._queues, strict=True)):
                own = rows == row
                if own.any():
                    queue.append((piece.times[own] + delay, piece.channels[own]))
            self._leave(self._last + self._low, out)
        known = self.stream.end_ticks
        if known is None or self._from is None or known + self._low < self._from:
            return out.batch(None)
        return out.batch(known + self._low)

    def finish(self) -> Batch:
        """The stream has ended: the tags that waited for others of the same time."""
        out = TagBatch()
        if self._from is not None:
            self._end(out)
        return out.batch(None)

    def _end(self, out: TagBatch) -> None:
        """A gapless stretch has ended at ``_last``."""
        self._leave(self._last + self._low + 1, out)
        self.cut += self.held
        for queue in self._queues:
            queue.clear()
        self._from = None

    def _leave(self, before: int, out: TagBatch) -> None:
        """Hand out what is earlier than ``before``."""
        times: list[NDArray[np.int64]] = []
        channels: list[NDArray[np.uint8]] = []
        for queue in self._queues:
            while queue and queue[0][0][0] < before:
                first_times, first_channels = queue.popleft()
                count = int(np.searchsorted(first_times, before))
                if count < len(first_times):
                    queue.appendleft((first_times[count:], first_channels[count:]))
                times.append(first_times[:count])
                channels.append(first_channels[:count])
        if not times:
            return
        joined, numbers = np.concatenate(times), np.concatenate(channels)
        order = np.lexsort((numbers, joined))
        joined, numbers = joined[order], numbers[order]
        early = int(np.searchsorted(joined, self._from or 0))
        self.cut += early
        out.add(joined[early:], numbers[early:])

    def as_dict(self) -> dict[str, Any]:
        """For JSON: delays in nanoseconds by channel number, tags cut and held."""
        delays = {str(channel): ticks * TICK_PS / 1000 for channel, ticks in sorted(self.delays_ticks.items())}
        return {"delays_ns": delays, "cut": self.cut, "held": self.held}
