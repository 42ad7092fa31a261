"""Exact division by a divisor that hardly ever changes."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

DSP_BITS = 18
"""Unsigned operand width of the multiplier blocks (ECP5 MULT18X18D)."""


def _pieces(value: Value) -> list[Value]:
    """``value`` cut into multiplier operands, lowest first."""
    return [value[low : low + DSP_BITS] for low in range(0, len(value), DSP_BITS)]


class ConstantDivide(wiring.Component):
    """``o_q = i_add + x div d`` and ``o_r = x mod d``, exact, with the reciprocal R = floor(2^shift / d) given.

    The k lowest bits of x are left out of the estimate ``q' = ((x >> k) R) >> (shift - k)``. From R > 2^shift / d - 1::

        x / d - q'(before rounding) < x / 2^shift + 2^k R / 2^shift <= 1   if   x_max + 2^k R_max <= 2^shift

    so that q' is q or q - 1, and ``x - q' d`` in [0, 2 d) decides which. k is the largest that the condition allows.

    Parameters
    ----------
    x_max, d_min, d_max : int
        ``0 <= x < x_max``, ``d_min <= d <= d_max``.
    q_bits : int
        Width of the quotient, at most 18; x must be such that it fits.
    shift : int
        ``2^shift >= x_max``.
    add_bits : int
        Width of ``i_add`` and ``o_q``; they wrap. Default: ``q_bits``.

    Members
    -------
    i_valid, i_x, i_add : dividend and addend. Registers of a stage only move for a valid element.
    i_d, i_reciprocal : divisor and R; constant while an element is inside and in the clock before it comes.
    o_valid, o_q, o_r : result.

    Latency: `latency` clocks, 3 + 1 if the first product is wider than one multiplier + 1 if the second is. Throughput: one per
    clock. Raises ValueError for bounds that no reciprocal of this width can serve.
    Source: Granlund, Montgomery, "Division by invariant integers using multiplication", PLDI 1994.
    """

    def __init__(self, *, x_max: int, d_min: int, d_max: int, q_bits: int, shift: int, add_bits: int | None = None):
        if not 1 <= d_min <= d_max:
            raise ValueError(f"ConstantDivide: d_min is {d_min}, d_max {d_max}; allowed: 1 <= d_min <= d_max")
        if not 1 <= q_bits <= DSP_BITS:
            raise ValueError(f"ConstantDivide: q_bits is {q_bits}; allowed: 1 to {DSP_BITS}")
        reciprocal_max = (1 << shift) // d_min
        spare = (1 << shift) - x_max
        if x_max < 1 or spare < 0:
            raise ValueError(f"ConstantDivide: x_max is {x_max}; allowed: 1 to 2^{shift} (2^shift)")
        self.skip_bits = max(0, (spare // reciprocal_max).bit_length() - 1)
        self.shift = shift
        self.q_bits = q_bits
        self.x_bits = (x_max - 1).bit_length()
        self.d_bits = d_max.bit_length()
        self.add_bits = q_bits if add_bits is None else add_bits
        reciprocal_bits = reciprocal_max.bit_length()
        pieces = -(-(self.x_bits - self.skip_bits) // DSP_BITS) * -(-reciprocal_bits // DSP_BITS)
        self._sums_estimate = pieces > 1
        self._sums_product = self.d_bits > DSP_BITS
        super().__init__(
            {
                "i_valid": In(1),
                "i_x": In(self.x_bits),
                "i_add": In(self.add_bits),
                "i_d": In(self.d_bits),
                "i_reciprocal": In(reciprocal_bits),
                "o_valid": Out(1),
                "o_q": Out(self.add_bits),
                "o_r": Out(self.d_bits),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from ``i_valid`` to ``o_valid``."""
        return 3 + self._sums_estimate + self._sums_product

    def elaborate(self, platform):
        m = Module()
        # Registers of their own, which can lie beside the multipliers.
        divisor, reciprocal = Signal.like(self.i_d), Signal.like(self.i_reciprocal)
        m.d.sync += [divisor.eq(self.i_d), reciprocal.eq(self.i_reciprocal)]

        bits = self.d_bits + 1  # x - q' d is below 2 d, so this many bits of it are enough
        valid: Value = self.i_valid
        x: Value = self.i_x[:bits]
        add: Value = self.i_add

        def step(**values: Value) -> list[Signal]:
            """One pipeline stage: registers that take ``values`` when the element before them is valid."""
            nonlocal valid
            after = Signal(name="valid")
            registers = [Signal.like(Value.cast(value), name=name) for name, value in values.items()]
            m.d.sync += after.eq(valid)
            with m.If(valid):
                m.d.sync += [register.eq(value) for register, value in zip(registers, values.values(), strict=True)]
            valid = after
            return registers

        # Estimate.
        products: dict[str, Value] = {}
        places: list[int] = []
        for i, x_piece in enumerate(_pieces(self.i_x[self.skip_bits :])):
            for j, r_piece in enumerate(_pieces(reciprocal)):
                products[f"estimate_{i}{j}"] = x_piece * r_piece
                places.append(DSP_BITS * (i + j))
        x, add, *parts = step(x=x, add=add, **products)
        fraction_bits = self.shift - self.skip_bits
        if self._sums_estimate:
            total = sum(part << place for part, place in zip(parts, places, strict=True))
            x, add, q = step(x=x, add=add, q=total[fraction_bits : fraction_bits + self.q_bits])
        else:
            q = parts[0][fraction_bits : fraction_bits + self.q_bits]

        # Its product with d, and both possible sums with i_add.
        def cut(value: Value, name: str) -> Signal:
            """``value`` modulo 2^bits."""
            result = Signal(bits, name=name)
            m.d.comb += result.eq(value)
            return result

        products, places = {}, []
        for j, d_piece in enumerate(_pieces(divisor)):
            products[f"product_{j}"] = q * d_piece
            places.append(DSP_BITS * j)
        x, x_less_d, low, high, *parts = step(
            x=x,
            x_less_d=cut(x - divisor, "x_less_d_next"),
            low=(add + q)[: self.add_bits],
            high=(add + q + 1)[: self.add_bits],
            **products,
        )

        # Subtract it from x and from x - d, and choose.
        even, odd = (
            [part << place for part, place in zip(parts, places, strict=True) if place // DSP_BITS % 2 == parity]
            for parity in (0, 1)
        )
        subtrahend = reduce(or_, even)  # products two places apart do not overlap: joined, not added
        if self._sums_product:
            x, x_less_d, subtrahend, low, high = step(
                x=cut(x - subtrahend, "x_next"),
                x_less_d=cut(x_less_d - subtrahend, "x_less_d_even"),
                odd=reduce(or_, odd),
                low=low,
                high=high,
            )
        rest = cut(x - subtrahend, "rest")
        rest_less_d = cut(x_less_d - subtrahend, "rest_less_d")
        # rest is in [0, 2 d): it is below d exactly if subtracting d makes it negative modulo 2^bits.
        up = ~rest_less_d[-1]
        r, q = step(r=Mux(up, rest_less_d, rest)[: self.d_bits], q=Mux(up, high, low))
        m.d.comb += [self.o_valid.eq(valid), self.o_r.eq(r), self.o_q.eq(q)]
        return m
