"""The phase-slice test of `twinphase_spec.sns` in two steps, so that a register fits between them."""

from amaranth.hdl import Value, ValueLike

from twinphase_spec.units import TURN_BITS


def shifted_difference(slice_a: ValueLike, slice_b: ValueLike, psi: ValueLike, slice_width: ValueLike) -> Value:
    """``s = (sliceA - sliceB) * 4096 + psi + (Ds >> 1)  (mod 2^16)``, in 2^-16 turn.

    ``slice_a``, ``slice_b``: 4 bits; ``psi``: 16 bits, 2^-16 turn; ``slice_width``: Ds, 16 bits, 2^-16 turn.
    """
    slice_difference = (Value.cast(slice_a) - Value.cast(slice_b))[:4]
    return ((slice_difference << TURN_BITS - 4) + Value.cast(psi) + Value.cast(slice_width)[1:])[:TURN_BITS]


def slice_test(shifted: ValueLike, slice_width: ValueLike) -> tuple[Value, Value]:
    """``keep = (s mod 2^15) <= Ds`` and ``branch = s >> 15`` (0: L expected, 1: R expected) of `shifted_difference`."""
    shifted = Value.cast(shifted)
    return shifted[: TURN_BITS - 1] <= slice_width, shifted[TURN_BITS - 1]
