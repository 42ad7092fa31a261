"""Click tracker: formats, constants and tables that its gateware and its model share. What they do is in docs/tracking.md.

Phases are turns, times are system clocks, variances are ``rad^2 / (2 pi)``: a variance in this unit times a score in 1/rad is a
step in turns. Operands of multiplications are signed 18 bits, unsigned 17 bits, or at most two such pieces (35 or 34 bits), so that
18 x 18 multipliers do.
"""

from __future__ import annotations

import math

from .units import CLOCK_BITS, TURN_BITS

CHANNELS = 32
"""Most channels of one tracker: a channel is one band of one pair."""
READ, WRITE, OUTPUT, INTERVAL = 0, 23, 31, 1
"""Clocks from an event's issue to the reading of its channel's state, to the write, to the output; and to the next event's issue."""

EPOCH_BITS = 16
EPOCH_LEAST = 9
"""An epoch has 2^E clocks, E from EPOCH_LEAST to EPOCH_BITS: 4 to 524 us."""
QUIET_BITS = 24
"""Clocks since a channel's last click: unsigned, saturates."""
EVIDENCE_BITS, EVIDENCE_FRACTION = 16, 9
"""Evidence for a jump by half a turn, and for no fringe: unsigned, 2^-9 nat, saturates at 0 and at 128 nat."""
EVIDENCE_STEP_BITS, EVIDENCE_INDEX_BITS = 14, 10
"""What a click adds: signed, from tables over v cos(theta)."""
EVENT_CLOCK_BITS = CLOCK_BITS

A_BITS, A_FRACTION = 64, 32
"""Phase at the epoch's start: signed, 2^-32 turn, wraps."""
B_BITS, B_FRACTION = 42, 52
"""Slope: signed, 2^-52 turn per clock."""
B_MAX = (1 << (B_BITS - 1)) - 1
"""The slope saturates at B_MAX and at -B_MAX - 1: 384 rad/ms."""
B_DROP = 8
"""Low bits of the slope that extrapolation leaves out: 2^-44 turn per clock remain, 4e-9 turn in an epoch."""
B_SHIFT = B_FRACTION - B_DROP - A_FRACTION
P_BITS, P_FRACTION = 32, 34
"""Variance: unsigned, 2^-34 of rad^2/(2 pi), saturates: at most 1.57 rad^2."""
P_MAX = (1 << P_BITS) - 1
V_BITS = 32
"""Visibility: unsigned, 2^-32."""
VISIBILITY_BITS = 16
"""Visibility as the likelihood takes it: its top bits, 2^-16."""
V_LEAST, V_MOST = 1 << V_BITS - 2, (1 << V_BITS) - 1
"""The visibility stays at 0.25 or above."""
VISIBILITY_LEAST, VISIBILITY_MOST = V_LEAST >> VISIBILITY_BITS, 65407
"""What the likelihood takes is 0.998 at most; 1 - V is what bounds ``1 / (1 + v cos)``, and with it every shift."""
START_CLICKS = 24
"""Clicks of the cold start."""
SUM_BITS = 6
"""The cold start's sums C and S: signed."""

D_BITS, D_FRACTION = 34, 46
"""Growth of the variance per clock: unsigned, 2^-46 of rad^2/(2 pi); D up to 190e3 rad^2/s."""
D_SHIFT = D_FRACTION - P_FRACTION
KAPPA_BITS, KAPPA_FRACTION = 17, 28
"""Slope's gain over the phase's: unsigned, 2^-28 per clock; up to 61e3 1/s."""
V_GAIN_BITS = 4
"""Gain of the visibility: 0 leaves it as it is, n = 1 ... 15 moves it by the gradient times ``2^-(V_GAIN_OFFSET + n)``."""
V_GAIN_OFFSET = 9

Q_BITS, Q_FRACTION = 17, 22
"""Variance as gain: unsigned, 2^-22 of rad^2/(2 pi), at most Q_MAX: 0.196 rad^2."""
Q_SHIFT = P_FRACTION - Q_FRACTION
Q_MAX = (1 << Q_BITS) - 1
BLUR_FACTOR, BLUR_SHIFT = 201, 11
"""P = ``2 pi q 2^-22`` in 2^-16 is ``(201 q) >> 11``: 201/64 stands for pi."""

SINE_BITS = 12
UNIT_FRACTION = 17
"""Sine, cosine, 1 + v cos: 2^-17."""
MANTISSA_BITS = 8
PLACE_BITS = 2
"""1 + v cos is normalised by ``h = 4 j + k`` places: k is in the tables of reciprocals, j shifts by 0, 4 or 8."""
RECIPROCAL_FRACTION, SQUARE_FRACTION = 14, 8
"""Of the tables at k = 0."""
SCORE_BITS, SCORE_FRACTION = 18, 14
"""Score: signed, 2^-14 1/rad, saturates at +-8."""
SCORE_SHIFT = UNIT_FRACTION + RECIPROCAL_FRACTION - SCORE_FRACTION
INFORMATION_BITS, INFORMATION_FRACTION = 18, 7
"""Observed information times 2 pi: signed, 2^-7 1/rad^2, saturates at +-1024."""
INFORMATION_SHIFT = (UNIT_FRACTION - 1) + SQUARE_FRACTION - INFORMATION_FRACTION
FALL_SHIFT = 2 * Q_FRACTION + INFORMATION_FRACTION - P_FRACTION
GRADIENT_BITS, GRADIENT_FRACTION = 18, 8
"""Gradient of the log-likelihood in V: signed, 2^-8, saturates at +-512."""
GRADIENT_SHIFT = UNIT_FRACTION + RECIPROCAL_FRACTION - GRADIENT_FRACTION
V_GAIN_SHIFT = V_BITS - GRADIENT_FRACTION - V_GAIN_OFFSET
"""The gradient shifted left by ``V_GAIN_SHIFT - n`` is the visibility's step in 2^-32."""

