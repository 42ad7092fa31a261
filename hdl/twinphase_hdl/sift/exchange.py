"""One block at a time: digests, reveals in their order, and the pass that sifts."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.packets import Stream
from twinphase_spec.sns import MAX_BLOCK_HERALDS, Kind
from twinphase_spec.symbols import Intensity

from ..types import record_words
from .digest import BLOCK_BITS, HELD_BITS
from .intake import RING_BITS
from .peerqueue import PeerMessage
from .recall import FinalPsi, HeraldRing, Recalled
from .verdict import Revealed, Verdict, VerdictResult, both_x_equal

INDEX_BITS = (MAX_BLOCK_HERALDS - 1).bit_length()
SETTLE_CLOCKS = HeraldRing.latency + 4
"""A block's last psi is taken after its last herald; this long after that, ring and digests hold the whole block."""


class Exchange(wiring.Component):
    """Processes closed blocks in order: exchanges digests, types, intensities and slices with the peer, then sifts.

    Each of the three reveals is two passes over the block's ring entries, one that sends and one that waits for the
    peer's; every message that may come next is known exactly (kind, number), anything else is refused.

    Members
    -------
    i_role : In(1), 0 Alice, 1 Bob
    i_block_heralds, i_slice_width : In(12), In(16, Ds in 2^-16 turn)
    i_blocks : In(9), blocks complete so far, modulo 512
    o_first : Out(32), first herald of the oldest unfinished block
    o_block : Out(8), its number modulo 256
    i_herald_digest, i_psi_digest : In(32), own digests of block ``o_block``
    o_read, o_read_index, i_recalled, i_psi : read port of `HeraldRing`
    i_peer : In(stream of PeerMessage), taken only in states that wait for the peer
    o_peer : Out(stream of PeerMessage)
    o_sifted : Out(stream of number (32), word (32)), as in `twinphase_spec.sns`
    o_verdict_valid, o_verdict : Out(1), Out(VerdictResult), one herald of an agreed block; at least 3 clocks apart
    o_refused, o_agreed, o_discarded : Out(1), strobes of the counters
    o_idle : Out(1), waits for a block or a message

    Throughput: one clock per herald in each of six passes, three in the last, plus what the peer and the outputs take.
    Overflow: none, both outputs wait. Source: `twinphase_spec.sns`, docs/contract.md.
    """

    i_role: In(1)
    i_block_heralds: In(BLOCK_BITS)
    i_slice_width: In(16)
    i_blocks: In(HELD_BITS)
    o_first: Out(32)
    o_block: Out(HELD_BITS - 1)
    i_herald_digest: In(32)
    i_psi_digest: In(32)
    o_read: Out(1)
    o_read_index: Out(RING_BITS)
    i_recalled: In(Recalled)
    i_psi: In(FinalPsi)
    i_peer: In(stream.Signature(PeerMessage))
    o_peer: Out(stream.Signature(PeerMessage))
    o_sifted: Out(stream.Signature(record_words(Stream.SIFTED)))
    o_verdict_valid: Out(1)
    o_verdict: Out(VerdictResult)
    o_refused: Out(1)
    o_agreed: Out(1)
    o_discarded: Out(1)
    o_idle: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.revealed = revealed = memory.Memory(shape=Revealed, depth=MAX_BLOCK_HERALDS, init=[])
        reveal, read_revealed = revealed.write_port(), revealed.read_port()

        block = Signal(32)
        kind = Signal(Kind)  # of the reveal under way
        m.d.comb += self.o_block.eq(block)

        # The walk: addresses, block RAM outputs, registered entries. The last stage is looked at until it is consumed.
        start, consume, move = Signal(), Signal(), Signal()
        fetching, fetched, valid = Signal(), Signal(), Signal()
        fetch_index, fetch_ring = Signal(BLOCK_BITS), Signal(RING_BITS)
        own, psi, peer = Signal(Recalled), Signal(FinalPsi), Signal(Revealed)
        index, number = Signal(INDEX_BITS), Signal(32)
        last_index = Signal(BLOCK_BITS)
        last = Signal()
        m.d.sync += last_index.eq(self.i_block_heralds - 1)
        m.d.comb += [
            move.eq(consume | ~valid),
            last.eq(index == last_index),
            self.o_read.eq(move),
            self.o_read_index.eq(fetch_ring),
            read_revealed.en.eq(move),
            read_revealed.addr.eq(fetch_index),
        ]
        with m.If(start):
            m.d.sync += [fetching.eq(1), fetched.eq(0), valid.eq(0)]
            m.d.sync += [fetch_index.eq(0), fetch_ring.eq(self.o_first), index.eq(0), number.eq(self.o_first)]
        with m.Elif(move):
            m.d.sync += [valid.eq(fetched), fetched.eq(fetching)]
            with m.If(fetched):
                m.d.sync += [own.eq(self.i_recalled), psi.eq(self.i_psi), peer.eq(read_revealed.data)]
            with m.If(fetching):
                m.d.sync += [fetch_index.eq(fetch_index + 1), fetch_ring.eq(fetch_ring + 1)]
                m.d.sync += fetching.eq(fetch_index != last_index)
        with m.If(consume):
            m.d.sync += [index.eq(index + 1), number.eq(number + 1)]

        # What one's own or the peer's reveal of this kind says about the entry at the end of the walk.
        equal_x = Signal()
        m.d.comb += equal_x.eq(both_x_equal(own, peer))
        types = Signal(32)
        to_send, to_come, value = Signal(), Signal(), Signal(32)
        allowed = Signal()
        learned = Signal(Revealed)
        head = self.i_peer.payload
        with m.Switch(kind):
            with m.Case(Kind.TYPES):
                m.d.comb += [
                    to_send.eq(index[:5] == 31),
                    value.eq(Cat(types[1:], own.x)),
                    to_come.eq(index[:5] == 0),
                    allowed.eq(1),
                    learned.x.eq(Mux(to_come, head.value[0], types[0])),
                ]
            with m.Case(Kind.INTENSITY):
                m.d.comb += [
                    to_send.eq(own.x),
                    value.eq(own.intensity),
                    to_come.eq(peer.x),
                    allowed.eq(head.value < Intensity.MU_Z),
                    learned.x.eq(peer.x),
                    learned.intensity.eq(Mux(peer.x, head.value[:2], 0)),
                ]
            with m.Default():
                m.d.comb += [
                    to_send.eq(equal_x),
                    value.eq(own.slice),
                    to_come.eq(equal_x),
                    allowed.eq(head.value < 16),
                    learned.x.eq(peer.x),
                    learned.intensity.eq(peer.intensity),
                    learned.slice.eq(Mux(equal_x, head.value[:4], 0)),
                ]
        m.d.comb += [reveal.addr.eq(index), reveal.data.eq(learned)]

        send = self.o_peer
        # A message is compared with the one that may come now in one clock, and accepted or refused in the next.
        match, judged, matched, accepted = Signal(), Signal(), Signal(), Signal()
        waiting, no_block = Signal(), Signal()
        m.d.sync += [judged.eq(waiting & self.i_peer.valid & ~judged), matched.eq(match)]
        m.d.comb += [
            self.i_peer.ready.eq(judged),
            accepted.eq(judged & matched),
            self.o_refused.eq(judged & ~matched),
        ]

        settle = Signal(range(SETTLE_CLOCKS))
        herald_digest, psi_digest = Signal(32), Signal(32)
        same_herald, same_psi, heralds_agree = Signal(), Signal(), Signal()
        m.d.sync += [same_herald.eq(head.value == herald_digest), same_psi.eq(head.value == psi_digest)]
        m.submodules.verdict = verdict = Verdict()
        m.d.comb += [
            verdict.i_role.eq(self.i_role),
            verdict.i_slice_width.eq(self.i_slice_width),
            verdict.i_number.eq(number),
            verdict.i_own.eq(own),
            verdict.i_psi.eq(psi),
            verdict.i_peer.eq(peer),
        ]
        wiring.connect(m, verdict.o_sifted, wiring.flipped(self.o_sifted))
        m.d.comb += [self.o_verdict.eq(verdict.o_verdict), self.o_verdict_valid.eq(verdict.o_done)]
        with m.FSM(name="exchange_fsm"):
            with m.State("IDLE"):
                m.d.sync += settle.eq(SETTLE_CLOCKS - 1)
                m.d.comb += no_block.eq(self.i_blocks == block[:HELD_BITS])
                with m.If(~no_block):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += settle.eq(settle - 1)
                m.d.sync += [herald_digest.eq(self.i_herald_digest), psi_digest.eq(self.i_psi_digest)]
                with m.If(settle == 0):
                    m.next = "SEND_DIGEST_HERALD"
            for kind_sent, digest, following in (
                (Kind.DIGEST_HERALD, herald_digest, "SEND_DIGEST_PSI"),
                (Kind.DIGEST_PSI, psi_digest, "GET_DIGEST_HERALD"),
            ):
                with m.State(f"SEND_{kind_sent.name}"):
                    m.d.comb += [send.valid.eq(1), send.payload.kind.eq(kind_sent)]
                    m.d.comb += [send.payload.number.eq(block), send.payload.value.eq(digest)]
                    with m.If(send.ready):
                        m.next = following
            with m.State("GET_DIGEST_HERALD"):
                m.d.comb += match.eq((head.kind == Kind.DIGEST_HERALD) & (head.number == block))
                m.d.comb += waiting.eq(1)
                with m.If(accepted):
                    m.d.sync += heralds_agree.eq(same_herald)
                    m.next = "GET_DIGEST_PSI"
            with m.State("GET_DIGEST_PSI"):
                m.d.comb += match.eq((head.kind == Kind.DIGEST_PSI) & (head.number == block))
                m.d.comb += waiting.eq(1)
                with m.If(accepted):
                    with m.If(heralds_agree & same_psi):
                        m.d.comb += [self.o_agreed.eq(1), start.eq(1)]
                        m.d.sync += kind.eq(Kind.TYPES)
                        m.next = "SEND"
                    with m.Else():
                        m.d.comb += self.o_discarded.eq(1)
                        m.next = "NEXT"

            with m.State("SEND"):
                m.d.comb += [
                    send.valid.eq(valid & to_send),
                    send.payload.kind.eq(kind),
                    send.payload.number.eq(number),
                    send.payload.value.eq(value),
                    consume.eq(valid & (~to_send | send.ready)),
                ]
                with m.If(kind == Kind.TYPES):
                    m.d.comb += send.payload.number[:5].eq(0)
                with m.If(consume):
                    m.d.sync += types.eq(Cat(types[1:], own.x))
                    with m.If(last):
                        m.next = "SEND_DONE"
            with m.State("SEND_DONE"):
                m.d.comb += [send.valid.eq(1), send.payload.kind.eq(Kind.DONE)]
                m.d.comb += [send.payload.number.eq(block), send.payload.value.eq(kind)]
                with m.If(send.ready):
                    m.d.comb += start.eq(1)
                    m.next = "GET"
            with m.State("GET"):
                m.d.comb += match.eq((head.kind == kind) & (head.number == number) & allowed)
                with m.If(valid & to_come):
                    m.d.comb += [waiting.eq(1), consume.eq(accepted)]
                with m.Else():
                    m.d.comb += consume.eq(valid)
                m.d.comb += reveal.en.eq(consume)
                with m.If(consume):
                    m.d.sync += types.eq(Mux(to_come, head.value, types)[1:])
                    with m.If(last):
                        m.next = "GET_DONE"
            with m.State("GET_DONE"):
                m.d.comb += match.eq((head.kind == Kind.DONE) & (head.number == block) & (head.value == kind))
                m.d.comb += waiting.eq(1)
                with m.If(accepted):
                    m.d.comb += start.eq(1)
                    with m.If(kind == Kind.SLICE):
                        m.next = "SIFT"
                    with m.Else():
                        m.d.sync += kind.eq(Mux(kind == Kind.TYPES, Kind.INTENSITY, Kind.SLICE))
                        m.next = "SEND"

            with m.State("SIFT"):
                m.d.comb += [verdict.i_valid.eq(valid), consume.eq(verdict.o_done)]
                with m.If(consume & last):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += [block.eq(block + 1), self.o_first.eq(self.o_first + self.i_block_heralds)]
                m.next = "IDLE"
        m.d.comb += self.o_idle.eq(no_block | (waiting & ~self.i_peer.valid))
        return m
