"""Allan deviation of the optical frequency that a phase's rate is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mean_square import lags, mean_square
from .phase_trace import PhaseTrace

LONGEST_SHARE = 5
"""Averaging times go up to the longest stretch over this: two of them, and some more to average."""


@dataclass(frozen=True, kw_only=True)
class AllanDeviation:
    """Of ``y = dphi/dt / (2 pi)`` in Hz, for each averaging time tau."""

    tau_s: NDArray[np.float64]
    deviation_hz: NDArray[np.float64]
    low_hz: NDArray[np.float64]
    high_hz: NDArray[np.float64]
    confidence: float
    edf: NDArray[np.float64]
    noise_hz: NDArray[np.float64] | None
    """What the estimation noise alone gives (white phase noise): ``sqrt(3) sigma / (2 pi tau)``; it is not subtracted."""
    optical_hz: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the fractional deviation only where the optical frequency is known."""
        arrays = ("tau_s", "deviation_hz", "low_hz", "high_hz", "edf")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "noise_hz": None if self.noise_hz is None else self.noise_hz.tolist(),
            "fractional": None if self.optical_hz is None else (self.deviation_hz / self.optical_hz).tolist(),
            "optical_hz": self.optical_hz,
            "confidence": self.confidence,
        }


def allan_deviation(trace: PhaseTrace, *, optical_hz: float | None = None, confidence: float = 0.95) -> AllanDeviation:
    """Overlapping estimate ``AVAR(m dt) = <(x_(i+2m) - 2 x_(i+m) + x_i)^2> / (2 tau^2)``, ``x = phi / (2 pi)``.

    Sums run over all places of a stretch that have their three samples. Source: W. J. Riley & D. A. Howe, Handbook of Frequency Stability
    Analysis, NIST SP 1065 (2008), sect. 5.2.4; interval from equivalent degrees of freedom as in sect. 5.3, but with the edf of
    `mean_square`, which needs no type of noise to be named first: a fibre's spectrum is none of the power laws.
    """
    parts = trace.dense()
    rows = []
    for lag in lags(max(map(len, parts), default=0), LONGEST_SHARE):
        mean = mean_square(parts, lag, lambda x, m: x[2 * m :] - 2 * x[m:-m] + x[: -2 * m])
        if mean is not None:
            tau = lag * trace.interval_s
            low, high = mean.interval(confidence)
            scale = 1 / (2 * math.pi * tau * math.sqrt(2))
            rows.append((tau, *(scale * math.sqrt(value) for value in (mean.value, low, high)), mean.edf))
    table = np.array(rows, dtype=float).reshape(-1, 5).T
    noise = trace.noise_rad2
    return AllanDeviation(
        tau_s=table[0],
        deviation_hz=table[1],
        low_hz=table[2],
        high_hz=table[3],
        confidence=confidence,
        edf=table[4],
        noise_hz=None if noise is None else math.sqrt(3 * noise) / (2 * math.pi * table[0]),
        optical_hz=optical_hz,
    )
