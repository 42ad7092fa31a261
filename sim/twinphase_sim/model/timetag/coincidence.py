"""Coincidences: virtual channels of tags that come close together. Source: "Coincidences" of docs/timetagger.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tagger import COINCIDENCE_WINDOW_BITS, COINCIDENCES, MAX_CHANNELS, VIRTUAL_CHANNEL


@dataclass(frozen=True, kw_only=True)
class Coincidence:
    """One virtual channel: ``mask`` bit c has channel c; ``window`` in ticks. A mask of fewer than two completes never."""

    mask: int = 0
    window: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.mask < 1 << MAX_CHANNELS:
            raise ValueError(f"coincidence: mask is {self.mask:#x}; allowed: bits 0 to {MAX_CHANNELS - 1}")
        if not 0 <= self.window < 1 << COINCIDENCE_WINDOW_BITS:
            raise ValueError(
                f"coincidence: window is {self.window}; allowed: 0 to {(1 << COINCIDENCE_WINDOW_BITS) - 1} ticks"
            )


@numba.njit(cache=True)
def _complete(
    offsets: NDArray[np.int64], channels: NDArray[np.uint8], mask: int, window: int, complete: NDArray[np.bool_]
) -> None:
    members = np.array([c for c in range(MAX_CHANNELS) if mask >> c & 1])
    fresh = np.zeros(MAX_CHANNELS, dtype=np.bool_)
    latest = np.zeros(MAX_CHANNELS, dtype=np.int64)
    for i in range(offsets.size):
        all_fresh = True
        for c in members:
            if c != channels[i] and not (fresh[c] and offsets[i] - latest[c] <= window):
                all_fresh = False
                break
        complete[i] = all_fresh
        if all_fresh:
            fresh[:] = False
        else:
            fresh[channels[i]] = True
            latest[channels[i]] = offsets[i]


def find_completions(
    times_ticks: NDArray[np.uint64], channels: NDArray[np.uint8], coincidence: Coincidence
) -> NDArray[np.intp]:
    """Indices of the tags that complete the coincidence. Times (in order) must lie within 2^63 ticks of each other."""
    if coincidence.mask.bit_count() < 2:
        return np.empty(0, dtype=np.intp)
    members = np.flatnonzero(coincidence.mask >> channels.astype(np.int64) & 1)
    if members.size == 0:
        return members
    offsets = (times_ticks[members] - times_ticks[members[0]]).view(np.int64)
    complete = np.zeros(members.size, dtype=np.bool_)
    _complete(offsets, np.ascontiguousarray(channels[members]), coincidence.mask, coincidence.window, complete)
    return members[complete]


def add_coincidences(
    times_ticks: NDArray[np.uint64], channels: NDArray[np.uint8], coincidences: Sequence[Coincidence]
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """(times, channels) with a virtual tag (t, 32 + v) behind each tag that completes v, those of one tag in rising v."""
    if len(coincidences) > COINCIDENCES:
        raise ValueError(f"coincidence: {len(coincidences)} virtual channels; allowed: at most {COINCIDENCES}")
    positions = [np.arange(times_ticks.size)]
    numbers = [channels]
    for v, coincidence in enumerate(coincidences):
        completing = find_completions(times_ticks, channels, coincidence)
        positions.append(completing)
        numbers.append(np.full(completing.size, VIRTUAL_CHANNEL + v, dtype=np.uint8))
    position = np.concatenate(positions)
    # Equal positions keep the order of concatenation in a stable sort: the tag, then its virtual tags.
    order = np.argsort(position, kind="stable")
    return times_ticks[position[order]], np.concatenate(numbers)[order].astype(np.uint8)
