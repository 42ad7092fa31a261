"""The position in the modulator's range. Source: "Endless range" of docs/actuator.md."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.actuator import PHASE_BITS, POSITION_BITS, STEP_CLOCKS
from twinphase_spec.units import TURN_BITS

TURN = 1 << PHASE_BITS
COARSE = PHASE_BITS - TURN_BITS
LOW, HIGH, TOP, SLEW, SETTLE, LOCK = range(6)
SETTINGS = ("low", "high", "top", "slew", "settle", "lock")


@dataclass(frozen=True)
class Positions:
    """By clock."""

    position: NDArray[np.int64]
    """2^-32 turn."""
    step: NDArray[np.bool_]
    blank: NDArray[np.bool_]
    flyback: NDArray[np.bool_]
    blanked: NDArray[np.bool_]
    limited: NDArray[np.bool_]


@numba.njit(cache=True)
def _steps(
    aims: NDArray[np.int64],
    slots: NDArray[np.bool_],
    settings: NDArray[np.int64],
    turn: int,
    coarse: int,
    positions: NDArray[np.int64],
    flags: NDArray[np.bool_],
) -> None:
    """``settings[step, ...]`` in the order of SETTINGS."""
    x, blank, in_blank = turn, False, 0
    for n in range(aims.size):
        low, high, top, slew, settle = settings[n, 0], settings[n, 1], settings[n, 2], settings[n, 3], settings[n, 4]
        error = (aims[n] - x + turn // 2) % turn - turn // 2
        y = x + max(-slew, min(slew, error))
        in_blank += 1
        may = slots[n] and (not blank or in_blank > settle)
        fly, limited = False, False
        if may and (y >> coarse) >= high:
            x, fly = (y - turn) % (2 * turn), True
        elif may and (y >> coarse) < low:
            x, fly = (y + turn) % (2 * turn), True
        elif y < 0:
            x, limited = 0, True
        elif (y >> coarse) > top:
            x, limited = top << coarse, True
        else:
            x = y
        blanked = fly
        if fly:
            blank, in_blank = True, 0
        elif blank and slots[n]:
            if in_blank > settle:
                blank = False
            else:
                blanked = True
        positions[n] = x
        flags[n, 0], flags[n, 1], flags[n, 2], flags[n, 3] = blank, fly, blanked, limited


def endless(phase: NDArray[np.int64], slot: NDArray[np.bool_], settings: dict[str, NDArray[np.int64]]) -> Positions:
    """From the target phase, slot strobes and settings (SETTINGS, by clock) of consecutive clocks from reset.

    Step n takes phase, lock point and slew of clock 4 n - 1 (0 for n = 0), window and settle of clock 4 n + 3; its result is
    there from clock 4 n + 4 on. Settle must stay while a blank goes on.
    """
    clocks = phase.size
    steps = max(0, (clocks - 1) // STEP_CLOCKS)
    first = STEP_CLOCKS * np.arange(steps)
    aim = np.where(first > 0, phase[first - 1] - (settings["lock"][first - 1] << COARSE), 0) % TURN
    last = STEP_CLOCKS - 1
    at = {"low": last, "high": last, "top": last, "slew": -1, "settle": last}
    table = np.zeros((steps, len(SETTINGS)), dtype=np.int64)
    for column, name in enumerate(SETTINGS[:LOCK]):
        clock = first + at[name]
        table[:, column] = np.where(clock >= 0, settings[name][clock], 0)
    slots = np.zeros(steps, dtype=np.bool_)
    for back in range(-1, STEP_CLOCKS - 1):
        slots |= np.where(first + back >= 0, slot[first + back], False)
    positions = np.zeros(steps, dtype=np.int64)
    flags = np.zeros((steps, 4), dtype=np.bool_)
    _steps(aim, slots, table, TURN, COARSE, positions, flags)

    step = np.arange(clocks) // STEP_CLOCKS - 1  # whose result a clock shows
    begins = (step >= 0) & (np.arange(clocks) % STEP_CLOCKS == 0)
    shown = np.where(step >= 0, positions[np.maximum(step, 0)], TURN) if steps else np.full(clocks, TURN)
    by_clock = flags[np.maximum(step, 0)] if steps else np.zeros((clocks, 4), dtype=np.bool_)
    return Positions(
        position=shown & ((1 << POSITION_BITS) - 1),
        step=begins,
        blank=by_clock[:, 0] & (step >= 0),
        flyback=by_clock[:, 1] & begins,
        blanked=by_clock[:, 2] & begins,
        limited=by_clock[:, 3] & begins,
    )
