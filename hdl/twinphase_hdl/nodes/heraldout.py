"""A server's heralds on their way to the link: HERALD, HERALD_CODE and PSI_CAUSAL."""

from amaranth.hdl import Module, Signal

from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.phase.record import RecordRegister
from twinphase_hdl.sift.herald import HeraldFinder, causal_record, herald_record


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
