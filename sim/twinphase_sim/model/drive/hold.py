"""The target phase between words, and in hold. Source: "Hold" of docs/actuator.md."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.drive.target import ScaledWords
from twinphase_spec.actuator import DEFAULT_SLOPE_LOG, PHASE_BITS, check_slope_log

TURN = 1 << PHASE_BITS


@numba.njit(cache=True)
def _hold(
    valid: NDArray[np.bool_],
    word: NDArray[np.int64],
    locked: NDArray[np.bool_],
    coast: NDArray[np.bool_],
    seek: NDArray[np.bool_],
    speed: NDArray[np.int64],
    slope_log: int,
    turn: int,
    phase_out: NDArray[np.int64],
    held_out: NDArray[np.bool_],
) -> None:
    phase, coasted, step, slope, mark = 0, 0, 0, 0, 0
    held, clean = True, False
    for c in range(valid.size):
        held_out[c] = held
        if c + 1 < valid.size:
            phase_out[c + 1] = (phase + (coasted >> slope_log)) % turn
        ends = (c + 1) % (1 << slope_log) == 0
        was_held, before = held, phase
        if held and (seek[c] or coast[c]):
            coasted = (coasted + step) % (turn << slope_log)
        step = speed[c] << slope_log if seek[c] else slope
        if valid[c]:
            held = not locked[c]
            if locked[c]:
                phase, coasted = word[c], 0
        clean_now = clean and not was_held
        if ends:
            if clean_now:
                slope = (before - mark + turn // 2) % turn - turn // 2
            mark, clean = before, not was_held
        else:
            clean = clean_now


def hold(
    words: ScaledWords,
    coast: NDArray[np.bool_],
    seek: NDArray[np.bool_],
    speed: NDArray[np.int64],
    *,
    slope_log: int = DEFAULT_SLOPE_LOG,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Target phase (2^-32 turn) and "held" by clock, from reset; ``coast``, ``seek``, ``speed`` (2^-32 turn per clock) by clock."""
    phase = np.zeros(words.valid.size, dtype=np.int64)
    held = np.zeros(words.valid.size, dtype=np.bool_)
    _hold(words.valid, words.phase, words.locked, coast, seek, speed, check_slope_log(slope_log), TURN, phase, held)
    return phase, held
