"""What the time tagger's channels and merge do, one edge at a time, written from docs/timetagger.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

TICKS = 8192
FAR = 1 << 26
LANE_DEPTH = 16


@dataclass(frozen=True, kw_only=True)
class Config:
    """Of one channel. ``walk``: 64 ticks."""

    enable: bool = True
    pulser: bool = False
    delay: int = 0
    dead_time: int = 0
    veto_from: int = 0
    veto_to: int = 0
    divider: int = 0
    walk_shift: int = 13
    walk: tuple[int, ...] = (0,) * 64


@dataclass
class Outcome:
    """Counts, and per edge that reached the queue its time (not wrapped) before the order's maximum."""

    counts: dict[str, int] = field(default_factory=dict)
    reached: list[int] = field(default_factory=list)


def lane_queue(clocks: Sequence[Sequence[int | None]]) -> tuple[list[tuple[int, int]], int]:
    """(clock, fine) of the edges that leave a lane queue, and how many were lost."""
    kept: list[tuple[int, int]] = []
    level = lost = 0
    for clock, edges in enumerate(clocks):
        arrived = 0
        for fine in edges:
            if fine is None:
                continue
            if level + arrived == LANE_DEPTH:
                lost += 1
            else:
                kept.append((clock, fine))
                arrived += 1
        level += arrived - (level > 0)
    return kept, lost


def channel(
    config: Config, clocks: Sequence[Sequence[int | None]], pulses: Sequence[int | None], counts: Sequence[int]
) -> Outcome:
    """``clocks``: per clock the fine time of each lane's edge or None; ``pulses``: the pulser's; ``counts``: the clock counts."""
    outcome = Outcome()
    numbers = dict.fromkeys(("seen", "generated", "overrun", "dead", "vetoed", "divided"), 0)
    outcome.counts = numbers
    if not config.enable:
        return outcome
    if config.pulser:
        clocks = [[fine] + [None] * (len(edges) - 1) for fine, edges in zip(pulses, clocks, strict=True)]
    number = sum(fine is not None for edges in clocks for fine in edges)
    numbers["generated" if config.pulser else "seen"] = number
    if len(clocks[0]) == 2:
        kept, numbers["overrun"] = lane_queue(clocks)
    else:
        kept = [(k, edges[0]) for k, edges in enumerate(clocks) if edges[0] is not None]
    last: int | None = None
    accepted = 0
    for k, fine in kept:
        t0 = counts[k] * TICKS + fine
        distance = None if last is None or t0 - last >= FAR else t0 - last
        if distance is not None and distance < config.dead_time:
            numbers["dead"] += 1
            continue
        if distance is not None and config.veto_from <= distance < config.veto_to:
            numbers["vetoed"] += 1
            continue
        index = 63 if distance is None else min(distance >> config.walk_shift, 63)
        last = t0
        accepted += 1
        if config.divider > 1 and (accepted - 1) % config.divider:
            numbers["divided"] += 1
            continue
        outcome.reached.append(t0 + config.walk[index] + config.delay)
    return outcome


def ordered(reached: Sequence[int], queued: Sequence[bool]) -> list[int]:
    """Times of the tags that were queued: none before the one queued before it."""
    times: list[int] = []
    for time, kept in zip(reached, queued, strict=True):
        if kept:
            times.append(max(time, times[-1]) if times else time)
    return times


def merged(channels: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """All tags as (time, channel) in order."""
    return sorted((time, c) for c, times in enumerate(channels) for time in times)
