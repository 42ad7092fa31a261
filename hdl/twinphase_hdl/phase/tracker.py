"""Phase of both bands, window by window: estimate, unwrap, scale, derotate."""

from amaranth.hdl import C, Cat, Module, Mux, ResetInserter, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from twinphase_hdl.phase.cordic import ROTATION_LATENCY, VECTORING_LATENCY, Cordic
from twinphase_hdl.phase.counts import ReferenceCounts
from twinphase_hdl.phase.multiply import RATIO_BITS, SCALING_LATENCY, PhaseScaler
from twinphase_hdl.phase.record import RecordRegister
from twinphase_hdl.types import Anchor, Click, record_words
from twinphase_spec import fixed, frame, packets, units
from twinphase_spec.packets import Stream

SUM_BITS = fixed.DEROTATED_SUM_BITS


class WindowPhase(data.Struct):
    """Reference phase of a closed window, carried to the quantum wavelength."""

    window: frame.WINDOW_BITS
    psi_rq: units.TURN_BITS
    r_valid: 1


class DwindowPhase(data.Struct):
    """Differential phase of a closed d-window."""

    dwindow: frame.WINDOW_BITS
    psi_d: units.TURN_BITS
    d_valid: 1


class PhaseSequence(wiring.Component):
    """Counts, one shared CORDIC and the steps 1 to 5 of each closed window; see `PhaseTracker` for formulas and members.

    Records leave for one clock each. Its domain's reset clears it.
    """

    i: In(Click)
    i_valid: In(1)
    i_close: In(1)
    i_anchor: In(Anchor)
    i_swap: In(2)
    i_ratio: In(signed(RATIO_BITS))
    o_phase: Out(record_words(Stream.PHASE))
    o_phase_valid: Out(1)
    o_dphase: Out(record_words(Stream.DPHASE))
    o_dphase_valid: Out(1)
    o_window: Out(WindowPhase)
    o_window_valid: Out(1)
    o_dwindow: Out(DwindowPhase)
    o_dwindow_valid: Out(1)
    o_idle: Out(1)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.counts_q = counts_q = ReferenceCounts(band="q")
        m.submodules.counts_r = counts_r = ReferenceCounts(band="r")
        m.submodules.cordic = cordic = Cordic()
        m.submodules.scaler = scaler = PhaseScaler()

        for counts, swap in ((counts_q, self.i_swap[0]), (counts_r, self.i_swap[1])):
            m.d.comb += [
                counts.i.eq(self.i),
                counts.i_valid.eq(self.i_valid),
                counts.i_swap.eq(swap),
                counts.i_close.eq(self.i_close),
                counts.i_bank.eq(~self.i_anchor.window[0]),  # the closed window is the one before the anchor's
            ]

        window, dwindow = Signal(frame.WINDOW_BITS), Signal(frame.WINDOW_BITS)
        ends_dwindow = Signal()
        psi_r, r_valid = Signal(units.TURN_BITS), Signal()
        step = Signal(signed(units.TURN_BITS))
        unwrapped = Signal(signed(fixed.UNWRAPPED_BITS))
        psi_rq = Signal(units.TURN_BITS)
        sum_x, sum_y = Signal(signed(SUM_BITS)), Signal(signed(SUM_BITS))
        sum_clicks = Signal(32)
        psi_d, d_valid = Signal(units.TURN_BITS), Signal()

        request, result = cordic.i.payload, cordic.o.payload
        m.d.comb += [
            scaler.i.payload.unwrapped.eq(unwrapped),
            scaler.i.payload.ratio.eq(self.i_ratio),
            self.o_phase.eq(
                Cat(
                    window,
                    psi_r,
                    extended(Mux(r_valid, packets.FLAG_R_VALID, 0), 16),
                    extended(counts_r.o_total, 32),
                    extended(counts_q.o_total, 32),
                    extended(unwrapped, 64),
                    extended(counts_r.o_cosine, 32),
                    extended(counts_r.o_sine, 32),
                )
            ),
            self.o_dphase.eq(
                Cat(
                    dwindow,
                    psi_d,
                    extended(Mux(d_valid, packets.FLAG_D_VALID, 0), 16),
                    sum_clicks,
                    C(0, 32),
                    extended(sum_x, 64),
                    extended(sum_y, 64),
                )
            ),
            self.o_window.window.eq(window),
            self.o_window.psi_rq.eq(psi_rq),
            self.o_window.r_valid.eq(r_valid),
            self.o_dwindow.dwindow.eq(dwindow),
            self.o_dwindow.psi_d.eq(psi_d),
            self.o_dwindow.d_valid.eq(d_valid),
        ]

        counted_q = Signal()
        m.d.sync += counted_q.eq(counts_q.o_cosine.any() | counts_q.o_sine.any())
        waiting = Signal()
        m.d.comb += self.o_idle.eq(waiting & counts_q.o_idle & counts_r.o_idle)
        with m.FSM():
            with m.State("WAIT"):
                m.d.comb += waiting.eq(1)
                with m.If(self.i_close):
                    m.d.sync += [
                        window.eq(self.i_anchor.window),
                        dwindow.eq(self.i_anchor.dwindow),
                        ends_dwindow.eq(self.i_anchor.dwindow_window == 0),
                    ]
                    m.next = "COUNTED"

            with m.State("COUNTED"):
                # The anchor has just left the window, and the d-window if it lies in the first window of the next.
                m.d.sync += [window.eq(window - 1), dwindow.eq(dwindow - ends_dwindow)]
                m.next = "REFERENCE"

            with m.State("REFERENCE"):
                m.d.comb += [
                    request.x.eq(counts_r.o_cosine),
                    request.y.eq(counts_r.o_sine),
                    cordic.i.valid.eq(1),
                ]
                m.next = "ESTIMATE"

            with m.State("ESTIMATE"):
                m.d.comb += cordic.o.ready.eq(1)
                with m.If(cordic.o.valid):
                    m.d.sync += [r_valid.eq(~result.zero), psi_r.eq(Mux(result.zero, psi_r, result.angle))]
                    m.next = "STEP"

            with m.State("STEP"):
                m.d.sync += step.eq(Mux(r_valid, psi_r - unwrapped[: units.TURN_BITS], 0))
                m.next = "UNWRAP"

            with m.State("UNWRAP"):
                m.d.sync += unwrapped.eq(unwrapped + step)
                m.next = "SCALE"

            with m.State("SCALE"):
                m.d.comb += scaler.i.valid.eq(1)
                m.next = "SCALED"

            with m.State("SCALED"):
                m.d.comb += scaler.o.ready.eq(1)
                with m.If(scaler.o.valid):
                    m.d.sync += psi_rq.eq(scaler.o.payload)
                    with m.If(r_valid & counted_q):
                        m.next = "DEROTATE"
                    with m.Else():
                        m.next = "RECORD"

            with m.State("DEROTATE"):
                m.d.comb += [
                    request.x.eq(counts_q.o_cosine << fixed.DEROTATE_SHIFT),
                    request.y.eq(counts_q.o_sine << fixed.DEROTATE_SHIFT),
                    request.angle.eq(-psi_rq),
                    request.rotate.eq(1),
                    cordic.i.valid.eq(1),
                ]
                m.next = "ADD"

            with m.State("ADD"):
                m.d.comb += cordic.o.ready.eq(1)
                with m.If(cordic.o.valid):
                    m.d.sync += [
                        sum_x.eq(sum_x + result.x),
                        sum_y.eq(sum_y + result.y),
                        sum_clicks.eq(sum_clicks + counts_q.o_total),
                    ]
                    m.next = "RECORD"

            with m.State("RECORD"):
                m.d.comb += [self.o_phase_valid.eq(1), self.o_window_valid.eq(1)]
                with m.If(ends_dwindow):
                    m.next = "DIFFERENTIAL"
                with m.Else():
                    m.next = "WAIT"

            with m.State("DIFFERENTIAL"):
                m.d.comb += [request.x.eq(sum_x), request.y.eq(sum_y), cordic.i.valid.eq(1)]
                m.next = "DIFFERENTIAL-ESTIMATE"

            with m.State("DIFFERENTIAL-ESTIMATE"):
                m.d.comb += cordic.o.ready.eq(1)
                with m.If(cordic.o.valid):
                    m.d.sync += [d_valid.eq(~result.zero), psi_d.eq(Mux(result.zero, psi_d, result.angle))]
                    m.next = "DIFFERENTIAL-RECORD"

            with m.State("DIFFERENTIAL-RECORD"):
                m.d.comb += [self.o_dphase_valid.eq(1), self.o_dwindow_valid.eq(1)]
                m.d.sync += [sum_x.eq(0), sum_y.eq(0), sum_clicks.eq(0)]
                m.next = "WAIT"
        return m


