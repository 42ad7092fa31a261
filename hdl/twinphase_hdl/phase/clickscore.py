"""Score, information and visibility gradient of a click."""

from amaranth.hdl import Cat, Module, Mux, Value, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Staged, Stages
from twinphase_spec import tracking

UNIT_BITS = tracking.UNIT_FRACTION + 1
LEAST_SHIFTS = (11, 5, 17)
"""Right shifts of score, information and gradient at h = 9; a lower h shifts by 9 - h (information: twice that) more."""
MOST_H = 9
ALONG = 5
"""Clocks from the index to ``v cos``."""


def sixteenths(value: Value) -> Value:
    """18 bits of a product of 17 by 18 bits whose 2^-16 part is dropped."""
    return (value >> tracking.VISIBILITY_BITS)[:UNIT_BITS].as_signed()


def beyond(value: Value) -> Value:
    """Whether a signed value needs more than 18 bits."""
    return value[UNIT_BITS - 1 :].any() & ~value[UNIT_BITS - 1 :].all()


def limited(value: Value, over: Value) -> Value:
    """18 bits of a signed value, the nearest of them if it is ``over``."""
    sign = value[-1]
    return Mux(over, Cat((~sign).replicate(UNIT_BITS - 1), sign), value[:UNIT_BITS]).as_signed()


