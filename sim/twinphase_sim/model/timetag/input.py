"""Input channel of the time tagger: which edges become tags, and at which time.

Source: "Input channel" of docs/timetagger.md. Queue drops and lane overruns depend on cycle timing; they are replayed from
observed flags, all else is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tagger import (
    DEAD_TIME_BITS,
    DELAY_BITS,
    DIVIDER_BITS,
    WALK_BITS,
    WALK_ENTRIES,
    WALK_SHIFT_BITS,
)
from twinphase_spec.units import FRACTION_BITS

FAR_TICKS = 1 << DEAD_TIME_BITS
"""From this distance on an edge counts as the first: neither dead nor vetoed, last entry of the walk table."""


class Fate(IntEnum):
    """The stage that owns an edge; QUEUED edges go on to the merge as tags."""

    QUEUED = 0
    OVERRUN = 1
    DEAD = 2
    VETOED = 3
    DIVIDED = 4
    DROPPED = 5


DEAD, VETOED = int(Fate.DEAD), int(Fate.VETOED)


def _no_walk() -> NDArray[np.int64]:
    return np.zeros(WALK_ENTRIES, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class InputSettings:
    """Settings of one enabled channel, times in ticks. Raises ValueError for what the registers cannot hold."""

    dead_time: int = 0
    veto_from: int = 0
    veto_to: int = 0
    divider: int = 1
    walk_shift: int = 13
    walk: NDArray[np.int64] = field(default_factory=_no_walk)
    """Signed shift of an edge, by the time since the accepted edge before it; shape (64,)."""
    delay: int = 0

    def __post_init__(self) -> None:
        limits = {
            "dead_time": (0, FAR_TICKS - 1),
            "veto_from": (0, FAR_TICKS - 1),
            "veto_to": (0, FAR_TICKS - 1),
            "divider": (0, (1 << DIVIDER_BITS) - 1),
            "walk_shift": (0, (1 << WALK_SHIFT_BITS) - 1),
            "delay": (-(1 << DELAY_BITS - 1), (1 << DELAY_BITS - 1) - 1),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"input channel: {name} is {getattr(self, name)}; allowed: {low} to {high}")
        half = 1 << WALK_BITS - 1
        if self.walk.shape != (WALK_ENTRIES,) or self.walk.min() < -half or self.walk.max() >= half:
            raise ValueError(
                f"input channel: walk has shape {self.walk.shape}; allowed: {WALK_ENTRIES} values from {-half} to {half - 1}"
            )


@dataclass(frozen=True, eq=False)
class InputTags:
    """One channel's edges after all its stages."""

    fates: NDArray[np.uint8]
    """Per edge: a `Fate`."""
    times_ticks: NDArray[np.uint64]
    """Times of the QUEUED edges, in their order; never falling."""

    def count(self, fate: Fate) -> int:
        """Edges of this fate."""
        return int(np.count_nonzero(self.fates == fate))


@numba.njit(cache=True)
def _judge(
    edges: NDArray[np.uint64],
    dead_time: np.uint64,
    veto_from: np.uint64,
    veto_to: np.uint64,
    fates: NDArray[np.uint8],
    distances: NDArray[np.uint64],
) -> None:
    """Fates DEAD, VETOED or QUEUED (accepted), and the distance to the accepted edge before; the first is FAR_TICKS away."""
    last = edges[0]
    distances[0] = np.uint64(FAR_TICKS)
    for i in range(1, edges.size):
        distance = edges[i] - last
        distances[i] = distance
        if distance < dead_time:
            fates[i] = DEAD
        elif veto_from <= distance and distance < veto_to:
            fates[i] = VETOED
        else:
            last = edges[i]


