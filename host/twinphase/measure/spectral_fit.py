"""What fits to spectra share: grouping of neighbouring frequencies, and whether a model describes what was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

GROUP = 0.01
"""Frequencies within so much (relative) of each other are one group; a power law of -4 bends by less than 1e-4 within it."""


def groups(frequency: NDArray[np.float64]) -> NDArray[np.intp]:
    """Start of each group of rising ``frequency`` (above 0), for ``np.add.reduceat``."""
    number = np.floor(np.log(frequency) / GROUP)
    return np.flatnonzero(np.diff(number, prepend=number[0] - 1))


def probability_of_fit(
    frequency: NDArray[np.float64], ratio: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    """Chance that the worst octave is as bad or worse if the model is right.

    ``ratio``: measured over model density; ``weight``: half its degrees of freedom, so that ``ratio`` is gamma-distributed of mean 1 and
    variance 1 / weight. Two-sided, times the number of octaves (Bonferroni), at most 1. Small means that the model does not describe
    the trace, and that its parameters and their errors are to be taken with care.
    """
    octave = np.floor(np.log2(frequency))
    worst, octaves = 1.0, np.unique(octave)
    for number in octaves:
        chosen = octave == number
        shape = float(weight[chosen].sum())
        total = float((ratio * weight)[chosen].sum())
        worst = min(worst, 2 * float(min(stats.gamma.cdf(total, shape), stats.gamma.sf(total, shape))))
    return min(1.0, worst * len(octaves))
