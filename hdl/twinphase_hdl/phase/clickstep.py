"""The steps of phase, slope, variance and visibility that a click makes."""

from amaranth.hdl import Module, Mux, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Staged, Stages
from twinphase_hdl.phase.clicktime import PIECE
from twinphase_spec import tracking

GAIN_BITS = 35
STEP_A_BITS = GAIN_BITS + tracking.SCORE_BITS - tracking.STEP_A_SHIFT
STEP_B_BITS = 2 * PIECE + tracking.SCORE_BITS - tracking.STEP_B_SHIFT
FALL_BITS = 2 * PIECE + tracking.INFORMATION_BITS - tracking.FALL_SHIFT
"""Of the fall of the variance: signed."""
STEP_V_BITS = tracking.V_BITS + 1
MOST_GAIN = (1 << tracking.V_GAIN_BITS) - 1


class ClickStep(wiring.Component):
    """Of a tracking click, by ten multipliers::

        kq = kappa q,  G = (q << 12) - ((kq x) >> 16)
        dA = (G s) >> 16,  dB = (kq s) >> 12,  fall = (q q c) >> 17,  dV = gradient << (15 - v_gain), 0 if v_gain = 0

    Of any other event, q being 0, all but dV are 0.

    Members
    -------
    i_q, i_kappa, i_x, i_v_gain : In(17), In(17), In(16), In(4)
        An event; v_gain 0 of one that is not a tracking click.
    i_score, i_inform, i_gradient : In(signed(18)) each
        s, c and the gradient, seven clocks later. s and c: registers for multipliers' operands.
    o_a, o_b, o_fall, o_v : Out(signed(37)), Out(signed(40)), Out(signed(35)), Out(signed(33))
        2^-32 turn, 2^-52 turn/clock, 2^-34 of rad^2/(2 pi), 2^-32.

    Latency: `latency` = 9 clocks from i_q to all outputs. Throughput: an event per clock. Overflow: none.
    Source: docs/tracking.md, a tracking click.
    """

    i_q: In(tracking.Q_BITS)
    i_kappa: In(tracking.KAPPA_BITS)
    i_x: In(tracking.EPOCH_BITS)
    i_v_gain: In(tracking.V_GAIN_BITS)
    i_score: In(signed(tracking.SCORE_BITS))
    i_inform: In(signed(tracking.INFORMATION_BITS))
    i_gradient: In(signed(tracking.GRADIENT_BITS))
    o_a: Out(signed(STEP_A_BITS))
    o_b: Out(signed(STEP_B_BITS))
    o_fall: Out(signed(FALL_BITS))
    o_v: Out(signed(STEP_V_BITS))

    @property
    def latency(self) -> int:
        """Clocks from event to steps."""
        return 9

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        q = stages.given("q", 0, self.i_q)
        score = stages.given("score", 7, self.i_score)
        inform = stages.given("inform", 7, self.i_inform)

        q_factor = stages.operand("q_factor", 0, self.i_q)
        kappa = stages.operand("kappa", 0, self.i_kappa)
        kq = stages.after("kq", 1, lambda kappa, q: kappa * q, kappa, q_factor)
        qq = stages.after("qq", 1, lambda q: q * q, q_factor)

        x = stages.operand("x", 2, stages.given("x", 0, self.i_x).at(2))
        low, high = self._pieces(stages, "kq_x", 2, kq)
        low = stages.after("kq_x_low", 3, lambda kq, x: kq * x, low, x)
        high = stages.after("kq_x_high", 3, lambda kq, x: kq * x, high, x)
        kqx = self._joined(stages, "kq_x", 4, low, high, tracking.GAIN_X_SHIFT)
        gain = stages.after(
            "gain",
            5,
            lambda q, kqx: ((q << tracking.GAIN_Q_SHIFT) - kqx)[:GAIN_BITS].as_signed(),
            q,
            kqx,
        )

        a = self._product(stages, "step_a", gain, score, tracking.STEP_A_SHIFT)
        b = self._product(stages, "step_b", kq, score, tracking.STEP_B_SHIFT)
        fall = self._product(stages, "fall", qq, inform, tracking.FALL_SHIFT)

        v_gain = stages.given("v_gain", 0, self.i_v_gain)
        left = stages.after("left", 6, lambda v_gain: MOST_GAIN - v_gain, v_gain)
        moves = stages.after("moves", 7, lambda v_gain: v_gain.any(), v_gain)
        gradient = stages.given("gradient", 7, self.i_gradient)
        near = stages.after("near", 7, lambda gradient, left: gradient << left[:2], gradient, left)
        v = stages.after(
            "v",
            8,
            lambda near, left, moves: Mux(moves, (near << (left[2:4] << 2))[:STEP_V_BITS].as_signed(), 0),
            near,
            left,
            moves,
        )

        m.d.comb += [
            self.o_a.eq(a.at(9)),
            self.o_b.eq(b.at(9)),
            self.o_fall.eq(fall.at(9)),
            self.o_v.eq(v.at(9)),
        ]
        return m

    @staticmethod
    def _pieces(stages: Stages, name: str, stage: int, value: Staged) -> tuple[Staged, Staged]:
        """Low 17 bits and the rest, signed if the value is, as operands."""
        whole = value.at(stage)
        rest: Value = whole[PIECE:]
        return (
            stages.operand(f"{name}_low_factor", stage, whole[:PIECE]),
            stages.operand(f"{name}_high_factor", stage, rest.as_signed() if whole.shape().signed else rest),
        )

    @staticmethod
    def _joined(stages: Stages, name: str, stage: int, low: Staged, high: Staged, shift: int) -> Staged:
        """``(low + 2^17 high) >> shift``: below bit 17 there is nothing of high that could carry."""
        return stages.after(name, stage, lambda low, high: (low >> shift) + (high << PIECE - shift), low, high)

    def _product(self, stages: Stages, name: str, wide: Staged, factor: Staged, shift: int) -> Staged:
        """``(wide factor) >> shift`` in stage 9, of a factor of stage 7."""
        low, high = self._pieces(stages, name, 6, wide)
        low = stages.after(f"{name}_low", 7, lambda a, b: a * b, low, factor)
        high = stages.after(f"{name}_high", 7, lambda a, b: a * b, high, factor)
        return self._joined(stages, name, 8, low, high, shift)
