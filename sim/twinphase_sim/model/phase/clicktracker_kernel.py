"""Kernel of the click tracker, bit for bit: issue and write of an event as docs/tracking.md has them.

All numbers are int64. The widths keep every product below 2^53 and every sum below 2^63, but for A, which wraps at 64 bits as int64 does.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec import tracking as t
from twinphase_spec.units import TURN_BITS

A, B, P, V, EPOCH, LOCKED, N, C, S, LAST, QUIET, J, W, JUMP, LOSE, BROKE = range(16)
Z, SWAY, TOLD, GAIN, D_NOW, KAPPA_NOW, D_NEXT, KAPPA_NEXT, NEXT_FROM, STATES = range(16, 26)
"""State of a channel, SWAY for w, TOLD for a; the next words are in use from the issue NEXT_FROM on.

EPOCH is A's epoch in full: only its lowest bit takes part, the rest is for who asks for the phase."""
D, KAPPA, P_MIN, P_START, P_LOST, V_START, V_GAIN, J_ALARM, W_ALARM, DARK, A_GAIN, K_FOLLOWS = range(12)
"""Words of a channel's configuration."""
ISSUE, CLOCK, KIND, SILENT, DA, DB, DP, DV, DJ, DW, ADV, DZ, DSWAY, DTOLD, UNDERWAY = range(15)
"""What an event carries from its issue to its write."""
OUTPUTS = 7
"""Members of `Outputs`."""
RING = 64
"""Places for events under way, more than the WRITE + 1 that there can be."""

SINE = np.array(t.SINE, dtype=np.int64)
RECIPROCAL = np.array(t.RECIPROCAL, dtype=np.int64)
SQUARE = np.array(t.SQUARE, dtype=np.int64)
ANGLE = np.array(t.ANGLE, dtype=np.int64)
HALF_TURN_STEPS = np.array(t.JUMP, dtype=np.int64)
FADE_STEPS = np.array(t.FADE, dtype=np.int64)
TURN_MASK = (1 << t.A_FRACTION) - 1
REFERENCE_SHIFT = t.A_FRACTION - TURN_BITS
QUARTER_BITS = TURN_BITS - 2
UNIT = 1 << t.UNIT_FRACTION
PLACES = 1 << t.PLACE_BITS
HALF_TURN = 1 << (t.A_FRACTION - 1)
EVIDENCE_MOST = (1 << t.EVIDENCE_BITS) - 1
EVIDENCE_SHIFT = t.UNIT_FRACTION + 1 - t.EVIDENCE_INDEX_BITS
W_STEP_HALF = 1 << (t.W_STEP_SHIFT - 1)
QUIET_MOST = (1 << t.QUIET_BITS) - 1


