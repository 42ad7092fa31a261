"""Merge: the tags of all channels in the order of (time, channel). Source: ``timetag.merge`` of docs/contract.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def merge_tags(channels: Sequence[NDArray[np.uint64]]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """(times, channels) of all tags; ``channels[c]`` holds the tags of channel c.

    Times compare as 64-bit modular differences, so the tags of one call must lie within 2^63 ticks (104 days) of each other.
    """
    times = np.concatenate([np.asarray(tags, dtype=np.uint64) for tags in channels])
    numbers = np.repeat(np.arange(len(channels), dtype=np.uint8), [len(tags) for tags in channels])
    if times.size == 0:
        return times, numbers
    # Equal times keep the order of concatenation, which is that of the channels, in a stable sort.
    order = np.argsort((times - times[0]).view(np.int64), kind="stable")
    return times[order], numbers[order]
