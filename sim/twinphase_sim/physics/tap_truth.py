"""What is true of a chain: its bins, and the least error that reading them can have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bin_borders_ps(arrivals_ps: NDArray[np.float64], span_ps: float) -> NDArray[np.float64]:
    """Borders of the codes' bins: code c is shown for elapsed times from element c to c + 1, within 0 .. span; shape
    (taps + 1). ``arrivals_ps``: of taps 0 .. taps-1 (tap 0 is not counted). Bins outside of the span are empty."""
    borders = np.concatenate([[0.0], np.sort(arrivals_ps[1:]), [span_ps]])
    return np.clip(borders, 0, span_ps)


def bin_centres_ps(borders_ps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean elapsed time of each code."""
    return (borders_ps[1:] + borders_ps[:-1]) / 2


def averaging_bound_ps(borders_ps: list[NDArray[np.float64]], span_ps: float) -> float:
    """Rms error of the mean of several chains' bin centres (one chain: sqrt(sum w^3 / 12 span)), for a uniform hit."""
    cuts = np.unique(np.concatenate(borders_ps))
    middle = (cuts[1:] + cuts[:-1]) / 2
    estimate = np.zeros(middle.size)
    for borders in borders_ps:
        code = np.searchsorted(borders, middle, side="right") - 1
        estimate += bin_centres_ps(borders)[code] / len(borders_ps)
    cubes = (cuts[1:] - estimate) ** 3 - (cuts[:-1] - estimate) ** 3
    return float(np.sqrt(cubes.sum() / (3 * span_ps)))


def joint_bound_ps(borders_ps: list[NDArray[np.float64]], span_ps: float) -> float:
    """Rms error of the best estimate from all chains' codes: that of the partition by all their borders together."""
    widths = np.diff(np.unique(np.concatenate(borders_ps)))
    return float(np.sqrt((widths**3).sum() / (12 * span_ps)))
