"""HERALD_CODE packets back to heralds (docs/heralds.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.herald_code import DIVISOR_SHIFT, ESCAPE, HEAD_WORDS, Divisor
from twinphase_spec.packets import HERALD_DTYPE, MAX_PAYLOAD_WORDS

PULSE_BITS = 56
MOST_HERALDS = 32 * (MAX_PAYLOAD_WORDS - HEAD_WORDS) // 2
"""In a packet: a code has two bits or more."""
_PULSES = 1 << PULSE_BITS
_ONES = tuple(next(i for i in range(17) if not v >> i & 1) for v in range(1 << 16))
"""Ones at the low end of 16 bits."""


class HeraldCodeError(ValueError):
    """A packet's code is not that of its heralds; ``records`` are those before the error."""

    def __init__(self, reason: str, records: NDArray[Any]) -> None:
        super().__init__(f"herald code: {reason}; drop the packet's rest")
        self.records = records


def decode(words: NDArray[np.uint32], first_number: int, count: int) -> NDArray[Any]:
    """HERALD records (HERALD_DTYPE) of a packet with payload ``words``: ``count`` heralds, numbered from ``first_number`` modulo 2^32.

    Raises HeraldCodeError where the code ends early, has more than it needs, or leads beyond the last pulse index.
    """
    if not count and not len(words):
        return np.empty(0, HERALD_DTYPE)
    if not count or len(words) <= HEAD_WORDS:
        raise HeraldCodeError(f"{count} heralds in {len(words)} words", np.empty(0, HERALD_DTYPE))
    high = int(words[1])
    pulse = int(words[0]) | (high & (1 << DIVISOR_SHIFT) - 1) << 32
    m = Divisor.of_byte(high >> DIVISOR_SHIFT).m
    field = max((m - 1).bit_length() - 1, 0)
    """Bits of a remainder that are always there."""
    short = (1 << (m - 1).bit_length()) - m
    mask = (1 << field) - 1
    code = words[HEAD_WORDS:]
    bits = 32 * len(code)
    padded = np.concatenate((code, np.zeros(4, np.uint32))).tolist()
    # From any bit on, the 128 bits of four words hold a code of up to 73 bits and more.
    windows = [
        a | b << 32 | c << 64 | d << 96 for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    pulses, detectors = [pulse], [padded[0] & 1]
    place, reason = 1, ""
    while len(pulses) < count:
        if place >= bits:
            reason = f"it ends after {len(pulses)} of {count} heralds"
            break
        window = windows[place >> 5] >> (place & 31)
        quotient = _ONES[window & 0xFFFF]
        if quotient == ESCAPE:
            gap = (window >> ESCAPE) & (_PULSES - 1)
            used = ESCAPE + PULSE_BITS
        else:
            remainder, used = (window >> quotient + 1) & mask, quotient + 1 + field
            if m > 1 and remainder >= short:
                remainder = (remainder << 1 | window >> used & 1) - short
                used += 1
            gap = quotient * m + remainder
        pulse += gap + 1
        if place + used >= bits or pulse >= _PULSES:
            reason = f"herald {len(pulses)} of {count} lies beyond " + (
                "its words" if pulse < _PULSES else "the last pulse"
            )
            break
        pulses.append(pulse)
        detectors.append(window >> used & 1)
        place += used + 1
    if not reason and (bits - place >= 32 or windows[place >> 5] >> (place & 31)):
        reason = f"more than the {count} heralds of its header"
    records = np.empty(len(pulses), HERALD_DTYPE)
    at = np.array(pulses, np.uint64)
    records["number"] = (first_number + np.arange(len(pulses))) & 0xFFFFFFFF
    records["pulse_low"] = at & np.uint64(0xFFFFFFFF)
    records["pulse_high_detector"] = (at >> np.uint64(32)) | np.array(detectors, np.uint64) << np.uint64(31)
    if reason:
        raise HeraldCodeError(reason, records)
    return records
