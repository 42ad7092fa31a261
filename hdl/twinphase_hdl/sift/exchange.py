"""One block at a time: digests, reveals in their order, and the pass that sifts."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.digest import DIGEST_BITS
from twinphase_spec.packets import Stream
from twinphase_spec.sns import Kind

from ..types import record_words
from .digest import BLOCK_BITS, HELD_BITS
from .intake import RING_BITS
from .peerqueue import PeerMessage
from .recall import FinalPsi, Recalled
from .tables import RuleTables
from .verdict import Verdict, VerdictResult
from .walk import BlockWalk

SETTLE_CLOCKS = 8
"""So long after a block's last symbol and its digest, the ring certainly holds the whole block, and the digest has been read."""


def same_bytes(a: Value, b: Value) -> Value:
    """For each byte of two words, whether it is the same: half of a comparison, the other half is ``all()``."""
    return Cat(a[low : low + 8] == b[low : low + 8] for low in range(0, len(a), 8))


class Exchange(wiring.Component):
    """Processes closed blocks in order: exchanges tags, types, intensities and slices with the peer, then sifts, by tables.

    The own tag is ``digest xor own pad``, the peer's must be ``digest xor peer's pad``: it is sent and compared in two halves. Of a
    spoilt block it is taken with bit 0 inverted, and the peer's is different in any case, so that both discard the block. Each
    of the three reveals is two passes over the block's ring entries, one that sends and one that waits for the
    peer's; every message that may come next is known exactly (kind, number), anything else is refused.

    Members
    -------
    i_role : In(1), 0 Alice, 1 Bob
    i_block_heralds, i_slice_width : In(12), In(16, Ds in 2^-16 turn)
    i_rules : In(RuleTables), constant while blocks are exchanged
    i_blocks : In(9), blocks whose digest is complete so far, modulo 512
    i_recalled_blocks : In(9), blocks whose symbols are
    o_first : Out(32), first herald of the oldest unfinished block
    o_block : Out(8), its number modulo 256
    i_digest : In(64), digest of block ``o_block``
    i_spoilt : In(1), block ``o_block`` is not to be sifted: a symbol of it was refused
    i_pads_valid, i_pads : In(1), In(ArrayLayout(64, 2)), Alice's and Bob's pad of the block whose turn it is; hold until ``o_next``
    o_next : Out(1), strobe: the block is done, the next one's turn
    o_read, o_read_index, i_recalled, i_psi : read port of `HeraldRing`
    i_peer : In(stream of PeerMessage), taken only in states that wait for the peer
    o_peer : Out(stream of PeerMessage)
    o_sifted : Out(stream of number (32), word (32)), as in `twinphase_spec.sns`
    o_verdict_valid, o_verdict : Out(1), Out(VerdictResult), one herald of an agreed block; more than `Verdict.latency` clocks apart
    i_hold : In(1), no herald of an agreed block is to come but one that is on its way
    o_refused, o_agreed, o_discarded : Out(1), strobes of the counters
    o_idle : Out(1), waits for a block or a message

    Throughput: one clock per herald in each of six passes, six in the last, plus what the peer (three clocks per message) and the
    outputs (two) take.
    Overflow: none, both outputs wait. Source: docs/rules.md, `twinphase_spec.sns`, docs/contract.md.

    ``walk``: a smaller one for proofs; ``settle_clocks``: from a block's last symbol and its digest to its first message, at least.
    """

    i_role: In(1)
    i_block_heralds: In(BLOCK_BITS)
    i_slice_width: In(16)
    i_rules: In(RuleTables)
    i_blocks: In(HELD_BITS)
    i_recalled_blocks: In(HELD_BITS)
    o_first: Out(32)
    o_block: Out(HELD_BITS - 1)
    i_digest: In(DIGEST_BITS)
    i_spoilt: In(1)
    i_pads_valid: In(1)
    i_pads: In(data.ArrayLayout(DIGEST_BITS, 2))
    o_next: Out(1)
    o_read: Out(1)
    o_read_index: Out(RING_BITS)
    i_recalled: In(Recalled)
    i_psi: In(FinalPsi)
    i_peer: In(stream.Signature(PeerMessage))
    o_peer: Out(stream.Signature(PeerMessage))
    o_sifted: Out(stream.Signature(record_words(Stream.SIFTED)))
    o_verdict_valid: Out(1)
    o_verdict: Out(VerdictResult)
    i_hold: In(1)
    o_refused: Out(1)
    o_agreed: Out(1)
    o_discarded: Out(1)
    o_idle: Out(1)

    def __init__(self, *, walk: BlockWalk | None = None, settle_clocks: int = SETTLE_CLOCKS) -> None:
        self.walk = walk if walk is not None else BlockWalk()
        self._settle_clocks = settle_clocks
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walk = walk = self.walk
        rules, types_bits = self.i_rules, walk.types_bits

        block = Signal(32)
        kind = Signal(Kind)  # of the reveal under way
        # In states SEND, GET and SIFT: registers of their own, as much depends on them.
        sending = Signal()
        getting = Signal()
        sifting = Signal()
        start = Signal()
        consume = Signal()
        valid, last, number, waits = walk.o_valid, walk.o_last, walk.o_number, walk.o_waits
        own, peer = walk.o_own, walk.o_peer
        m.d.sync += start.eq(0)
        m.d.comb += [
            self.o_block.eq(block),
            walk.i_rules.eq(rules),
            walk.i_block_heralds.eq(self.i_block_heralds),
            walk.i_start.eq(start),
            walk.i_first.eq(self.o_first),
            walk.i_kind.eq(kind),
            walk.i_sending.eq(sending),
            walk.i_sifting.eq(sifting),
            walk.i_consume.eq(consume),
            walk.i_reveal.eq(getting),
            self.o_read.eq(walk.o_read),
            self.o_read_index.eq(walk.o_read_index),
            walk.i_recalled.eq(self.i_recalled),
            walk.i_psi.eq(self.i_psi),
        ]

        # What one's own or the peer's reveal of this kind says about the entry at the end of the walk.
        types, value, beyond = Signal(1 << types_bits), Signal(32), Signal(32)
        learned = walk.i_revealed
        head = self.i_peer.payload
        with m.Switch(kind):
            with m.Case(Kind.TYPES):
                m.d.comb += [
                    value.eq(Cat(types[1:], own.x)),
                    learned.x.eq(Mux(waits, head.value[0], types[0])),
                ]
            with m.Case(Kind.INTENSITY):
                m.d.comb += [
                    value.eq(own.intensity),
                    beyond.eq(Cat(C(0, 2), head.value[2:])),
                    learned.x.eq(peer.x),
                    learned.intensity.eq(Mux(waits, head.value[:2], 0)),
                ]
            with m.Default():
                m.d.comb += [
                    value.eq(own.slice & rules.slice_mask),
                    beyond.eq(head.value & ~Cat(rules.slice_mask, C(0, 28))),
                    learned.x.eq(peer.x),
                    learned.intensity.eq(peer.intensity),
                    learned.slice.eq(Mux(waits, head.value[:4], 0)),
                ]

        send = self.o_peer
        # A message is compared with what may come now in one clock, judged in the next, and accepted or refused in the third. Likewise an
        # entry goes on a clock after its message was sent or its verdict given, so that little decides about the walk.
        same_kind, same_number, same_block, is_kind, in_range = Signal(), Signal(4), Signal(4), Signal(4), Signal(4)
        match, asked, accepted = Signal(), Signal(), Signal()
        passed = Signal()
        ended = Signal()
        """The last entry was consumed a clock ago; none is there."""
        waiting = Signal()
        # Of the oldest block, the digest and the symbols are not complete (a bit each); this was so a clock ago, or it was another block.
        no_block, rests = Signal(2), Signal(2, init=3)
        m.d.sync += [
            same_kind.eq(head.kind == kind),
            same_number.eq(same_bytes(head.number, number)),
            same_block.eq(same_bytes(head.number, block)),
            is_kind.eq(same_bytes(head.value, Cat(kind, C(0, 32 - len(Value.cast(kind)))))),
            in_range.eq(Cat(~beyond[low : low + 8].any() for low in range(0, len(beyond), 8))),
            asked.eq(waiting & self.i_peer.valid & ~asked & ~self.i_peer.ready),
            *(accepted.eq(asked & match), self.o_refused.eq(asked & ~match)),
        ]
        m.d.comb += self.i_peer.ready.eq(accepted | self.o_refused)

        settle = Signal(range(self._settle_clocks))
        own_pad, peer_pad = (Mux(self.i_role, self.i_pads[k], self.i_pads[1 - k]) for k in (1, 0))
        tag = Signal(DIGEST_BITS)
        expected = Signal(DIGEST_BITS)
        same_low, same_high = Signal(4), Signal(4)
        low_agrees = Signal()
        agrees = Signal()
        spoilt = Signal()
        m.d.sync += [
            same_low.eq(same_bytes(head.value, expected[:32])),
            same_high.eq(same_bytes(head.value, expected[32:])),
            agrees.eq(low_agrees & same_high.all()),
        ]
        m.submodules.verdict = verdict = Verdict()
        m.d.comb += [
            verdict.i_role.eq(self.i_role),
            verdict.i_slice_width.eq(self.i_slice_width),
            verdict.i_slice_mask.eq(rules.slice_mask),
            verdict.i_errors.eq(rules.error),
            verdict.i_number.eq(number),
            verdict.i_own.eq(own),
            verdict.i_psi.eq(walk.o_psi),
            verdict.i_peer.eq(peer),
            verdict.i_known.eq(walk.o_known),
        ]
        wiring.connect(m, verdict.o_sifted, wiring.flipped(self.o_sifted))
        m.d.comb += [
            self.o_verdict.eq(verdict.o_verdict),
            self.o_verdict_valid.eq(verdict.o_done),
            verdict.i_valid.eq(valid & sifting & ~passed & ~self.i_hold),
            consume.eq(valid & (~waits | accepted | passed)),
            no_block.eq(Cat(self.i_blocks == block[:HELD_BITS], self.i_recalled_blocks == block[:HELD_BITS])),
        ]
        m.d.sync += rests.eq(no_block)
        m.d.sync += [passed.eq((sending & send.valid & send.ready) | verdict.o_done), ended.eq(consume & last)]
        idle = Signal()
        with m.FSM(name="exchange_fsm"):
            with m.State("IDLE"):
                m.d.sync += settle.eq(self._settle_clocks - 1)
                m.d.comb += idle.eq(no_block.any() & rests.any())
                with m.If(~rests.any()):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                digest = self.i_digest ^ self.i_spoilt
                m.d.sync += [tag.eq(digest ^ own_pad), expected.eq(digest ^ peer_pad), spoilt.eq(self.i_spoilt)]
                with m.If(settle != 0):
                    m.d.sync += settle.eq(settle - 1)
                with m.Elif(self.i_pads_valid):
                    m.next = "SEND_DIGEST_LOW"
            for kind_sent, half, following in (
                (Kind.DIGEST_LOW, tag[:32], "SEND_DIGEST_HIGH"),
                (Kind.DIGEST_HIGH, tag[32:], "GET_DIGEST_LOW"),
            ):
                with m.State(f"SEND_{kind_sent.name}"):
                    m.d.comb += [send.valid.eq(1), send.payload.kind.eq(kind_sent)]
                    m.d.comb += [send.payload.number.eq(block), send.payload.value.eq(half)]
                    with m.If(send.ready):
                        m.next = following
            with m.State("GET_DIGEST_LOW"):
                m.d.comb += match.eq((head.kind == Kind.DIGEST_LOW) & same_block.all())
                m.d.comb += waiting.eq(1)
                with m.If(accepted):
                    m.d.sync += low_agrees.eq(same_low.all() & ~spoilt)
                    m.next = "GET_DIGEST_HIGH"
            with m.State("GET_DIGEST_HIGH"):
                m.d.comb += match.eq((head.kind == Kind.DIGEST_HIGH) & same_block.all())
                m.d.comb += waiting.eq(1)
                with m.If(accepted):
                    with m.If(agrees):
                        m.d.comb += self.o_agreed.eq(1)
                        m.d.sync += [start.eq(1), sending.eq(1), kind.eq(Kind.TYPES)]
                        m.next = "SEND"
                    with m.Else():
                        m.d.comb += self.o_discarded.eq(1)
                        m.next = "NEXT"

            with m.State("SEND"):
                m.d.comb += [
                    send.valid.eq(valid & waits & ~passed),
                    send.payload.kind.eq(kind),
                    send.payload.number.eq(number),
                    send.payload.value.eq(value),
                ]
                with m.If(kind == Kind.TYPES):
                    m.d.comb += send.payload.number[:types_bits].eq(0)
                with m.If(consume):
                    m.d.sync += types.eq(Cat(types[1:], own.x))
                with m.If(ended):
                    m.d.sync += sending.eq(0)
                    m.next = "SEND_DONE"
            with m.State("SEND_DONE"):
                m.d.comb += [send.valid.eq(1), send.payload.kind.eq(Kind.DONE)]
                m.d.comb += [send.payload.number.eq(block), send.payload.value.eq(kind)]
                with m.If(send.ready):
                    m.d.sync += [start.eq(1), getting.eq(1)]
                    m.next = "GET"
            with m.State("GET"):
                m.d.comb += [
                    waiting.eq(valid & waits),
                    match.eq(same_kind & same_number.all() & in_range.all()),
                ]
                with m.If(consume):
                    m.d.sync += types.eq(Mux(waits, head.value, types)[1:])
                with m.If(ended):
                    m.d.sync += getting.eq(0)
                    m.next = "GET_DONE"
            with m.State("GET_DONE"):
                m.d.comb += match.eq((head.kind == Kind.DONE) & same_block.all() & is_kind.all())
                m.d.comb += waiting.eq(1)
                with m.If(accepted):
                    m.d.sync += start.eq(1)
                    with m.If(kind == Kind.SLICE):
                        m.d.sync += sifting.eq(1)
                        m.next = "SIFT"
                    with m.Else():
                        m.d.sync += sending.eq(1)
                        m.d.sync += kind.eq(Mux(kind == Kind.TYPES, Kind.INTENSITY, Kind.SLICE))
                        m.next = "SEND"

            with m.State("SIFT"), m.If(ended):
                m.d.sync += sifting.eq(0)
                m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.o_next.eq(1)
                m.d.sync += [block.eq(block + 1), self.o_first.eq(self.o_first + self.i_block_heralds), rests.eq(3)]
                m.next = "IDLE"
        m.d.comb += self.o_idle.eq(idle | (waiting & ~self.i_peer.valid))
        return m
