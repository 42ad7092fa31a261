"""The ring of heralds: recalled symbols, detectors and psi, between arrival and sifting."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import symbols
from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.sns import RING_HERALDS

from .columns import ColumnMemory
from .intake import RING_BITS
from .symbols import SymbolGenerator, SymbolSettings


class Recalled(data.Struct):
    """A client's own symbol at a herald; all zero but ``missing`` for a missing herald (type Z, vacuum)."""

    x: 1
    intensity: 2
    slice: symbols.SLICE_BITS
    detector: 1
    missing: 1


class FinalPsi(data.Struct):
    """Phase at a herald in 2^-16 turn, and FLAG_R_VALID | FLAG_D_VALID."""

    psi: 16
    flags: 2


class HeraldRing(wiring.Component):
    """Recalls the symbol of each herald and holds it with its psi at ``number mod RING_HERALDS``.

    Members
    -------
    i_settings : In(SymbolSettings)
    i_valid, i_index, i_pulse, i_detector, i_missing : In(1, 13, 56, 1, 1), a herald from the intake
    i_psi_valid, i_psi_index, i_psi : In(1), In(13), In(FinalPsi), its psi
    i_read, i_read_index : In(1), In(13), read port
    o_recalled, o_psi : Out(Recalled), Out(FinalPsi), entry ``i_read_index`` of the last clock but one with ``i_read``, one clock
        after the last
    o_idle : Out(1), no herald on its way to the ring

    Latency: a herald can be read ``latency`` clocks after it came. Throughput: one per clock.
    Overflow: none; the intake refuses what has no room. Source: `twinphase_spec.sns`, docs/contract.md.
    """

    i_settings: In(SymbolSettings)
    i_valid: In(1)
    i_index: In(RING_BITS)
    i_pulse: In(PULSE_BITS)
    i_detector: In(1)
    i_missing: In(1)
    i_psi_valid: In(1)
    i_psi_index: In(RING_BITS)
    i_psi: In(FinalPsi)
    i_read: In(1)
    i_read_index: In(RING_BITS)
    o_recalled: Out(Recalled)
    o_psi: Out(FinalPsi)
    o_idle: Out(1)

    latency = SymbolGenerator.latency + 1
    """Clocks from a herald to its entry in the ring."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.symbols = generator = SymbolGenerator()
        m.submodules.recalled = recalled = ColumnMemory(shape=Recalled, depth=RING_HERALDS)
        m.submodules.psi = psi = ColumnMemory(shape=FinalPsi, depth=RING_HERALDS)

        on_the_way = Signal(generator.latency)
        m.d.sync += on_the_way.eq(on_the_way << 1 | self.i_valid)
        travel = data.StructLayout({"index": RING_BITS, "detector": 1, "missing": 1})
        previous = Signal(travel, name="herald_in")
        m.d.comb += [
            generator.i_settings.eq(self.i_settings),
            generator.i_pulse.eq(self.i_pulse),
            previous.index.eq(self.i_index),
            previous.detector.eq(self.i_detector),
            previous.missing.eq(self.i_missing),
        ]
        for i in range(generator.latency):
            following = Signal(travel, name=f"herald{i}")
            m.d.sync += following.eq(previous)
            previous = following

        with m.If(~previous.missing):
            m.d.comb += [
                recalled.i_write_data.x.eq(generator.o_symbol.x),
                recalled.i_write_data.intensity.eq(generator.o_symbol.intensity),
                recalled.i_write_data.slice.eq(Mux(generator.o_symbol.x, generator.o_symbol.slice, 0)),
                recalled.i_write_data.detector.eq(previous.detector),
            ]
        m.d.comb += [
            recalled.i_write.eq(on_the_way[-1]),
            recalled.i_write_address.eq(previous.index),
            recalled.i_write_data.missing.eq(previous.missing),
            psi.i_write.eq(self.i_psi_valid),
            psi.i_write_address.eq(self.i_psi_index),
            psi.i_write_data.eq(self.i_psi),
            recalled.i_read.eq(self.i_read),
            recalled.i_read_address.eq(self.i_read_index),
            psi.i_read.eq(self.i_read),
            psi.i_read_address.eq(self.i_read_index),
            self.o_idle.eq(~on_the_way.any()),
        ]
        # Registers right behind block RAM, which no reset clears: the block RAM takes them in.
        read_recalled, read_psi = Signal(Recalled, reset_less=True), Signal(FinalPsi, reset_less=True)
        with m.If(self.i_read):
            m.d.sync += [read_recalled.eq(recalled.o_data), read_psi.eq(psi.o_data)]
        m.d.comb += [self.o_recalled.eq(read_recalled), self.o_psi.eq(read_psi)]
        return m
