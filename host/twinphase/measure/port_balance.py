"""Efficiencies and dead times of a band's two detectors against each other, from a server's tags.

**Imbalance** ``u = (eta_L - eta_R)/(eta_L + eta_R)``. Of pairs of slots in which the fringe is the other way round, or there is none, the
sums do not know the phase: REF0 with REF2, REF1 with REF3 (psi is the same in both, since a frame is short), REF_A with REF_B. With l and
r clicks of L and R in such pairs, background taken off by the VAC slots::

    m = (l - r)/(l + r),   sigma_m = 2 sqrt(r^2 var(l) + l^2 var(r))/(l + r)^2
    (1 + u)/(1 - u) = (1 + m)/(1 - m) * c_l/c_r

A dead time t takes the more of a port's clicks the more there are: where the fringe moves, more of them than at their mean rate. So
c, what clicks would be without it over those that there are, is a sum over bins of BIN_S, in which the fringe hardly moves: of n clicks
in the slots of a class, T long in a bin, while b of the detector's blind times lay in them (each in the class of a random place of it)::

    c = sum of n / (1 - b t/T) / (1 + t/T)  over  sum of n

(the last term is what fluctuations of b add on average).

**Dead time.** No two clicks of a detector are closer than t_d; behind it gaps come at the density rho of the smallest k of them,
``rho = (k - 1)/(g_k - g_1)``. The smallest gap of all is t_d and an exponential of the mean 1/rho more, and where light comes in pulses
up to a pulse period: with 95 % confidence t_d lies between ``g_1 - max(3/rho, period)`` and g_1 (the 0.95 quantile of an exponential is
ln 20). Jitter of the times makes the smallest gaps shorter by its own amount.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.configure import frame_config, gate_ticks
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Lab
from twinphase_spec.registers import CHANNELS
from twinphase_spec.units import FRACTION_BITS, TICKS_PER_SECOND

from ..batch import Batch
from .tag_stream import TagStream

Band = Literal["q", "r"]
BANDS: tuple[Band, Band] = ("q", "r")
PAIRS = ((SlotClass.REF0, SlotClass.REF2), (SlotClass.REF1, SlotClass.REF3), (SlotClass.REF_A, SlotClass.REF_B))
Z95 = 1.959963984540054
SMALLEST = 1000
"""Gaps that are kept for the density."""
LEAST_CLICKS = 100
"""Of each port; with fewer, nothing is told."""
BIN_S = 50e-6
ORDERS = 9
"""Powers of b t/T that are summed: below 0.4, the next is 1e-4."""
SCATTER = 0x9E3779B1
"""Odd: its products' low 32 bits look random."""


