"""Exact division by a divisor that hardly ever changes."""

from functools import reduce
from itertools import pairwise, product
from operator import add, or_

from amaranth.hdl import C, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import carried, delayed

DSP_BITS = 18
"""Unsigned operand width of the multiplier blocks (ECP5 MULT18X18D)."""


def _pieces(value: Value) -> list[Value]:
    """``value`` cut into multiplier operands, lowest first."""
    return [value[low : low + DSP_BITS] for low in range(0, len(value), DSP_BITS)]


def _rows(a_bits: int, b_bits: int) -> list[list[tuple[int, int]]]:
    """Products of operands i of a and j of b, in as few rows as hold them without overlap: those of a row are joined, not added."""
    rows: list[list[tuple[int, int]]] = []
    pairs = product(range(-(-a_bits // DSP_BITS)), range(-(-b_bits // DSP_BITS)))
    for pair in sorted(pairs, key=sum):
        row = next((row for row in rows if sum(pair) - sum(row[-1]) >= 2), None)
        if row is None:
            rows.append(row := [])
        row.append(pair)
    return rows


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
    i_valid, i_x, i_add : dividend and addend. While ``i_x`` rests nothing moves, `latency` clocks later.
    i_d, i_reciprocal : divisor and R; constant while an element is inside and in the clock before it comes.
    o_valid, o_q, o_r : result.

    Latency: `latency` clocks, 7 and one per addition that the products of the estimate need one after the other. Throughput: one
    per clock. Raises ValueError for bounds that no reciprocal of this width can serve.
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
        rows = len(_rows(self.x_bits - self.skip_bits, reciprocal_bits))
        self._estimated = 2 + (rows - 1).bit_length()  # stage of the estimate
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
        return self._estimated + 5

    def elaborate(self, platform):
        m = Module()
        valids = [self.i_valid, *(Signal(name=f"valid_{stage}") for stage in range(1, self.latency + 1))]
        m.d.sync += [after.eq(before) for before, after in pairwise(valids)]

        def register(value: Value, name: str) -> Signal:
            after = Signal(len(value), name=name, reset_less=True)
            m.d.sync += after.eq(value)
            return after

        def multiply(a: Value, b: Value, name: str) -> list[Value]:
            """Rows of products, two clocks later, whose sum is ``a * b``.

            Multipliers are slow and far apart. Registers that feed nothing else and registers that take nothing else lie beside them.
            """
            a_pieces, b_pieces = (
                [register(piece, f"{name}_{side}{i}") for i, piece in enumerate(_pieces(value))]
                for side, value in (("a", a), ("b", b))
            )
            products = {
                (i, j): register(a_piece * b_piece, f"{name}_{i}{j}")
                for (i, a_piece), (j, b_piece) in product(enumerate(a_pieces), enumerate(b_pieces))
            }
            return [
                reduce(or_, (products[i, j] << DSP_BITS * (i + j) for i, j in row)) for row in _rows(len(a), len(b))
            ]

        # Estimate, with one addition per clock.
        sums = multiply(self.i_x[self.skip_bits :], self.i_reciprocal, "estimate")
        while len(sums) > 1:
            sums = [register(reduce(add, sums[i : i + 2]), "sum") for i in range(0, len(sums), 2)]
        fraction_bits = self.shift - self.skip_bits
        q = sums[0][fraction_bits : fraction_bits + self.q_bits]

        # Its product with d, which x and i_add wait for.
        even, odd = [*multiply(q, self.i_d, "product"), C(0, 1)][:2]
        stage = self._estimated + 2
        bits = self.d_bits + 1  # x - q' d is below 2 d, so this many bits of it are enough
        x, addend = carried(m, (self.i_x[:bits], self.i_add), valids, 0, stage, "waited")
        divisor = delayed(m, self.i_d, 2, "divisor")  # not the registers beside the multipliers

        # Subtract it from x, then from x - d as well, and choose.
        x_less_even = register((x - even)[:bits], "x_less_even")
        rest = register((x_less_even - register(odd, "odd"))[:bits], "rest")
        rest_less_d = register((x_less_even - register(odd + divisor, "odd_and_d"))[:bits], "rest_less_d")
        low = register((addend + delayed(m, q, 2, "q"))[: self.add_bits], "low")
        high = register((low + 1)[: self.add_bits], "high")
        # rest is in [0, 2 d): it is below d exactly if subtracting d makes it negative modulo 2^bits.
        below = rest_less_d[-1]
        m.d.comb += self.o_valid.eq(valids[-1])
        m.d.sync += [
            self.o_r.eq(Mux(below, rest, rest_less_d)),
            self.o_q.eq(Mux(below, register(low, "low_again"), high)),
        ]
        return m