GAIN_FRACTION = 34
"""Gain of A: signed 35 bits, 2^-34 turn rad."""
GAIN_Q_SHIFT = GAIN_FRACTION - Q_FRACTION
GAIN_X_SHIFT = KAPPA_FRACTION + Q_FRACTION - GAIN_FRACTION
STEP_A_SHIFT = GAIN_FRACTION + SCORE_FRACTION - A_FRACTION
STEP_B_SHIFT = KAPPA_FRACTION + Q_FRACTION + SCORE_FRACTION - B_FRACTION

Z_BITS, Z_FRACTION = 18, 20
"""Sensitivity of the phase to the logarithm of the gain: signed, 2^-20 turn, saturates."""
W_BITS, W_FRACTION = 18, 34
"""Sensitivity of the slope: signed, 2^-34 turn per clock, saturates."""
Z_SHIFT = A_FRACTION - Z_FRACTION
"""From a step of A to one of z; and of w times clocks to z."""
ADVANCE_SHIFT = W_FRACTION - Z_FRACTION
W_STEP_SHIFT = KAPPA_FRACTION + Z_FRACTION - W_FRACTION
Z_FALL_SHIFT = 16
"""P z in z's unit is ``(z blur) >> 16``, blur being P in 2^-16."""
TELL_BITS, TELL_SHIFT = 18, 16
TOLD_BITS, TOLD_DROP = 26, 8
"""What clicks say of the gain, and their sum: signed, saturate."""
G_BITS, G_FRACTION = 17, 14
"""Gain over that of the configuration: unsigned, 2^-14, G_LEAST to G_MOST."""
G_LEAST, G_MOST = 1 << 11, (1 << G_BITS) - 1
SQUARE_DROP = 12
"""``(g g) >> 12``: 2^-16."""
A_GAIN_BITS, A_GAIN_OFFSET = 4, 12
"""Gain of ln g: 0 leaves it, n = 1 ... 15 moves it by ``2^-(12 + n)`` of what is told."""
WORDS = 16
"""Clocks from a turn's issue to the first issue that has the words of its g."""

LEFT, RIGHT = 0, 1
"""Ports of clicks."""
TURN, ACQUIRING, STARTING, IGNORED, TRACKING = range(5)
"""Kinds of events, as outputs carry them."""


def _mantissa(index: int) -> float:
    """Middle of the index-th of 2^8 intervals of [1, 2)."""
    return 1 + (index + 0.5) / (1 << MANTISSA_BITS)


SINE = tuple(
    round(((1 << UNIT_FRACTION) - 1) * math.sin(2 * math.pi * (i + 0.5) / (1 << SINE_BITS)))
    for i in range(1 << SINE_BITS)
)
"""Sine at the middle of each of 4096 intervals of the turn, signed 18 bits, 2^-17; the cosine is 1024 words further."""
RECIPROCAL = tuple(
    round((1 << RECIPROCAL_FRACTION + k) / _mantissa(m))
    for k in range(1 << PLACE_BITS)
    for m in range(1 << MANTISSA_BITS)
)
"""``2^k / g`` of a mantissa g in [1, 2) at ``k << 8 | m``, unsigned 17 bits, 2^-14."""
SQUARE = tuple(
    round((1 << SQUARE_FRACTION + 2 * k) * 2 * math.pi / _mantissa(m) ** 2)
    for k in range(1 << PLACE_BITS)
    for m in range(1 << MANTISSA_BITS)
)
"""``2 pi 2^(2k) / g^2``, unsigned 17 bits, 2^-8."""
ANGLE = tuple(round(math.atan2(i & 31, i >> 5) / (2 * math.pi) * (1 << TURN_BITS)) for i in range(1 << 10))
"""Angle of (|C|, |S|) at ``|C| << 5 | |S|``, unsigned 15 bits, 2^-16 turn, 0 for (0, 0)."""


def _along(index: int) -> float:
    """Middle of the index-th of 2^10 intervals of v cos(theta)."""
    return 2 * (index + 0.5) / (1 << EVIDENCE_INDEX_BITS) - 1


JUMP = tuple(
    round((1 << EVIDENCE_FRACTION) * math.log((1 - _along(a)) / (1 + _along(a))))
    for a in range(1 << EVIDENCE_INDEX_BITS)
)
"""``ln((2 - Z)/Z)`` of ``Z = 1 + v cos(theta)``, 2^-9 nat: for a phase half a turn further."""
FADE = tuple(round(-(1 << EVIDENCE_FRACTION) * math.log(1 + _along(a))) for a in range(1 << EVIDENCE_INDEX_BITS))
"""``-ln Z``, 2^-9 nat: for clicks that know no phase."""
