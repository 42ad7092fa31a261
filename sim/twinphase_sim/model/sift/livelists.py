"""LIVE records of each block, as a client splits them among its blocks. Source: docs/digest.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.digest import first_pulses
from twinphase_sim.model.sift.rule import Announced
from twinphase_spec.packets import LIVE_DTYPE


class LiveLists:
    """Records that have come and belong to no block yet. As many may wait as like, unlike in the gateware."""

    def __init__(self) -> None:
        self._first = np.zeros(0, np.uint64)
        self._waiting = np.zeros(0, LIVE_DTYPE)
        self._boundary = 0
        """Highest pulse of a herald of the blocks before."""

    def put(self, records: NDArray[np.void]) -> None:
        """LIVE records in order of arrival."""
        self._waiting = np.concatenate([self._waiting, records.astype(LIVE_DTYPE)])
        self._first = first_pulses(self._waiting)

    def take(self, announced: Announced) -> NDArray[np.void] | None:
        """The next block's list, if it is complete; it is taken then."""
        boundary = max(self._boundary, int(announced.pulse[announced.present].max(initial=0)))
        behind = np.flatnonzero(self._first > np.uint64(boundary))
        if not behind.size:
            return None
        self._boundary = boundary
        taken, self._waiting = np.split(self._waiting, [behind[0]])
        self._first = self._first[behind[0] :]
        return taken


def split_live(live: NDArray[np.void], boundaries: NDArray[np.uint64]) -> list[NDArray[np.void]]:
    """Lists of the blocks whose highest pulses these are, as far as they are complete; ``live`` in order of arrival."""
    lists, first, start = [], first_pulses(live), 0
    for boundary in np.maximum.accumulate(boundaries):
        behind = np.flatnonzero(first[start:] > boundary)
        if not behind.size:
            break
        lists.append(live[start : start + behind[0]])
        start += int(behind[0])
    return lists
