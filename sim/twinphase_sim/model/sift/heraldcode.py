"""Packets of HERALD_CODE from heralds: what the server's herald coder puts into them. Source: docs/heralds.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.herald_code import BATCH, DIVISOR_SHIFT, ESCAPE, SETTLE, Divisor, divisor_of_batch

PULSE_BITS = 56


def divisors(pulses: NDArray[np.uint64], first: Divisor) -> list[Divisor]:
    """The divisor in force for each herald, of heralds 0, 1, 2 ... with rising ``pulses``; ``first`` is the register's."""
    in_force = [first] * min(len(pulses), BATCH + SETTLE)
    for end in range(BATCH, len(pulses) - SETTLE, BATCH):
        batch = divisor_of_batch(int(pulses[end]) - int(pulses[end - BATCH]))
        in_force += [batch] * min(BATCH, len(pulses) - len(in_force))
    return in_force


def payload(pulses: NDArray[np.uint64], detectors: NDArray[np.uint8], divisor: Divisor) -> NDArray[np.uint32]:
    """Payload words of a packet of these heralds, of which there is at least one; none: no words."""
    if not len(pulses):
        return np.zeros(0, np.uint32)
    m = divisor.m
    remainder_bits = (m - 1).bit_length()
    short = (1 << remainder_bits) - m
    before = int(pulses[0])
    head = before | divisor.byte << (32 + DIVISOR_SHIFT)
    code, length = int(detectors[0]), 1

    def put(value: int, bits: int) -> None:
        nonlocal code, length
        code |= value << length
        length += bits

    for pulse, detector in zip(pulses[1:].tolist(), detectors[1:].tolist(), strict=True):
        gap, before = pulse - before - 1, pulse
        quotient, remainder = divmod(gap, m)
        if quotient >= ESCAPE:
            put((1 << ESCAPE) - 1, ESCAPE)
            put(gap, PULSE_BITS)
        else:
            put((1 << quotient) - 1, quotient + 1)
            if remainder < short:
                put(remainder, remainder_bits - 1)
            elif remainder_bits:
                put((remainder + short) >> 1, remainder_bits - 1)
                put((remainder + short) & 1, 1)
        put(detector, 1)
    words = -(-length // 32)
    return np.frombuffer(head.to_bytes(8, "little") + code.to_bytes(4 * words, "little"), "<u4")


def payloads(
    pulses: NDArray[np.uint64], detectors: NDArray[np.uint8], starts: NDArray[np.int64], first: Divisor
) -> list[NDArray[np.uint32]]:
    """Payloads of all packets of a run from its first herald on, packet i beginning with herald ``starts[i]`` (starts[0] = 0)."""
    in_force = divisors(pulses, first)
    stops = [*starts[1:].tolist(), len(pulses)]
    return [
        payload(pulses[start:stop], detectors[start:stop], in_force[min(start, len(pulses) - 1)])
        for start, stop in zip(starts.tolist(), stops, strict=True)
        if len(pulses)
    ]
