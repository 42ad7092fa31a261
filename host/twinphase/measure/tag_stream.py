"""The tag stream cut where tags are missing: pieces without gaps, and the time that they cover.

Measurements of time differences and rates must not reach across a place where tags were lost. `TagStream` cuts batches into
pieces, says which piece begins anew, and counts live time: what lies between the tags on both sides of a gap is not live.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import Stream
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import TAG_DTYPE, Batch

_NO_TAGS: NDArray[Any] = np.empty(0, TAG_DTYPE)


@dataclass(frozen=True)
class Piece:
    """Tags in the order of time with no loss between them."""

    times: NDArray[np.int64]
    """Node time in ticks, never falling."""
    channels: NDArray[np.uint8]
    fresh: bool
    """True: tags are missing before this piece (or it is the first); no difference to earlier tags is right."""


class TagStream:
    """Cuts batches into pieces. Times that go back (a node that was restarted) count as a gap, too.

    ``live_ticks`` is the time covered by the pieces: from the first tag of a gapless stretch to its last tag before a gap, and
    for the stretch that is still running to the newest node time that is known. 8 to 12 ns per tag on one core.
    """

    def __init__(self) -> None:
        self.gaps = 0
        """Places where tags are missing, or time went back."""
        self.lost_tags = 0
        """Tags known to be missing there."""
        self.tags = 0
        self.stretches: list[int] = []
        """Ticks of the gapless stretches that have ended since the last `take_stretches`."""
        self._closed_ticks = 0
        self._begin: int | None = None
        self._last: int | None = None
        self._heard: int | None = None
        self._deaf_until: int | None = None
        self._broken = True

    @property
    def live_ticks(self) -> int:
        """Ticks of gapless tag stream so far."""
        return self._closed_ticks + self.open_ticks

    @property
    def open_ticks(self) -> int:
        """Ticks of the stretch that is still running."""
        if self._begin is None:
            return 0
        ends = [time for time in (self._last, self._heard, self._begin) if time is not None]
        return max(ends) - self._begin

    @property
    def end_ticks(self) -> int | None:
        """Newest node time of the stretch that is still running; None before it has begun."""
        return None if self._begin is None else self._begin + self.open_ticks

    @property
    def live_s(self) -> float:
        """Seconds of gapless tag stream so far."""
        return self.live_ticks / TICKS_PER_SECOND

    def take_stretches(self) -> list[int]:
        """Ticks of each stretch that has ended since the last call."""
        taken, self.stretches = self.stretches, []
        return taken

    def split(self, batch: Batch) -> list[Piece]:
        """The batch's tags as pieces without gaps; none of them is empty."""
        tags = batch.records.get(Stream.TAG, _NO_TAGS)
        times, channels = np.ascontiguousarray(tags["time_ticks"]), np.ascontiguousarray(tags["channel"])
        gaps = batch.gaps.get(Stream.TAG, [])
        lost_at = {min(gap.index, len(times)) for gap in gaps}
        back_at = set((np.flatnonzero(times[1:] < times[:-1]) + 1).tolist())
        cuts = lost_at | back_at
        self.lost_tags += sum(gap.records for gap in gaps)
        self.gaps += len(cuts)
        bounds = [0, *sorted(cuts), len(times)]
        pieces: list[Piece] = []
        for start, stop in pairwise(bounds):
            if start in cuts:
                self._close()
            if start in back_at:
                self._deaf_until = batch.time_ticks
            if stop > start:
                pieces.append(self._piece(times[start:stop], channels[start:stop], batch.time_ticks))
        if len(times) in cuts:
            self._close()
        self._hear(batch.time_ticks)
        self.tags += len(times)
        return pieces

    def _piece(self, times: NDArray[Any], channels: NDArray[Any], heard: int | None) -> Piece:
        if self._last is not None and times[0] < self._last:
            self.gaps += not self._broken
            self._close()
            self._deaf_until = heard
        fresh, self._broken = self._broken, False
        if self._begin is None:
            self._begin = int(times[0])
        self._begin, self._last = min(self._begin, int(times[0])), int(times[-1])
        return Piece(times, channels, fresh)

    def _hear(self, heard: int | None) -> None:
        """Node time goes on without tags, too; after a step back, the decoder's newest time is of the time before."""
        if heard is None or (self._deaf_until is not None and heard <= self._deaf_until):
            return
        if self._begin is None:
            self._begin = heard
        self._heard = heard

    def _close(self) -> None:
        """End the running stretch at its last tag: what follows it may be lost."""
        if self._begin is not None and self._last is not None:  # without a tag nothing is known to be complete
            self._closed_ticks += self._last - self._begin
            self.stretches.append(self._last - self._begin)
        self._begin = self._last = self._heard = None
        self._broken = True
