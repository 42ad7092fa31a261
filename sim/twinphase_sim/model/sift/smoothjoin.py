"""Smooth join: final psi_q of every herald from smoothed phases, and the causal one. Source: ``sift.smoothjoin`` of docs/phase.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase.marks import Marks
from twinphase_sim.model.phase.nodes import PHASE_MASK
from twinphase_sim.model.phase.smooth import Intervals
from twinphase_sim.model.sift.herald import Heralds
from twinphase_spec import smoothing
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID, PSI_DTYPE
from twinphase_spec.units import TURN, TURN_BITS


def _value(intervals: Intervals, clock: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """``start + ((way phi) >> 16)`` at clocks, and whether their intervals are valid."""
    place = (clock >> intervals.step_bits) - intervals.first
    within = clock & ((1 << intervals.step_bits) - 1)
    phi = (within << smoothing.FRACTION_BITS) >> intervals.step_bits
    value = intervals.start[place] + (intervals.way[place] * phi >> smoothing.FRACTION_BITS)
    return value, intervals.valid[place]


def join_smooth(
    heralds: Heralds,
    clock: NDArray[np.int64],
    intervals: tuple[Intervals, Intervals],
    applied_q: NDArray[np.int64],
    blank: NDArray[np.bool_],
) -> NDArray[np.void]:
    """PSI records of the heralds at ``clock`` (not wrapped, rising) that both channels' intervals cover.

    None is taken to have been held up until one of its intervals was overwritten.
    """
    count = int(np.searchsorted(clock, min(each.covered for each in intervals)))
    clock, blank = clock[:count], blank[:count]
    (reference, r_valid), (difference, d_valid) = (_value(each, clock) for each in intervals)
    psi = ((reference + difference & PHASE_MASK) >> (smoothing.STEP_BITS - TURN_BITS)) - applied_q[:count]
    return _records(heralds, psi, r_valid * FLAG_R_VALID | d_valid * FLAG_D_VALID, blank)


def causal_psi(heralds: Heralds, marks: Marks, blank: NDArray[np.bool_]) -> NDArray[np.void]:
    """PSI_CAUSAL records of all heralds from the marks of their clicks."""
    return _records(heralds, marks.psi, marks.flags, blank)


def _records(
    heralds: Heralds, psi: NDArray[np.int64], flags: NDArray[np.int64], blank: NDArray[np.bool_]
) -> NDArray[np.void]:
    records = np.zeros(psi.size, dtype=PSI_DTYPE)
    records["number"] = heralds.records["number"][: psi.size]
    records["psi_turns"] = np.where(blank, 0, psi & (TURN - 1))
    records["flags"] = np.where(blank, 0, flags)
    return records
