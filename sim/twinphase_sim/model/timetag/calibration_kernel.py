"""The calibrator's clockwork, compiled: state in one integer array, advanced from hit to hit.

Events between hits (a new sigma begins to act, a busy time ends) are settled in the order of their clocks before the next hit.
Nothing is cached on disk: numba's cache does not see that a constant or a function of another file has changed.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import H_BITS, SCALE_CLOCKS, WINDOW_LOG, busy_clocks, full_scale, x_max

from .finetime import scaled
from .scale import ScaleConstants, at_limit, sigma_of, window_end
from .table import bin_centres, is_even

# State. BUSY_LAST is the last busy clock, KIND what ends with it; SCALE_AT the clock in which a new sigma begins to act.
NOW, N, N0, N1, BANK, CALIBRATED, NONUNIFORM, LIMIT, HOLD, RESET_LAST = range(10)
BUSY_LAST, KIND, ACCEPT, DUMP_WAITS, DUMPED, LAST_HIT_CLOCK, TABLES, RESTARTS = range(10, 18)
SIGMA, EXT, RATE, MEAN, FAST, ACC, WINDOW, START, SCALE_AT = range(18, 27)
STATES = 27
IDLE, TABLE, CLEAR, DUMP = range(4)
NEVER = -(1 << 62)
NOT_PENDING = 1 << 62

# Constants.
C_FULL, C_MOST, C_BUSY, C_STEP, C_LAST, C_SHARED, C_THETA, C_TARGET, C_GEAR = range(9)
C_FAST_GAIN, C_FAST_RATE, C_SLOW_GAIN, C_SLOW_RATE, C_FAST_WINDOWS, C_MEAN_SHIFT, C_RESTART = range(9, 16)


def constants(lanes: int, bits: int, step: int, last: int, shared: bool, scale: ScaleConstants) -> NDArray[np.int64]:
    """The kernel's constants, in the order of the names above."""
    return np.array(
        [
            full_scale(lanes),
            x_max(lanes),
            busy_clocks(bits),
            step,
            last,
            int(shared),
            scale.theta,
            scale.target,
            scale.gear_limit,
            scale.fast_gain,
            scale.fast_rate,
            scale.slow_gain,
            scale.slow_rate,
            scale.fast_windows,
            scale.mean_shift,
            scale.restart,
        ],
        dtype=np.int64,
    )


def initial_state(c: NDArray[np.int64]) -> NDArray[np.int64]:
    """As after power-up: everything 0, nothing pending."""
    state = np.zeros(STATES, dtype=np.int64)
    state[FAST] = c[C_FAST_WINDOWS]
    state[[NOW, BUSY_LAST, RESET_LAST, LAST_HIT_CLOCK]] = NEVER
    state[SCALE_AT] = NOT_PENDING
    return state


@numba.njit
def _clear_histogram(state: NDArray[np.int64], histogram: NDArray[np.int64]) -> None:
    histogram[:] = 0
    state[N] = state[N0] = state[N1] = 0


@numba.njit
def _make_table(
    state: NDArray[np.int64], c: NDArray[np.int64], histogram: NDArray[np.int64], tables: NDArray[np.int64]
) -> None:
    """Into the bank that is not in use; ACCEPT says whether it will be taken."""
    state[ACCEPT] = 1
    for p in range(1 if c[C_SHARED] else 2):
        hits = state[N0 + p]
        if hits == 0 or not is_even(histogram[p]):
            state[ACCEPT] = 0
            return
    for p in range(1 if c[C_SHARED] else 2):
        bin_centres(histogram[p], state[N0 + p], c[C_FULL], c[C_MOST], tables[1 - state[BANK], p])


@numba.njit
def _end_table(state: NDArray[np.int64], c: NDArray[np.int64], histogram: NDArray[np.int64]) -> None:
    if not state[ACCEPT]:
        state[NONUNIFORM] = 1
        _clear_histogram(state, histogram)
        return
    state[BANK] = 1 - state[BANK]
    state[CALIBRATED] = 1
    state[NONUNIFORM] = state[LIMIT] = 0
    state[EXT] = state[SIGMA] = state[START] = 0
    state[ACC] = state[WINDOW] = 0
    state[TABLES] += 1
    if state[N] == 1 << c[C_LAST]:
        histogram[:] = histogram >> 1
        state[N0] = histogram[0].sum()
        state[N1] = histogram[1].sum()
        state[N] = state[N0] + state[N1]


@numba.njit
def _begin_busy(first: int, kind: int, state: NDArray[np.int64], c: NDArray[np.int64]) -> None:
    state[BUSY_LAST] = first + c[C_BUSY] - 1
    state[KIND] = kind


