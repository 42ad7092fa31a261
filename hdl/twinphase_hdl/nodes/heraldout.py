"""A server's heralds on their way to the link, HERALD, HERALD_CODE and PSI_CAUSAL, and to the join that gives them their psi."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal, Value

from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.phase.record import RecordRegister
from twinphase_hdl.sift.herald import HeraldFinder, PendingHerald, causal_record, herald_record
from twinphase_hdl.sift.join import PsiJoin
from twinphase_hdl.sift.pendingroom import PendingRoom
from twinphase_hdl.sift.smoothjoin import SmoothJoin
from twinphase_spec.packets import Stream
from twinphase_spec.smoothing import PsiSource


def heralds_out(m: Module, bank: RegisterBank, finder: HeraldFinder, causal: RecordRegister, link: NodeLink) -> None:
    """A herald leaves the finder when HERALD, if that stream is on, and HERALD_CODE have it; then its causal psi goes to ``causal``.

    A record takes HERALD's packer three clocks, so that heralds come there only if somebody wants them, and while less than half of the
    finder's queue is in use; then they pass it, and are counted as lost there.
    """
    recorded, coded = Signal(), Signal()
    """The herald that waits has gone to HERALD, to HERALD_CODE, and not yet to the other."""
    wanted, pressed, skipped = bank.o_stream_enable[int(Stream.HERALD)], Signal(), Signal()
    m.d.sync += pressed.eq(finder.o_waiting >= finder.waiting_max // 2)
    for gone, port in ((recorded, link.send_herald), (coded, link.send_herald_code)):
        m.d.sync += gone.eq(finder.o.valid & ~finder.o.ready & (gone | port.ready))
    # A herald that is offered stays so, and one that is not, not: as it was when the one before had left.
    with m.If(~finder.o.valid | finder.o.ready):
        m.d.sync += skipped.eq(~wanted | pressed)
    m.d.comb += [
        link.send_herald.valid.eq(finder.o.valid & ~recorded & ~skipped),
        link.send_herald.payload.eq(herald_record(finder.o.payload)),
        link.i_lost_herald.eq(finder.o.valid & finder.o.ready & skipped),
        link.send_herald_code.valid.eq(finder.o.valid & ~coded),
        *(link.send_herald_code.payload[name].eq(finder.o.payload[name]) for name in ("number", "pulse", "detector")),
        link.i_herald_divisor.eq(bank.o_herald_divisor),
        finder.o.ready.eq((skipped | recorded | link.send_herald.ready) & (coded | link.send_herald_code.ready)),
        causal.i.eq(causal_record(finder.o.payload)),
        causal.i_valid.eq(finder.o.valid & finder.o.ready),
    ]


def heralds_wait(m: Module, bank: RegisterBank, finder: HeraldFinder, join: PsiJoin, smooth_join: SmoothJoin) -> Value:
    """A herald comes to the join that PSI_SOURCE chooses, if any, a clock after its number, and its leaving is known to `PendingRoom` two
    clocks later: they lie far apart. While the join is full, heralds are refused or, with ANNOUNCE_ALL, passed over: a strobe each."""
    run = bank.o_control
    windows, smoothed = (bank.o_psi_source == source for source in (PsiSource.WINDOWS, PsiSource.CLICKS))
    most = (join.pending_heralds, smooth_join.pending_heralds)
    m.submodules.pendingroom = room = ResetInserter(~run)(PendingRoom(most=most))
    pending, comes, leaves = Signal(PendingHerald, reset_less=True), Signal(), Signal()
    number, resumes = Signal(32, reset_less=True), Signal(reset_less=True)
    m.d.sync += [
        *(pending.eq(finder.o_pending), number.eq(finder.o_number), resumes.eq(room.o_resumes)),
        *(comes.eq(room.o_enters & run), leaves.eq(Mux(smoothed, smooth_join.o_leaves, join.o_leaves) & run)),
    ]
    m.d.comb += [
        room.i_comes.eq(finder.o_pending_valid & (windows | smoothed)),
        *(room.i_choice.eq(smoothed), room.i_leaves.eq(leaves)),
        finder.i_refuse.eq(room.o_closed & ~bank.o_announce_all),
    ]
    for waiting, chosen in ((join, windows), (smooth_join, smoothed)):
        m.d.comb += [
            *(waiting.i.eq(pending), waiting.i_valid.eq(comes & chosen)),
            *(waiting.i_number.eq(number), waiting.i_resumes.eq(resumes)),
        ]
    return room.o_skipped
