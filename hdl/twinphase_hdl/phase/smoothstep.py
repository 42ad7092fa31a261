"""One step back of the smoother."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import smoothing

STEP_BITS = smoothing.STEP_BITS
STEP = signed(STEP_BITS)
GAINS = data.ArrayLayout(signed(smoothing.GAIN_BITS), 4)
"""H11, H12, H21, H22."""
PIECE = smoothing.GAIN_BITS - 1
"""Low bits of an error that one multiplication takes, unsigned; the next takes the rest, signed."""
PRODUCT_BITS = 2 * smoothing.GAIN_BITS
SUM_BITS = smoothing.GAIN_BITS + STEP_BITS + 1
"""Of the sum of two products of a gain and an error."""
PRODUCTS = 8


def saturated(value: Value, bits: int) -> Value:
    """A signed value limited to ``-2^(bits - 1) ... 2^(bits - 1) - 1``."""
    over = ~(value[bits - 1 :].all() | ~value[bits - 1 :].any())
    limit = Mux(value[-1], Const(-1 << (bits - 1), signed(bits)), Const((1 << (bits - 1)) - 1, signed(bits)))
    return Mux(over, limit, value[:bits].as_signed())


class SmoothStep(wiring.Component):
    """Smoothed phase f' and step s' of a node (F, S) from those of the next one (f, s), with one multiplier::

        e1 = wrap_32(f - F - S),   e2 = sat_32(s - S)
        f' = (F + ((H11 e1 + H12 e2) >> 16)) mod 2^32,   s' = sat_32(S + ((H21 e1 + H22 e2) >> 16))

    if the two are linked, otherwise ``f' = F, s' = S``.

    Members
    -------
    i_start : In(1)
        Strobe; all other inputs hold from it until ``o_done``.
    i_phase, i_step : In(32), In(signed(32))
        f and s, 2^-32 turn.
    i_node_phase, i_node_step : In(32), In(signed(32))
        F and S.
    i_linked : In(1)
    i_gains : In(ArrayLayout(signed(18), 4))
        H11, H12, H21, H22, 2^-16.
    o_phase, o_step : Out(32), Out(signed(32))
    o_done : Out(1)
        Strobe: they are there, and stay until the next ``i_start``.

    Latency: `latency` clocks from i_start to o_done. Throughput: one at a time. Overflow: as above, no other.
    Source: Rauch, Tung and Striebel, AIAA J. 3, 1965, 1445, eq. 3.28; docs/phase.md.
    """

    i_start: In(1)
    i_phase: In(STEP_BITS)
    i_step: In(STEP)
    i_node_phase: In(STEP_BITS)
    i_node_step: In(STEP)
    i_linked: In(1)
    i_gains: In(GAINS)
    o_phase: Out(STEP_BITS)
    o_step: Out(STEP)
    o_done: Out(1)

    @property
    def latency(self) -> int:
        """Two clocks for the errors, a multiplication per clock, three until the last is summed, and the step's sum and its limit."""
        return PRODUCTS + 6

    def elaborate(self, platform) -> Module:
        m = Module()
        # 1, 2: the errors; without a link there are none, and nothing is added.
        started, way, change = Signal(), Signal(STEP_BITS), Signal(signed(STEP_BITS + 1))
        phase_error, step_error = Signal(STEP), Signal(STEP)
        m.d.sync += [
            started.eq(self.i_start),
            way.eq(self.i_phase - self.i_node_phase),
            change.eq(self.i_step - self.i_node_step),
            phase_error.eq(Mux(self.i_linked, way - self.i_node_step, 0)),
            step_error.eq(Mux(self.i_linked, saturated(change, STEP_BITS), 0)),
        ]

        # 3: the products of the phase, then those of the step; of each the high pieces first: H e1, H e2, then the low ones.
        place, busy = Signal(range(PRODUCTS)), Signal()
        of_step, low, second = place[2], place[1], place[0]
        with m.If(started):
            m.d.sync += busy.eq(1)
        with m.Elif(place == PRODUCTS - 1):
            m.d.sync += busy.eq(0)
        with m.If(busy):
            m.d.sync += place.eq(place + 1)
        error = Mux(second, step_error, phase_error)
        gain, piece = Signal(signed(smoothing.GAIN_BITS)), Signal(signed(smoothing.GAIN_BITS))
        product, total = Signal(signed(PRODUCT_BITS)), Signal(signed(SUM_BITS))
        m.d.sync += [
            gain.eq(Mux(of_step, Mux(second, *self._row(1)), Mux(second, *self._row(0)))),
            piece.eq(Mux(low, error[:PIECE], error[PIECE:].as_signed())),
            product.eq(gain * piece),
        ]

        # 4: summed; a clock behind the product, two behind its operands.
        places = [place, *(Signal.like(place, name=f"place_{k}") for k in (1, 2))]
        active = [busy, *(Signal(name=f"busy_{k}") for k in (1, 2))]
        for k in (0, 1):
            m.d.sync += [places[k + 1].eq(places[k]), active[k + 1].eq(active[k])]
        before = Signal(signed(SUM_BITS))
        with m.Switch(places[2][:2]):
            with m.Case(0):
                m.d.comb += before.eq(0)
            with m.Case(2):
                m.d.comb += before.eq(total << PIECE)
            with m.Default():
                m.d.comb += before.eq(total)
        phase_summed, step_summed, step_added = Signal(), Signal(), Signal()
        m.d.sync += [
            phase_summed.eq(active[2] & (places[2] == PRODUCTS // 2 - 1)),
            step_summed.eq(active[2] & (places[2] == PRODUCTS - 1)),
        ]
        with m.If(active[2]):
            m.d.sync += total.eq(before + product)

        # 5: on top of the node.
        correction = total >> smoothing.GAIN_FRACTION
        step = Signal(signed(SUM_BITS - smoothing.GAIN_FRACTION + 1))
        m.d.sync += [
            step.eq(self.i_node_step + correction),
            *(step_added.eq(step_summed), self.o_done.eq(step_added)),
        ]
        with m.If(phase_summed):
            m.d.sync += self.o_phase.eq(self.i_node_phase + correction)
        with m.If(step_added):
            m.d.sync += self.o_step.eq(saturated(step, STEP_BITS))
        return m

    def _row(self, row: int) -> tuple[Value, Value]:
        """Gains of the second and of the first error."""
        return self.i_gains[2 * row + 1], self.i_gains[2 * row]
