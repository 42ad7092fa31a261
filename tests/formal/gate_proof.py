"""A `Gate` sends every tag on unchanged or says that it was left out, exactly `Gate.latency` clocks after it came: by induction, whatever
its settings are and whenever they change."""

from amaranth.hdl import Assert, Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.core.along import delayed
from twinphase_hdl.timetag.gate import Gate, WritePort
from twinphase_hdl.types import Tag
from twinphase_spec import tagger, units


class GateProof(wiring.Component):
    CHANNELS = 2

    def __init__(self, gate: Gate | None = None):
        self.gate = Gate(channels=self.CHANNELS) if gate is None else gate
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(Tag),
                "gate_table": In(WritePort(8)),
                "gate_from": In(WritePort(tagger.GATE_BITS)),
                "gate_to": In(WritePort(tagger.GATE_BITS)),
                "i_window_from": In(units.TIME_BITS),
                "i_window_until": In(units.TIME_BITS),
                "i_window_enable": In(self.CHANNELS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.gate = gate = self.gate
        for name in ("gate_table", "gate_from", "gate_to"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(gate, name))
        for name in ("i_valid", "i", "i_window_from", "i_window_until", "i_window_enable"):
            m.d.comb += Value.cast(getattr(gate, name)).eq(Value.cast(getattr(self, name)))
        came = [self.i_valid]
        for k in range(1, Gate.latency + 1):
            came.append(delayed(m, self.i_valid, k, f"came_{k}"))
        tag = delayed(m, Value.cast(self.i), Gate.latency, "tag")
        m.d.comb += [
            Assert((gate.o_passed ^ gate.o_gated) == came[-1], "once"),
            Assert(~(gate.o_passed & gate.o_gated), "either"),
            Assert(~came[-1] | (Value.cast(gate.o) == tag), "unchanged"),
            Assert(gate.o_idle == ~Cat(came[1:]).any(), "idle"),
        ]
        return m
