"""Phase tracker: psi_r, its unwrapped and scaled form psi_rq, and the in-band psi_d. Source: docs/contract.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase.cordic import rotation, vectoring
from twinphase_sim.model.phase.counts import WindowCounts
from twinphase_spec.fixed import DEROTATE_SHIFT, DEROTATED_SUM_BITS, RATIO_FRACTION_BITS, UNWRAPPED_BITS
from twinphase_spec.packets import DPHASE_DTYPE, FLAG_D_VALID, FLAG_R_VALID, PHASE_DTYPE
from twinphase_spec.units import TURN_BITS

Q_BAND, R_BAND = 0, 1


@dataclass(frozen=True)
class Track:
    """What the tracker makes of consecutive closed windows."""

    phase: NDArray[np.void]
    """PHASE_DTYPE, one record per window."""
    dphase: NDArray[np.void]
    """DPHASE_DTYPE, one record per d-window whose last window is among the windows."""
    psi_rq: NDArray[np.uint16]
    """Per window, 2^-16 turn."""
    r_valid: NDArray[np.bool_]
    psi_d: NDArray[np.uint16]
    """Per record of ``dphase``, 2^-16 turn."""
    d_valid: NDArray[np.bool_]


def wrap_signed_array(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """`twinphase_spec.fixed.wrap_signed` of every element."""
    half = np.int64(1 << (bits - 1))
    return ((values + half) & np.int64((1 << bits) - 1)) - half


def _hold(values: NDArray[np.int64], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The last valid value at or before every element, 0 before the first."""
    last = np.maximum.accumulate(np.where(valid, np.arange(1, valid.size + 1), 0), axis=0)
    return np.concatenate([np.zeros(1, dtype=np.int64), values])[last]


def unwrap(psi_turns: NDArray[np.int64], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """U after every window: ``U += wrap_signed(psi - U, 16)`` where valid, modulo 2^48, U = 0 at first.

    U and the last valid psi agree modulo one turn, so the increments depend on successive psi alone.
    """
    held = _hold(psi_turns, valid)
    before = np.concatenate([np.zeros(1, dtype=np.int64), held[:-1]])[: held.size]
    return wrap_signed_array(np.cumsum(wrap_signed_array(held - before, TURN_BITS)), UNWRAPPED_BITS)


def scale(unwrapped_turns: NDArray[np.int64], ratio: int) -> NDArray[np.uint16]:
    """``(U + ((U C) >> 32)) mod 2^16``. The bits that count lie below 2^48, so wrapping 64-bit products give them exactly."""
    product = unwrapped_turns.astype(np.int64) * np.int64(ratio)
    return (unwrapped_turns + (product >> RATIO_FRACTION_BITS)).astype(np.uint16)


def track(counts: WindowCounts, *, ratio: int, windows_per_dwindow: int, first_window: int = 0) -> Track:
    """All records of the windows in ``counts``, from a tracker in its state after a stop.

    ``ratio`` is the signed RATIO register. ``first_window`` (not wrapped) numbers the first window; a frame starts at 0.
    """
    cosine, sine = counts.cosine, counts.sine
    windows = first_window + np.arange(cosine.shape[1], dtype=np.int64)
    r_valid = (cosine[R_BAND] != 0) | (sine[R_BAND] != 0)
    psi_r = _hold(vectoring(cosine[R_BAND], sine[R_BAND]).astype(np.int64), r_valid)
    unwrapped = unwrap(psi_r, r_valid)
    psi_rq = scale(unwrapped, ratio)

    used = r_valid & ((cosine[Q_BAND] != 0) | (sine[Q_BAND] != 0))
    x, y = rotation(cosine[Q_BAND] << DEROTATE_SHIFT, sine[Q_BAND] << DEROTATE_SHIFT, -psi_rq.astype(np.int64))
    ends = np.flatnonzero(windows % windows_per_dwindow == windows_per_dwindow - 1)
    sum_x = wrap_signed_array(_sums(np.where(used, x, 0), ends), DEROTATED_SUM_BITS)
    sum_y = wrap_signed_array(_sums(np.where(used, y, 0), ends), DEROTATED_SUM_BITS)
    d_valid = (sum_x != 0) | (sum_y != 0)
    psi_d = _hold(vectoring(sum_x, sum_y).astype(np.int64), d_valid).astype(np.uint16)

    phase = np.zeros(windows.size, dtype=PHASE_DTYPE)
    phase["window"] = windows & 0xFFFFFFFF
    phase["psi_r_turns"] = psi_r
    phase["flags"] = r_valid * FLAG_R_VALID
    phase["clicks_r"] = counts.total[R_BAND]
    phase["clicks_q"] = counts.total[Q_BAND]
    phase["unwrapped_turns"] = unwrapped
    phase["cosine_r"] = cosine[R_BAND]
    phase["sine_r"] = sine[R_BAND]

    dphase = np.zeros(ends.size, dtype=DPHASE_DTYPE)
    dphase["dwindow"] = windows[ends] // windows_per_dwindow & 0xFFFFFFFF
    dphase["psi_d_turns"] = psi_d
    dphase["flags"] = d_valid * FLAG_D_VALID
    dphase["clicks_q"] = _sums(np.where(used, counts.total[Q_BAND], 0), ends) & 0xFFFFFFFF
    dphase["cosine_d"] = sum_x
    dphase["sine_d"] = sum_y
    return Track(phase=phase, dphase=dphase, psi_rq=psi_rq, r_valid=r_valid, psi_d=psi_d, d_valid=d_valid)


def _sums(values: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums over the stretches that end at (and include) ``ends``; the first begins at element 0."""
    return np.diff(np.cumsum(values)[ends], prepend=0)
