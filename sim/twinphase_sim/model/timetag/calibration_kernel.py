"""The calibrator's clockwork, compiled: state in one integer array, advanced from hit to hit.

Events between hits (a new sigma begins to act, a busy time ends) are settled in the order of their clocks before the next hit.
All constants come in the array ``c`` and every function called is in this file: numba's cache on disk does not see that
something elsewhere has changed.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

# State. BUSY_LAST is the last busy clock, KIND what ends with it; SCALE_AT the clock in which a new sigma begins to act.
# UNEVEN: the last window was; SEEN: what it was when the histogram began. END_CODE and END_X: of the bin in which the span ends.
NOW, N, N0, N1, BANK, CALIBRATED, NONUNIFORM, LIMIT, HOLD, RESET_LAST = range(10)
BUSY_LAST, KIND, ACCEPT, DUMP_WAITS, DUMPED, LAST_HIT_CLOCK, TABLES, RESTARTS = range(10, 18)
SIGMA, EXT, RATE, MEAN, FAST, ACC, WINDOW, START, SCALE_AT, UNEVEN, SEEN, TENT = range(18, 30)
OPENED, END_CODE0, END_CODE1, END_X0, END_X1 = range(30, 35)
STATES = 35
IDLE, TABLE, CLEAR, DUMP = range(4)
HITS, ECHOES = range(2)
"""What is counted: the first index of ``counts``, which has the shape (2, polarities, codes)."""
NEVER = -(1 << 62)
NONE = -1
NOT_PENDING = 1 << 62

# Constants.
C_FULL, C_MOST, C_BUSY, C_STEP, C_LAST, C_SHARED, C_THETA, C_TARGET, C_GEAR = range(9)
C_FAST_GAIN, C_FAST_RATE, C_SLOW_GAIN, C_SLOW_RATE, C_FAST_WINDOWS, C_MEAN_SHIFT, C_RESTART, C_UNEVEN, C_TENT = range(
    9, 18
)
C_WINDOW, C_SCALE_CLOCKS, C_SIGMA_SHIFT, C_EXT_SHIFT, C_EXT_MOST, C_H_MASK, C_GROUP, C_MIN_GROUPS = range(18, 26)
C_FASTEST_GAIN, C_FASTEST_RATE, C_MEASURED, C_FIT_NEAR, C_FIT_FAR, C_ECHO_SHARE, C_NO_ECHO = range(26, 33)


def initial_state(c: NDArray[np.int64]) -> NDArray[np.int64]:
    """As after power-up: everything 0, nothing pending."""
    state = np.zeros(STATES, dtype=np.int64)
    state[FAST] = c[C_FAST_WINDOWS]
    state[[NOW, BUSY_LAST, RESET_LAST, LAST_HIT_CLOCK]] = NEVER
    state[SCALE_AT] = NOT_PENDING
    state[[END_CODE0, END_CODE1]] = NONE
    return state


@numba.njit(cache=True)
def is_even(histogram: NDArray[np.int64], c: NDArray[np.int64]) -> bool:
    """At least C_MIN_GROUPS groups strictly between the first and the last that is not empty, and 2 max <= 3 min over these."""
    size = c[C_GROUP]
    groups = histogram.size // size
    sums = np.zeros(groups, dtype=np.int64)
    first, last = groups, -1
    for g in range(groups):
        sums[g] = histogram[g * size : (g + 1) * size].sum()
        if sums[g] > 0:
            first = min(first, g)
            last = g
    if last - first - 1 < c[C_MIN_GROUPS]:
        return False
    interior = sums[first + 1 : last]
    return 2 * interior.max() <= 3 * interior.min()


@numba.njit(cache=True)
def bin_centres(counts: NDArray[np.int64], hits: int, c: NDArray[np.int64], table: NDArray[np.int64]) -> None:
    """X of one polarity into ``table``; hits > 0, the sum of H. Without twins (C_NO_ECHO = 0) ``floor((2 A + H) 4 S / (2 hits))``, A the
    sum of H below.

    From code C_FIT_FAR on, entries at the end of the span (less C_MEASURED) or beyond continue the table by a line through those
    C_FIT_NEAR and C_FIT_FAR codes before, ``min(XMAX, floor((5 near - far) / 4))``: the two are four and one parts away.

    With twins ``min(XMAX, floor((2 B + W) 4 S / (2 hits)))``, B the sum of hits and echoes below, W those of the bin where there are more
    than 2^C_ECHO_SHARE echoes per hit, else its hits.
    """
    histogram, echoes = counts
    below = 0
    twins = c[C_NO_ECHO] > 0
    for code in range(histogram.size):
        width = histogram[code]
        if echoes[code] > histogram[code] << c[C_ECHO_SHARE]:
            width += echoes[code]
        entry = min(c[C_MOST], ((2 * below + width) * c[C_FULL]) // (2 * hits))
        if not twins and code >= c[C_FIT_FAR] and entry >= c[C_FULL] - c[C_MEASURED]:
            entry = min(c[C_MOST], (5 * table[code - c[C_FIT_NEAR]] - table[code - c[C_FIT_FAR]]) // 4)
        table[code] = entry
        below += histogram[code] + echoes[code]


@numba.njit(cache=True)
def span_end(counts: NDArray[np.int64], hits: int, c: NDArray[np.int64]) -> tuple[int, int]:
    """(code, X) of the bin in which the span ends, the first with which there are more hits and echoes than hits in all, when all of it
    is reached; (NONE, 0) if there is none."""
    below = 0
    for code in range(counts.shape[1]):
        both = counts[HITS, code] + counts[ECHOES, code]
        if below + both > hits:
            return code, min(c[C_MOST], ((2 * below + both) * c[C_FULL]) // (2 * hits))
        below += both
    return NONE, 0


@numba.njit(cache=True)
def scaled(x: int, sigma: int, c: NDArray[np.int64]) -> int:
    """y4, before clamping."""
    return x + ((x * sigma) >> c[C_SIGMA_SHIFT])


@numba.njit(cache=True)
def tent(y4: int, c: NDArray[np.int64]) -> int:
    """Up from 0 at THETA - W, down to 0 at THETA + W = 4 S, W = 4 S / 32; both halves without their highest point."""
    x = y4 - c[C_THETA]
    return max(0, x + c[C_FULL] // 32 if x < 0 else c[C_FULL] // 32 - 1 - x)


@numba.njit(cache=True)
def shifted(x: int, k: int) -> int:
    """``x << k``, or ``x >> -k`` (floor)."""
    return x << k if k >= 0 else x >> -k


@numba.njit(cache=True)
def saturated(x: int, c: NDArray[np.int64]) -> int:
    """Signed, EXTENDED_BITS."""
    return min(max(x, -c[C_EXT_MOST] - 1), c[C_EXT_MOST])


@numba.njit(cache=True)
def _end_window(clock: int, state: NDArray[np.int64], c: NDArray[np.int64]) -> None:
    err = c[C_TARGET] - state[ACC]
    bend = c[C_TENT] - state[TENT]
    state[ACC] = state[TENT] = state[WINDOW] = 0
    state[SCALE_AT] = clock + c[C_SCALE_CLOCKS]
    bound = c[C_UNEVEN]
    state[UNEVEN] = not (-bound <= err < bound and -2 * bound <= bend < 2 * bound)
    if state[UNEVEN]:
        return
    state[MEAN] += (err - state[MEAN]) >> c[C_MEAN_SHIFT]
    gain, rate = c[C_SLOW_GAIN], c[C_SLOW_RATE]
    if abs(state[MEAN]) >= c[C_GEAR]:
        state[FAST] = c[C_FAST_WINDOWS]
        gain, rate = c[C_FASTEST_GAIN], c[C_FASTEST_RATE]
    elif state[FAST] > 0:
        state[FAST] -= 1
        if state[FAST] > 0:
            gain, rate = c[C_FAST_GAIN], c[C_FAST_RATE]
    state[RATE] = saturated(state[RATE] + shifted(err, rate), c)
    state[EXT] = saturated(state[EXT] + state[RATE] + shifted(err, gain), c)
    if state[EXT] == c[C_EXT_MOST] or state[EXT] == -c[C_EXT_MOST] - 1:
        state[LIMIT] = 1


@numba.njit(cache=True)
def _clear(state: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    counts[:] = 0
    state[N] = state[N0] = state[N1] = 0


@numba.njit(cache=True)
def _make_table(
    state: NDArray[np.int64],
    c: NDArray[np.int64],
    counts: NDArray[np.int64],
    tables: NDArray[np.int64],
) -> None:
    """Into the bank that is not in use; ACCEPT says whether it will be taken."""
    state[ACCEPT] = 1
    state[OPENED] = 0
    for p in range(1 if c[C_SHARED] else 2):
        hits = state[N0 + p]
        if hits == 0 or not is_even(counts[HITS, p], c):
            state[ACCEPT] = 0
            state[END_CODE0] = state[END_CODE1] = NONE
            return
    for p in range(1 if c[C_SHARED] else 2):
        bin_centres(counts[:, p], state[N0 + p], c, tables[1 - state[BANK], p])
        state[END_CODE0 + p], state[END_X0 + p] = span_end(counts[:, p], state[N0 + p], c)


@numba.njit(cache=True)
def _end_table(state: NDArray[np.int64], c: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    if not state[ACCEPT]:
        state[NONUNIFORM] = 1
        _clear(state, counts)
        return
    state[BANK] = 1 - state[BANK]
    state[CALIBRATED] = 1
    state[NONUNIFORM] = state[LIMIT] = 0
    state[EXT] = state[SIGMA] = state[START] = 0
    state[ACC] = state[TENT] = state[WINDOW] = state[UNEVEN] = state[SEEN] = 0
    state[TABLES] += 1
    if state[N] == 1 << c[C_LAST]:
        counts[:] = counts >> 1
        state[N0] = counts[HITS, 0].sum()
        state[N1] = counts[HITS, 1].sum()
        state[N] = state[N0] + state[N1]


@numba.njit(cache=True)
def _begin_busy(first: int, kind: int, state: NDArray[np.int64], c: NDArray[np.int64]) -> None:
    state[BUSY_LAST] = first + c[C_BUSY] - 1
    state[KIND] = kind


@numba.njit(cache=True)
def settle(
    clock: int,
    state: NDArray[np.int64],
    c: NDArray[np.int64],
    counts: NDArray[np.int64],
    tables: NDArray[np.int64],
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
                _end_table(state, c, counts)
            if kind == DUMP:
                state[DUMPED] = 1
            if state[DUMP_WAITS]:
                state[DUMP_WAITS] = 0
                _begin_busy(free_at, DUMP, state, c)
            if kind == DUMP:
                return True
        else:
            state[SCALE_AT] = NOT_PENDING
            state[SIGMA] = state[EXT] >> c[C_EXT_SHIFT]
            state[NONUNIFORM] |= state[UNEVEN]
            moved = abs(state[EXT] - state[START]) >= c[C_RESTART] or state[UNEVEN] != state[SEEN]
            if moved and not state[HOLD] and state[BUSY_LAST] < scale_at - 1:
                state[START] = state[EXT]
                state[SEEN] = state[UNEVEN]
                state[RESTARTS] += 1
                state[OPENED] = 1
                _clear(state, counts)
                _begin_busy(scale_at, CLEAR, state, c)


@numba.njit(cache=True)
def reset(last: int, state: NDArray[np.int64], c: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """RESET from now on up to the clock ``last``."""
    _clear(state, counts)
    state[CALIBRATED] = state[NONUNIFORM] = state[LIMIT] = 0
    state[SIGMA] = state[EXT] = state[RATE] = state[MEAN] = state[ACC] = state[WINDOW] = state[START] = 0
    state[TENT] = state[UNEVEN] = state[SEEN] = state[OPENED] = 0
    state[FAST] = c[C_FAST_WINDOWS]
    state[SCALE_AT] = NOT_PENDING
    _begin_busy(last + 1, CLEAR, state, c)


@numba.njit(cache=True)
def request_dump(clock: int, state: NDArray[np.int64], c: NDArray[np.int64]) -> None:
    """A dump begins in the next clock, or after the busy time."""
    if state[KIND] != IDLE:
        state[DUMP_WAITS] = 1
    else:
        _begin_busy(clock + 1, DUMP, state, c)


@numba.njit(cache=True)
def _collect(
    clock: int,
    p: int,
    code: int,
    echo: int,
    y4: int,
    state: NDArray[np.int64],
    c: NDArray[np.int64],
    counts: NDArray[np.int64],
    tables: NDArray[np.int64],
) -> None:
    counts[HITS, p, code] = (counts[HITS, p, code] + 1) & c[C_H_MASK]
    if echo < c[C_NO_ECHO]:
        counts[ECHOES, p, echo] = (counts[ECHOES, p, echo] + 1) & c[C_H_MASK]
    state[N] += 1
    state[N0 + p] += 1
    if state[CALIBRATED]:
        state[ACC] += max(0, y4 - c[C_THETA])
        state[TENT] += tent(y4, c)
        state[WINDOW] += 1
        if state[WINDOW] == 1 << c[C_WINDOW]:
            _end_window(clock, state, c)
    if state[N] & ((1 << c[C_STEP]) - 1) == 0:
        _make_table(state, c, counts, tables)
        _begin_busy(clock + 1, TABLE, state, c)


@numba.njit(cache=True)
def run(
    clocks: NDArray[np.int64],
    lanes: NDArray[np.int64],
    polarities: NDArray[np.int64],
    codes: NDArray[np.int64],
    echoes: NDArray[np.int64],
    first: int,
    state: NDArray[np.int64],
    c: NDArray[np.int64],
    counts: NDArray[np.int64],
    tables: NDArray[np.int64],
    y4: NDArray[np.int64],
    calibrated: NDArray[np.bool_],
) -> int:
    """The hits from number ``first`` on; returns the number of the first that is left (a dump is complete before it)."""
    for i in range(first, clocks.size):
        clock = clocks[i]
        if settle(clock, state, c, counts, tables):
            return i
        state[NOW] = clock
        p = 0 if c[C_SHARED] else polarities[i]
        x = tables[state[BANK], p, codes[i]]
        if state[OPENED] and state[KIND] == IDLE and codes[i] == state[END_CODE0 + p]:
            x = state[END_X0 + p]
        y4[i] = scaled(x, state[SIGMA], c)
        calibrated[i] = state[CALIBRATED] != 0
        # The lane 1 of a clock whose lane 0 had a hit is not collected.
        if state[LAST_HIT_CLOCK] != clock and not state[HOLD] and state[KIND] == IDLE:
            _collect(clock, p, codes[i], echoes[i], y4[i], state, c, counts, tables)
        state[LAST_HIT_CLOCK] = clock
    return clocks.size
