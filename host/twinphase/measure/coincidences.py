"""n-fold coincidences within a window, each tag used once, with the accidentals that the rates alone would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICK_PS, TICKS_PER_SECOND

from ..batch import Batch
from ..theory.statistics import poisson_interval
from .tag_stream import TagStream

MOST_PER_WINDOW = 0.01
"""The formula of accidentals is given while each channel has fewer tags per window than this; it is then at most 3 % too high, since
it does not know that a tag is used once."""


class Coincidences:
    """The time tagger's own rule, on the host: a tag completes a coincidence if every other channel has a *fresh* tag at most
    ``window_ticks`` before it; then no channel's tag is fresh any more. Otherwise the tag is its channel's fresh one.

    So every tag is used at most once, and a virtual channel of the gateware with the same channels and window has equally many
    tags. Nothing reaches across a gap of the stream. 2 M tags/s or more on one core; 10 M where coincidences are rare.

    Accidentals of n independent Poisson channels with N_i tags in the live time T (ticks):
    ``A = ((W+1)^n - W^n) prod(N_i) / T^(n-1)``, W the window: so many vectors of n whole numbers, up to a common shift, span at
    most W. Its 95 % interval is ``A (1 -+ 1.96 sqrt(sum 1/N_i))``. True coincidences ``C - A``: interval from those of C (Garwood)
    and A by ``low = C - A - sqrt((C - C_low)^2 + (A_high - A)^2)``, the high end likewise (MOVER; Donner, Zou 2012).
    """

    def __init__(self, *, channels: Sequence[int], window_ticks: int) -> None:
        if len(channels) < 2 or len(set(channels)) != len(channels):
            raise ValueError(f"coincidences: channels are {list(channels)}; allowed: two or more different ones")
        if not all(0 <= channel < 64 for channel in channels):
            raise ValueError(f"coincidences: channels are {list(channels)}; allowed: 0 to 63")
        if window_ticks < 0:
            raise ValueError(f"coincidences: window is {window_ticks} ticks; allowed: 0 and up")
        self.channels, self.window_ticks = tuple(channels), window_ticks
        self.stream = TagStream()
        self.count = 0
        self.tags = [0] * len(self.channels)
        self._fresh: dict[int, int] = {}
        self._last: int | None = None
        self._index = np.full(256, -1, np.int8)
        self._index[list(self.channels)] = np.arange(len(self.channels))

    def update(self, batch: Batch) -> NDArray[np.int64]:
        """Take in a batch; the times of its coincidences (of the tag that completes each), in order."""
        found = [self._piece(piece.times, piece.channels, piece.fresh) for piece in self.stream.split(batch)]
        times = np.concatenate(found) if found else np.empty(0, np.int64)
        self.count += len(times)
        return times

    def _piece(self, times: NDArray[np.int64], channels: NDArray[np.uint8], fresh: bool) -> NDArray[np.int64]:
        if fresh:
            self._fresh, self._last = {}, None
        index = self._index[channels]
        chosen = np.flatnonzero(index >= 0)
        times, index = times[chosen], index[chosen]
        if not len(times):
            return times
        for i, number in enumerate(np.bincount(index, minlength=len(self.channels)).tolist()):
            self.tags[i] += number
        # clusters: no coincidence reaches over a pause longer than the window
        begins = np.flatnonzero(np.diff(times) > self.window_ticks) + 1
        if self._last is not None and times[0] - self._last > self.window_ticks:
            self._fresh = {}
        self._last = int(times[-1])
        begins = np.concatenate(([0], begins))
        ends = np.append(begins[1:], len(times))
        present = np.bitwise_or.reduceat(np.left_shift(np.int64(1), index.astype(np.int64)), begins)
        every = (1 << len(self.channels)) - 1
        size = ends - begins
        whole = (present == every) & (size == len(self.channels))
        intricate = (present == every) & ~whole
        whole[[0, -1]], intricate[[0, -1]] = False, True  # they may go on in the pieces before and after
        simple = whole & (times[ends - 1] - times[begins] <= self.window_ticks)
        found: list[int] = []
        for which in np.flatnonzero(intricate).tolist():
            begin, end = int(begins[which]), int(ends[which])
            if which:
                self._fresh = {}
            self._follow(times[begin:end].tolist(), index[begin:end].tolist(), found)
        return np.sort(np.concatenate((times[ends[simple] - 1], np.array(found, np.int64))))

    def _follow(self, times: list[int], index: list[int], found: list[int]) -> None:
        """The rule itself, tag by tag."""
        fresh, others, window = self._fresh, len(self.channels) - 1, self.window_ticks
        for time, channel in zip(times, index, strict=True):
            near = 0
            for other, other_time in fresh.items():
                near += other != channel and time - other_time <= window
            if near == others:
                found.append(time)
                fresh.clear()
            else:
                fresh[channel] = time

    @property
    def accidentals(self) -> float | None:
        """Expected accidental coincidences A; None before any time has passed or at rates too high for the formula."""
        total, window, n = self.stream.live_ticks, self.window_ticks, len(self.channels)
        if not total or max(self.tags) * (window + 1) > MOST_PER_WINDOW * total:
            return None
        return math.prod(self.tags) / total ** (n - 1) * ((window + 1) ** n - window**n)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, rates, accidentals and true coincidences with their 95 % intervals."""
        live_s, accidentals = self.stream.live_s, self.accidentals
        low, high = poisson_interval(self.count)
        result: dict[str, Any] = {
            "channels": list(self.channels),
            "window_ps": self.window_ticks * TICK_PS,
            "live_s": live_s,
            "gaps": self.stream.gaps,
            "tags": list(self.tags),
            "coincidences": self.count,
            "coincidences_ci95": [low, high],
            "rate_hz": self.count / live_s if live_s else None,
            "rate_ci95_hz": [low / live_s, high / live_s] if live_s else None,
            "accidentals": accidentals,
            "accidentals_ci95": None,
            "true": None,
            "true_ci95": None,
            "accidentals_formula": "A = ((W+1)^n - W^n) prod(N_i) / T^(n-1), W and T in ticks",
        }
        if accidentals is not None:
            spread = 1.96 * accidentals * math.sqrt(sum(1 / n for n in self.tags)) if all(self.tags) else 0.0
            true = self.count - accidentals
            result["accidentals_ci95"] = [max(0.0, accidentals - spread), accidentals + spread]
            result["true"] = true
            result["true_ci95"] = [
                true - math.hypot(self.count - low, spread),
                true + math.hypot(high - self.count, spread),
            ]
        return result


def window_ticks_of(window_ps: float) -> int:
    """The largest distance in whole ticks that is within a window in picoseconds."""
    return math.floor(window_ps * TICKS_PER_SECOND / 1e12 + 1e-9)