def after_reset(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """States of channels with these words, shape (channels, STATES)."""
    rows = np.zeros((words.shape[0], STATES), dtype=np.int64)
    rows[:, V] = words[:, V_START] << t.VISIBILITY_BITS
    rows[:, GAIN] = 1 << t.G_FRACTION
    rows[:, D_NOW] = rows[:, D_NEXT] = words[:, D]
    rows[:, KAPPA_NOW] = rows[:, KAPPA_NEXT] = words[:, KAPPA]
    return rows


@numba.njit(cache=True)
def saturate(value: int, bits: int) -> int:
    """``value`` within the signed range of ``bits`` bits."""
    top = (1 << (bits - 1)) - 1
    return max(min(value, top), -top - 1)


@numba.njit(cache=True)
def extrapolate(row: NDArray[np.int64], y: int) -> int:
    """Phase in 2^-32 turn, y clocks after the start of A's epoch."""
    return row[A] + ((row[B] >> t.B_DROP) * y >> t.B_SHIFT)


@numba.njit(cache=True)
def correct(
    row: NDArray[np.int64], config: NDArray[np.int64], theta: int, x: int, port: int, grow: int, way: NDArray[np.int64]
) -> None:
    """The steps of a tracking click at theta (2^-32 turn, modulo a turn) into ``way``."""
    i = theta >> (t.A_FRACTION - t.SINE_BITS)
    sine, cosine = SINE[i], SINE[(i + SINE.size // 4) % SINE.size]
    q = min((row[P] + grow) >> t.Q_SHIFT, t.Q_MAX)
    u = min(row[V] >> t.VISIBILITY_BITS, t.VISIBILITY_MOST)
    w = u - (u * ((t.BLUR_FACTOR * q) >> t.BLUR_SHIFT) >> t.VISIBILITY_BITS)
    v = -1 - w if port else w

    along = (v * cosine) >> t.VISIBILITY_BITS
    below = UNIT + along
    h = 0
    while below << h < UNIT:
        h += 1
    m = ((below << h) >> (t.UNIT_FRACTION - t.MANTISSA_BITS)) - (1 << t.MANTISSA_BITS)
    place = m + (h % PLACES << t.MANTISSA_BITS)
    rho, sigma = RECIPROCAL[place], SQUARE[place]
    coarse = h - h % PLACES

    across = ((-1 - v) * sine) >> t.VISIBILITY_BITS
    score = saturate((across * rho) >> (t.SCORE_SHIFT - coarse), t.SCORE_BITS)
    bend = (along + (w * w >> (2 * t.VISIBILITY_BITS - t.UNIT_FRACTION))) >> 1
    information = saturate((bend * sigma) >> (t.INFORMATION_SHIFT - 2 * coarse), t.INFORMATION_BITS)
    sloped = row[KAPPA_NOW] * q
    gain = (q << t.GAIN_Q_SHIFT) - (sloped * x >> t.GAIN_X_SHIFT)

    way[DA] = (gain * score) >> t.STEP_A_SHIFT
    way[DB] = (sloped * score) >> t.STEP_B_SHIFT
    way[DP] = grow - ((q * q * information) >> t.FALL_SHIFT)
    if config[V_GAIN]:
        gradient = saturate(((-1 - cosine if port else cosine) * rho) >> (t.GRADIENT_SHIFT - coarse), t.GRADIENT_BITS)
        way[DV] = gradient << (t.V_GAIN_SHIFT - config[V_GAIN])
    if config[A_GAIN]:
        told = saturate(row[Z] + way[ADV], t.Z_BITS)
        fall = told * ((t.BLUR_FACTOR * q) >> t.BLUR_SHIFT) >> t.Z_FALL_SHIFT
        way[DZ] = saturate((way[DA] >> t.Z_SHIFT) - fall, t.Z_BITS)
        way[DSWAY] = saturate((row[KAPPA_NOW] * way[DZ] + W_STEP_HALF) >> t.W_STEP_SHIFT, t.W_BITS)
        way[DTOLD] = saturate((score * told) >> t.TELL_SHIFT, t.TELL_BITS)
    way[DJ], way[DW] = HALF_TURN_STEPS[below >> EVIDENCE_SHIFT], FADE_STEPS[below >> EVIDENCE_SHIFT]


@numba.njit(cache=True)
def start_angle(c: int, s: int) -> int:
    """Angle of (c, s) in 2^-16 turn."""
    angle = ANGLE[abs(c) << (t.SUM_BITS - 1) | abs(s)]
    if c < 0:
        angle = (1 << (TURN_BITS - 1)) - 1 - angle
    return -1 - angle if s < 0 else angle


@numba.njit(cache=True)
def next_words(row: NDArray[np.int64], config: NDArray[np.int64], turn_issue: int) -> None:
    """D and kappa by the gain as it is, for issues from WORDS clocks on."""
    square = row[GAIN] * row[GAIN] >> t.SQUARE_DROP
    # 34 by 22 bits: in two halves, to stay within 64 bits signed
    low = (config[D] & 0xFFFF) * square
    row[D_NEXT] = min((config[D] >> 16) * square + (low >> 16), (1 << t.D_BITS) - 1)
    row[KAPPA_NEXT] = config[KAPPA]
    if config[K_FOLLOWS]:
        row[KAPPA_NEXT] = min(config[KAPPA] * row[GAIN] >> t.G_FRACTION, (1 << t.KAPPA_BITS) - 1)
    row[NEXT_FROM] = turn_issue + t.WORDS


@numba.njit(cache=True)
def issue(
    row: NDArray[np.int64],
    config: NDArray[np.int64],
    epoch_bits: int,
    turn: bool,
    clock: int,
    port: int,
    reference: int,
    way: NDArray[np.int64],
) -> None:
    """Issue of an event: its kind and its steps into ``way``, and what changes at issue into ``row``."""
    epoch_clocks = 1 << epoch_bits
    x = clock & (epoch_clocks - 1)
    passed = (epoch_clocks if turn else x) - row[LAST]
    row[LAST] = x
    row[QUIET] = min(row[QUIET] + passed, QUIET_MOST) if turn else 0
    if way[ISSUE] >= row[NEXT_FROM]:
        row[D_NOW], row[KAPPA_NOW] = row[D_NEXT], row[KAPPA_NEXT]
    grow = min((row[D_NOW] * passed) >> t.D_SHIFT, t.P_MAX)
    way[CLOCK] = clock
    way[SILENT:] = 0
    if config[A_GAIN]:
        way[ADV] = (row[SWAY] * passed) >> t.ADVANCE_SHIFT
    if turn:
        next_words(row, config, way[ISSUE])
        way[KIND] = t.TURN
        way[DP] = grow
        way[SILENT] = config[DARK] > 0 and row[QUIET] > config[DARK]
        return
    psi = extrapolate(row, x + epoch_clocks * (((clock >> epoch_bits) ^ row[EPOCH]) & 1))
    if row[LOCKED]:
        way[KIND] = t.TRACKING
        correct(row, config, (psi + (reference << REFERENCE_SHIFT)) & TURN_MASK, x, port, grow, way)
    elif row[N] == t.START_CLICKS:
        way[KIND] = t.IGNORED
    else:
        quarter = (reference + (1 << (QUARTER_BITS - 1))) >> QUARTER_BITS & 3
        sign = 1 - 2 * port
        if quarter & 1:
            row[S] += sign * (quarter - 2)
        else:
            row[C] += sign * (1 - quarter)
        row[N] += 1
        way[KIND] = t.ACQUIRING
        if row[N] == t.START_CLICKS:
            way[KIND] = t.STARTING
            # to the nearest phase of this angle, so that the unwrapped phase goes on
            away = ((start_angle(row[C], row[S]) << REFERENCE_SHIFT) - psi) & TURN_MASK
            way[DA] = away - (away >> (t.A_FRACTION - 1) << t.A_FRACTION)


@numba.njit(cache=True)
def give_up(row: NDArray[np.int64]) -> None:
    """The phase is lost; the next click begins a cold start."""
    row[LOCKED] = row[N] = row[C] = row[S] = row[B] = row[P] = row[J] = row[W] = 0
    row[Z] = row[SWAY] = 0
    row[BROKE] = 1


@numba.njit(cache=True)
def _tracked(row: NDArray[np.int64], config: NDArray[np.int64], way: NDArray[np.int64]) -> None:
    """Write of a tracking click's own steps."""
    row[A] += way[DA]
    row[B] = saturate(row[B] + way[DB], t.B_BITS)
    row[P] = max(min(row[P] + way[DP], t.P_MAX), config[P_MIN])
    row[V] = max(min(row[V] + way[DV], t.V_MOST), t.V_LEAST)
    row[J] = max(min(row[J] + way[DJ], EVIDENCE_MOST), 0)
    row[W] = max(min(row[W] + way[DW], EVIDENCE_MOST), 0)
    row[Z] = saturate(row[Z] + saturate(way[ADV] + way[DZ], t.Z_BITS), t.Z_BITS)
    row[SWAY] = saturate(row[SWAY] + way[DSWAY], t.W_BITS)
    row[TOLD] = saturate(row[TOLD] + way[DTOLD], t.TOLD_BITS)
    if config[J_ALARM] and row[J] >= config[J_ALARM]:
        row[JUMP] = 1
        row[J] = row[W] = 0
    elif config[W_ALARM] and row[W] >= config[W_ALARM]:
        row[LOSE] = 1
        row[J] = row[W] = 0


@numba.njit(cache=True)
def write(row: NDArray[np.int64], config: NDArray[np.int64], epoch_bits: int, way: NDArray[np.int64]) -> None:
    """Write of an event's steps onto the state as it is then, and of what the write before has found."""
    jump, lose = row[JUMP], row[LOSE]
    row[JUMP] = row[LOSE] = 0
    kind = way[KIND]
    if kind == t.TURN:
        row[A] += (row[B] >> t.B_DROP) << epoch_bits >> t.B_SHIFT
        row[EPOCH] = way[CLOCK] >> epoch_bits
        row[P] = min(row[P] + way[DP], t.P_MAX)
        row[Z] = saturate(row[Z] + saturate(way[ADV], t.Z_BITS), t.Z_BITS)
        if config[A_GAIN]:
            tell = row[TOLD] >> t.TOLD_DROP
            row[TOLD] -= tell << t.TOLD_DROP
            shift = t.A_GAIN_OFFSET + config[A_GAIN]
            row[GAIN] += (row[GAIN] * tell + (1 << (shift - 1))) >> shift
            row[GAIN] = max(min(row[GAIN], t.G_MOST), t.G_LEAST)
        if row[P] > config[P_LOST] or way[SILENT]:
            give_up(row)
    elif kind == t.STARTING:
        row[A] += way[DA]
        row[P] = config[P_START]
        row[LOCKED] = row[BROKE] = 1
        row[J] = row[W] = 0
    elif kind == t.TRACKING:
        _tracked(row, config, way)
    if jump:
        row[A] += HALF_TURN
        row[BROKE] = 1
    if lose:
        give_up(row)


@numba.njit(cache=True)
def leave(row: NDArray[np.int64], epoch_bits: int, way: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Output of an event just after its write, as `Outputs` has it, into ``out``; a turn's output ends what broke is about."""
    out[0] = extrapolate(row, way[CLOCK] & ((1 << epoch_bits) - 1))
    out[1:4] = row[B], row[P], row[V]
    out[4:7] = row[LOCKED], row[BROKE], way[KIND]
    if way[KIND] == t.TURN:
        row[BROKE] = 0


@numba.njit(cache=True)
def play(
    rows: NDArray[np.int64],
    configs: NDArray[np.int64],
    epoch_bits: int,
    events: tuple[NDArray[np.int64], ...],
    out: NDArray[np.int64],
) -> None:
    """Plays events (issue, clock, channel, turn, port, reference) in order; ``out``, shape (n, OUTPUTS), takes what `Outputs` holds."""
    issues, clocks, channels, turns, ports, references = events
    ways = np.zeros((RING, UNDERWAY), dtype=np.int64)
    written = 0
    for e in range(issues.size + 1):
        while written < e and (e == issues.size or issues[written] + t.WRITE < issues[e]):
            way, row = ways[written % RING], rows[channels[written]]
            write(row, configs[channels[written]], epoch_bits, way)
            leave(row, epoch_bits, way, out[written])
            written += 1
        if e < issues.size:
            channel = channels[e]
            ways[e % RING, ISSUE] = issues[e]
            issue(
                rows[channel],
                configs[channel],
                epoch_bits,
                turns[e] == 1,
                clocks[e],
                ports[e],
                references[e],
                ways[e % RING],
            )
