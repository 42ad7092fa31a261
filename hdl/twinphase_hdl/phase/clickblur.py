"""The gain of a click, and the visibility that it sees."""

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_spec import tracking

BLUR_BITS = (tracking.BLUR_FACTOR * tracking.Q_MAX >> tracking.BLUR_SHIFT).bit_length()


def limited(u: Value) -> Value:
    """``min(u, 65407)``: above, all of the highest nine bits are set."""
    high = tracking.VISIBILITY_BITS - 9
    over = u[high:].all()
    return Cat(u[:high] | over.replicate(high), u[high] & ~over, u[high + 1 :])


class ClickBlur(wiring.Component):
    """``q = min((p + grow) >> 12, 2^17 - 1)``, ``u = min(i_u, 65407)``, ``w = u - ((u ((201 q) >> 11)) >> 16)``, of one multiplier.

    Members
    -------
    i_p, i_grow : In(32), In(32)
        Variance and its growth, 2^-34 of rad^2/(2 pi).
    i_u : In(16)
        Visibility, 2^-16, two clocks later; taken to be 65407 at most.
    o_q : Out(17)
        2^-22 of rad^2/(2 pi), two clocks after p.
    o_blur : Out(14)
        ``(201 q) >> 11``: the variance, 2^-16, four clocks after p.
    o_w : Out(16)
        2^-16.

    Latency: `latency` = 6 clocks from p to w. Throughput: a click per clock. Overflow: q saturates.
    Source: docs/tracking.md, a tracking click.
    """

    i_p: In(tracking.P_BITS)
    i_grow: In(tracking.P_BITS)
    i_u: In(tracking.VISIBILITY_BITS)
    o_q: Out(tracking.Q_BITS)
    o_blur: Out(BLUR_BITS)
    o_w: Out(tracking.VISIBILITY_BITS)

    @property
    def latency(self) -> int:
        """Clocks from p to w."""
        return 6

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        p, grow = stages.given("p", 0, self.i_p), stages.given("grow", 0, self.i_grow)
        u = stages.given("u", 2, self.i_u)
        u = stages.after("u_limited", 2, limited, u)
        grown = stages.after("grown", 0, lambda p, grow: (p + grow) >> tracking.Q_SHIFT, p, grow)
        q = stages.after("q", 1, lambda p: Mux(p[tracking.Q_BITS :].any(), tracking.Q_MAX, p[: tracking.Q_BITS]), grown)
        # 201 = 9 + 3 * 64: two sums and one of them, instead of a multiplier.
        nine = stages.after("nine", 2, lambda q: q + (q << 3), q)
        three = stages.after("three", 2, lambda q: q + (q << 1), q)
        blur = stages.after("blur", 3, lambda nine, three: (nine + (three << 6)) >> tracking.BLUR_SHIFT, nine, three)
        factor = stages.operand("u_factor", 3, u.at(3))
        lost = stages.after("lost", 4, lambda u, blur: u * blur, factor, blur)
        bits = tracking.VISIBILITY_BITS
        w = stages.after("w", 5, lambda u, lost: (u - (lost >> bits))[:bits], u, lost)
        m.d.comb += [self.o_q.eq(q.at(2)), self.o_blur.eq(blur.at(4)), self.o_w.eq(w.at(6))]
        return m