@dataclass(frozen=True, kw_only=True)
class PortFigures:
    """Of one band. Intervals are of 95 %."""

    band: Band
    clicks: int
    """Of both ports that were used for u."""
    imbalance: float
    imbalance_ci95: tuple[float, float]
    dead_s: tuple[float, float]
    """Of L and R: the smallest gaps, the upper ends of the intervals."""
    dead_least_s: tuple[float, float]
    """Their lower ends."""

    @property
    def detectors(self) -> tuple[str, str]:
        """Names of L and R in a lab file."""
        return f"{self.band}L", f"{self.band}R"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class PortBalance:
    """Counts tags by channel and slot class of ``lab``, whose frame began at the clock count ``start_clock``.

    Update it with batches of the server's tags; `figures` may be asked for at any time. ValueError for a pulse period that is not a
    whole number of ticks.
    """

    def __init__(self, lab: Lab, start_clock: int) -> None:
        self._frame = frame_config(lab, start_clock)
        if self._frame.period_q32 & 0xFFFFFFFF:
            raise ValueError(
                f"lab {lab.name}: the pulse period is {self._frame.period_q32 / 2**32} ticks; allowed: whole ones"
            )
        table = np.array([(int(q), int(r)) for q, r in lab.frame.table()])
        self._classes: dict[Band, NDArray[np.int64]] = {band: table[:, i] for i, band in enumerate(BANDS)}
        self._bin_pulses = self._frame.frame_pulses * max(
            1, round(BIN_S * lab.frame.pulse_rate_hz / self._frame.frame_pulses)
        )
        self._powers = np.zeros((len(CHANNELS), max(SlotClass) + 1, ORDERS))
        """Sums over bins of n b^k."""
        self._held: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = [(np.empty(0, np.int64),) * 2 for _ in CHANNELS]
        """Of the bin that is not complete: keys of clicks and of blind times, ``bin * classes + class``."""
        self._gates = {band: gate_ticks(lab, band) for band in BANDS}
        self._counts = np.zeros((len(CHANNELS), max(SlotClass) + 1), np.int64)
        self._gaps: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in CHANNELS]
        self._all_gaps = np.zeros(len(CHANNELS), np.int64)
        self._last: list[int | None] = [None] * len(CHANNELS)
        self._stream = TagStream()

    def update(self, batch: Batch) -> None:
        """Count a batch."""
        for piece in self._stream.split(batch):
            for channel, name in enumerate(CHANNELS):
                times = piece.times[piece.channels == channel]
                if times.size:
                    self._take_gaps(channel, times, piece.fresh)
                    self._count(channel, "q" if name[0] == "q" else "r", times)
                elif piece.fresh:
                    self._last[channel] = None

    def figures(self, band: Band) -> PortFigures | None:
        """None where there are too few clicks, or no pairs of slots."""
        left, right = (CHANNELS.index(f"{band}{port}") for port in "LR")
        parts = self._slots(band)
        chosen = [pair for pair in PAIRS if parts[pair[0]] == parts[pair[1]] > 0]
        slots = sum(int(parts[c]) for pair in chosen for c in pair)
        share = slots / int(parts[SlotClass.VAC]) if parts[SlotClass.VAC] else 0.0
        raw = [int(sum(self._counts[channel, c] for pair in chosen for c in pair)) for channel in (left, right)]
        dark = [int(self._counts[channel, SlotClass.VAC]) for channel in (left, right)]
        lit_l, lit_r = (max(n - share * b, 0.0) for n, b in zip(raw, dark, strict=True))
        if min(*raw, *(self._all_gaps[channel] for channel in (left, right))) < LEAST_CLICKS or lit_l + lit_r == 0:
            return None
        var_l, var_r = (n + share**2 * b for n, b in zip(raw, dark, strict=True))
        m = (lit_l - lit_r) / (lit_l + lit_r)
        sigma = 2 * math.sqrt(lit_r**2 * var_l + lit_l**2 * var_r) / (lit_l + lit_r) ** 2
        dead = [self._dead_s(channel) for channel in (left, right)]
        classes = [c for pair in chosen for c in pair]
        whole = [self._without_dead_time(band, c, t, classes) for c, (_, t) in zip((left, right), dead, strict=True)]

        def efficiency(balance: float) -> float:
            ratio = (1 + balance) / max(1 - balance, 1e-9) * whole[0] / whole[1]
            return (ratio - 1) / (ratio + 1)

        return PortFigures(
            band=band,
            clicks=sum(raw),
            imbalance=efficiency(m),
            imbalance_ci95=(efficiency(max(m - Z95 * sigma, -1.0)), efficiency(min(m + Z95 * sigma, 1.0))),
            dead_s=(dead[0][1], dead[1][1]),
            dead_least_s=(dead[0][0], dead[1][0]),
        )

    def _slots(self, band: Band) -> NDArray[np.int64]:
        return np.bincount(self._classes[band], minlength=max(SlotClass) + 1)

    def _count(self, channel: int, band: Band, times: NDArray[np.int64]) -> None:
        frame, (first, stop) = self._frame, self._gates[band]
        since = times - (frame.start_clock << FRACTION_BITS)
        since = since[since >= 0]
        period, size = frame.period_q32 >> 32, self._counts.shape[1]
        pulse, position = np.divmod(since, period)
        clicks = self._keys(band, pulse[(position >= first) & (position < stop)])
        self._counts[channel] += np.bincount(clicks % size, minlength=size)
        # A blind time is as long as the smallest gap so far; the place in it comes from the click's own time.
        dead = int(self._gaps[channel][0]) if self._gaps[channel].size else 0
        blind = self._keys(band, (since + ((since * SCATTER & 0xFFFFFFFF) * dead >> 32)) // period)
        keys = tuple(np.concatenate(pair) for pair in zip(self._held[channel], (clicks, blind), strict=True))
        if not keys[1].size:
            return
        last = int(keys[1].max()) // size * size
        self._held[channel] = keys[0][keys[0] >= last], keys[1][keys[1] >= last]
        places, n = np.unique(keys[0][keys[0] < last], return_counts=True)
        blinds, counts = np.unique(keys[1][keys[1] < last], return_counts=True)
        if places.size and blinds.size:
            at = np.minimum(np.searchsorted(blinds, places), blinds.size - 1)
            b = np.where(blinds[at] == places, counts[at], 0)
            for k in range(ORDERS):
                self._powers[channel, :, k] += np.bincount(places % size, n * b.astype(float) ** k, minlength=size)

    def _keys(self, band: Band, pulse: NDArray[np.int64]) -> NDArray[np.int64]:
        frame = self._frame
        classes = self._classes[band][pulse % frame.frame_pulses // frame.slot_pulses]
        return pulse // self._bin_pulses * self._counts.shape[1] + classes

    def _without_dead_time(self, band: Band, channel: int, dead_s: float, classes: list[SlotClass]) -> float:
        """c of the slots of ``classes``; 1 where no bin is complete."""
        parts = self._slots(band)
        bin_s = self._bin_pulses * (self._frame.period_q32 >> 32) / TICKS_PER_SECOND
        clicks = whole = 0.0
        for c in classes:
            taken = dead_s / (bin_s * float(parts[c]) / float(parts.sum()))
            clicks += self._powers[channel, c, 0]
            whole += float(self._powers[channel, c] @ taken ** np.arange(ORDERS)) / (1 + taken)
        return whole / clicks if clicks else 1.0

    def _take_gaps(self, channel: int, times: NDArray[np.int64], fresh: bool) -> None:
        last = None if fresh else self._last[channel]
        gaps = np.diff(times) if last is None else np.diff(times, prepend=last)
        self._last[channel] = int(times[-1])
        self._all_gaps[channel] += gaps.size
        self._gaps[channel] = np.sort(np.concatenate([self._gaps[channel], gaps]))[:SMALLEST]

    def _dead_s(self, channel: int) -> tuple[float, float]:
        """Ends of the interval of a channel's dead time."""
        gaps = self._gaps[channel][: max(2, min(SMALLEST, int(self._all_gaps[channel]) // 20))] / TICKS_PER_SECOND
        mean = (gaps[-1] - gaps[0]) / (gaps.size - 1)
        wide = max(math.log(20) * mean, (self._frame.period_q32 >> 32) / TICKS_PER_SECOND)
        return max(float(gaps[0] - wide), 0.0), float(gaps[0])


def calibrated(lab: Lab, figures: PortFigures) -> Lab:
    """``lab`` with the efficiencies of the band's detectors as measured, their mean as it was, and their dead times."""
    names = figures.detectors
    old = [getattr(lab.detectors, name) for name in names]
    mean = (old[0].efficiency + old[1].efficiency) / 2
    new = {
        name: detector.model_copy(
            update={
                "efficiency": min(mean * (1 + sign * figures.imbalance), 1.0),
                "dead_time_ns": round(max(dead_s * 1e9, 16.0), 3),
            }
        )
        for name, detector, sign, dead_s in zip(names, old, (1, -1), figures.dead_s, strict=True)
    }
    return lab.model_copy(update={"detectors": lab.detectors.model_copy(update=new)})
