"""Selector: gates, time window and conditional filter on the merged tags. Source: "Selector" of docs/timetagger.md.

The lookahead is modelled as full when FILTER_DEPTH tags, the oldest included, have passed the gates and not left it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tagger import FILTER_DEPTH, FILTER_WINDOW_BITS, GATE_BITS, GATE_ENABLE, MAX_CHANNELS, MEMORY_TICKS


class Verdict(IntEnum):
    """What the selector does with a tag."""

    SENT = 0
    GATED = 1
    FILTERED = 2


def _zeros() -> NDArray[np.int64]:
    return np.zeros(MAX_CHANNELS, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class SelectorSettings:
    """Settings by channel, arrays of shape (32,), times in ticks; as the registers of the same names hold them."""

    gate_table: NDArray[np.int64] = field(default_factory=_zeros)
    """Bit 7: gated, bits 0-4: by this channel."""
    gate_from: NDArray[np.int64] = field(default_factory=_zeros)
    gate_to: NDArray[np.int64] = field(default_factory=_zeros)
    window_enable: int = 0
    window_from: int = 0
    window_until: int = (1 << 64) - 1
    filter_mask: NDArray[np.int64] = field(default_factory=_zeros)
    filter_window: int = 0
    filter_depth: int = FILTER_DEPTH

    def __post_init__(self) -> None:
        for name in ("gate_table", "gate_from", "gate_to", "filter_mask"):
            if getattr(self, name).shape != (MAX_CHANNELS,):
                raise ValueError(f"selector: {name} has shape {getattr(self, name).shape}; allowed: ({MAX_CHANNELS},)")
        if max(self.gate_from.max(), self.gate_to.max()) >= 1 << GATE_BITS or self.gate_from.min() < 0:
            raise ValueError(f"selector: gates lie outside 0 to {(1 << GATE_BITS) - 1} ticks")
        if not 0 <= self.filter_window < 1 << FILTER_WINDOW_BITS:
            raise ValueError(
                f"selector: filter_window is {self.filter_window}; allowed: 0 to {(1 << FILTER_WINDOW_BITS) - 1} ticks"
            )
        if self.filter_depth < 1:
            raise ValueError(f"selector: filter_depth is {self.filter_depth}; allowed: at least 1")


def select_tags(
    times_ticks: NDArray[np.uint64], channels: NDArray[np.uint8], settings: SelectorSettings
) -> NDArray[np.uint8]:
    """A `Verdict` per tag of the merged stream. Times must lie within 2^63 ticks of each other."""
    verdicts = np.zeros(times_ticks.size, dtype=np.uint8)
    if times_ticks.size == 0:
        return verdicts
    offsets = (times_ticks - times_ticks[0]).view(np.int64)
    verdicts[~_gate(times_ticks, offsets, channels, settings)] = Verdict.GATED
    passed = np.flatnonzero(verdicts == Verdict.SENT)
    kept = _filter(offsets[passed], channels[passed], settings)
    verdicts[passed[~kept]] = Verdict.FILTERED
    return verdicts


def _gate(
    times: NDArray[np.uint64], offsets: NDArray[np.int64], channels: NDArray[np.uint8], settings: SelectorSettings
) -> NDArray[np.bool_]:
    """Which tags pass their gate and the time window."""
    passes = np.ones(times.size, dtype=np.bool_)
    inside = (times >= np.uint64(settings.window_from)) & (times < np.uint64(settings.window_until))
    for channel in np.unique(channels):
        own = np.flatnonzero(channels == channel)
        if settings.window_enable >> int(channel) & 1:
            passes[own] = inside[own]
        entry = int(settings.gate_table[channel])
        if not entry & GATE_ENABLE:
            continue
        opening = np.flatnonzero(channels == entry % MAX_CHANNELS)
        before = np.searchsorted(opening, own) - 1
        if opening.size == 0:
            passes[own] = False
            continue
        distance = offsets[own] - offsets[opening[before]]
        known = (before >= 0) & (distance <= MEMORY_TICKS)
        passes[own] &= known & (settings.gate_from[channel] <= distance) & (distance < settings.gate_to[channel])
    return passes


def _filter(offsets: NDArray[np.int64], channels: NDArray[np.uint8], settings: SelectorSettings) -> NDArray[np.bool_]:
    """Which of the tags that passed the gates have a companion, or need none."""
    kept = np.ones(offsets.size, dtype=np.bool_)
    for channel in np.unique(channels):
        mask = int(settings.filter_mask[channel]) & ~(1 << int(channel))
        if mask == 0:
            continue
        own = np.flatnonzero(channels == channel)
        companions = np.flatnonzero(mask >> channels.astype(np.int64) & 1)
        if companions.size == 0:
            kept[own] = False
            continue
        after = np.searchsorted(companions, own)
        before = companions[np.maximum(after - 1, 0)]
        has = (after > 0) & (offsets[own] - offsets[before] <= settings.filter_window)
        following = companions[np.minimum(after, companions.size - 1)]
        near = (offsets[following] - offsets[own] <= settings.filter_window) & (following - own < settings.filter_depth)
        kept[own] = has | ((after < companions.size) & near)
    return kept
