"""Addition as the parts do it."""

from amaranth.hdl import C, Cat, Value


def with_carry(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` modulo the width of ``a``, in one carry chain."""
    return (Cat(C(1, 1), a) + Cat(carry, b))[1 : len(a) + 1]
