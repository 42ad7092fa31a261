"""Psi join: the phase of each herald's own window, once its d-window is closed."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import Queue
from twinphase_hdl.phase.tracker import DwindowPhase, WindowPhase
from twinphase_hdl.sift.herald import RING_DWINDOW_BITS, RING_WINDOW_BITS, PendingHerald
from twinphase_hdl.sift.heraldnumbers import HeraldNumbers
from twinphase_hdl.sift.waiting import WaitingHeralds
from twinphase_hdl.types import record_words
from twinphase_spec import frame, packets, units
from twinphase_spec.packets import Stream

KEPT_DWINDOWS = 3
"""Closed d-windows whose phases are used. One more is kept, as the check is a clock early, and one is open."""
assert (KEPT_DWINDOWS + 2) * frame.MAX_WINDOWS_PER_DWINDOW <= 1 << RING_WINDOW_BITS


class _RingPhase(data.Struct):
    """A phase in a ring, 2^-16 turn, and whether it is an estimate."""

    psi: units.TURN_BITS
    valid: 1


class _Waiting(data.Struct):
    """What is kept of a `PendingHerald`."""

    window: RING_WINDOW_BITS
    dwindow: RING_DWINDOW_BITS
    resumes: 1


class PsiJoin(wiring.Component):
    """Gives herald h of window w and d-window W, once W is closed and h has left the node, its PSI record, in the order of h::

        psi_q = (psi_rq(w) + psi_d(W)) mod 1,   flags = r_valid(w) | d_valid(W)

    Heralds wait in block RAM with the low bits of w and W; phases lie in rings addressed by these. A herald whose record was held
    up (by ``o``) until its d-window has left the rings, which takes KEPT_DWINDOWS d-windows, gets psi 0 with flags 0.

    Parameters
    ----------
    pending_heralds : int
        Heralds that may wait for their d-window (1 or more); PENDING_HERALDS of the node is 4096.

    Members
    -------
    i_run : In(1)
        0 empties the queue and restarts the numbers; a record in the output register still leaves.
    i, i_valid : In(PendingHerald), In(1)
        A herald that waits from now on. Must not be valid while ``o_full`` is high.
    i_number, i_resumes : In(32), In(1)
        Its number; whether others before it were passed over, so that the records' numbers go on with this one (`HeraldNumbers`).
    i_window, i_window_valid, i_dwindow, i_dwindow_valid : In(WindowPhase), In(1), In(DwindowPhase), In(1)
        From `PhaseTracker`: phases of a closed window, and of a closed d-window after those of its windows.
    o_flush, i_flushed : Out(1), In(1)
        Strobe: the heralds of a closed d-window are to leave now; high when they have. When a d-window closes, all of its
        heralds have come to the packer: the anchor runs LAG_CLOCKS behind, further than a click and a queue of heralds can wait.
    o : Out(stream of PSI record words)
    o_full, o_leaves : Out(1), Out(1)
        ``pending_heralds`` heralds wait; strobe: one that waited does so no longer.
    o_idle : Out(1)
        Nothing moves by itself; heralds may wait for their d-window.

    Latency: `latency` clocks from i_dwindow to the first record, if the heralds have left. Throughput: one record per two clocks.
    """

    i_run: In(1)
    i: In(PendingHerald)
    i_valid: In(1)
    i_number: In(32)
    i_resumes: In(1)
    i_window: In(WindowPhase)
    i_window_valid: In(1)
    i_dwindow: In(DwindowPhase)
    i_dwindow_valid: In(1)
    o: Out(stream.Signature(record_words(Stream.PSI)))
    o_flush: Out(1)
    i_flushed: In(1)
    o_full: Out(1)
    o_leaves: Out(1)
    o_idle: Out(1)

    def __init__(self, *, pending_heralds: int = 4096) -> None:
        if pending_heralds < 1:
            raise ValueError(f"PsiJoin: pending_heralds is {pending_heralds}; allowed: 1 or more")
        self.pending_heralds = pending_heralds
        super().__init__()

    @property
    def latency(self) -> int:
        """Least clocks from i_dwindow to o.valid for a waiting herald: flushed, d-window closed, seen, ring, register, sum."""
        return 6

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = max(4, 1 << (self.pending_heralds - 1).bit_length())
        queue = Queue(width=_Waiting.as_shape().size, depth=depth)
        m.submodules.queue = ResetInserter(~self.i_run)(queue)
        m.submodules.windows = windows = Memory(shape=_RingPhase, depth=1 << RING_WINDOW_BITS, init=[])
        m.submodules.dwindows = dwindows = Memory(shape=_RingPhase, depth=KEPT_DWINDOWS + 1, init=[])
        window_write, window_read = windows.write_port(), windows.read_port()
        dwindow_write, dwindow_read = dwindows.write_port(), dwindows.read_port()

        m.submodules.numbers = numbers = ResetInserter(~self.i_run)(HeraldNumbers())
        open_dwindow = Signal(RING_DWINDOW_BITS)  # the first that is not closed, or whose heralds may not have left
        next_dwindow, flushing = Signal(RING_DWINDOW_BITS), Signal()  # the one behind the last closed
        entering, enters = Signal(_Waiting), Signal()
        of_window, of_dwindow = self.i_window, self.i_dwindow
        m.d.comb += [
            window_write.addr.eq(of_window.window),
            window_write.data.psi.eq(of_window.psi_rq),
            window_write.data.valid.eq(of_window.r_valid),
            window_write.en.eq(self.i_window_valid),
            dwindow_write.addr.eq(of_dwindow.dwindow),
            dwindow_write.data.psi.eq(of_dwindow.psi_d),
            dwindow_write.data.valid.eq(of_dwindow.d_valid),
            dwindow_write.en.eq(self.i_dwindow_valid),
            queue.i_data.eq(entering),
            queue.i_push.eq(enters),
        ]
        m.d.sync += [
            *(
                entering.window.eq(self.i.window),
                entering.dwindow.eq(self.i.dwindow),
                entering.resumes.eq(self.i_resumes),
            ),
            enters.eq(self.i_valid),
        ]
        m.d.comb += [numbers.i_end.eq(self.i_valid & self.i_resumes), numbers.i_number.eq(self.i_number)]
        m.d.comb += self.o_flush.eq(self.i_dwindow_valid)
        with m.If(flushing & self.i_flushed):
            m.d.sync += [open_dwindow.eq(next_dwindow), flushing.eq(0)]
        with m.If(self.i_dwindow_valid):
            m.d.sync += [next_dwindow.eq(of_dwindow.dwindow + 1), flushing.eq(1)]

        # Four stages behind the queue, each moving on when the next has room.
        head, head_valid, head_closed, head_kept = Signal(_Waiting), Signal(), Signal(), Signal()
        fetched, fetched_kept, fetched_resumes = Signal(), Signal(), Signal()
        summed, psi_r, psi_d = Signal(), Signal(_RingPhase), Signal(_RingPhase)
        head_moves, fetch_ready, sum_ready, out_ready = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            # Who takes records says so late in the clock; one per two clocks leave anyway, as the head moves no faster.
            out_ready.eq(~self.o.valid),
            sum_ready.eq(~summed | out_ready),
            fetch_ready.eq(~fetched | sum_ready),
        ]

        # 1: the oldest herald moves once its d-window is closed.
        age, newest = Signal(RING_DWINDOW_BITS), Signal(RING_DWINDOW_BITS)
        """d-windows closed since, with their heralds gone, or at all: rings move on while heralds do not leave."""
        closed = Signal()
        gone = Signal()
        """It has waited so long that its age could wrap."""
        m.d.comb += [
            age.eq(open_dwindow - head.dwindow),
            newest.eq(next_dwindow - head.dwindow),
            closed.eq(gone | ((age != 0) & ~age[-1])),
            head_moves.eq(head_closed & fetch_ready),
            queue.i_pop.eq(queue.o_valid & (~head_valid | head_moves)),
        ]
        m.d.sync += [
            head_closed.eq(head_valid & closed & ~head_moves),
            head_kept.eq(~gone & (newest <= KEPT_DWINDOWS)),
        ]
        with m.If(~head_valid | head_moves):
            m.d.sync += [head_valid.eq(queue.o_valid), head.eq(queue.o_head)]

        # 2: both rings are read.
        m.d.comb += [
            window_read.addr.eq(head.window),
            dwindow_read.addr.eq(head.dwindow),
            window_read.en.eq(fetch_ready),
            dwindow_read.en.eq(fetch_ready),
        ]
        with m.If(fetch_ready):
            m.d.sync += [fetched.eq(head_moves), fetched_kept.eq(head_kept), fetched_resumes.eq(head.resumes)]

        # 3: a register behind the block RAM, which answers late in the clock.
        summed_kept, summed_resumes = Signal(), Signal()
        with m.If(sum_ready):
            m.d.sync += [
                *(summed.eq(fetched), summed_kept.eq(fetched_kept), summed_resumes.eq(fetched_resumes)),
                *(psi_r.eq(window_read.data), psi_d.eq(dwindow_read.data)),
            ]

        # 4: the record.
        psi_q = Signal(units.TURN_BITS)
        flags = Signal(units.TURN_BITS)
        m.d.comb += [
            psi_q.eq(psi_r.psi + psi_d.psi),
            flags.eq(Mux(psi_r.valid, packets.FLAG_R_VALID, 0) | Mux(psi_d.valid, packets.FLAG_D_VALID, 0)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        m.d.comb += [numbers.i_leaves.eq(out_ready & summed), numbers.i_resumes.eq(summed_resumes)]
        with m.If(out_ready):
            m.d.sync += self.o.valid.eq(summed)
            with m.If(summed):
                m.d.sync += Value.cast(self.o.payload).eq(Cat(numbers.o_number, Mux(summed_kept, Cat(psi_q, flags), 0)))

        # Ages are good for half their range: what has waited for a quarter of it is gone.
        waiting = WaitingHeralds(most=self.pending_heralds)
        m.submodules.waiting = ResetInserter(~self.i_run)(waiting)
        m.d.comb += [
            waiting.i_enters.eq(self.i_valid),
            waiting.i_leaves.eq(head_moves),
            waiting.i_quarter.eq(self.i_dwindow_valid & ~of_dwindow.dwindow[: RING_DWINDOW_BITS - 2].any()),
            gone.eq(waiting.o_gone),
            *(self.o_full.eq(waiting.o_full), self.o_leaves.eq(head_moves)),
        ]

        with m.If(~self.i_run):
            m.d.sync += [
                v.eq(0)
                for v in (
                    *(enters, open_dwindow, next_dwindow, flushing),
                    *(head_valid, head_closed, fetched, summed),
                )
            ]
        m.d.comb += self.o_idle.eq(
            ~(self.i_valid | enters | self.i_window_valid | self.i_dwindow_valid | flushing)
            & ~((queue.o_level != 0) & (~queue.o_valid | ~head_valid))
            & ~(head_valid & closed)
            & ~(fetched | summed | self.o.valid)
        )
        return m
