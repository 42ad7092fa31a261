"""Marks: what is known of the phase at a click's time, from its time alone. Source: "Marks" of docs/phase.md."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec import smoothing
from twinphase_spec import tracking as t
from twinphase_spec.fixed import RATIO_FRACTION_BITS
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID
from twinphase_spec.units import TURN, TURN_BITS

from .nodes import PHASE_MASK, D, Nodes, R

TURN_SHIFT = smoothing.STEP_BITS - TURN_BITS


@numba.njit(cache=True)
def reference_phase(phase: int, slope: int, since: int) -> int:
    """``(F + ((G since) >> 12)) mod 2^32``, since in clocks from the node."""
    return (phase + (slope * since >> t.B_SHIFT)) & PHASE_MASK


def quantum_applied(applied: NDArray[np.int64], ratio: int) -> NDArray[np.int64]:
    """``A_q = (A + ((A C) >> 32)) mod 2^16`` of A in 2^-16 turn, unsigned."""
    return (applied + (applied * ratio >> RATIO_FRACTION_BITS)) & (TURN - 1)


@dataclass(frozen=True)
class Marks:
    """Marks of n clicks, arrays of shape (n,), 2^-16 turn."""

    psi: NDArray[np.int64]
    """Causal phase at the quantum beam splitter less what the actuator has taken off."""
    rq: NDArray[np.int64]
    flags: NDArray[np.int64]
    """FLAG_R_VALID, FLAG_D_VALID."""


def marks(nodes: Nodes, clock: NDArray[np.int64], applied_q: NDArray[np.int64]) -> Marks:
    """Marks of clicks at ``clock`` (not wrapped), each from the nodes to the epoch before its own."""
    place = (clock >> nodes.epoch_bits) - 1 - nodes.first_epoch
    there = place >= 0
    place = np.where(there, place, 0)
    if not nodes.released.size:
        zero = np.zeros(clock.size, dtype=np.int64)
        return Marks(psi=-applied_q & (TURN - 1), rq=zero, flags=zero)
    valid = nodes.locked[:, place] & there
    phase = np.where(valid, nodes.phase[:, place], 0)
    slope = np.where(valid[R], nodes.slope[R, place], 0)
    since = clock - ((nodes.first_epoch + place) << nodes.epoch_bits)
    reference = reference_phase.py_func(phase[R], slope, since)
    return Marks(
        psi=(((reference + phase[D]) & PHASE_MASK) >> TURN_SHIFT) - applied_q & (TURN - 1),
        rq=reference >> TURN_SHIFT,
        flags=valid[R] * FLAG_R_VALID | valid[D] * FLAG_D_VALID,
    )
