"""Addition as the parts do it."""

from collections.abc import Sequence

from amaranth.hdl import C, Cat, Module, Signal, Value, ValueLike


def with_carry(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` modulo the width of ``a``, in one carry chain."""
    return (Cat(C(1, 1), a) + Cat(carry, b))[1 : len(a) + 1]


def keep_carry(total: Value, no_carry: Value, extended: Value) -> list:
    """Registers of a sum and of its highest bit, the carry, inverted: a LUT inverts it beside the flip-flop.

    On an iCE40 a carry has no other way to a flip-flop than through a LUT, and as it stands it would take that of another logic cell.
    """
    return [total.eq(extended), no_carry.eq(~extended[len(total)])]


def add_in_halves(m: Module, total: Signal, step: ValueLike, when: ValueLike) -> None:
    """``total += step`` if ``when``: its low half at once, its high half a clock later, so that no carry chain is longer than a half.

    ``step`` has no more bits than the low half.
    """
    half = len(total) // 2
    low = Signal(half + 1)
    no_carry, again = Signal(), Signal()
    m.d.comb += low.eq(total[:half] + step)
    m.d.sync += [no_carry.eq(~low[half]), again.eq(when), total[half:].eq(total[half:] + (again & ~no_carry))]
    with m.If(when):
        m.d.sync += total[:half].eq(low)


def sums_in_one_chain(terms: Sequence[tuple[Value, Value, Value]]) -> list[Value]:
    """``a + b + carry`` of every term (a, b, carry), each one bit longer than the longer of a and b, in one carry chain for all.

    Between two sums lies a bit whose operands are both the next carry: it shows the carry before it and passes on only its own. On
    its own, each chain would need a bit for each of these, and two LUT for its beginning.
    """
    left, right, places = [], [], []
    for a, b, carry in terms:
        bits = max(len(a), len(b))
        start = sum(map(len, left)) + 1
        places.append((start, start + bits + 1))
        left += [carry, a, C(0, bits - len(a))]
        right += [carry, b, C(0, bits - len(b))]
    total = Cat(*left) + Cat(*right)
    return [total[start:end] for start, end in places]
