"""Histograms of the time from a start channel's tags to those of stop channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICK_PS

from ..batch import Batch
from .correlate import Bins, Correlator
from .tag_stream import Piece, TagStream

Mode = Literal["multi", "single"]


class Histogram:
    """Counts ``d = t_stop - t_start`` into bins, for each stop channel.

    ``mode`` "multi": every pair of a start and a stop whose difference is in the bins (a correlation; ``low_ticks`` may be
    negative; a tag is not paired with itself). "single": a start and the stop that follows it in the stream with neither a
    start nor a stop of that channel between them (start-stop as of a TDC that is armed anew by every start; with the start
    channel as stop: the distances of neighbouring tags). Differences across a gap of the stream are not counted.

    At least 2 M tags/s on one core while a stop has a few starts in range. ValueError for bins that do not fit.
    """

    def __init__(self, *, start: int, stops: Sequence[int], bins: Bins, mode: Mode = "multi") -> None:
        if not stops:
            raise ValueError("histogram: no stop channel; allowed: one or more")
        if mode not in ("multi", "single"):
            raise ValueError(f"histogram: mode is {mode!r}; allowed: multi, single")
        self.start, self.stops, self.bins, self.mode = start, tuple(stops), bins, mode
        self.stream = TagStream()
        self.starts = 0
        self.stop_counts = [0] * len(self.stops)
        self._correlators = [Correlator(bins, stop == start) for stop in self.stops]
        self._single = np.zeros((len(self.stops), bins.count), np.int64)
        self._armed: list[int | None] = [None] * len(self.stops)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Counts, one row per stop channel."""
        if self.mode == "single":
            return self._single.copy()
        return np.array([correlator.counts for correlator in self._correlators])

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        for piece in self.stream.split(batch):
            if piece.fresh:
                self._armed = [None] * len(self.stops)
                for correlator in self._correlators:
                    correlator.restart()
            starts = piece.times[piece.channels == self.start]
            self.starts += len(starts)
            now = int(piece.times[-1])
            for i, stop in enumerate(self.stops):
                if self.mode == "single":
                    self.stop_counts[i] += self._update_single(i, stop, piece)
                    continue
                stops = starts if stop == self.start else piece.times[piece.channels == stop]
                self.stop_counts[i] += len(stops)
                self._correlators[i].update(starts, stops, now)

    def _update_single(self, i: int, stop: int, piece: Piece) -> int:
        """Start-stop with one stop channel; the number of its tags."""
        is_start = piece.channels == self.start
        is_stop = is_start if stop == self.start else piece.channels == stop
        chosen = np.flatnonzero(is_start | is_stop)
        if not len(chosen):
            return 0
        times, from_start, to_stop = piece.times[chosen], is_start[chosen], is_stop[chosen]
        armed = self._armed[i]
        differences = np.diff(times)[from_start[:-1] & to_stop[1:]]
        if armed is not None and to_stop[0]:
            differences = np.append(differences, times[0] - armed)
        self._armed[i] = int(times[-1]) if from_start[-1] else None
        place = differences - self.bins.low_ticks
        place = place[(place >= 0) & (place < self.bins.count * self.bins.width_ticks)] // self.bins.width_ticks
        self._single[i] += np.bincount(place, minlength=self.bins.count)
        return int(np.count_nonzero(to_stop))

    def summary(self) -> dict[str, Any]:
        """Bins in picoseconds, sums and moments of each row, live seconds; without the counts."""
        bins = self.bins
        counts = self.counts
        centres = bins.centres_ticks * TICK_PS
        return {
            "mode": self.mode,
            "start": self.start,
            "stops": list(self.stops),
            "bin_ps": bins.width_ticks * TICK_PS,
            "low_ps": bins.low_ticks * TICK_PS,
            "bins": bins.count,
            "live_s": self.stream.live_s,
            "gaps": self.stream.gaps,
            "starts": self.starts,
            "stop_tags": list(self.stop_counts),
            "counted": counts.sum(axis=1).tolist(),
            "mean_ps": [_moment(centres, row)[0] for row in counts],
            "rms_ps": [_moment(centres, row)[1] for row in counts],
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the summary and ``counts``, one list per stop channel."""
        return self.summary() | {"counts": self.counts.tolist()}


def _moment(centres: NDArray[np.float64], row: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Mean and rms width of a histogram; None without counts."""
    total = int(row.sum())
    if not total:
        return None, None
    mean = float(centres @ row) / total
    return mean, float(np.sqrt((centres - mean) ** 2 @ row / total))
