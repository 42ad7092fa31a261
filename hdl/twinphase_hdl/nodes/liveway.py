"""The live windows' way through the server node: judged beside the marks, in step with them at the herald finder."""

from amaranth.hdl import Module, Value

from twinphase_hdl.core.along import delayed
from twinphase_hdl.core.framer import Framer
from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.sift.live import LiveWindows

from .phaseway import PhaseWay


def live_way(
    m: Module,
    live: LiveWindows,
    bank: RegisterBank,
    timebase: Timebase,
    framer: Framer,
    way: PhaseWay,
    link: NodeLink,
) -> Value:
    """Connects ``live``. What it gives goes with ``way.marks.o``: the herald finder may see that click."""
    m.d.comb += [
        *(live.i_run.eq(bank.o_control), live.i.eq(framer.o), live.i_valid.eq(framer.o_valid)),
        *(live.i_clock.eq(timebase.o_anchor.clock), live.i_gate_start.eq(bank.o_gate_start_q)),
        *(live.i_recovery.eq(bank.o_recovery_pulses), link.i_lost_live.eq(live.o_lost)),
        *(link.send_live.payload.eq(live.o.payload), link.send_live.valid.eq(live.o.valid)),
        live.o.ready.eq(link.send_live.ready),
    ]
    return ~delayed(m, live.o_not_live, way.latency - live.latency, "not_live")
