"""Bin widths, DNL, INL and single-shot bound of a delay line, from its code-density histogram and its table in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import GROUP_CODES, MIN_GROUPS, QUARTER_BITS, code_bits, group_codes, span_ticks
from twinphase_spec.units import TICK_PS


@dataclass(frozen=True, kw_only=True)
class Linearity:
    """One polarity of one delay line. Arrays have one entry per code.

    With hits H[j], n in all, over a span S (one TDC clock): width ``w_j = S H_j / n``; centre ``c_j = sum_{k<j} w_k + w_j / 2``; LSB =
    S / number of codes with hits; ``DNL_j = w_j / LSB - 1`` from the first to the last code with hits; INL of the calibrated line
    ``c_j - min(X_j, S)`` with the table X in use (without the common scale, which follows drift on top of it; the fine time ends
    at S: a last code of which hardly anything is reached has an entry beyond it); raw INL, of the code taken
    as it is: ``c_j - S (j - first + 1/2) / (last - first + 1)``; both where there are hits. Rms bound of one shot by the bins alone:
    ``sqrt(sum w_j^3 / (12 S))``. NaN where there are no hits; an estimate from n hits is itself uncertain by about
    ``S / (2 sqrt n)`` in the middle of the INL.
    """

    polarity: int
    """0 falling, 1 rising transition in the chain; 0 also for both when they share a table."""
    span_ps: float
    hits: int
    histogram: NDArray[np.int64]
    table_ps: NDArray[np.float64]
    """X: the table in use; NaN before there is one."""
    group_codes: int = GROUP_CODES
    """Of the groups by which the calibrator tells whether hits are spread evenly."""

    @property
    def used(self) -> NDArray[np.intp]:
        """Codes with hits."""
        return np.flatnonzero(self.histogram)

    @property
    def widths_ps(self) -> NDArray[np.float64]:
        """w: width of each bin."""
        return self.histogram.astype(np.float64) * (self.span_ps / self.hits if self.hits else np.nan)

    @property
    def centres_ps(self) -> NDArray[np.float64]:
        """c: centre of each bin, the time from hit to sampling clock edge."""
        widths = self.widths_ps
        return np.cumsum(widths) - widths / 2

    @property
    def lsb_ps(self) -> float | None:
        """Mean width of the codes with hits."""
        return self.span_ps / len(self.used) if self.hits else None

    @property
    def dnl_lsb(self) -> NDArray[np.float64]:
        """DNL in LSB; NaN before the first and after the last code with hits."""
        dnl = np.full(len(self.histogram), np.nan)
        if self.hits:
            line = slice(int(self.used[0]), int(self.used[-1]) + 1)
            dnl[line] = self.widths_ps[line] * len(self.used) / self.span_ps - 1
        return dnl

    @property
    def inl_ps(self) -> NDArray[np.float64]:
        """INL of the calibrated line in ps; NaN where there are no hits."""
        return np.where(self.histogram > 0, self.centres_ps - np.minimum(self.table_ps, self.span_ps), np.nan)

    @property
    def raw_inl_ps(self) -> NDArray[np.float64]:
        """INL of the uncalibrated code in ps; NaN where there are no hits."""
        if not self.hits:
            return np.full(len(self.histogram), np.nan)
        first, last = int(self.used[0]), int(self.used[-1])
        linear = (np.arange(len(self.histogram)) - first + 0.5) * (self.span_ps / (last - first + 1))
        return np.where(self.histogram > 0, self.centres_ps - linear, np.nan)

    @property
    def rms_bound_ps(self) -> float | None:
        """Rms error of a single shot that the bins alone make."""
        return float(np.sqrt(np.sum(self.widths_ps**3) / (12 * self.span_ps))) if self.hits else None

    @property
    def evenly_spread(self) -> bool:
        """The calibrator's own test: over the groups of codes (`group_codes`) strictly between the first and the last with hits, at least
        four, the fullest has at most 1.5 times the hits of the emptiest."""
        groups = self.histogram.reshape(-1, self.group_codes).sum(axis=1)
        filled = np.flatnonzero(groups)
        if not len(filled):
            return False
        interior = groups[filled[0] + 1 : filled[-1]]
        return len(interior) >= MIN_GROUPS and 2 * int(interior.max()) <= 3 * int(interior.min())

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN becomes None."""
        return {
            "polarity": self.polarity,
            "hits": self.hits,
            "codes_used": len(self.used),
            "lsb_ps": self.lsb_ps,
            "span_ps": self.span_ps,
            "dnl_lsb_min_max": _extremes(self.dnl_lsb),
            "inl_ps_min_max": _extremes(self.inl_ps),
            "raw_inl_ps_min_max": _extremes(self.raw_inl_ps),
            "rms_bound_ps": self.rms_bound_ps,
            "evenly_spread": self.evenly_spread,
            "histogram": self.histogram.tolist(),
            "widths_ps": _plain(self.widths_ps),
            "table_ps": _plain(self.table_ps),
            "dnl_lsb": _plain(self.dnl_lsb),
            "inl_ps": _plain(self.inl_ps),
            "raw_inl_ps": _plain(self.raw_inl_ps),
        }


def linearities(words: NDArray[np.integer], *, taps: int, lanes: int, shared: bool) -> list[Linearity]:
    """The polarities in use of a delay line from its copy in CAL_BINS (word 2i: hits, 2i + 1: quarter ticks; bin i is
    ``polarity << code bits | code``). ValueError for a copy of another size."""
    codes = 1 << code_bits(taps)
    if len(words) != 4 * codes:
        raise ValueError(f"linearity: {len(words)} words of CAL_BINS; allowed: {4 * codes} for {taps} taps")
    bins = np.asarray(words).astype(np.int64).reshape(2, codes, 2)
    return [
        Linearity(
            polarity=p,
            span_ps=span_ticks(lanes) * TICK_PS,
            hits=int(bins[p, :, 0].sum()),
            histogram=bins[p, :, 0],
            table_ps=_table(bins[p, :, 1]),
            group_codes=group_codes(taps, lanes),
        )
        for p in range(1 if shared else 2)
    ]


def _table(quarters: NDArray[np.int64]) -> NDArray[np.float64]:
    """A table in ps; all NaN before there is one."""
    return quarters.astype(np.float64) * (TICK_PS / (1 << QUARTER_BITS) if quarters.any() else np.nan)


def _extremes(values: NDArray[np.float64]) -> list[float] | None:
    known = values[~np.isnan(values)]
    return [float(known.min()), float(known.max())] if len(known) else None


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
