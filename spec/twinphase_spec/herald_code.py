"""Heralds in few bits: constants and closed forms of the stream HERALD_CODE (docs/heralds.md)."""

from __future__ import annotations

import math
from typing import NamedTuple

BATCH = 256
"""Heralds over which a mean gap is taken."""
SETTLE = 16
"""So many heralds after a batch its divisor is in force."""
ESCAPE = 16
"""Ones that announce a gap in full."""
MAX_CODE_BITS = ESCAPE + 56 + 1
HEAD_WORDS = 2
"""Payload words before the code: n of the first herald, and the divisor."""
DIVISOR_SHIFT = 24
"""Place of a `Divisor`'s 8 bits in the second of them."""
FRACTION_BITS, EXPONENT_BITS = 3, 5
SPAN_BITS = 40
"""A batch's span saturates here."""
LN2_NUMERATOR, LN2_SHIFT = 177, 16
"""ln 2 / 256 is 177.4 / 2^16."""
QUARTER = 1 << 14
"""Added before the shift: m is best at ``ln 2 / p`` and about a quarter, for p up to 0.2."""


class Divisor(NamedTuple):
    """Golomb's divisor ``m = ((8 + fraction) << exponent) >> 3``."""

    exponent: int
    fraction: int

    @property
    def m(self) -> int:
        """1 to 15 * 2^28."""
        return ((8 + self.fraction) << self.exponent) >> FRACTION_BITS

    @property
    def byte(self) -> int:
        """As the packet and the register HERALD_DIVISOR have it."""
        return self.exponent << FRACTION_BITS | self.fraction

    @classmethod
    def of_byte(cls, byte: int) -> Divisor:
        """Inverse of `byte`. ValueError beyond 8 bits."""
        if not 0 <= byte < 1 << (FRACTION_BITS + EXPONENT_BITS):
            raise ValueError(f"herald code: divisor byte is {byte}; allowed: 0 to 255")
        return cls(byte >> FRACTION_BITS, byte & 7)


def divisor_of_batch(span_pulses: int) -> Divisor:
    """Divisor from ``span_pulses``, the pulses that BATCH gaps took."""
    span = min(span_pulses, (1 << SPAN_BITS) - 1)
    c = max(1, (LN2_NUMERATOR * span + QUARTER) >> LN2_SHIFT)
    exponent = c.bit_length() - 1
    return Divisor(exponent, ((c << FRACTION_BITS) >> exponent) - 8)


def divisor_of_probability(probability: float) -> Divisor:
    """Divisor for heralds of ``probability`` per pulse, as `divisor_of_batch` would find it. ValueError outside (0, 1]."""
    if not 0 < probability <= 1:
        raise ValueError(f"herald code: probability is {probability:g}; allowed: above 0, at most 1")
    return divisor_of_batch(round(BATCH / probability))


def bound_bits(probability: float) -> float:
    """Shannon's bound in bits per herald, detector bit included: ``H(p)/p + 1`` (Bell Syst. Tech. J. 27, 379 (1948))."""
    p = probability
    entropy = 0.0 if p == 1 else -p * math.log2(p) - (1 - p) * math.log1p(-p) / math.log(2)
    return entropy / p + 1


def expected_bits(probability: float, m: int) -> float:
    """Mean bits per herald of Golomb's code for geometric gaps, detector bit included (escapes left out)::

    1/(1 - (1-p)^m) + b - (1 - (1-p)^t)/(1 - (1-p)^m) + 1,   b = number of bits of m - 1, t = 2^b - m
    """

    def below(count: int) -> float:
        """Probability of a gap below ``count``."""
        return 1.0 if probability == 1 and count else -math.expm1(count * math.log1p(-probability)) if count else 0.0

    b = (m - 1).bit_length()
    short = below((1 << b) - m) / below(m)
    return 1 / below(m) + b - short + 1


FIRST = divisor_of_probability(1e-4)
"""Of the first heralds after a start, before their rate is known (reset value of HERALD_DIVISOR)."""
