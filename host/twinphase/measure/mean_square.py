"""Mean square of differences of a trace, and how sure it is when neighbouring differences overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, stats

PER_DECADE = 10
STRIDES = 8
"""The correlation of differences over m samples is looked at every m / STRIDES samples."""


@dataclass(frozen=True)
class MeanSquare:
    """Mean of the squares of ``count`` differences, with as much spread as one of ``edf`` independent normal ones."""

    value: float
    edf: float
    count: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """``edf value / chi2`` at both tails; at few degrees of freedom its upper end is far away."""
        tail = (1 - confidence) / 2
        scale = self.value * self.edf
        return scale / float(stats.chi2.isf(tail, self.edf)), scale / float(stats.chi2.ppf(tail, self.edf))


def lags(samples: int, share: int) -> list[int]:
    """Lags in samples, PER_DECADE per decade, from 1 to ``samples // share``."""
    longest = samples // share
    if longest < 1:
        return []
    count = int(PER_DECADE * np.log10(longest)) + 2
    return sorted({int(m) for m in np.round(np.geomspace(1, longest, count))})


def mean_square(
    parts: Sequence[NDArray[np.float64]],
    lag: int,
    difference: Callable[[NDArray[np.float64], int], NDArray[np.float64]],
) -> MeanSquare | None:
    """Of all ``difference(part, lag)`` that are not NaN; None without any.

    For normal differences x_i with autocovariance R the sum of n squares has the variance ``V = 2 sum_ij R(i - j)^2``, and ``edf = 2
    (sum x^2)^2 / V`` matches its first two moments by a chi^2 (Blackman & Tukey, 1958, sect. 6-9). V is estimated from the data
    themselves, for any spectrum: with the sample sums ``c_k = sum_i x_i x_(i+k)``, ``V = sum_k c_k^2 / n``, whose expectation for
    independent x is the right 2 n; since ``<(sum x^2)^2>`` exceeds the square of its mean by 2 / edf of it, 2 is taken off. Only every
    (lag / STRIDES)-th difference is looked at, which says less than all of them only where white noise rules. Nothing says more
    than its data: a spectrum whose power lies at times beyond the trace (the structure function of a rate that walks) has no mean yet.
    """
    squares, count, thinned_squares, variance = 0.0, 0, 0.0, 0.0
    stride = max(1, lag // STRIDES)
    for part in parts:
        x = difference(part, lag)
        known = ~np.isnan(x)
        if not known.any():
            continue
        squares += float(np.sum(x[known] ** 2))
        count += int(np.count_nonzero(known))
        thin = x[::stride]
        known = ~np.isnan(thin)
        n = int(np.count_nonzero(known))
        if n:
            size = fft.next_fast_len(2 * len(thin), real=True)
            power = np.abs(fft.rfft(np.where(known, thin, 0.0), size)) ** 2
            correlations = fft.irfft(power**2, size)[0]  # sum_k c_k^2, k of both signs
            thinned_squares += float(np.sum(thin[known] ** 2))
            variance += float(correlations) / n
    if variance == 0:
        return None
    edf = 2 * thinned_squares**2 / variance - 2
    return MeanSquare(squares / count, max(1.0, edf), count)
