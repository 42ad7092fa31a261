"""Heralds: live pulses with exactly one gated q-band click in a SIG slot. Source: ``sift.herald`` of docs/contract.md, docs/live.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.core.framer import Clicks
from twinphase_spec.packets import HERALD_DTYPE

DETECTOR_BIT = np.uint32(1 << 31)
PULSE_HIGH_MASK = np.uint32((1 << 24) - 1)


@dataclass(frozen=True)
class Heralds:
    """Announced pulses in the order of their numbers, and what was not announced."""

    records: NDArray[np.void]
    """HERALD_DTYPE."""
    window: NDArray[np.uint32]
    dwindow: NDArray[np.uint32]
    times_ticks: NDArray[np.uint64]
    """Time of the click."""
    click: NDArray[np.int64]
    """Index of the click among all."""
    multiple: int
    """Live SIG pulses with more than one gated click."""
    unjoined: int
    """Single-click pulses that found the queue towards the packers full."""
    not_live: int
    """Gated clicks in SIG slots whose pulse is not live."""


def herald_records(
    numbers: NDArray[np.uint32], pulses: NDArray[np.uint64], detectors: NDArray[np.uint8]
) -> NDArray[np.void]:
    """HERALD records of pulse indices (56 bits) and detectors (0 L, 1 R)."""
    records = np.zeros(len(pulses), dtype=HERALD_DTYPE)
    records["number"] = numbers
    records["pulse_low"] = pulses & np.uint64(0xFFFFFFFF)
    records["pulse_high_detector"] = (pulses >> np.uint64(32)).astype(np.uint32) & PULSE_HIGH_MASK
    records["pulse_high_detector"] |= np.asarray(detectors).astype(np.uint32) * DETECTOR_BIT
    return records


def herald_pulses(records: NDArray[np.void]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """(pulse indices, detectors) of HERALD records."""
    high = records["pulse_high_detector"]
    pulses = (high & PULSE_HIGH_MASK).astype(np.uint64) << np.uint64(32) | records["pulse_low"]
    return pulses, (high >> np.uint32(31)).astype(np.uint8)


def find_heralds(
    clicks: Clicks,
    *,
    swap: int = 0,
    not_live: NDArray[np.bool_] | None = None,
    unjoined_pulses: NDArray[np.uint64] | None = None,
) -> Heralds:
    """Heralds of clicks in time order.

    Bit 0 of the SWAP register exchanges L and R. ``not_live``: clicks whose pulse is not (`LiveWindows`); without it all are.
    ``unjoined_pulses`` replays which single-click pulses were observed to find no room towards the packers (how fast these take
    heralds is a matter of cycles); without it none did.
    """
    live = clicks.signal if not_live is None else clicks.signal & ~not_live
    chosen = np.flatnonzero(live)
    pulses = clicks.pulse[chosen]
    starts = np.flatnonzero(np.diff(pulses, prepend=~pulses[:1]) != 0)  # prepended value differs from the first pulse
    single = np.diff(starts, append=pulses.size) == 1
    chosen = chosen[starts[single]]
    if unjoined_pulses is not None:
        chosen = chosen[~np.isin(clicks.pulse[chosen], unjoined_pulses)]
    detectors = (clicks.channel[chosen] & np.uint8(1)) ^ np.uint8(swap & 1)
    numbers = np.arange(chosen.size, dtype=np.uint64).astype(np.uint32)
    return Heralds(
        records=herald_records(numbers, clicks.pulse[chosen], detectors),
        window=clicks.window[chosen],
        dwindow=clicks.dwindow[chosen],
        times_ticks=clicks.times_ticks[chosen],
        click=chosen,
        multiple=int(np.count_nonzero(~single)),
        unjoined=int(np.count_nonzero(single)) - chosen.size,
        not_live=int(np.count_nonzero(clicks.signal & ~live)),
    )
