"""Tagger channel: dead time, delay and the accounting of its edges.

Source: ``timetag.channel`` of docs/contract.md. An edge is dead if ``(t0 - t_last) mod 2^64 < dead_time``, t_last being the
last edge that was not dead; the others get ``t = t0 + delay mod 2^64``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ChannelTags:
    """One channel's edges after dead time and queue."""

    accepted: NDArray[np.bool_]
    """Per edge: not dead."""
    queued: NDArray[np.bool_]
    """Per edge: accepted, and found room in the queue."""
    times_ticks: NDArray[np.uint64]
    """Delayed times of the queued edges, in their order."""

    @property
    def seen(self) -> int:
        return self.accepted.size

    @property
    def dead(self) -> int:
        return self.seen - int(np.count_nonzero(self.accepted))

    @property
    def dropped(self) -> int:
        return self.seen - self.dead - self.times_ticks.size


@numba.njit(cache=True)
def _accept(edges: NDArray[np.uint64], dead_time: np.uint64, accepted: NDArray[np.bool_]) -> None:
    """``accepted[i] = edges[i] - t_last >= dead_time``; the first edge is accepted."""
    last = edges[0]
    accepted[0] = True
    for i in range(1, edges.size):
        if edges[i] - last >= dead_time:
            last = edges[i]
            accepted[i] = True


def accept_edges(edges_ticks: NDArray[np.uint64], dead_time_ticks: int) -> NDArray[np.bool_]:
    """Which edges (in order of arrival) are outside the dead time of the last accepted one."""
    edges = np.ascontiguousarray(edges_ticks, dtype=np.uint64)
    if edges.size < 2 or (np.diff(edges) >= np.uint64(dead_time_ticks)).all():
        return np.ones(edges.shape, dtype=np.bool_)
    accepted = np.zeros(edges.shape, dtype=np.bool_)
    _accept(edges, np.uint64(dead_time_ticks), accepted)
    return accepted


def tag_edges(
    edges_ticks: NDArray[np.uint64],
    dead_time_ticks: int,
    delay_ticks: int,
    *,
    room: NDArray[np.bool_] | None = None,
) -> ChannelTags:
    """Tags of one enabled channel's edges.

    ``room``, one element per edge that is not dead, replays the observed flags of a queue that was full at times (False:
    dropped); without it no edge is dropped. A dropped edge still starts the dead time. Raises ValueError.
    """
    edges = np.asarray(edges_ticks).astype(np.uint64, copy=False)
    accepted = accept_edges(edges, dead_time_ticks)
    queued = accepted.copy()
    if room is not None:
        if room.size != np.count_nonzero(accepted):
            raise ValueError(
                f"channel: room has {room.size} flags; allowed: one for each of the {np.count_nonzero(accepted)} accepted edges"
            )
        queued[accepted] = room
    delay = np.uint64(delay_ticks & 0xFFFF_FFFF_FFFF_FFFF)
    return ChannelTags(accepted=accepted, queued=queued, times_ticks=edges[queued] + delay)
