"""The ring of heralds: recalled symbols, detectors and psi, between arrival and sifting."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.sns import RING_HERALDS

from .columns import ColumnMemory
from .digest import BLOCK_BITS
from .intake import RING_BITS
from .pairing import PairFinder, PairSymbol, Recalled
from .symbols import SymbolGenerator, SymbolSettings
from .tables import RuleTables


class FinalPsi(data.Struct):
    """Phase at a herald in 2^-16 turn, and FLAG_R_VALID | FLAG_D_VALID."""

    psi: 16
    flags: 2


class HeraldRing(wiring.Component):
    """Recalls the symbol of each herald, or of the pair whose second it is, and holds it with its psi at ``number mod RING_HERALDS``.

    Members
    -------
    i_settings : In(SymbolSettings)
    i_rules, i_block_heralds : In(RuleTables), In(12), constant while heralds come
    i_valid, i_index, i_pulse, i_detector, i_missing : In(1, 13, 56, 1, 1), a herald from the intake
    i_psi_valid, i_psi_index, i_psi : In(1), In(13), In(FinalPsi), its psi
    i_read, i_read_index : In(1), In(13), read port
    o_recalled, o_psi : Out(Recalled), Out(FinalPsi), entry ``i_read_index`` of the last clock but one with ``i_read``, one clock
        after the last
    o_unpaired : Out(1), strobe: with pairs, a herald is not the second of one
    o_idle : Out(1), no herald on its way to the ring

    Latency: a herald can be read ``latency`` clocks after it came. Throughput: one per clock.
    Overflow: none; the intake refuses what has no room. Source: `twinphase_spec.sns`, docs/contract.md.
    """

    i_settings: In(SymbolSettings)
    i_rules: In(RuleTables)
    i_block_heralds: In(BLOCK_BITS)
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
    o_unpaired: Out(1)
    o_idle: Out(1)

    latency = SymbolGenerator.latency + PairSymbol.latency + 1
    """Clocks from a herald to its entry in the ring."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.symbols = generator = SymbolGenerator()
        m.submodules.recalled = recalled = ColumnMemory(shape=Recalled, depth=RING_HERALDS)
        m.submodules.psi = psi = ColumnMemory(shape=FinalPsi, depth=RING_HERALDS)

        m.submodules.pairs = pairs = PairFinder()
        m.submodules.entry = entry = PairSymbol()

        in_pairs = Signal()
        on_the_way = Signal(generator.latency + entry.latency)
        m.d.sync += in_pairs.eq(self.i_rules.pair_span.any())
        m.d.sync += on_the_way.eq(on_the_way << 1 | self.i_valid)
        travel = data.StructLayout({"index": RING_BITS, "detector": 1, "missing": 1})
        previous = Signal(travel, name="herald_in")
        m.d.comb += [
            generator.i_settings.eq(self.i_settings),
            generator.i_pulse.eq(self.i_pulse),
            pairs.i_block_heralds.eq(self.i_block_heralds),
            pairs.i_span.eq(self.i_rules.pair_span),
            pairs.i_valid.eq(self.i_valid),
            pairs.i_pulse.eq(self.i_pulse),
            pairs.i_missing.eq(self.i_missing),
            self.o_unpaired.eq(in_pairs & pairs.o_unpaired),
            previous.index.eq(self.i_index),
            previous.detector.eq(self.i_detector),
            previous.missing.eq(self.i_missing),
        ]
        for i in range(generator.latency):
            following = Signal(travel, name=f"herald{i}")
            m.d.sync += following.eq(previous)
            if i == pairs.latency:
                m.d.sync += following.missing.eq(previous.missing | (in_pairs & ~pairs.o_second))
            previous = following
        m.d.comb += [
            entry.i_rules.eq(self.i_rules),
            entry.i_pairs.eq(in_pairs),
            entry.i_valid.eq(on_the_way[generator.latency - 1]),
            entry.i_missing.eq(previous.missing),
            entry.i_x.eq(generator.o_symbol.x),
            entry.i_intensity.eq(generator.o_symbol.intensity),
            entry.i_slice.eq(generator.o_symbol.slice),
            entry.i_detector.eq(previous.detector),
        ]
        write_index = previous.index
        for i in range(entry.latency):
            following_index = Signal(RING_BITS, name=f"index{i}")
            m.d.sync += following_index.eq(write_index)
            write_index = following_index
        m.d.comb += [
            recalled.i_write.eq(on_the_way[-1]),
            recalled.i_write_address.eq(write_index),
            recalled.i_write_data.eq(entry.o_entry),
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
