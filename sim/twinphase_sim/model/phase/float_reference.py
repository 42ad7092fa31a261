"""The tracker in floating point, and by how much the fixed-point tracker may differ from it.

All angles in 2^-16 turn unless a name says otherwise. Where the bounds come from:

* One CORDIC pass leaves an angle of at most ATAN[17] (convergence of Volder's series), and adds the rounding of its table,
  ``sum |ATAN[i] - exact|``.
* Stages 1 to 17 truncate two shifts each, an error vector of at most sqrt(2). All later stages turn and scale vector and error
  alike, so it is an angle of at most ``sqrt(2) / 2^21``: after normalise the vector is 2^21 or longer. A right shift in normalise
  adds one more such error.
* The result of vectoring is rounded: 1/2.
* In psi_rq the angle's error is scaled by 1 + C, and the product is rounded down: 1.
* The derotated sum S of a d-window misses the exact one by at most ``E = sum_w (gain |v_w| (angle error of the pass and of psi_rq)
  + 17 sqrt(2) gain)``, an angle of ``asin(E / |S|)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase.counts import WindowCounts
from twinphase_spec.fixed import (
    CORDIC_ANGLE_BITS,
    CORDIC_ATAN,
    CORDIC_NORMAL_BITS,
    CORDIC_STAGES,
    DEROTATE_SHIFT,
    RATIO_FRACTION_BITS,
)
from twinphase_spec.units import TURN

TURNS_PER_RAD = TURN / (2 * math.pi)
GAIN = math.prod(math.sqrt(1 + 4.0**-i) for i in range(CORDIC_STAGES))
_FINE = TURN / (1 << CORDIC_ANGLE_BITS)
_EXACT_ATAN = [math.atan(2.0**-i) * TURNS_PER_RAD for i in range(CORDIC_STAGES)]

PASS_ERROR = _EXACT_ATAN[-1] + sum(abs(a * _FINE - exact) for a, exact in zip(CORDIC_ATAN, _EXACT_ATAN, strict=True))
"""Angle error of one CORDIC pass without truncation of the vector (0.2 of 2^-16 turn)."""
TRUNCATION_RADIUS = (CORDIC_STAGES - 1) * math.sqrt(2) * GAIN
"""Error vector of a rotation by truncation, in units of its output."""
VECTORING_ERROR = 0.5 + PASS_ERROR + CORDIC_STAGES * math.sqrt(2) / (1 << (CORDIC_NORMAL_BITS - 1)) * TURNS_PER_RAD
"""Largest error of `vectoring`."""


@dataclass(frozen=True)
class FloatTrack:
    """Estimates without rounding and the bounds on what rounding may change."""

    psi_rq: NDArray[np.float64]
    """Per window, not wrapped; the last valid one where the window has none."""
    psi_rq_bound: float
    psi_d: NDArray[np.float64]
    """Per d-window; NaN where no window of it could be used."""
    psi_d_bound: NDArray[np.float64]
    """Half a turn where E is above |S|: nothing can be said."""


def angle_difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """``a - b`` wrapped to half a turn around 0."""
    return (np.asarray(a) - np.asarray(b) + TURN / 2) % TURN - TURN / 2


def float_track(counts: WindowCounts, *, ratio: int, windows_per_dwindow: int) -> FloatTrack:
    """psi_rq and psi_d of ``counts`` (from window 0 on) with atan2, sine and cosine."""
    vector = (counts.cosine + 1j * counts.sine).astype(np.complex128)
    q, r = vector
    r_valid = r != 0
    unwrapped = np.zeros(r.size)
    if r_valid.any():
        measured = np.unwrap(np.concatenate([[0.0], np.angle(r[r_valid])])) * TURNS_PER_RAD
        unwrapped = measured[np.cumsum(r_valid)]
    factor = 1 + ratio / (1 << RATIO_FRACTION_BITS)
    psi_rq = unwrapped * factor
    psi_rq_bound = VECTORING_ERROR * factor + 1

    used = np.where(r_valid, q, 0) * (1 << DEROTATE_SHIFT) * GAIN
    whole = r.size // windows_per_dwindow * windows_per_dwindow
    shape = (-1, windows_per_dwindow)
    derotated = (used * np.exp(-1j * psi_rq / TURNS_PER_RAD))[:whole].reshape(shape)
    angle_error_rad = (PASS_ERROR + psi_rq_bound) / TURNS_PER_RAD
    miss = np.where(used == 0, 0, np.abs(used) * angle_error_rad + TRUNCATION_RADIUS)[:whole].reshape(shape).sum(axis=1)
    total = derotated.sum(axis=1)
    size = np.abs(total)
    some = (used != 0)[:whole].reshape(shape).any(axis=1)
    sure = miss < size
    bound = np.where(sure, np.arcsin(np.where(sure, miss / np.where(sure, size, 1), 1)) * TURNS_PER_RAD, TURN / 2)
    return FloatTrack(
        psi_rq=psi_rq,
        psi_rq_bound=psi_rq_bound,
        psi_d=np.where(some, np.angle(total) * TURNS_PER_RAD, np.nan),
        psi_d_bound=np.minimum(bound + VECTORING_ERROR, TURN / 2),
    )
