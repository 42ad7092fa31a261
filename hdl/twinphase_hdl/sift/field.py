"""Products in GF(2^64), a digit at a time."""

from functools import reduce
from operator import xor

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.digest import DIGEST_BITS, REDUCTION

DIGIT_BITS = 10
"""Seven digits of a factor, so that with the clock in which it is taken a product takes eight."""
MAX_DIGIT_BITS = 32


def reduced(value: Value) -> Value:
    """The element of the field that ``value``, up to MAX_DIGIT_BITS bits wider than one, stands for: ``x^64 = x^4 + x^3 + x + 1``."""
    high = value[DIGEST_BITS:]
    shifts = [k for k in range(DIGEST_BITS) if REDUCTION >> k & 1]
    return (value[:DIGEST_BITS] ^ reduce(xor, (Cat(C(0, k), high) for k in shifts)))[:DIGEST_BITS]


class FieldMultiplier(wiring.Component):
    """Multiplies by a factor that seldom changes.

    Formula: ``o_product = i_a i_b`` in GF(2)[x] / (x^64 + x^4 + x^3 + x + 1), bit i the coefficient of x^i. With a's digits of d =
    ``digit_bits`` bits, highest first: ``p = p x^d + digit b``, p kept d bits wider than an element.

    Members
    -------
    i_start : In(1), strobe: takes ``i_a``, whatever is under way
    i_a, i_b : In(64), factors; ``i_b`` holds while busy
    i_clear : In(1), strobe, not while busy: the product becomes 0
    o_busy : Out(1), from the clock after ``i_start`` for ``latency`` clocks
    o_product : Out(64), when not busy: of the last ``i_start``, or 0 after ``i_clear`` and reset; it may depend on neither in its clock

    Latency: `latency` clocks from ``i_start``'s clock to the first that is not busy, less one. Throughput: a product in `period` clocks.
    No overflow. Source: docs/digest.md.

    ``digit_bits``: 1 to 32; d AND gates and their sum for each bit. ValueError otherwise.
    """

    def __init__(self, *, digit_bits: int = DIGIT_BITS) -> None:
        if not 1 <= digit_bits <= MAX_DIGIT_BITS:
            raise ValueError(f"FieldMultiplier: digit_bits is {digit_bits}; allowed: 1 to {MAX_DIGIT_BITS}")
        self._digit_bits = digit_bits
        self.latency = -(-DIGEST_BITS // digit_bits)
        self.period = self.latency + 1
        super().__init__(
            {
                "i_start": In(1),
                "i_a": In(DIGEST_BITS),
                "i_b": In(DIGEST_BITS),
                "i_clear": In(1),
                "o_busy": Out(1),
                "o_product": Out(DIGEST_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self._digit_bits
        rest = Signal(bits * self.latency)
        left = Signal(range(self.latency + 1))
        wide = Signal(DIGEST_BITS + bits)
        digit = rest[-bits:]
        multiples = [Mux(bit, Cat(C(0, k), self.i_b), 0) for k, bit in enumerate(digit)]
        m.d.comb += [self.o_busy.eq(left.any()), self.o_product.eq(reduced(wide))]
        with m.If(self.i_start):
            m.d.sync += [rest.eq(self.i_a), left.eq(self.latency)]
        with m.Elif(self.o_busy):
            m.d.sync += [rest.eq(rest << bits), left.eq(left - 1)]
        with m.If(self.i_start | self.i_clear):
            m.d.sync += wide.eq(0)
        with m.Elif(self.o_busy):
            m.d.sync += wide.eq(reduce(xor, [Cat(C(0, bits), self.o_product), *multiples]))
        return m
