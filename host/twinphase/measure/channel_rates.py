"""Tag rates per channel over the live time of the tag stream."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch
from ..theory.statistics import poisson_interval
from .channels import channel_name
from .tag_stream import TagStream

CHANNELS_OF_A_WORD = 64


class ChannelRates:
    """Counts tags per channel: ``rate = N / T`` with the live time T, which leaves out the gaps of the stream.

    95 % intervals are Garwood's for the counts. `recent_hz` is over the last ``span_s`` of live time. More than 10 M tags/s.
    """

    def __init__(self, *, node: NodeType = NodeType.SERVER, span_s: float = 1.0) -> None:
        self.node = node
        self.stream = TagStream()
        self.counts: NDArray[np.int64] = np.zeros(CHANNELS_OF_A_WORD, np.int64)
        self._span_ticks = round(span_s * TICKS_PER_SECOND)
        self._steps: deque[tuple[int, NDArray[np.int64]]] = deque()

    def update(self, batch: Batch) -> None:
        """Count a batch."""
        for piece in self.stream.split(batch):
            self.counts += np.bincount(piece.channels, minlength=CHANNELS_OF_A_WORD)
        live = self.stream.live_ticks
        if self._steps and live < self._steps[-1][0]:  # a stretch ended at its last tag: its silent end does not count
            self._steps.clear()
        self._steps.append((live, self.counts.copy()))
        while len(self._steps) > 2 and live - self._steps[1][0] >= self._span_ticks:
            self._steps.popleft()

    def recent_hz(self) -> NDArray[np.float64] | None:
        """Rate of every channel over the last stretch of live time; None before any has passed."""
        if len(self._steps) < 2 or self._steps[-1][0] <= self._steps[0][0]:
            return None
        (begin, before), (end, after) = self._steps[0], self._steps[-1]
        return (after - before).astype(np.float64) * (TICKS_PER_SECOND / (end - begin))

    def as_dict(self, channels: tuple[int, ...] | None = None) -> dict[str, Any]:
        """For JSON: per channel (those that have tags, if None) name, tags, rate with interval, and recent rate."""
        live_s, recent = self.stream.live_s, self.recent_hz()
        chosen = tuple(np.flatnonzero(self.counts).tolist()) if channels is None else channels
        rows = []
        for channel in chosen:
            count = int(self.counts[channel])
            low, high = poisson_interval(count)
            rows.append(
                {
                    "channel": channel,
                    "name": channel_name(channel, self.node),
                    "tags": count,
                    "rate_hz": count / live_s if live_s else None,
                    "rate_ci95_hz": [low / live_s, high / live_s] if live_s else None,
                    "recent_hz": None if recent is None else float(recent[channel]),
                }
            )
        return {
            "live_s": live_s,
            "gaps": self.stream.gaps,
            "lost_tags": self.stream.lost_tags,
            "tags": int(self.counts.sum()),
            "channels": rows,
        }
