"""Structure function of a phase: how far it moves within a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mean_square import lags, mean_square
from .phase_trace import PhaseTrace

LONGEST_SHARE = 4
"""Lags go up to the longest stretch over this."""


@dataclass(frozen=True, kw_only=True)
class StructureFunction:
    """``<(phi(t + T) - phi(t))^2>`` in rad^2 for each lag T, less the noise of both ends."""

    lag_s: NDArray[np.float64]
    value_rad2: NDArray[np.float64]
    """May be negative where the noise is most of it."""
    low_rad2: NDArray[np.float64]
    high_rad2: NDArray[np.float64]
    confidence: float
    edf: NDArray[np.float64]
    pairs: NDArray[np.int64]
    noise_rad2: float | None
    """``2 sigma^2``, what was subtracted; None where the variance is unknown (nothing was)."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        arrays = ("lag_s", "value_rad2", "low_rad2", "high_rad2", "edf", "pairs")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "confidence": self.confidence,
            "noise_rad2": self.noise_rad2,
        }


def structure_function(trace: PhaseTrace, *, confidence: float = 0.95) -> StructureFunction:
    """Over all pairs within a stretch; pairs reach over lost samples, whose phase the node went on to count, but never over a restart.

    A random walk gives ``D T``, a steady rate r ``(r T)^2``; of samples averaged over their interval dt a walk gives ``D (T - dt / 3)``
    (Kolmogorov's structure function, as used for phase by Tatarskii, 1961). Interval: `MeanSquare`, shifted by the noise.
    """
    parts = trace.dense()
    noise = trace.noise_rad2
    shift = 0.0 if noise is None else 2 * noise
    rows = []
    for lag in lags(max(map(len, parts), default=0), LONGEST_SHARE):
        mean = mean_square(parts, lag, lambda x, m: x[m:] - x[:-m])
        if mean is not None:
            low, high = mean.interval(confidence)
            rows.append((lag * trace.interval_s, mean.value - shift, low - shift, high - shift, mean.edf, mean.count))
    table = np.array(rows, dtype=float).reshape(-1, 6).T
    return StructureFunction(
        lag_s=table[0],
        value_rad2=table[1],
        low_rad2=table[2],
        high_rad2=table[3],
        confidence=confidence,
        edf=table[4],
        pairs=table[5].astype(np.int64),
        noise_rad2=None if noise is None else shift,
    )
