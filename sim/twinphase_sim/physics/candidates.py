"""Candidates of a link in the order of time, for a node whose actuator decides which of them click."""

from __future__ import annotations

import numpy as np

from .clicks import NO_CANDIDATES, Candidates, join_clicks
from .link import MARGIN_TICKS, Link


class CandidateStream:
    """All candidates of ``link`` from pulse 0 on, chunk by chunk."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._block = 0
        self._held = NO_CANDIDATES

    def before(self, stop_ticks: int) -> Candidates:
        """Those before ``stop_ticks`` that have not been given yet, in the order of (time, channel)."""
        parts = [self._held]
        while self._link.pulse_ticks(self._block * self._link.block_pulses) - MARGIN_TICKS < stop_ticks:
            parts += self._link.candidate_block(self._block)
            self._block += 1
        held = join_clicks(parts) if len(parts) > 1 else self._held
        ready = int(np.searchsorted(held.times_ticks, stop_ticks))
        self._held = held[ready:]
        return held[:ready]