class PhaseTracker(wiring.Component):
    """Phase of both bands once per closed window w, in turns; ``D_k`` and N from `ReferenceCounts`::

        psi_r   = atan2(D3 - D1, D0 - D2)              r band; kept if the vector is zero (r_valid = 0)
        U      += wrap(psi_r - U)                      unwrapped, 48 bits
        psi_rq  = (U + ((U C) >> 32)) mod 1            C = nu_q / nu_r - 1
        S      += K 2^6 (D0 - D2, D3 - D1) turned by -psi_rq    q band, K the CORDIC's gain, if both vectors are not zero
        psi_d   = atan2(Sy, Sx)                        at the end of the d-window; then S = 0

    Members
    -------
    i_run : In(1)
        0 clears everything but records that wait to be taken, from the next clock on and up to the first one in which it is 1 again.
    i, i_valid : In(Click), In(1)
        A framed click; always taken.
    i_close, i_anchor : In(1), In(Anchor)
        Strobe with the timebase's anchor, which has just entered the window after the closed one.
    i_swap : In(2)
        Bit 0 exchanges L and R of the q band, bit 1 of the r band.
    i_ratio : In(signed(32))
        C in 2^-32.
    o_phase, o_dphase : Out(stream of record words)
        PHASE record of each window, DPHASE record of each d-window (`packets.PHASE_DTYPE`, `packets.DPHASE_DTYPE`).
    o_window, o_window_valid, o_dwindow, o_dwindow_valid : Out(WindowPhase), Out(1), Out(DwindowPhase), Out(1)
        The same for the psi join, for one clock each; o_dwindow comes after the o_window of its last window.
    o_lost : Out(1)
        Strobe: a record met one not yet taken, which a packer that takes within 8192 clocks never lets happen.
    o_idle : Out(1)

    Latency: at most `latency` clocks from i_close to the DPHASE record. Throughput: one window per `latency` clocks (a window
    lasts 8192 at least). Overflow: counts saturate, U, S and Nq wrap.
    Source: four-phase estimate and derotation as in docs/contract.md and the physics notes.
    """

    i_run: In(1)
    i: In(Click)
    i_valid: In(1)
    i_close: In(1)
    i_anchor: In(Anchor)
    i_swap: In(2)
    i_ratio: In(signed(RATIO_BITS))
    o_phase: Out(stream.Signature(record_words(Stream.PHASE)))
    o_dphase: Out(stream.Signature(record_words(Stream.DPHASE)))
    o_window: Out(WindowPhase)
    o_window_valid: Out(1)
    o_dwindow: Out(DwindowPhase)
    o_dwindow_valid: Out(1)
    o_lost: Out(1)
    o_idle: Out(1)

    @property
    def latency(self) -> int:
        """Most clocks from i_close to a valid record: three CORDIC runs, a product and the steps between."""
        return 2 * VECTORING_LATENCY + ROTATION_LATENCY + SCALING_LATENCY + 11

    def elaborate(self, platform) -> Module:
        m = Module()
        sequence = PhaseSequence()
        rests = Signal(init=1)
        """A register beside all that it clears, which lies far from that of the run."""
        m.d.sync += rests.eq(~self.i_run)
        m.submodules.sequence = ResetInserter(rests)(sequence)
        m.submodules.phase = phase = RecordRegister(record=Stream.PHASE)
        m.submodules.dphase = dphase = RecordRegister(record=Stream.DPHASE)
        connect(m, phase.o, flipped(self.o_phase))
        connect(m, dphase.o, flipped(self.o_dphase))
        m.d.comb += [
            sequence.i.eq(self.i),
            sequence.i_valid.eq(self.i_valid),
            sequence.i_close.eq(self.i_close),
            sequence.i_anchor.eq(self.i_anchor),
            sequence.i_swap.eq(self.i_swap),
            sequence.i_ratio.eq(self.i_ratio),
            phase.i.eq(sequence.o_phase),
            phase.i_valid.eq(sequence.o_phase_valid),
            dphase.i.eq(sequence.o_dphase),
            dphase.i_valid.eq(sequence.o_dphase_valid),
            self.o_window.eq(sequence.o_window),
            self.o_window_valid.eq(sequence.o_window_valid),
            self.o_dwindow.eq(sequence.o_dwindow),
            self.o_dwindow_valid.eq(sequence.o_dwindow_valid),
            self.o_lost.eq(phase.o_lost | dphase.o_lost),
            self.o_idle.eq(sequence.o_idle & ~phase.o.valid & ~dphase.o.valid & (rests ^ self.i_run)),
        ]
        return m


def extended(value: Value, bits: int) -> Value:
    """``value`` in ``bits`` bits, sign-extended if it is signed."""
    top = value[-1] if value.shape().signed else C(0, 1)
    return Cat(value, top.replicate(bits - len(value)))