class ClickScore(wiring.Component):
    """A click at the phase theta under the visibility w (`v = w` for L, -w for R)::

        along  = (v cos) >> 16,  across = (v sin) >> 16,  g = 2^17 + along,  h = 17 - floor(log2 g),  m = ((g << h) >> 9) - 2^8
        score  = sat_18(-((across RECIPROCAL[m]) >> (20 - h)))
        inform = sat_18((((along + ((w w) >> 15)) >> 1) SQUARE[m]) >> (23 - 2 h))
        gradient = (+-cos RECIPROCAL[m]) >> (26 - h)                         fits into 18 bits always

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
        ``(along + 2^17) >> 8``, ALONG = 5 clocks after the index.

    Latency: `latency` = 16 clocks from the index to all other outputs. Throughput: a click per clock. Overflow: score and information
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
        return 16

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        m.submodules.sines = sines = memory.Memory(
            shape=signed(UNIT_BITS), depth=len(tracking.SINE), init=tracking.SINE, attrs={"ram_style": "block"}
        )
        index = stages.given("index", 0, self.i_index)
        here = stages.after("here", 0, lambda index: index, index)
        # A quarter turn further: only the two highest bits change.
        low = tracking.SINE_BITS - 2
        ahead = stages.after("ahead", 0, lambda index: Cat(index[:low], (index[low:] + 1)[:2]), index)
        sine = stages.table("sine", 1, sines, here)
        cosine = stages.table("cosine", 1, sines, ahead)

        w = stages.given("w", 2, self.i_w)
        port = stages.given("port", 2, self.i_port)
        v = stages.after("v", 3, lambda w, port: Mux(port, -w, w)[: tracking.VISIBILITY_BITS + 1].as_signed(), w, port)
        w_factor = stages.operand("w_factor", 3, w.at(3))
        sine_factor = stages.operand("sine_factor", 3, sine.at(3))
        cosine_factor = stages.operand("cosine_factor", 3, cosine.at(3))
        v_cosine = stages.after("v_cosine", 4, lambda v, unit: v * unit, v, cosine_factor)
        v_sine = stages.after("v_sine", 4, lambda v, unit: v * unit, v, sine_factor)
        square = stages.after("square", 4, lambda w: w * w, w_factor)
        along = stages.given("along", ALONG, sixteenths(v_cosine.at(ALONG)))
        top = UNIT_BITS - 1
        m.d.comb += self.o_along.eq(
            Cat(along.at(ALONG)[UNIT_BITS - tracking.EVIDENCE_INDEX_BITS : top], ~along.at(ALONG)[top])
        )
        across = stages.given("across", 5, sixteenths(v_sine.at(5)))
        bend = stages.after(
            "bend",
            5,
            lambda along, square: ((along + (square >> 15)) >> 1)[:UNIT_BITS].as_signed(),
            along,
            square,
        )

        mantissa, more = self._normalised(stages, along)
        m.submodules.reciprocals = reciprocals = memory.Memory(
            shape=2 * tracking.UNIT_FRACTION,
            depth=1 << tracking.MANTISSA_BITS,
            init=[
                reciprocal | square << tracking.UNIT_FRACTION
                for reciprocal, square in zip(tracking.RECIPROCAL, tracking.SQUARE, strict=True)
            ],
            attrs={"ram_style": "block"},
        )
        both = stages.table("both", 8, reciprocals, mantissa)
        rho = stages.after("rho", 10, lambda both: both[: tracking.UNIT_FRACTION], both)
        sigma = stages.after("sigma", 10, lambda both: both[tracking.UNIT_FRACTION :], both)
        across = stages.operand("across_factor", 10, across.at(10))
        bend = stages.operand("bend_factor", 10, bend.at(10))
        z = stages.after("z", 10, lambda port, cosine: Mux(port, -cosine, cosine)[:UNIT_BITS].as_signed(), port, cosine)

        products = [
            stages.after(name, 11, lambda a, b: a * b, a, b)
            for name, a, b in (("score", across, rho), ("inform", bend, sigma), ("gradient", z, rho))
        ]
        score, inform, gradient = (
            self._shifted(stages, product, least, each, more)
            for product, least, each in zip(products, LEAST_SHIFTS, (1, 2, 1), strict=True)
        )
        opposite = stages.after("opposite", 14, lambda score: -score, score)
        score = stages.after("opposite_limited", 15, lambda value: limited(value, beyond(value)), opposite)
        inform_over = stages.after("inform_far_over", 14, beyond, inform)
        inform = stages.after("inform_far_limited", 15, limited, inform, inform_over)
        m.d.comb += [
            self.o_score.eq(score.at(16)),
            self.o_inform.eq(inform.at(16)),
            self.o_gradient.eq(gradient.at(16)[: tracking.GRADIENT_BITS]),
        ]
        return m

    @staticmethod
    def _normalised(stages: Stages, along: Staged) -> tuple[Staged, Staged]:
        """m and 9 - h of 2^17 + along, two of h's bits per stage at most."""
        top = UNIT_BITS - 1
        g = stages.given("g", 5, Cat(along.at(5)[:top], ~along.at(5)[top]))
        steps = []
        for stage, places in ((5, 8), (6, 4)):
            small = stages.after(f"small_{places}", stage, lambda g, n=places: ~g[UNIT_BITS - n :].any(), g)
            g = stages.after(
                f"g_{places}", stage, lambda g, n=places: Mux(g[UNIT_BITS - n :].any(), g, g << n)[:UNIT_BITS], g
            )
            steps.append(small)
        ones = stages.after(
            "ones", 7, lambda g: Cat(Mux(g[top - 1 :].any(), ~g[top], ~g[top - 2]), ~g[top - 1 :].any()), g
        )
        mantissa = stages.after(
            "mantissa",
            7,
            lambda g: Mux(g[top], g[9:17], Mux(g[top - 1], g[8:16], Mux(g[top - 2], g[7:15], g[6:14]))),
            g,
        )
        more = stages.after(
            "more",
            8,
            lambda eight, four, ones: (MOST_H - Cat(ones, four, eight))[:4],
            *steps,
            ones,
        )
        return mantissa, more

    @staticmethod
    def _shifted(stages: Stages, product: Staged, least: int, each: int, more: Staged) -> Staged:
        """``product >> (least + each more)``."""
        near = stages.after(
            f"{product.name}_near",
            12,
            lambda product, more: (product >> least) >> (more[:2] << each - 1),
            product,
            more,
        )
        return stages.after(f"{product.name}_far", 13, lambda near, more: near >> (more[2:] << each + 1), near, more)
