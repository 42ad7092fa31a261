"""Golomb's code of gaps: its sizes, what a packet's divisor means, and the coder's division."""

from dataclasses import dataclass

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_hdl.core.along import carried, delayed
from twinphase_spec import frame, herald_code


@dataclass(frozen=True, kw_only=True)
class CodeShape:
    """Sizes of a code of gaps; the defaults are those of docs/heralds.md, small ones are for proofs.

    ValueError for sizes of which no code can be made: ``escape`` is 4, 8 or 16; a divisor fits into a word; a gap has the bits of
    ``escape`` divisors, not more than those of two, and its code not more than three words.
    """

    gap_bits: int = frame.PULSE_BITS
    divisor_bits: int = 32
    escape: int = herald_code.ESCAPE
    word_bits: int = 32

    def __post_init__(self) -> None:
        if self.escape not in (4, 8, 16):
            raise ValueError(f"code of gaps: escape is {self.escape}; allowed: 4, 8 or 16")
        if not 2 <= self.divisor_bits <= self.word_bits:
            raise ValueError(f"code of gaps: divisor_bits is {self.divisor_bits}; allowed: 2 to {self.word_bits}")
        longest = min(2 * self.divisor_bits, 3 * self.word_bits - self.escape - 1)
        if not self.divisor_bits + self.quotient_bits <= self.gap_bits <= longest:
            raise ValueError(
                f"code of gaps: gap_bits is {self.gap_bits}; allowed: {self.divisor_bits + self.quotient_bits} to {longest}"
            )

    @property
    def quotient_bits(self) -> int:
        """Of a quotient below ``escape``."""
        return (self.escape - 1).bit_length()

    @property
    def code_bits(self) -> int:
        """Of the longest code, that of a gap in full."""
        return self.escape + self.gap_bits + 1

    @property
    def short_bits(self) -> int:
        """Of the longest code with a quotient: ``escape - 1`` ones, a zero, the remainder, the detector."""
        return self.escape + self.divisor_bits + 1

    @property
    def length_bits(self) -> int:
        """Of a code's length."""
        return self.code_bits.bit_length()


HERALDS = CodeShape()


class Divisor(data.StructLayout):
    """A divisor m and what follows from it, with b = number of bits of m - 1:

    m : ``divisor_bits``.  t : ``2^b - m``, remainders below it have b - 1 bits.  b : number of bits of m - 1.
    at : ``2^(b-1)``, 0 if b = 0.  mask : ``2^(b-1) - 1``, 0 if b = 0.
    """

    def __init__(self, shape: CodeShape) -> None:
        bits = shape.divisor_bits
        super().__init__({"m": bits, "t": bits, "b": range(bits + 1), "at": bits, "mask": bits})


def detector_place(at: Value) -> Value:
    """2^b of a `Divisor`'s ``at``."""
    return Cat(at == 0, at)


class DivisorExpander(wiring.Component):
    """`Divisor` of a divisor byte, ``m = ((8 + f) << E) >> 3`` with f in bits 0 to 2 and E in bits 3 to 7.

    Members
    -------
    i : In(8) - the byte.
    o : Out(Divisor)

    Latency: `latency` clocks (E decoded; m and b; t). Throughput: one per clock.
    """

    latency = 3
    i: In(8)
    o: Out(Divisor(HERALDS))

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = HERALDS.divisor_bits
        fraction, exponent = self.i[: herald_code.FRACTION_BITS], self.i[herald_code.FRACTION_BITS :]
        # 1: which bit is m's highest, and whether m is more than that.
        leading, lower, more = Signal(bits), Signal(herald_code.FRACTION_BITS), Signal()
        m.d.sync += [leading.eq(1 << exponent), lower.eq(fraction), more.eq(fraction.any())]
        with m.Switch(exponent):
            for short in range(herald_code.FRACTION_BITS):
                with m.Case(short):
                    m.d.sync += more.eq(fraction[herald_code.FRACTION_BITS - short :].any())
        # 2: the bits of f stand behind the highest.
        whole, at, b = Signal(bits), Signal(bits), Signal(range(bits + 1))
        m.d.sync += [
            whole.eq(
                leading
                | (leading >> 1) & lower[2].replicate(bits)
                | (leading >> 2) & lower[1].replicate(bits)
                | (leading >> 3) & lower[0].replicate(bits)
            ),
            at.eq(Mux(more, leading, leading >> 1)),
        ]
        e = Signal(herald_code.EXPONENT_BITS)
        m.d.sync += [e.eq(exponent), b.eq(e + more)]
        # 3: what is left to the next power of two.
        none, some = self._known(m, at, more | ~leading[0])
        m.d.sync += [
            *(self.o.m.eq(whole), self.o.at.eq(at), self.o.b.eq(b)),
            self.o.t.eq(Cat(none, at) - whole),
            self.o.mask.eq(at - some),
        ]
        return m

    def _known(self, m: Module, at: Value, some: Value) -> tuple[Value, Value]:
        """Whether ``at`` is 0, and is not; ``some``: a clock before, that it will not be."""
        return at == 0, at.any()


