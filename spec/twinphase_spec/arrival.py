"""Arrival times of the arms in one-sided slots: what gateware, model and host share (docs/alignment.md)."""

from __future__ import annotations

from .frame import PERIOD_INT_BITS

WINDOWS_BITS = 16
"""Of ARRIVAL_WINDOWS, windows per interval; 0: nothing is counted."""
BIN_BITS = 3
BINS = 1 << BIN_BITS
"""Parts of the period in which clicks are counted."""
COUNT_BITS = 24
"""Counts of a bin wrap. An interval shorter than 2^24 clocks, with a click per clock at most, does not."""
SUM_BITS = COUNT_BITS + PERIOD_INT_BITS
"""Sums of positions in ticks; BINS counts that do not wrap together have no more clicks than 2^24 clocks."""
BANDS, ARMS = ("q", "r"), ("a", "b")
PLACES = tuple((band, arm) for band in BANDS for arm in ARMS)
"""(band, arm) by the number g of a record's place."""
INTERVAL_S = 20e-3
"""What a lab's settings aim at."""


def interval_windows(window_ticks: int, ticks_per_second: int, seconds: float = INTERVAL_S) -> int:
    """Windows of an interval of about ``seconds``, at least one."""
    return min((1 << WINDOWS_BITS) - 1, max(1, round(seconds * ticks_per_second / window_ticks)))
