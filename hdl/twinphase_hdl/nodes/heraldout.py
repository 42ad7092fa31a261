"""A server's heralds on their way to the link, HERALD, HERALD_CODE and PSI_CAUSAL, and to the join that gives them their psi."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal

from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.phase.record import RecordRegister
from twinphase_hdl.sift.herald import HeraldFinder, PendingHerald, causal_record, herald_record
from twinphase_hdl.sift.join import PsiJoin
from twinphase_hdl.sift.pendingroom import PendingRoom
from twinphase_hdl.sift.smoothjoin import SmoothJoin


def heralds_out(m: Module, bank: RegisterBank, finder: HeraldFinder, causal: RecordRegister, link: NodeLink) -> None:
    """A herald leaves the finder when HERALD and HERALD_CODE have it; then its causal psi goes to ``causal``."""
    recorded, coded = Signal(), Signal()
    """The herald that waits has gone to HERALD, to HERALD_CODE, and not yet to the other."""
    for gone, port in ((recorded, link.send_herald), (coded, link.send_herald_code)):
        m.d.sync += gone.eq(finder.o.valid & ~finder.o.ready & (gone | port.ready))
    m.d.comb += [
        link.send_herald.valid.eq(finder.o.valid & ~recorded),
        link.send_herald.payload.eq(herald_record(finder.o.payload)),
        link.send_herald_code.valid.eq(finder.o.valid & ~coded),
        *(link.send_herald_code.payload[name].eq(finder.o.payload[name]) for name in ("number", "pulse", "detector")),
        link.i_herald_divisor.eq(bank.o_herald_divisor),
        finder.o.ready.eq((recorded | link.send_herald.ready) & (coded | link.send_herald_code.ready)),
        causal.i.eq(causal_record(finder.o.payload)),
        causal.i_valid.eq(finder.o.valid & finder.o.ready),
    ]


def heralds_wait(m: Module, bank: RegisterBank, finder: HeraldFinder, join: PsiJoin, smooth_join: SmoothJoin) -> None:
    """A herald comes to the join that PSI_SOURCE chooses a clock after its number, and its leaving is known to the finder two clocks
    later: they lie far apart."""
    run, smoothed = bank.o_control, bank.o_psi_source
    most = (join.pending_heralds, smooth_join.pending_heralds)
    m.submodules.pendingroom = room = ResetInserter(~run)(PendingRoom(most=most))
    pending, comes, leaves = Signal(PendingHerald, reset_less=True), Signal(), Signal()
    m.d.sync += [
        *(pending.eq(finder.o_pending), comes.eq(finder.o_pending_valid & run)),
        leaves.eq(Mux(smoothed, smooth_join.o_leaves, join.o_leaves) & run),
    ]
    m.d.comb += [
        *(room.i_choice.eq(smoothed), room.i_enters.eq(finder.o_pending_valid), room.i_leaves.eq(leaves)),
        finder.i_pending_full.eq(room.o_full),
    ]
    for waiting, chosen in ((join, ~smoothed), (smooth_join, smoothed)):
        m.d.comb += [waiting.i.eq(pending), waiting.i_valid.eq(comes & chosen)]