@numba.njit
def settle(
    clock: int, state: NDArray[np.int64], c: NDArray[np.int64], histogram: NDArray[np.int64], tables: NDArray[np.int64]
) -> bool:
    """Everything that takes effect in ``clock`` or before; True if it stopped because a dump is complete."""
    while True:
        scale_at = state[SCALE_AT]
        free_at = state[BUSY_LAST] + 1 if state[KIND] != IDLE else NOT_PENDING
        if min(scale_at, free_at) > clock:
            return False
        if free_at <= scale_at:
            kind = state[KIND]
            state[KIND] = IDLE
            if kind == TABLE:
                _end_table(state, c, histogram)
            if kind == DUMP:
                state[DUMPED] = 1
            if state[DUMP_WAITS]:
                state[DUMP_WAITS] = 0
                _begin_busy(free_at, DUMP, state, c)
            if kind == DUMP:
                return True
        else:
            state[SCALE_AT] = NOT_PENDING
            state[SIGMA] = sigma_of(state[EXT])
            moved = abs(state[EXT] - state[START]) >= c[C_RESTART]
            if moved and not state[HOLD] and state[BUSY_LAST] < scale_at - 1:
                state[START] = state[EXT]
                state[RESTARTS] += 1
                _clear_histogram(state, histogram)
                _begin_busy(scale_at, CLEAR, state, c)


@numba.njit
def reset(last: int, state: NDArray[np.int64], c: NDArray[np.int64], histogram: NDArray[np.int64]) -> None:
    """RESET from now on up to the clock ``last``."""
    _clear_histogram(state, histogram)
    state[CALIBRATED] = state[NONUNIFORM] = state[LIMIT] = 0
    state[SIGMA] = state[EXT] = state[RATE] = state[MEAN] = state[ACC] = state[WINDOW] = state[START] = 0
    state[FAST] = c[C_FAST_WINDOWS]
    state[SCALE_AT] = NOT_PENDING
    _begin_busy(last + 1, CLEAR, state, c)


@numba.njit
def request_dump(clock: int, state: NDArray[np.int64], c: NDArray[np.int64]) -> None:
    """A dump begins in the next clock, or after the busy time."""
    if state[KIND] != IDLE:
        state[DUMP_WAITS] = 1
    else:
        _begin_busy(clock + 1, DUMP, state, c)


@numba.njit
def _collect(
    clock: int,
    p: int,
    code: int,
    y4: int,
    state: NDArray[np.int64],
    c: NDArray[np.int64],
    histogram: NDArray[np.int64],
    tables: NDArray[np.int64],
) -> None:
    histogram[p, code] = (histogram[p, code] + 1) & ((1 << H_BITS) - 1)
    state[N] += 1
    state[N0 + p] += 1
    if state[CALIBRATED]:
        state[ACC] += max(0, y4 - c[C_THETA])
        state[WINDOW] += 1
        if state[WINDOW] == 1 << WINDOW_LOG:
            state[MEAN], state[FAST], state[RATE], state[EXT] = window_end(
                state[ACC],
                state[MEAN],
                state[FAST],
                state[RATE],
                state[EXT],
                c[C_TARGET],
                c[C_GEAR],
                c[C_FAST_GAIN],
                c[C_FAST_RATE],
                c[C_SLOW_GAIN],
                c[C_SLOW_RATE],
                c[C_FAST_WINDOWS],
                c[C_MEAN_SHIFT],
            )
            if at_limit(state[EXT]):
                state[LIMIT] = 1
            state[ACC] = state[WINDOW] = 0
            state[SCALE_AT] = clock + SCALE_CLOCKS
    if state[N] & ((1 << c[C_STEP]) - 1) == 0:
        _make_table(state, c, histogram, tables)
        _begin_busy(clock + 1, TABLE, state, c)


@numba.njit
def run(
    clocks: NDArray[np.int64],
    lanes: NDArray[np.int64],
    polarities: NDArray[np.int64],
    codes: NDArray[np.int64],
    first: int,
    state: NDArray[np.int64],
    c: NDArray[np.int64],
    histogram: NDArray[np.int64],
    tables: NDArray[np.int64],
    y4: NDArray[np.int64],
    calibrated: NDArray[np.bool_],
) -> int:
    """The hits from number ``first`` on; returns the number of the first that is left (a dump is complete before it)."""
    for i in range(first, clocks.size):
        clock = clocks[i]
        if settle(clock, state, c, histogram, tables):
            return i
        state[NOW] = clock
        p = 0 if c[C_SHARED] else polarities[i]
        y4[i] = scaled(tables[state[BANK], p, codes[i]], state[SIGMA])
        calibrated[i] = state[CALIBRATED] != 0
        # The lane 1 of a clock whose lane 0 had a hit is not collected.
        if state[LAST_HIT_CLOCK] != clock and not state[HOLD] and state[KIND] == IDLE:
            _collect(clock, p, codes[i], y4[i], state, c, histogram, tables)
        state[LAST_HIT_CLOCK] = clock
    return clocks.size
