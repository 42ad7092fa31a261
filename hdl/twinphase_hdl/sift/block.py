"""The client's sifting engine: heralds, psi and the peer's messages in, own messages and sifted words out."""

from amaranth.hdl import C, Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.packets import Stream
from twinphase_spec.registers import CLIENT, CLIENT_LANES, CORE_COUNTERS

from ..types import record_words
from .cells import BIN_ADDRESS_BITS, CELL_ADDRESS_BITS, WORD, CellCounters
from .digest import BLOCK_BITS, BlockDigest
from .exchange import Exchange
from .intake import HeraldIntake, PsiIntake
from .livelists import LiveLists
from .pads import DigestPads, DigestSettings
from .peerqueue import PeerQueue
from .recall import HeraldRing
from .symbols import Symbol
from .tables import RuleTables

SifterCounters = data.StructLayout({name: 64 for name in CLIENT.counter_names if name not in dict(CORE_COUNTERS)})
"""The client's counters, in the order of its register map, without the clock."""
STARVED_BITS = CLIENT_LANES.bit_length()


class BlockSifter(wiring.Component):
    """Real-time sifting of closed blocks, as docs/rules.md, `twinphase_spec.sns` and docs/contract.md (block sifter) say.

    Members
    -------
    i_run : In(1), 0 for a clock clears ring, numbers, queue and state (not counters and cells); records that come are ignored. Only with
        ``o_ready``.
    i_digest, i_digest_written : In(DigestSettings), In(1), key and nonce of the block digest; strobe, in the first clock of what was
        written to them
    o_ready : Out(1), the digest's keys are those of ``i_digest``: from `DigestPads.latency` clocks after reset or the strobe on, until
        the clock after the next
    i_role : In(1), 0 Alice, 1 Bob
    i_rules : In(RuleTables)
    i_block_heralds, i_slice_width : In(12), In(16, Ds in 2^-16 turn); all settings are constant while ``i_run``
    o_recall : Out(stream of 56 bits), pulses of heralds whose symbols are wanted
    i_symbol_valid, i_symbol, i_symbol_refused : In(1), In(Symbol), In(1), their symbols, in the same order, or that there is none: the
        block is discarded
    i_starved : In(4), pulses of this clock that their source had nothing for
    o_stopped : Out(1), whoever recalls forgets what it has under way
    i_digest_live : In(1), the digest covers LIVE records and waits for them
    i_herald, i_psi, i_peer, i_live : In(streams of records, ArrayLayout(32, 3), (32, 2), (32, 3), (32, 3))
    o_peer, o_sifted : Out(streams of records, ArrayLayout(32, 3), (32, 2)), wait for the reader
    i_snapshot, o_copying : In(1), Out(1), strobe: cells and bins are to be copied as they are when ``o_counters`` has the value of this
        clock; not while the copy is being made, in which time heralds are not sifted (`CellCounters.copy_clocks` at most)
    i_cell_address, o_cell, i_bin_address, o_bin : In(8), Out(32), In(7), Out(32), read ports of CELLS and PSI_HISTOGRAM, one clock
    o_counters : Out(SifterCounters), 64 bits each, wrapping
    o_idle : Out(1), nothing will change without new input (waiting for the peer is idle)

    Latency: psi are stored within 16 clocks, heralds as soon as they are recalled. Throughput: the digest takes a herald in 8 clocks and
    a psi in 4, missing and skipped ones too, and one clock more for each block. ``i_herald`` takes a record in 4 clocks, and stalls one
    clock per skipped number, and while 512 heralds wait to be recalled and digested; ``i_psi`` stalls while the digest does not
    take it; ``i_peer`` and ``i_live`` never stall; a block takes about 12 clocks per herald, at least `SerialAes.latency` and a few,
    and what the peer takes.
    Overflow: counted in ``overflow`` (ring), ``refused`` (peer queue) and ``live_overflow`` (`LiveLists`).
    """

    i_run: In(1)
    i_role: In(1)
    i_rules: In(RuleTables)
    i_block_heralds: In(BLOCK_BITS)
    i_slice_width: In(16)
    i_digest: In(DigestSettings)
    i_digest_written: In(1)
    i_digest_live: In(1)
    o_ready: Out(1)
    o_recall: Out(stream.Signature(PULSE_BITS))
    i_symbol_valid: In(1)
    i_symbol: In(Symbol)
    i_symbol_refused: In(1)
    i_starved: In(STARVED_BITS)
    o_stopped: Out(1)
    i_herald: In(stream.Signature(record_words(Stream.HERALD)))
    i_psi: In(stream.Signature(record_words(Stream.PSI)))
    i_peer: In(stream.Signature(record_words(Stream.PEER)))
    i_live: In(stream.Signature(record_words(Stream.LIVE)))
    o_peer: Out(stream.Signature(record_words(Stream.PEER)))
    o_sifted: Out(stream.Signature(record_words(Stream.SIFTED)))
    i_snapshot: In(1)
    o_copying: Out(1)
    i_cell_address: In(CELL_ADDRESS_BITS + 1)
    o_cell: Out(WORD)
    i_bin_address: In(BIN_ADDRESS_BITS + 1)
    o_bin: Out(WORD)
    o_counters: Out(SifterCounters)
    o_idle: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The stop reaches what takes records at once, so that it loses none that comes with the next start, and all else a clock later,
        # out of a register of its own.
        stopped = Signal(init=1)
        m.d.sync += stopped.eq(~self.i_run)
        heralds, psis, queue = HeraldIntake(), PsiIntake(), PeerQueue()
        ring, exchange, cells = HeraldRing(), Exchange(), CellCounters()
        digest, lists = BlockDigest(), LiveLists()
        for reset, parts in (
            (~self.i_run, {"heralds": heralds, "psis": psis, "queue": queue, "lists": lists}),
            (stopped, {"ring": ring, "exchange": exchange, "digest": digest}),
        ):
            for name, part in parts.items():
                m.submodules[name] = ResetInserter(reset)(part)
        m.submodules.cells = cells
        m.submodules.pads = pads = DigestPads()
        wiring.connect(m, wiring.flipped(self.i_herald), heralds.i_herald)
        wiring.connect(m, wiring.flipped(self.i_psi), psis.i_psi)
        wiring.connect(m, wiring.flipped(self.i_live), lists.i_live)
        wiring.connect(m, ring.o_recall, wiring.flipped(self.o_recall))
        m.d.comb += [
            queue.i_peer.payload.eq(self.i_peer.payload),
            queue.i_peer.valid.eq(self.i_peer.valid),
            self.i_peer.ready.eq(1),
        ]

        m.d.comb += [
            heralds.i_first.eq(exchange.o_first),
            heralds.i_flush.eq(psis.o_flush),
            heralds.i_flush_number.eq(psis.o_flush_number),
            psis.i_first.eq(exchange.o_first),
            psis.i_flushed.eq(heralds.o_flushed),
            psis.i_herald_next.eq(heralds.o_next),
            psis.i_herald_valid.eq(heralds.o_valid),
            psis.i_herald_index.eq(heralds.o_index),
            psis.i_herald_missing.eq(heralds.o_missing),
            heralds.i_ready.eq(ring.o_ready),
            ring.i_rules.eq(self.i_rules),
            ring.i_block_heralds.eq(self.i_block_heralds),
            ring.i_symbol_valid.eq(self.i_symbol_valid),
            ring.i_symbol.eq(self.i_symbol),
            ring.i_symbol_refused.eq(self.i_symbol_refused),
            exchange.i_spoilt.eq(ring.o_spoilt | digest.o_spoilt),
            self.o_stopped.eq(stopped),
            ring.i_valid.eq(heralds.o_valid),
            ring.i_index.eq(heralds.o_index),
            ring.i_pulse.eq(heralds.o_pulse),
            ring.i_detector.eq(heralds.o_detector),
            ring.i_missing.eq(heralds.o_missing),
            ring.i_psi_valid.eq(psis.o_valid),
            ring.i_psi_index.eq(psis.o_index),
            ring.i_psi.psi.eq(psis.o_psi),
            ring.i_psi.flags.eq(psis.o_flags),
            pads.i_settings.eq(self.i_digest),
            pads.i_written.eq(self.i_digest_written),
            pads.i_stop.eq(stopped),
            self.o_ready.eq(pads.o_ready),
            digest.i_block_heralds.eq(self.i_block_heralds),
            digest.i_herald_key.eq(pads.o_herald_key),
            digest.i_psi_key.eq(pads.o_psi_key),
            digest.i_herald_valid.eq(ring.o_leaves),
            *(getattr(digest, f"i_{name}").eq(getattr(ring, f"o_{name}")) for name in ("pulse", "detector", "missing")),
            ring.i_digest_ready.eq(digest.o_herald_ready),
            digest.i_psi_valid.eq(psis.o_valid),
            *(getattr(digest, f"i_{name}").eq(getattr(psis, f"o_{name}")) for name in ("psi", "flags", "present")),
            psis.i_ready.eq(digest.o_psi_ready),
            digest.i_index.eq(exchange.o_block),
            lists.i_enable.eq(self.i_digest_live),
            lists.i_block_heralds.eq(self.i_block_heralds),
            lists.i_key.eq(pads.o_live_key),
            lists.i_herald_valid.eq(ring.o_leaves),
            lists.i_pulse.eq(ring.o_pulse),
            lists.i_missing.eq(ring.o_missing),
            lists.i_boundary.eq(digest.o_boundary),
            digest.i_live.eq(self.i_digest_live),
            *(getattr(digest, f"i_{name}").eq(getattr(lists, f"o_{name}")) for name in ("boundary_valid", "boundary")),
            *(getattr(digest, f"i_{name}").eq(getattr(lists, f"o_{name}")) for name in ("list_valid", "list")),
            digest.i_list_index.eq(lists.o_index),
            digest.i_lists.eq(lists.o_blocks),
        ]

        # A block's number is there long before it is asked what the ring says of it.
        m.d.sync += ring.i_block.eq(exchange.o_block)
        wiring.connect(m, queue.o_peer, exchange.i_peer)
        verdict = exchange.o_verdict
        m.d.comb += [
            exchange.i_role.eq(self.i_role),
            exchange.i_block_heralds.eq(self.i_block_heralds),
            exchange.i_slice_width.eq(self.i_slice_width),
            exchange.i_rules.eq(self.i_rules),
            exchange.i_hold.eq(cells.o_hold),
            exchange.i_blocks.eq(digest.o_blocks),
            exchange.i_recalled_blocks.eq(ring.o_blocks),
            exchange.i_digest.eq(digest.o_digest),
            exchange.i_pads_valid.eq(pads.o_valid),
            exchange.i_pads.eq(pads.o_pads),
            pads.i_next.eq(exchange.o_next),
            ring.i_read.eq(exchange.o_read),
            ring.i_read_index.eq(exchange.o_read_index),
            exchange.i_recalled.eq(ring.o_recalled),
            exchange.i_psi.eq(ring.o_psi),
            cells.i_snapshot.eq(self.i_snapshot),
            self.o_copying.eq(cells.o_copying),
            cells.i_cell_address.eq(self.i_cell_address),
            self.o_cell.eq(cells.o_cell),
            cells.i_bin_address.eq(self.i_bin_address),
            self.o_bin.eq(cells.o_bin),
        ]
        # In step with the counters below.
        m.d.sync += [
            cells.i_valid.eq(exchange.o_verdict_valid & verdict.counted & ~stopped),
            cells.i_cell.eq(verdict.cell),
            cells.i_binned.eq(verdict.x_record),
            cells.i_bin.eq(verdict.psi_bin),
        ]

        # Outputs have their own register, which a stop does not clear: what was offered stays offered until it is taken. It takes a word
        # in two clocks, so that who takes records may say so late in the clock; a record takes the packer more.
        sent, sifted = exchange.o_peer, exchange.o_sifted
        for inner, words, outer in (
            (sent, Cat(sent.payload.kind, C(0, 29), sent.payload.number, sent.payload.value), self.o_peer),
            (sifted, sifted.payload.as_value(), self.o_sifted),
        ):
            m.d.comb += inner.ready.eq(~outer.valid)
            with m.If(~outer.valid):
                m.d.sync += [outer.valid.eq(inner.valid & ~stopped), outer.payload.eq(words)]
            with m.Elif(outer.ready):
                m.d.sync += outer.valid.eq(0)

        events = {
            "heralds": heralds.o_taken,
            "missing": heralds.o_valid & heralds.o_missing,
            "late": heralds.o_late + psis.o_late,
            "overflow": heralds.o_overflow + psis.o_overflow,
            "psi": psis.o_taken,
            "peer": queue.o_taken,
            "refused": queue.o_refused + exchange.o_refused,
            "blocks_agreed": exchange.o_agreed,
            "blocks_discarded": exchange.o_discarded,
            "unpaired": ring.o_unpaired,
            "sifted_z": exchange.o_verdict_valid & verdict.z_record,
            "sifted_x": exchange.o_verdict_valid & verdict.x_record,
            "kept_x": exchange.o_verdict_valid & verdict.keep,
            "error_x": exchange.o_verdict_valid & verdict.error,
            "unrecalled": self.i_symbol_valid & self.i_symbol_refused,
            "starved": self.i_starved,
            "live": lists.o_taken,
            "live_overflow": lists.o_overflow,
        }
        counting = []
        for name, event in events.items():
            counter, count = self.o_counters[name], Signal(len(event), name=f"count_{name}")
            m.d.sync += count.eq(Mux(stopped, 0, event))
            with m.If(count.any()):
                m.d.sync += counter.eq(counter + (1 if len(event) == 1 else count))
            counting.append(count.any())

        m.d.comb += self.o_idle.eq(
            heralds.o_idle
            & psis.o_idle
            & ring.o_idle
            & ~digest.o_busy
            & lists.o_idle
            & pads.o_idle
            & queue.o_settled
            & ~self.i_peer.valid
            & exchange.o_idle
            & ~cells.i_valid
            & ~cells.o_busy
            & ~Cat(counting).any()
            & ~self.o_peer.valid
            & ~self.o_sifted.valid
            & (stopped != self.i_run)
        )
        return m
