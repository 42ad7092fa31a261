"""Click tracker, bit for bit: docs/tracking.md with the formats of `twinphase_spec.tracking`.

All numbers are int64. The widths keep every product below 2^53 and every sum below 2^63, but for A, which wraps at 64 bits as int64 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import ChannelConfig
from twinphase_spec.units import TURN_BITS

A, B, P, V, EPOCH, LOCKED, N, C, S, LAST, STATES = range(11)
"""State of a channel. EPOCH is A's epoch in full: only its lowest bit takes part, the rest is for who asks for the phase."""
D, KAPPA, P_MIN, P_START, P_LOST, V_START, V_GAIN = range(7)
"""Words of a channel's configuration."""
ISSUE, CHANNEL, CLOCK, KIND, EVENT, DA, DB, DP, DV, UNDERWAY = range(10)
"""What an event carries from its issue to its write."""
RING = 64
"""Places for events under way, more than the WRITE + 1 that there can be."""

SINE = np.array(t.SINE, dtype=np.int64)
RECIPROCAL = np.array(t.RECIPROCAL, dtype=np.int64)
SQUARE = np.array(t.SQUARE, dtype=np.int64)
ANGLE = np.array(t.ANGLE, dtype=np.int64)
EPOCH_CLOCKS = 1 << t.EPOCH_BITS
TURN_MASK = (1 << t.A_FRACTION) - 1
REFERENCE_SHIFT = t.A_FRACTION - TURN_BITS
QUARTER_BITS = TURN_BITS - 2
UNIT = 1 << t.UNIT_FRACTION


@numba.njit
def saturate(value: int, bits: int) -> int:
    """``value`` within the signed range of ``bits`` bits."""
    top = (1 << (bits - 1)) - 1
    return max(min(value, top), -top - 1)


@numba.njit
def extrapolate(row: NDArray[np.int64], y: int) -> int:
    """Phase in 2^-32 turn, y clocks after the start of A's epoch."""
    return row[A] + ((row[B] >> t.B_DROP) * y >> t.B_SHIFT)


