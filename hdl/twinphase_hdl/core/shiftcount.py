"""Counting with a shift register: one bit moves the others, so that a counter costs few LUT; a table gives the count."""

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Module, Signal, Value

TAPS = {2: (1, 0), 3: (2, 1), 4: (3, 2), 5: (4, 2), 6: (5, 4), 7: (6, 5), 8: (7, 5, 4, 3), 9: (8, 4), 10: (9, 6)}
"""Bits whose sum modulo 2 runs through all states but 0 (maximal-length sequences, primitive polynomials of each degree)."""


def feedback(state: Value | int, bits: int):
    """The bit that is shifted in: the taps' sum, inverted when all bits but the highest are 0, which adds the state 0."""
    if isinstance(state, int):
        return sum(state >> tap & 1 for tap in TAPS[bits]) + (state & ((1 << bits - 1) - 1) == 0) & 1
    return reduce(xor, (state[tap] for tap in TAPS[bits])) ^ ~state[: bits - 1].any()


def counts(bits: int) -> list[int]:
    """Number of steps from state 0 to each state, 0 .. 2^bits - 1."""
    table, state = [0] * (1 << bits), 0
    for count in range(1 << bits):
        table[state] = count
        state = (state << 1 | feedback(state, bits)) & ((1 << bits) - 1)
    return table


def counting(m: Module, state: Signal, step: Value) -> None:
    """``state`` moves on by one if ``step``."""
    with m.If(step):
        m.d.sync += state.eq(Cat(feedback(state, len(state)), state))


def count_of(m: Module, state: Value, name: str) -> Signal:
    """The count of ``state``, 0 for state 0."""
    count = Signal(len(state), name=name)
    with m.Switch(state):
        for value, steps in enumerate(counts(len(state))):
            with m.Case(value):
                m.d.comb += count.eq(steps)
    return count
