"""Score, information and visibility gradient of a click."""

from amaranth.hdl import C, Cat, Module, Mux, Value, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Staged, Stages
from twinphase_spec import tracking

UNIT_BITS = tracking.UNIT_FRACTION + 1
MOST_J = 2
RAM_BITS = 4
STEPS = (4, 8, 4)
LEAST_SHIFTS = tuple(
    shift - each * MOST_J
    for shift, each in zip(
        (tracking.SCORE_SHIFT, tracking.INFORMATION_SHIFT, tracking.GRADIENT_SHIFT), STEPS, strict=True
    )
)
"""Right shifts of score, information and gradient at j = 2; a lower j shifts by STEPS more for each."""
ALONG = 4
"""Clocks from the index to ``v cos``."""


def sixteenths(value: Value) -> Value:
    """18 bits of a product of 17 by 18 bits whose 2^-16 part is dropped."""
    return (value >> tracking.VISIBILITY_BITS)[:UNIT_BITS].as_signed()


class ClickScore(wiring.Component):
    """A click at the phase theta under the visibility w (`v = w` for L, -1 - w for R)::

        along  = (v cos) >> 16,  across = ((-1 - v) sin) >> 16,  g = 2^17 + along,  h = 17 - floor(log2 g) = 4 j + k
        i      = 2^8 k + ((g << h) >> 9) - 2^8
        score  = sat_18((across RECIPROCAL[i]) >> (17 - 4 j))
        inform = sat_18((((along + ((w w) >> 15)) >> 1) SQUARE[i]) >> (17 - 8 j))
        gradient = ((cos for L, -1 - cos for R) RECIPROCAL[i]) >> (23 - 4 j)   fits into 18 bits always

    of six multipliers and two tables. Where no tracking click is, the outputs mean nothing.

    Members
    -------
    i_index : In(12)
        theta in 2^-12 turn, rounded down.
    i_w, i_port : In(16), In(1)
        Two clocks after the index; w 2^-16.
    o_score, o_inform : Out(signed(18)), Out(signed(18))
        2^-14 1/rad; 2^-7 1/rad^2 times 2 pi. Each bit is a register for a multiplier's operand.
    o_gradient : Out(signed(18))
        2^-8.
    o_along : Out(10)
        ``(along + 2^17) >> 8``, ALONG = 4 clocks after the index.

    Latency: `latency` = 12 clocks from the index to all other outputs. Throughput: a click per clock. Overflow: score and information
    saturate.
    Source: docs/tracking.md, a tracking click.
    """

    i_index: In(tracking.SINE_BITS)
    i_w: In(tracking.VISIBILITY_BITS)
    i_port: In(1)
    o_score: Out(signed(tracking.SCORE_BITS))
    o_inform: Out(signed(tracking.INFORMATION_BITS))
    o_gradient: Out(signed(tracking.GRADIENT_BITS))
    o_along: Out(tracking.EVIDENCE_INDEX_BITS)

    @property
    def latency(self) -> int:
        """Clocks from index to score, information and gradient."""
        return 12

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        index = stages.given("index", 0, self.i_index)
        # A quarter turn further: only the two highest bits change.
        low = tracking.SINE_BITS - 2
        ahead = stages.given("ahead", 0, Cat(self.i_index[:low], (self.i_index[low:] + 1)[:2]))
        sine, cosine = self._sines(m, stages, index, ahead)

        w = stages.given("w", 2, self.i_w)
        port = stages.given("port", 2, self.i_port)

        def turned(value: Value, port: Value) -> Value:
            """``value``, or ``-1 - value``."""
            return (Value.cast(value).as_unsigned() ^ port.replicate(len(value))).as_signed()

        v = stages.after("v", 2, lambda w, port: turned(Cat(w, C(0, 1)), port), w, port)
        opposite = stages.after("opposite", 2, lambda w, port: turned(Cat(w, C(0, 1)), ~port), w, port)
        w_factor = stages.operand("w_factor", 2, w.at(2))
        sine_factor = stages.operand("sine_factor", 2, sine.at(2))
        cosine_factor = stages.operand("cosine_factor", 2, cosine.at(2))
        v_cosine = stages.after("v_cosine", 3, lambda v, unit: v * unit, v, cosine_factor)
        v_sine = stages.after("v_sine", 3, lambda v, unit: v * unit, opposite, sine_factor)
        square = stages.after("square", 3, lambda w: w * w, w_factor)
        along = stages.given("along", ALONG, sixteenths(v_cosine.at(ALONG)))
        top = UNIT_BITS - 1
        m.d.comb += self.o_along.eq(
            Cat(along.at(ALONG)[UNIT_BITS - tracking.EVIDENCE_INDEX_BITS : top], ~along.at(ALONG)[top])
        )
        across = stages.given("across", ALONG, sixteenths(v_sine.at(ALONG)))
        bend = stages.after(
            "bend",
            ALONG,
            lambda along, square: ((along + (square >> 15)) >> 1)[:UNIT_BITS].as_signed(),
            along,
            square,
        )

        place, j = self._normalised(stages, along)
        m.submodules.reciprocals = reciprocals = memory.Memory(
            shape=2 * tracking.UNIT_FRACTION,
            depth=len(tracking.RECIPROCAL),
            init=[
                reciprocal | square << tracking.UNIT_FRACTION
                for reciprocal, square in zip(tracking.RECIPROCAL, tracking.SQUARE, strict=True)
            ],
            attrs={"ram_style": "block"},
        )
        both = stages.table("both", 6, reciprocals, place)
        rho = stages.after("rho", 8, lambda both: both[: tracking.UNIT_FRACTION], both)
        sigma = stages.after("sigma", 8, lambda both: both[tracking.UNIT_FRACTION :], both)
        across = stages.operand("across_factor", 8, across.at(8))
        bend = stages.operand("bend_factor", 8, bend.at(8))
        z = stages.after("z", 8, lambda port, cosine: turned(cosine, port), port, cosine)

        products = [
            stages.after(name, 9, lambda a, b: a * b, a, b)
            for name, a, b in (("score", across, rho), ("inform", bend, sigma), ("gradient", z, rho))
        ]
        score, inform, gradient = (
            self._shifted(stages, product, least, step, j, saturates)
            for product, least, step, saturates in zip(products, LEAST_SHIFTS, STEPS, (True, True, False), strict=True)
        )
        m.d.comb += [
            self.o_score.eq(score.at(12)),
            self.o_inform.eq(inform.at(12)),
            self.o_gradient.eq(gradient.at(12)),
        ]
        return m

    @staticmethod
    def _sines(m: Module, stages: Stages, *indices: Staged) -> list[Staged]:
        """SINE at each index, known two stages later. A block RAM has 4 bits of a table this long: a RAM each, so that nothing lies
        between RAM and register."""
        parts: list[list[Staged]] = []
        for low in range(0, UNIT_BITS, RAM_BITS):
            bits = min(RAM_BITS, UNIT_BITS - low)
            content = memory.Memory(
                shape=bits,
                depth=len(tracking.SINE),
                init=[sine >> low & (1 << bits) - 1 for sine in tracking.SINE],
                attrs={"ram_style": "block"},
            )
            m.submodules[f"sines_{low}"] = content
            parts.append([stages.table(f"unit_{low}_{k}", 0, content, index) for k, index in enumerate(indices)])
        return [
            stages.given(f"unit_{k}", 2, Cat(part.at(2) for part in of_index).as_signed())
            for k, of_index in enumerate(zip(*parts, strict=True))
        ]

    @staticmethod
    def _normalised(stages: Stages, along: Staged) -> tuple[Staged, Staged]:
        """i of 2^17 + along, and whether j is 1 or 2: in steps of four places and of one."""
        top = UNIT_BITS - 1
        g = Cat(along.at(ALONG)[:top], ~along.at(ALONG)[top])
        large, middle = g[top - 3 :].any(), g[top - 7 : top - 3].any()
        # Of 256 or more nothing above the lowest six bits is lost by eight places.
        near = stages.after(
            "near", ALONG, lambda: Mux(large, g[6:], Mux(middle, g[2 : top - 3], Cat(C(0, 2), g[: top - 7])))
        )
        j = stages.after("j", ALONG, lambda: Cat(~large & middle, ~large & ~middle))

        def placed(near: Value) -> Value:
            first, second, third = near[-1], near[-2], near[-3]
            k = Cat(Mux(first | second, ~first, ~third), ~first & ~second)
            m = Mux(first, near[3:11], Mux(second, near[2:10], Mux(third, near[1:9], near[:8])))
            return Cat(m, k)

        return stages.after("place", ALONG + 1, placed, near), j

    @staticmethod
    def _shifted(stages: Stages, product: Staged, least: int, step: int, j: Staged, saturates: bool) -> Staged:
        """``product >> (least + step (2 - j))``, 18 bits: it is beyond them, if at all, only where j is above 0."""

        def beyond(value: Value) -> Value:
            rest = value[UNIT_BITS - 1 :]
            return rest.any() & ~rest.all()

        value = product.at(10)
        shifts = [value >> least + step * less for less in range(MOST_J + 1)]
        one, two = j.at(10)
        name = product.name
        moved = stages.after(
            f"{name}_moved", 10, lambda: Mux(two, shifts[0], Mux(one, shifts[1], shifts[2]))[:UNIT_BITS].as_signed()
        )
        if not saturates:
            return moved
        over = stages.after(f"{name}_over", 10, lambda: (two & beyond(shifts[0])) | (one & beyond(shifts[1])))
        sign = stages.after(f"{name}_sign", 10, lambda: value[-1])

        def limited(moved: Value, over: Value, sign: Value) -> Value:
            return Mux(over, Cat((~sign).replicate(UNIT_BITS - 1), sign), moved).as_signed()

        return stages.after(f"{name}_limited", 11, limited, moved, over, sign)
