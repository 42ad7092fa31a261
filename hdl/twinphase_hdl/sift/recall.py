"""The ring of heralds: recalled symbols, detectors and psi, between arrival and sifting."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.sns import RING_HERALDS

from ..core.along import delayed
from ..core.queue import Queue
from .columns import ColumnMemory
from .digest import BLOCK_BITS, HELD_BITS
from .intake import RING_BITS
from .pairing import PairFinder, PairSymbol, Recalled
from .symbols import Symbol
from .tables import RuleTables

WAITING_HERALDS = 512
"""Heralds that wait to be recalled."""
ASKED_HERALDS = 32
"""Heralds whose symbols are under way."""


class Waiting(data.Struct):
    """A herald in the queue."""

    pulse: PULSE_BITS
    index: RING_BITS
    detector: 1
    missing: 1


class Asked(data.Struct):
    """A herald whose symbol is under way."""

    index: RING_BITS
    detector: 1


class FinalPsi(data.Struct):
    """Phase at a herald in 2^-16 turn, and FLAG_R_VALID | FLAG_D_VALID."""

    psi: 16
    flags: 2


class HeraldRing(wiring.Component):
    """Has the symbol of each herald recalled, makes it that of the pair whose second it is, and holds it with its psi at
    ``number mod RING_HERALDS``.

    Heralds wait in a queue until whoever recalls and the digest take them, and then in the order of their pulses for the symbols. A
    missing one has none to wait for: its entry is written when no symbol is under way. Who is the second of a pair is found as heralds
    leave the queue.

    Members
    -------
    i_rules, i_block_heralds : In(RuleTables), In(12, entries per block), constant while in use
    i_valid, i_index, i_pulse, i_detector, i_missing : In(1, 13, 56, 1, 1), a herald from the intake, only with ``o_ready``
    o_ready : Out(1), the queue has room
    i_digest_ready : In(1), the digest takes a herald; does not fall before it comes
    o_leaves, o_pulse, o_detector, o_missing : Out(1, 56, 1, 1), a herald leaves the queue, to the digest
    o_recall : Out(stream of 56 bits), pulses whose symbols are wanted
    i_symbol_valid, i_symbol : In(1), In(Symbol), their symbols, in the same order, from the clock after the transfer on
    i_symbol_refused : In(1), with them: there is none; the block is not to be sifted
    o_blocks : Out(9), blocks all of whose entries are there, modulo 512
    i_block, o_spoilt : In(8), Out(1), whether a symbol of that block (number modulo 256) was refused, one clock later; of the last 256
    i_psi_valid, i_psi_index, i_psi : In(1), In(13), In(FinalPsi), its psi
    i_read, i_read_index : In(1), In(13), read port
    o_recalled, o_psi : Out(Recalled), Out(FinalPsi), entry ``i_read_index`` of the last clock but one with ``i_read``, one clock
        after the last
    o_unpaired : Out(1), strobe: with pairs, a herald is not the second of one
    o_idle : Out(1), no herald on its way to the ring

    Latency: 2 clocks from a herald to its pulse at ``o_recall``, if none waits; 6 from its symbol to its entry. Throughput: one per
    clock, less if recall or digest take less. Overflow: none: ``o_ready`` falls. Source: `twinphase_spec.sns`, docs/contract.md,
    docs/rules.md.
    """

    i_rules: In(RuleTables)
    i_block_heralds: In(BLOCK_BITS)
    i_valid: In(1)
    i_index: In(RING_BITS)
    i_pulse: In(PULSE_BITS)
    i_detector: In(1)
    i_missing: In(1)
    o_ready: Out(1)
    i_digest_ready: In(1)
    o_leaves: Out(1)
    o_pulse: Out(PULSE_BITS)
    o_detector: Out(1)
    o_missing: Out(1)
    o_recall: Out(stream.Signature(PULSE_BITS))
    i_symbol_valid: In(1)
    i_symbol: In(Symbol)
    i_symbol_refused: In(1)
    o_blocks: Out(HELD_BITS)
    i_block: In(HELD_BITS - 1)
    o_spoilt: Out(1)
    i_psi_valid: In(1)
    i_psi_index: In(RING_BITS)
    i_psi: In(FinalPsi)
    i_read: In(1)
    i_read_index: In(RING_BITS)
    o_recalled: Out(Recalled)
    o_psi: Out(FinalPsi)
    o_unpaired: Out(1)
    o_idle: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.recalled = recalled = ColumnMemory(shape=Recalled, depth=RING_HERALDS)
        m.submodules.psi = psi = ColumnMemory(shape=FinalPsi, depth=RING_HERALDS)
        m.submodules.waiting = waiting = Queue(width=Waiting.as_shape().size, depth=WAITING_HERALDS)
        m.submodules.pairs = pairs = PairFinder()
        m.submodules.entry = entry = PairSymbol()
        short = {"depth": ASKED_HERALDS, "init": [], "attrs": {"ram_style": "distributed"}}
        m.submodules.asked = asked = memory.Memory(shape=Asked, **short)
        m.submodules.alone = alone = memory.Memory(shape=1, **short)  # with pairs: it is not the second of one
        asked_write, asked_read = asked.write_port(), asked.read_port(domain="comb")
        alone_write, alone_read = alone.write_port(), alone.read_port(domain="comb")

        # Out of the queue: who is a second is known some clocks later, before the symbol is looked at, which waits as long.
        oldest, place_in, place_out = Signal(Waiting), Signal(range(ASKED_HERALDS)), Signal(range(ASKED_HERALDS))
        under_way = Signal(range(ASKED_HERALDS + 1))
        none_under_way = Signal(init=1)
        asks, skips, in_pairs = Signal(), Signal(), Signal()
        came = delayed(m, self.i_symbol_valid, pairs.latency, "came")
        symbol = Signal(Symbol)
        finding = Signal(pairs.latency)
        m.d.sync += [in_pairs.eq(self.i_rules.pair_span.any()), finding.eq(Cat(asks | skips, finding))]
        m.d.comb += [
            waiting.i_push.eq(self.i_valid),
            waiting.i_data.eq(Cat(self.i_pulse, self.i_index, self.i_detector, self.i_missing)),
            self.o_ready.eq(~waiting.o_full),
            oldest.eq(waiting.o_head),
            self.o_recall.valid.eq(waiting.o_valid & ~oldest.missing & ~under_way[-1] & self.i_digest_ready),
            self.o_recall.payload.eq(oldest.pulse),
            asks.eq(self.o_recall.valid & self.o_recall.ready),
            skips.eq(waiting.o_valid & oldest.missing & none_under_way & self.i_digest_ready),
            waiting.i_pop.eq(asks | skips),
            self.o_leaves.eq(waiting.i_pop),
            *(getattr(self, f"o_{name}").eq(oldest[name]) for name in ("pulse", "detector", "missing")),
            asked_write.en.eq(asks),
            asked_write.addr.eq(place_in),
            asked_write.data.index.eq(oldest.index),
            asked_write.data.detector.eq(oldest.detector),
            asked_read.addr.eq(place_out),
            pairs.i_block_heralds.eq(self.i_block_heralds),
            pairs.i_span.eq(self.i_rules.pair_span),
            pairs.i_valid.eq(waiting.i_pop),
            pairs.i_pulse.eq(oldest.pulse),
            pairs.i_missing.eq(oldest.missing),
            self.o_unpaired.eq(in_pairs & pairs.o_unpaired),
            alone_write.en.eq(delayed(m, asks, pairs.latency, "asked_for")),
            alone_write.addr.eq(delayed(m, place_in, pairs.latency, "place")),
            alone_write.data.eq(in_pairs & ~pairs.o_second),
            alone_read.addr.eq(place_out),
            symbol.eq(delayed(m, self.i_symbol, pairs.latency, "symbol")),
        ]
        with m.If(asks):
            m.d.sync += place_in.eq(place_in + 1)
        with m.If(came):
            m.d.sync += place_out.eq(place_out + 1)
        with m.If(asks & ~came):
            m.d.sync += [under_way.eq(under_way + 1), none_under_way.eq(0)]
        with m.If(~asks & came):
            m.d.sync += [under_way.eq(under_way - 1), none_under_way.eq(under_way == 1)]

        # Into the ring.
        enters = came | skips
        m.d.comb += [
            entry.i_rules.eq(self.i_rules),
            entry.i_pairs.eq(in_pairs),
            entry.i_valid.eq(enters),
            entry.i_missing.eq(none_under_way | alone_read.data),
            *(getattr(entry, f"i_{name}").eq(symbol[name]) for name in ("x", "intensity", "slice")),
            entry.i_detector.eq(asked_read.data.detector),
        ]
        index = Signal(RING_BITS)
        m.d.comb += index.eq(Mux(none_under_way, oldest.index, asked_read.data.index))
        entering = Signal(entry.latency)
        steps = Cat(enters, entering)
        m.d.sync += entering.eq(steps)
        written, written_next = entering[-1], steps[entry.latency - 1]

        # Whether the entry that is written next is its block's last is known a clock before.
        position, last_position = Signal(BLOCK_BITS), Signal(BLOCK_BITS)
        ends, ended = position == last_position, Signal()
        m.d.sync += [last_position.eq(self.i_block_heralds - 1), ended.eq(written_next & ends)]
        with m.If(written_next):
            m.d.sync += position.eq(Mux(ends, 0, position + 1))
        with m.If(ended):
            m.d.sync += self.o_blocks.eq(self.o_blocks + 1)

        # A refusal spoils the block that its entry is written to.
        short_blocks = {"shape": 1, "depth": 1 << HELD_BITS - 1, "init": [], "attrs": {"ram_style": "distributed"}}
        m.submodules.spoilt = spoilt = memory.Memory(**short_blocks)
        spoilt_write, spoilt_read = spoilt.write_port(), spoilt.read_port()
        refused = delayed(m, self.i_symbol_valid & self.i_symbol_refused, pairs.latency + entry.latency, "refused")
        refused_before = Signal()
        m.d.comb += [
            spoilt_write.en.eq(ended),
            spoilt_write.addr.eq(self.o_blocks),
            spoilt_write.data.eq(refused | refused_before),
            spoilt_read.addr.eq(self.i_block),
            self.o_spoilt.eq(spoilt_read.data),
        ]
        with m.If(written):
            m.d.sync += refused_before.eq((refused | refused_before) & ~ended)

        m.d.comb += [
            recalled.i_write.eq(written),
            recalled.i_write_address.eq(delayed(m, index, entry.latency, "index")),
            recalled.i_write_data.eq(entry.o_entry),
            psi.i_write.eq(self.i_psi_valid),
            psi.i_write_address.eq(self.i_psi_index),
            psi.i_write_data.eq(self.i_psi),
            recalled.i_read.eq(self.i_read),
            recalled.i_read_address.eq(self.i_read_index),
            psi.i_read.eq(self.i_read),
            psi.i_read_address.eq(self.i_read_index),
            self.o_idle.eq(~(waiting.o_valid | waiting.o_pending | finding.any() | entering.any()) & none_under_way),
        ]
        # Registers right behind block RAM, which no reset clears: the block RAM takes them in.
        read_recalled, read_psi = Signal(Recalled, reset_less=True), Signal(FinalPsi, reset_less=True)
        with m.If(self.i_read):
            m.d.sync += [read_recalled.eq(recalled.o_data), read_psi.eq(psi.o_data)]
        m.d.comb += [self.o_recalled.eq(read_recalled), self.o_psi.eq(read_psi)]
        return m