@numba.njit
def correct(
    row: NDArray[np.int64], config: NDArray[np.int64], theta: int, x: int, port: int, grow: int, way: NDArray[np.int64]
) -> None:
    """The steps of a tracking click at theta (2^-32 turn, modulo a turn) into ``way``."""
    i = theta >> (t.A_FRACTION - t.SINE_BITS)
    sine, cosine = SINE[i], SINE[(i + SINE.size // 4) % SINE.size]
    q = min((row[P] + grow) >> t.Q_SHIFT, t.Q_MAX)
    u = row[V] >> t.VISIBILITY_BITS
    w = u - (u * ((t.BLUR_FACTOR * q) >> t.BLUR_SHIFT) >> t.VISIBILITY_BITS)
    v = -w if port else w

    along = (v * cosine) >> t.VISIBILITY_BITS
    below = UNIT + along
    h = 0
    while below << h < UNIT:
        h += 1
    m = ((below << h) >> (t.UNIT_FRACTION - t.MANTISSA_BITS)) - (1 << t.MANTISSA_BITS)
    rho, sigma = RECIPROCAL[m], SQUARE[m]

    across = (v * sine) >> t.VISIBILITY_BITS
    score = saturate(-((across * rho) >> (t.SCORE_SHIFT - h)), t.SCORE_BITS)
    bend = (along + (w * w >> (2 * t.VISIBILITY_BITS - t.UNIT_FRACTION))) >> 1
    information = saturate((bend * sigma) >> (t.INFORMATION_SHIFT - 2 * h), t.INFORMATION_BITS)
    sloped = config[KAPPA] * q
    gain = (q << t.GAIN_Q_SHIFT) - (sloped * x >> t.GAIN_X_SHIFT)

    way[DA] = (gain * score) >> t.STEP_A_SHIFT
    way[DB] = (sloped * score) >> t.STEP_B_SHIFT
    way[DP] = grow - ((q * q * information) >> t.FALL_SHIFT)
    if config[V_GAIN]:
        gradient = saturate(((-cosine if port else cosine) * rho) >> (t.GRADIENT_SHIFT - h), t.GRADIENT_BITS)
        way[DV] = gradient << (t.V_GAIN_SHIFT - config[V_GAIN])


@numba.njit
def start_angle(c: int, s: int) -> int:
    """Angle of (c, s) in 2^-16 turn."""
    angle = ANGLE[abs(c) << (t.SUM_BITS - 1) | abs(s)]
    if c < 0:
        angle = (1 << (TURN_BITS - 1)) - angle
    return -angle if s < 0 else angle


@numba.njit
def issue(
    row: NDArray[np.int64],
    config: NDArray[np.int64],
    turn: bool,
    clock: int,
    port: int,
    reference: int,
    way: NDArray[np.int64],
) -> None:
    """Issue of an event: its kind and its steps into ``way``, and what changes at issue into ``row``."""
    x = clock % EPOCH_CLOCKS
    passed = (EPOCH_CLOCKS if turn else x) - row[LAST]
    row[LAST] = x
    grow = min((config[D] * passed) >> t.D_SHIFT, t.P_MAX)
    way[DA : DV + 1] = 0
    if turn:
        way[KIND] = t.TURN
        way[DP] = grow
        return
    psi = extrapolate(row, x + EPOCH_CLOCKS * (((clock // EPOCH_CLOCKS) ^ row[EPOCH]) & 1))
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


@numba.njit
def write(row: NDArray[np.int64], config: NDArray[np.int64], way: NDArray[np.int64]) -> None:
    """Write of an event's steps onto the state as it is then."""
    kind = way[KIND]
    if kind == t.TURN:
        row[A] += (row[B] >> t.B_DROP) << (t.EPOCH_BITS - t.B_SHIFT)
        row[EPOCH] = way[CLOCK] // EPOCH_CLOCKS
        row[P] = min(row[P] + way[DP], t.P_MAX)
        if row[P] > config[P_LOST]:
            row[LOCKED] = row[N] = row[C] = row[S] = row[B] = row[P] = 0
    elif kind == t.STARTING:
        row[A] += way[DA]
        row[P] = config[P_START]
        row[LOCKED] = 1
    elif kind == t.TRACKING:
        row[A] += way[DA]
        row[B] = max(min(row[B] + way[DB], t.B_MAX), -t.B_MAX)
        row[P] = max(min(row[P] + way[DP], t.P_MAX), config[P_MIN])
        row[V] = max(min(row[V] + way[DV], t.V_MOST), t.V_LEAST)


@numba.njit
def play(
    rows: NDArray[np.int64], configs: NDArray[np.int64], events: tuple[NDArray[np.int64], ...], out: NDArray[np.int64]
) -> None:
    """Plays events (issue, clock, channel, turn, port, reference) in their order; ``out`` of shape (n, 6) takes what `Outputs` holds."""
    issues, clocks, channels, turns, ports, references = events
    ways = np.zeros((RING, UNDERWAY), dtype=np.int64)
    written = 0
    for e in range(issues.size + 1):
        while written < e and (e == issues.size or issues[written] + t.WRITE < issues[e]):
            way = ways[written % RING]
            channel = channels[written]
            row = rows[channel]
            write(row, configs[channel], way)
            out[written, 0] = extrapolate(row, clocks[written] % EPOCH_CLOCKS)
            out[written, 1:4] = row[B], row[P], row[V]
            out[written, 4], out[written, 5] = row[LOCKED], way[KIND]
            written += 1
        if e < issues.size:
            way = ways[e % RING]
            way[CLOCK] = clocks[e]
            channel = channels[e]
            issue(rows[channel], configs[channel], turns[e] == 1, clocks[e], ports[e], references[e], way)


@dataclass(frozen=True)
class Events:
    """Events in the order of their issue, arrays of shape (n,), int64."""

    issue: NDArray[np.int64]
    """Clock of the issue: grows by INTERVAL or more."""
    clock: NDArray[np.int64]
    """Clock count t of the click; e 2^16 of the turn to epoch e."""
    channel: NDArray[np.int64]
    turn: NDArray[np.int64]
    """1: turn of the epoch; 0: click."""
    port: NDArray[np.int64]
    reference: NDArray[np.int64]
    """r in 2^-16 turn, unsigned; 0 with a turn."""


@dataclass(frozen=True)
class Outputs:
    """One output per event, OUTPUT clocks after its issue: the channel's state after its write. Arrays of shape (n,)."""

    phase: NDArray[np.int64]
    """Unwrapped, at the event's t, 2^-32 turn."""
    slope: NDArray[np.int64]
    """B."""
    p: NDArray[np.int64]
    v: NDArray[np.int64]
    locked: NDArray[np.int64]
    kind: NDArray[np.int64]


def reset(configs: Sequence[ChannelConfig]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """States after reset and configuration words of channels, shapes (channels, STATES) and (channels, 7)."""
    words = np.array([config.words() for config in configs], dtype=np.int64)
    rows = np.zeros((words.shape[0], STATES), dtype=np.int64)
    rows[:, V] = words[:, V_START] << t.VISIBILITY_BITS
    return rows, words


def schedule(
    clock: NDArray[np.int64],
    channel: NDArray[np.int64],
    port: NDArray[np.int64],
    reference: NDArray[np.int64],
    *,
    channels: int,
    latency: int = 0,
) -> Events:
    """Events of clicks (clocks that do not fall), each offered ``latency`` clocks after its t and issued as soon as may be.

    Before the first click of an epoch come the turns to it, for every channel, and to all epochs since the last, each offered
    ``latency`` clocks after its epoch's start.
    """
    epochs = clock >> t.EPOCH_BITS
    turned = np.arange(epochs[0], epochs[-1] + 1) if clock.size else np.zeros(0, dtype=np.int64)
    turn_epochs = np.repeat(turned, channels)
    places = np.searchsorted(epochs, turn_epochs, side="left")

    def merged(of_turns: NDArray[np.int64], of_clicks: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.insert(of_clicks.astype(np.int64), places, of_turns)

    none = np.zeros(turn_epochs.size, dtype=np.int64)
    clocks = merged(turn_epochs << t.EPOCH_BITS, clock)
    waiting = t.INTERVAL * np.arange(clocks.size)
    return Events(
        issue=np.maximum.accumulate(clocks + latency - waiting) + waiting,
        clock=clocks,
        channel=merged(np.tile(np.arange(channels), turned.size), channel),
        turn=merged(none + 1, np.zeros(clock.size, dtype=np.int64)),
        port=merged(none, port),
        reference=merged(none, reference),
    )


def track(events: Events, configs: Sequence[ChannelConfig]) -> Outputs:
    """All outputs of a tracker in its state after reset. ValueError where events are issued closer than INTERVAL."""
    if (np.diff(events.issue) < t.INTERVAL).any():
        raise ValueError(f"click tracker: events must be issued at least {t.INTERVAL} clocks apart")
    rows, words = reset(configs)
    out = np.empty((events.issue.size, 6), dtype=np.int64)
    e = events
    play(rows, words, (e.issue, e.clock, e.channel, e.turn, e.port, e.reference), out)
    return Outputs(*out.T)