class GolombCoder(wiring.Component):
    """Codes of gaps, with ``q = g div m`` by conditional subtraction of ``escape m / 2 ... 2 m, m``.

    The rest is not restored: with its sign s the next multiple is added to it or subtracted from it, so a step is one carry chain, and
    the bits of q are the signs inverted.

    Members
    -------
    i_valid, i_gap, i_detector : a gap and its detector bit.
    i_divisor : In(Divisor) - the gap's; the next one may have another.
    o_length_valid, o_length : Out(1), Out - strobe: the length of a code in bits, a clock before the code.
    o_valid, o_code : Out(1), Out(``code_bits``) - its bits, the first one lowest; 0 behind its length.
    o_code_length : Out - with the code.

    Latency: `latency` clocks. Throughput: one per clock. Overflow: none. Source: docs/heralds.md.
    """

    def __init__(self, *, shape: CodeShape = HERALDS) -> None:
        self._shape = shape
        super().__init__(
            {
                "i_valid": In(1),
                "i_gap": In(shape.gap_bits),
                "i_detector": In(1),
                "i_divisor": In(Divisor(shape)),
                "o_length_valid": Out(1),
                "o_length": Out(shape.length_bits),
                "o_valid": Out(1),
                "o_code": Out(shape.code_bits),
                "o_code_length": Out(shape.length_bits),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from ``i_valid`` to ``o_valid``: a bit of q each, the remainder, its code's length, its place, the code."""
        return self._shape.quotient_bits + 4

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, divisor = self._shape, self.i_divisor
        bits, steps = shape.divisor_bits, shape.quotient_bits
        # A gap's divisor goes along with it: m to the remainder, then what its code's length and bits need.
        multiples = [divisor.m]
        for stage in range(1, steps + 1):
            multiples.append(delayed(m, multiples[-1], 1, f"m_{stage}"))
        t = delayed(m, divisor.t, steps + 1, "t")
        at, b = (delayed(m, part, steps + 2, name) for part, name in ((divisor.at, "at"), (divisor.b, "b")))
        valids = [self.i_valid]
        for stage in range(1, self.latency + 1):
            valids.append(Signal(name=f"valid_{stage}"))
            m.d.sync += valids[stage].eq(valids[stage - 1])

        # Quotient. The rest before the step that decides about bit j of q lies in [-2^j m, 2^j m) of what it is then.
        escape = Signal()
        m.d.sync += escape.eq(self._is_in_full(self.i_gap, Cat(C(0, steps), divisor.m)))
        width = bits + steps
        rest = Signal(width + 1, name="rest_first", reset_less=True)
        m.d.sync += rest.eq(self.i_gap[:width] - Cat(C(0, steps - 1), divisor.m))
        quotient: list[Value] = []
        for j in reversed(range(steps - 1)):
            negative = rest[-1]
            multiple = Cat(C(0, j), multiples[steps - 1 - j], C(0, 1))
            operand = multiple ^ (~negative).replicate(len(multiple))
            following = Signal(bits + j + 1, name=f"rest_{j}", reset_less=True)
            m.d.sync += following.eq(with_carry(rest[: bits + j + 1], operand[: bits + j + 1], ~negative))
            kept = [Signal(name=f"quotient_{j}_{i}", reset_less=True) for i in range(len(quotient) + 1)]
            m.d.sync += [place.eq(value) for place, value in zip(kept, [~negative, *quotient], strict=True)]
            rest, quotient = following, kept
        negative = rest[-1]
        remainder, q = Signal(bits, reset_less=True), Signal(steps, reset_less=True)
        m.d.sync += [
            remainder.eq(rest[:bits] + (multiples[steps] & negative.replicate(bits))),
            q.eq(Cat(~negative, *quotient)),
        ]

        # Remainder: b - 1 bits if below t, else b.
        shorter, moved, still = Signal(), Signal(bits, reset_less=True), Signal(bits, reset_less=True)
        q_of_length = delayed(m, q, 1, "q_of_length")
        m.d.sync += [
            shorter.eq(self._is_shorter(remainder, t)),
            moved.eq(remainder + t),
            still.eq(remainder),
        ]
        since = steps + 2
        detector = delayed(m, self.i_detector, since, "detector")
        tail, length = Signal(bits + 1, reset_less=True), Signal(shape.length_bits, reset_less=True)
        m.d.sync += [
            tail.eq(
                Mux(shorter, still, moved >> 1)
                | at & Mux(shorter, detector, moved[0]).replicate(bits)
                | detector_place(at) & (detector & ~shorter).replicate(bits + 1)
            ),
            length.eq(q_of_length + b + Mux(shorter, 1, 2)),
        ]
        in_full = delayed(m, escape, since - 1, "escape")
        with m.If(in_full):
            m.d.sync += length.eq(shape.code_bits)

        # Code.
        gap, whole_detector = carried(
            m, (self.i_gap, self.i_detector), valids, 0, since + 1, "gap"
        )  # of escapes, and no others
        place = delayed(m, q_of_length, 1, "place")
        m.d.sync += [
            self.o_code.eq((Cat(C(0, 1), tail) << place) | ((1 << place) - 1)),
            self.o_code_length.eq(length),
        ]
        with m.If(delayed(m, in_full, 1, "still_escape")):
            m.d.sync += self.o_code.eq(Cat(C(-1, shape.escape), gap, whole_detector))
        m.d.comb += [
            *(self.o_length_valid.eq(valids[-2]), self.o_length.eq(length)),
            self.o_valid.eq(valids[-1]),
        ]
        return m

    def _is_in_full(self, gap: Value, limit: Value) -> Value:
        """Whether a gap is coded in full; ``limit`` is that of quotients."""
        return gap >= limit

    def _is_shorter(self, remainder: Value, t: Value) -> Value:
        """Whether a remainder has b - 1 bits."""
        return remainder < t
