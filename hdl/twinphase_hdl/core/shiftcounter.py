"""Counting without a carry: a shift register with feedback, where only the end of a count matters."""

from __future__ import annotations

from amaranth.hdl import Cat, Value

TAPS = {
    3: (3, 2),
    4: (4, 3),
    5: (5, 3),
    6: (6, 5),
    7: (7, 6),
    8: (8, 6, 5, 4),
    9: (9, 5),
    10: (10, 7),
    11: (11, 9),
    12: (12, 11, 10, 4),
    13: (13, 12, 11, 8),
    14: (14, 13, 12, 2),
    15: (15, 14),
    16: (16, 15, 13, 4),
}
"""Bits, counted from 1, whose sum modulo 2 is shifted in: of primitive polynomials, so that 2^width - 1 states follow each other."""


def width_for(steps: int) -> int:
    """Bits of a register that comes through ``steps`` different states. ValueError beyond 16 bits."""
    if not 1 <= steps < 1 << max(TAPS):
        raise ValueError(f"shift counter: steps is {steps}; allowed: 1 to {(1 << max(TAPS)) - 1}")
    return max(min(TAPS), steps.bit_length())


def next_state(state: Value) -> Value:
    """The state after this one: one LUT, whatever the width."""
    taps = Cat(state[tap - 1] for tap in TAPS[len(state)])
    return Cat(taps.xor(), state[:-1])


def state_after(steps: int, width: int) -> int:
    """The state ``steps`` steps after state 1, which is the first."""
    state = 1
    for _ in range(steps):
        bit = sum(state >> tap - 1 for tap in TAPS[width]) & 1
        state = (state << 1 | bit) & (1 << width) - 1
    return state