def tag_inputs(
    edges_ticks: NDArray[np.uint64],
    settings: InputSettings,
    *,
    overrun: NDArray[np.bool_] | None = None,
    room: NDArray[np.bool_] | None = None,
) -> InputTags:
    """Tags of one enabled channel's edges, given in the order of (clock, lane).

    ``overrun``, one flag per edge, replays the lane queue (True: it was full); ``room``, one flag per edge that reaches the
    merge queue, replays that (False: dropped). Without them both have room. Arithmetic is modulo 2^64; the order of a channel's
    tags is kept over any silence. Raises ValueError for flags of another size.
    """
    edges = np.ascontiguousarray(edges_ticks, dtype=np.uint64)
    fates = np.zeros(edges.size, dtype=np.uint8)
    entered = np.arange(edges.size)
    if overrun is not None:
        _check_flags("overrun", overrun, edges.size, "edge")
        fates[overrun] = Fate.OVERRUN
        entered = np.flatnonzero(~overrun)
    if entered.size == 0:
        _check_flags("room", room, 0, "edge that reaches the queue")
        return InputTags(fates, edges[:0])

    inside = edges[entered]
    judged = np.zeros(inside.size, dtype=np.uint8)
    distances = np.empty(inside.size, dtype=np.uint64)
    limits = (np.uint64(limit) for limit in (settings.dead_time, settings.veto_from, settings.veto_to))
    _judge(inside, *limits, judged, distances)

    accepted = np.flatnonzero(judged == Fate.QUEUED)
    divided = np.arange(accepted.size) % max(settings.divider, 1) != 0
    judged[accepted[divided]] = Fate.DIVIDED
    passed = accepted[~divided]

    near = np.minimum(distances[passed] >> np.uint64(settings.walk_shift), np.uint64(WALK_ENTRIES - 1))
    entry = np.where(distances[passed] >= FAR_TICKS, WALK_ENTRIES - 1, near.astype(np.int64))
    shift = settings.walk[entry] + settings.delay
    times = inside[passed] + shift.astype(np.int64).view(np.uint64)

    if room is not None:
        _check_flags("room", room, passed.size, "edge that reaches the queue")
        judged[passed[~room]] = Fate.DROPPED
        times = times[room]
    fates[entered] = judged
    return InputTags(fates, _in_order(times))


def pulser_edges(period_clocks: int, fine_ticks: int, first_clock: int, until_clock: int) -> NDArray[np.uint64]:
    """Edges of the test pulser in clocks first_clock, first_clock + period, ... below ``until_clock``.

    Raises ValueError for a period below 2 clocks or a fine time outside the clock.
    """
    if period_clocks < 2 or not 0 <= fine_ticks < 1 << FRACTION_BITS:
        raise ValueError(
            f"test pulser: period {period_clocks} clocks and fine time {fine_ticks} ticks; allowed: at least 2, and 0 to 8191"
        )
    clocks = np.arange(first_clock, max(until_clock, first_clock), period_clocks, dtype=np.uint64)
    return (clocks << np.uint64(FRACTION_BITS)) + np.uint64(fine_ticks)


def check_edges(edges_ticks: NDArray[np.uint64], lanes: int, channel: int) -> None:
    """ValueError unless the edges are in order, at most one per channel, clock and lane."""
    grid_bits = FRACTION_BITS + 1 - lanes
    cell_starts = edges_ticks & ~np.uint64((1 << grid_bits) - 1)
    steps = np.diff(cell_starts).view(np.int64)
    if (steps <= 0).any():
        i = int(np.argmax(steps <= 0))
        raise ValueError(
            f"time tagger model: edge {i + 1} of channel {channel} at tick {edges_ticks[i + 1]} follows one at {edges_ticks[i]}; "
            f"allowed: rising times, at most one edge per {1 << grid_bits} ticks (lanes = {lanes})"
        )


def _in_order(times: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """``t[i] = max(t[i], t[i - 1])``, as distances from the first."""
    if times.size == 0:
        return times
    offsets = (times - times[0]).view(np.int64)
    return times[0] + np.maximum.accumulate(offsets).view(np.uint64)


def _check_flags(name: str, flags: NDArray[np.bool_] | None, size: int, what: str) -> None:
    if flags is not None and flags.shape != (size,):
        raise ValueError(f"input channel: {name} has {flags.size} flags; allowed: {size}, one per {what}")
