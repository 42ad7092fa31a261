"""PicoQuant T2 words (HydraHarp V2/MultiHarp) of tags, relative to a packet's base. Source: `twinphase_spec.packets`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import T2_CHANNEL_SHIFT, T2_OVERFLOW_CHANNEL, T2_SPECIAL, T2_TIME_BITS

TIME_MASK = (1 << T2_TIME_BITS) - 1
OVERFLOW = T2_SPECIAL | T2_OVERFLOW_CHANNEL << T2_CHANNEL_SHIFT


def periods_before(times_ticks: NDArray[np.uint64], base_ticks: int) -> NDArray[np.int64]:
    """Periods of 2^25 ticks that pass between each tag and the one before it (the base, for the first)."""
    if base_ticks & TIME_MASK:
        raise ValueError(f"T2 words: base is {base_ticks} ticks; allowed: multiples of 2^{T2_TIME_BITS}")
    since_base = np.asarray(times_ticks, dtype=np.uint64) - np.uint64(base_ticks)
    periods = (since_base >> np.uint64(T2_TIME_BITS)).astype(np.int64)
    return periods - np.concatenate([np.zeros(1, dtype=np.int64), periods[:-1]])[: periods.size]


def t2_words(times_ticks: NDArray[np.uint64], channels: NDArray[np.uint8], base_ticks: int) -> NDArray[np.uint32]:
    """Words of tags in time order, none before the base: a tag is preceded by one overflow word if periods passed."""
    times = np.asarray(times_ticks, dtype=np.uint64)
    passed = periods_before(times, base_ticks)
    if (passed < 0).any() or (passed > TIME_MASK).any():
        raise ValueError(
            "T2 words: tags are out of order, before the base, or more than 2^25 periods (20 minutes) apart"
        )
    last = np.cumsum(1 + (passed > 0)) - 1
    words = np.empty(last[-1] + 1 if times.size else 0, dtype=np.uint32)
    words[last] = (times & np.uint64(TIME_MASK)).astype(np.uint32) | channels.astype(np.uint32) << np.uint32(
        T2_CHANNEL_SHIFT
    )
    overflow = passed > 0
    words[last[overflow] - 1] = OVERFLOW | passed[overflow]
    return words


def decode_t2(words: NDArray[np.uint32], base_ticks: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """(times, channels) of the tags in a packet's words, whatever way its overflow words are split up."""
    words = np.asarray(words, dtype=np.uint32)
    channels = words >> np.uint32(T2_CHANNEL_SHIFT)
    special = channels >> np.uint32(6) == 1
    time = words & np.uint32(TIME_MASK)
    is_overflow = channels == OVERFLOW >> T2_CHANNEL_SHIFT
    periods = np.cumsum(np.where(is_overflow, time, np.uint32(0)), dtype=np.uint64)
    times = np.uint64(base_ticks) + (periods << np.uint64(T2_TIME_BITS)) + time
    return times[~special], channels[~special].astype(np.uint8)
