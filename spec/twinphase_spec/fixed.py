"""The fixed-point contract: formats, rounding, overflow and the CORDIC that both hdl and model must equal bit for bit.

Rules. Integers are two's complement. A right shift of a signed number is arithmetic (floor). "Round half up to s fewer
bits" is ``(x + (1 << (s - 1))) >> s``. Phases wrap; counts of a window saturate at their stated bound; event counters
are 64 bits and wrap; nothing else may overflow.

CORDIC (circular; Volder 1959). Angles inside are 2^-20 turn and wrap modulo 2^20. ``x, y`` are signed, wide enough for
the gain 1.6468 times sqrt(2).

* normalise(x, y): ``b = bit_length(max(|x|, |y|))``; if ``b <= 22`` shift both left by ``22 - b``, otherwise arithmetic
  shift right by ``b - 22``. (0, 0) has no angle: the caller reports it as invalid.
* vectoring(x, y) -> angle of (x, y), after normalise: ``z = 0``; if ``x < 0``: ``x, y = -x, -y`` and ``z = 2^19``.
  For i = 0 .. 17: if ``y >= 0``: ``x, y, z = x + (y >> i), y - (x >> i), z + ATAN[i]``, otherwise
  ``x, y, z = x - (y >> i), y + (x >> i), z - ATAN[i]`` (right-hand sides use the old values).
  The result is ``((z + 8) >> 4) mod 2^16``, in 2^-16 turns.
* rotation(x, y, a), a in 2^-16 turns, rotates by +a and scales by the gain: ``z = a << 4`` taken as a signed 20-bit
  number in [-2^19, 2^19). If ``z >= 2^18``: ``x, y, z = -x, -y, z - 2^19``; if ``z < -2^18``:
  ``x, y, z = -x, -y, z + 2^19``. For i = 0 .. 17: if ``z >= 0``: ``x, y, z = x - (y >> i), y + (x >> i), z - ATAN[i]``,
  otherwise ``x, y, z = x + (y >> i), y - (x >> i), z + ATAN[i]``. No normalise in this mode.
"""

from __future__ import annotations

import math

CORDIC_STAGES = 18
CORDIC_ANGLE_BITS = 20
CORDIC_NORMAL_BITS = 22
"""Magnitude bits after normalise."""
CORDIC_ATAN = tuple(round(math.atan(2.0**-i) / (2 * math.pi) * (1 << CORDIC_ANGLE_BITS)) for i in range(CORDIC_STAGES))

COUNT_BITS = 20
"""Signed window counts D_k saturate at +-(2^19 - 1), unsigned window counts N at 2^20 - 1."""
COUNT_MAX = (1 << (COUNT_BITS - 1)) - 1
TOTAL_MAX = (1 << COUNT_BITS) - 1
UNWRAPPED_BITS = 48
"""Unwrapped phase: signed, 2^-16 turn, wraps."""
RATIO_FRACTION_BITS = 32
"""The frequency ratio register C is signed 32 bit: nu_q / nu_r - 1 in units of 2^-32."""
DEROTATE_SHIFT = 6
"""In-band sums are shifted left by this before they are rotated by -psi_rq, to keep rounding below the shot noise."""
DEROTATED_SUM_BITS = 48


def wrap_signed(value: int, bits: int) -> int:
    """``value`` wrapped into the signed range of ``bits`` bits."""
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half
