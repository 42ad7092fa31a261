"""Addition as the parts do it."""

from collections.abc import Sequence

from amaranth.hdl import C, Cat, Value


def with_carry(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` modulo the width of ``a``, in one carry chain."""
    return (Cat(C(1, 1), a) + Cat(carry, b))[1 : len(a) + 1]


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
