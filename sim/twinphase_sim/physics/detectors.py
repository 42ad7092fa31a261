"""SNSPDs: when a detected photon or a dark count becomes an edge, and what dead time and recovery swallow."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

NEVER = -(1 << 62)
"""Time of the last click of a detector that has not clicked yet."""
TICKS_PER_PS = 128 / 125


def arrival_ticks(
    pulse_starts: NDArray[np.int64],
    period_ticks: int,
    offset_ps: float,
    jitter_ps: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Edge times of light in the given pulses: middle of the pulse, detector offset, Gaussian jitter (std)."""
    shift = period_ticks / 2 + offset_ps * TICKS_PER_PS
    jitter = generator.normal(shift, jitter_ps * TICKS_PER_PS, pulse_starts.size)
    return pulse_starts + np.rint(jitter).astype(np.int64)


@numba.njit(cache=True)
def _alive(
    times: NDArray[np.int64],
    needs: NDArray[np.float64],
    dead_ticks: int,
    recovery_ticks: float,
    last: int,
    alive: NDArray[np.bool_],
) -> int:
    for i in range(times.size):
        rest = times[i] - last - dead_ticks
        if rest < 0 or (recovery_ticks > 0 and -math.expm1(-rest / recovery_ticks) < needs[i]):
            continue
        alive[i] = True
        last = times[i]
    return last


def alive_clicks(
    times: NDArray[np.int64], needs: NDArray[np.float64], dead_ticks: int, recovery_ticks: float, last: int
) -> tuple[NDArray[np.bool_], int]:
    """Which of a detector's sorted times are clicks, and the last click's time.

    Non-paralysable: a click makes the detector blind for ``dead_ticks``; t later it has the fraction ``1 - exp(-t / recovery_ticks)``
    of its efficiency again, and clicks where that reaches ``needs`` (`clicks.RawClicks`). What does not click has no effect.
    Model: the bias current comes back exponentially, as kinetic inductance and readout impedance let it (Wang et al.,
    arXiv:2508.11832), and the efficiency is taken to follow it in proportion, as the dark counts; nanowires with a plateau of
    efficiency over current recover sooner than that.
    """
    alive = np.zeros(times.size, dtype=np.bool_)
    return alive, int(_alive(times, needs, dead_ticks, recovery_ticks, last, alive))
