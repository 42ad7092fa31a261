"""The steps of phase, slope, variance and visibility that a click makes."""

from amaranth.hdl import Module, Mux, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Staged, Stages
from twinphase_hdl.phase.clickstart import KIND_BITS
from twinphase_hdl.phase.clicktime import PIECE
from twinphase_spec import tracking

GAIN_BITS = 35
STEP_A_BITS = GAIN_BITS + tracking.SCORE_BITS - tracking.STEP_A_SHIFT
STEP_B_BITS = 2 * PIECE + tracking.SCORE_BITS - tracking.STEP_B_SHIFT
STEP_P_BITS = 36
STEP_V_BITS = tracking.V_BITS + 1
MOST_GAIN = (1 << tracking.V_GAIN_BITS) - 1


class ClickStep(wiring.Component):
    """Of a tracking click, by ten multipliers::

        kq = kappa q,  G = (q << 12) - ((kq x) >> 16)
        dA = (G s) >> 16,  dB = (kq s) >> 12,  dp = grow - ((q q c) >> 17),  dV = gradient << (15 - v_gain), 0 if v_gain = 0

    of a starting one dA as it is given, of a turn ``dp = grow``, otherwise 0.

    Members
    -------
    i_kind, i_q, i_kappa, i_x, i_grow, i_v_gain : In(3), In(17), In(17), In(16), In(32), In(4)
        An event.
    i_score, i_inform, i_gradient : In(signed(18)) each
        s, c and the gradient, seven clocks later. s and c: registers for multipliers' operands.
    i_start : In(signed(32))
        dA of a starting click, nine clocks later.
    o_a, o_b, o_p, o_v : Out(signed(37)), Out(signed(40)), Out(signed(36)), Out(signed(33))
        2^-32 turn, 2^-52 turn/clock, 2^-34 of rad^2/(2 pi), 2^-32.

    Latency: `latency` = 11 clocks from i_kind to all outputs. Throughput: an event per clock. Overflow: none.
    Source: docs/tracking.md, a tracking click.
    """

    i_kind: In(KIND_BITS)
    i_q: In(tracking.Q_BITS)
    i_kappa: In(tracking.KAPPA_BITS)
    i_x: In(tracking.EPOCH_BITS)
    i_grow: In(tracking.P_BITS)
    i_v_gain: In(tracking.V_GAIN_BITS)
    i_score: In(signed(tracking.SCORE_BITS))
    i_inform: In(signed(tracking.INFORMATION_BITS))
    i_gradient: In(signed(tracking.GRADIENT_BITS))
    i_start: In(signed(tracking.A_FRACTION))
    o_a: Out(signed(STEP_A_BITS))
    o_b: Out(signed(STEP_B_BITS))
    o_p: Out(signed(STEP_P_BITS))
    o_v: Out(signed(STEP_V_BITS))

    @property
    def latency(self) -> int:
        """Clocks from event to steps."""
        return 11

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        q = stages.given("q", 0, self.i_q)
        kind = stages.given("kind", 0, self.i_kind)
        grow = stages.given("grow", 0, self.i_grow)
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

        is_tracking = stages.after("is_tracking", 8, lambda kind: kind == tracking.TRACKING, kind)
        is_starting = stages.after("is_starting", 8, lambda kind: kind == tracking.STARTING, kind)
        is_turn = stages.after("is_turn", 8, lambda kind: kind == tracking.TURN, kind)
        start = stages.given("start", 9, self.i_start)
        a = stages.after(
            "a",
            9,
            lambda a, start, tracks, starts: Mux(tracks, a[:STEP_A_BITS].as_signed(), Mux(starts, start, 0)),
            a,
            start,
            is_tracking,
            is_starting,
        )
        b = stages.after("b", 9, lambda b, tracks: Mux(tracks, b[:STEP_B_BITS].as_signed(), 0), b, is_tracking)
        net = stages.after("net", 9, lambda grow, fall: (grow - fall)[:STEP_P_BITS].as_signed(), grow, fall)
        p = stages.after(
            "p",
            10,
            lambda net, grow, tracks, turns: Mux(tracks, net, Mux(turns, grow, 0))[:STEP_P_BITS].as_signed(),
            net,
            grow,
            is_tracking,
            is_turn,
        )

        v_gain = stages.given("v_gain", 0, self.i_v_gain)
        left = stages.after("left", 6, lambda v_gain: MOST_GAIN - v_gain, v_gain)
        moves = stages.after("moves", 8, lambda v_gain, kind: v_gain.any() & (kind == tracking.TRACKING), v_gain, kind)
        gradient = stages.given("gradient", 7, self.i_gradient)
        near = stages.after("near", 7, lambda gradient, left: gradient << left[:2], gradient, left)
        far = stages.after("far", 8, lambda near, left: near << (left[2:4] << 2), near, left)
        v = stages.after("v", 9, lambda far, moves: Mux(moves, far[:STEP_V_BITS].as_signed(), 0), far, moves)

        m.d.comb += [self.o_a.eq(a.at(11)), self.o_b.eq(b.at(11)), self.o_p.eq(p.at(11)), self.o_v.eq(v.at(11))]
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
