"""Rates over the last stretch of node time."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch
from .channels import channel_name


class Rates:
    """Records and clicks per second of node time over the last ``span_s`` seconds."""

    def __init__(self, span_s: float = 1.0, node: NodeType = NodeType.SERVER) -> None:
        self._node = node
        self._span_ticks = round(span_s * TICKS_PER_SECOND)
        self._steps: deque[tuple[int, Counter[str]]] = deque()
        self._sum: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        """Since the start, by stream (``phase``) and channel (``qL``, ``ch0``)."""

    def update(self, batch: Batch) -> None:
        """Count a batch."""
        if batch.time_ticks is None:
            return
        counts: Counter[str] = Counter({stream.name.lower(): len(records) for stream, records in batch.records.items()})
        tags = batch.get(Stream.TAG)
        if tags is not None:
            clicks = np.bincount(tags["channel"])
            counts.update({channel_name(i, self._node): int(n) for i, n in enumerate(clicks) if n})
        self.totals += counts
        if self._steps:  # what came with the very first batch has no known beginning
            self._sum += counts
        self._steps.append((batch.time_ticks, counts))
        while len(self._steps) > 2 and batch.time_ticks - self._steps[1][0] >= self._span_ticks:
            self._steps.popleft()
            self._sum -= self._steps[0][1]

    def per_second(self) -> dict[str, float]:
        """Rates by stream and channel; empty before any time has passed."""
        if len(self._steps) < 2 or (span := self._steps[-1][0] - self._steps[0][0]) <= 0:
            return {}
        return {name: self._sum[name] * TICKS_PER_SECOND / span for name in self.totals}
