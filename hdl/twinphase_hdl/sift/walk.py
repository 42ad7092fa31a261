"""The walk over a block's heralds, and what is known of each once both types are."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.rules import UNREVEALED
from twinphase_spec.sns import MAX_BLOCK_HERALDS, Kind

from .digest import BLOCK_BITS
from .intake import RING_BITS
from .recall import FinalPsi, Recalled
from .tables import RuleTables

TYPES_BITS = 5
"""A TYPES message is of 2^TYPES_BITS heralds."""


class Revealed(data.Struct):
    """What the peer has told about a herald of the current block."""

    x: 1
    intensity: 2
    slice: 4


class Known(data.Struct):
    """What both sides know of a herald, and what the tables say about that."""

    own_level: 2
    peer_level: 2
    slices: 1
    """Slices are revealed."""
    x_record: 1
    z_record: 1
    """0 where there is an X record."""


def by_types(table: Value, own_x: Value, peer_x: Value) -> Value:
    """Bits of a table over announced codes for the two types, at ``own level << 2 | peer's level``."""
    of = {
        (own, peer): Cat(table[own << 5 | level << 3 | peer << 2 :][:4] for level in range(4))
        for own in (0, 1)
        for peer in (0, 1)
    }
    return Mux(own_x, Mux(peer_x, of[1, 1], of[1, 0]), Mux(peer_x, of[0, 1], of[0, 0]))


class BlockWalk(wiring.Component):
    """Goes over the entries of a block, one pass per reveal, and says which of them the reveal is about.

    Formula: levels, announced codes and tables of docs/rules.md. With pairs, an entry that is not missing is the second of one, and its
    psi is that of the pair.

    Members
    -------
    i_rules, i_block_heralds : In(RuleTables), In(12), constant while blocks are exchanged
    i_start, i_first : In(1), In(32), strobe: a pass over the block whose first herald is this; not while entries move
    i_kind, i_sending, i_sifting : In(Kind), In(1), In(1), whose pass: of own reveals, of the peer's, or the sift; hold in a pass
    i_consume : In(1), the entry at the end is done with; only with ``o_valid``
    i_reveal, i_revealed : In(1), In(Revealed), with ``i_consume``: what is now known of the peer's side of it
    o_read, o_read_index, i_recalled, i_psi : read port of `HeraldRing`
    o_valid, o_last, o_number : Out(1), Out(1), Out(32), an entry is at the end; the block's last; its herald
    o_waits : Out(1), it has a message of the reveal, or goes to the sift
    o_own, o_psi, o_peer, o_known : Out(Recalled), Out(FinalPsi), Out(Revealed), Out(Known)

    Latency: 5 clocks from ``i_start`` to the first entry (block RAM; its register; levels and tables by types; tables by levels).
    Throughput: one entry per clock. Overflow: none. Source: docs/rules.md.

    ``max_block_heralds``, ``types_bits``: largest block, and 2^types_bits heralds per TYPES message, smaller ones for proofs.
    ValueError if the block is no multiple of the message.
    """

    i_rules: In(RuleTables)
    i_block_heralds: In(BLOCK_BITS)
    i_start: In(1)
    i_first: In(32)
    i_kind: In(Kind)
    i_sending: In(1)
    i_sifting: In(1)
    i_consume: In(1)
    i_reveal: In(1)
    i_revealed: In(Revealed)
    o_read: Out(1)
    o_read_index: Out(RING_BITS)
    i_recalled: In(Recalled)
    i_psi: In(FinalPsi)
    o_valid: Out(1)
    o_last: Out(1)
    o_number: Out(32)
    o_waits: Out(1)
    o_own: Out(Recalled)
    o_psi: Out(FinalPsi)
    o_peer: Out(Revealed)
    o_known: Out(Known)

    def __init__(self, *, max_block_heralds: int = MAX_BLOCK_HERALDS, types_bits: int = TYPES_BITS) -> None:
        message = 1 << types_bits
        if not message <= max_block_heralds <= MAX_BLOCK_HERALDS or max_block_heralds % message:
            raise ValueError(
                f"BlockWalk: max_block_heralds is {max_block_heralds}; allowed: multiples of {message} up to {MAX_BLOCK_HERALDS}"
            )
        self._max_block_heralds, self.types_bits = max_block_heralds, types_bits
        self.revealed = memory.Memory(shape=Revealed, depth=max_block_heralds, init=[])
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.revealed = self.revealed
        write, read = self.revealed.write_port(), self.revealed.read_port()
        rules, kind, index_bits = self.i_rules, self.i_kind, (self._max_block_heralds - 1).bit_length()

        # Addresses, block RAM outputs, the registers behind them, levels, entries. All move at once, as long as the entry at the end is
        # consumed or there is none. What decides about an entry is registered with it. (Proofs know the registers by their names.)
        fetching = Signal()
        fetched = Signal()
        staged = Signal()
        coded = Signal()
        fetched_last = Signal()
        staged_last = Signal()
        coded_last = Signal()
        coded_own = Signal(Recalled)
        coded_psi = Signal(FinalPsi)
        coded_peer = Signal(Revealed)
        move, fetch_last, coded_waits = Signal(), Signal(), Signal()
        fetch_index = Signal(index_bits)
        fetch_ring = Signal(RING_BITS)
        coded_index = Signal(index_bits)
        index = Signal(index_bits)
        last_index = Signal(BLOCK_BITS)
        staged_own, staged_psi, staged_peer = self.i_recalled, self.i_psi, Signal(Revealed, reset_less=True)
        m.d.comb += [
            move.eq(self.i_consume | ~self.o_valid),
            fetch_last.eq(fetch_index == last_index),
            self.o_read.eq(move),
            self.o_read_index.eq(fetch_ring),
            read.en.eq(move),
            read.addr.eq(fetch_index),
        ]
        m.d.sync += last_index.eq(self.i_block_heralds - 1)
        with m.If(move):
            m.d.sync += [
                *(self.o_valid.eq(coded), coded.eq(staged), staged.eq(fetched), fetched.eq(fetching)),
                *(self.o_last.eq(coded_last), coded_last.eq(staged_last)),
                *(staged_last.eq(fetched_last), fetched_last.eq(fetch_last)),
                *(self.o_own.eq(coded_own), coded_own.eq(staged_own), coded_psi.eq(staged_psi)),
                *(self.o_peer.eq(coded_peer), coded_peer.eq(staged_peer), staged_peer.eq(read.data)),
                *(index.eq(coded_index), self.o_waits.eq(coded_waits)),
            ]
            with m.If(coded):
                m.d.sync += coded_index.eq(coded_index + 1)
            with m.If(fetching):
                m.d.sync += [fetch_index.eq(fetch_index + 1), fetch_ring.eq(fetch_ring + 1), fetching.eq(~fetch_last)]
        with m.If(self.i_consume):
            m.d.sync += self.o_number.eq(self.o_number + 1)
        with m.If(self.i_start):  # nothing moves any more
            m.d.sync += [fetching.eq(1), fetch_index.eq(0), coded_index.eq(0)]
            m.d.sync += [fetch_ring.eq(self.i_first), self.o_number.eq(self.i_first)]

        # A table is looked up in two clocks: by types, of 16 pairs of levels each, then by levels.
        names = ("slice", "x", "z")
        levels = data.StructLayout({"own_reveals": 1, "peer_reveals": 1, "own": 2, "peer": 2})
        staged_levels = Signal(levels)
        level = Signal(levels)
        by_levels = Signal(data.StructLayout({name: 16 for name in names}))
        found = Signal(data.StructLayout({name: 1 for name in names}))
        own_x, peer_x, present = staged_own.x, staged_peer.x, ~staged_own.missing
        m.d.comb += [
            staged_levels.own_reveals.eq(rules.reveal.bit_select(Cat(peer_x, own_x), 1) & present),
            staged_levels.peer_reveals.eq(rules.reveal.bit_select(Cat(own_x, peer_x), 1) & present),
            staged_levels.own.eq(Mux(staged_levels.own_reveals, staged_own.intensity, UNREVEALED)),
            staged_levels.peer.eq(Mux(staged_levels.peer_reveals, staged_peer.intensity, UNREVEALED)),
            *(
                found[name].eq(by_levels[name].bit_select(Cat(level.peer, level.own), 1) & ~coded_own.missing)
                for name in names
            ),
        ]
        types_place = coded_index[: self.types_bits]
        with m.If(self.i_sifting):
            m.d.comb += coded_waits.eq(1)
        with m.Elif(kind == Kind.TYPES):
            m.d.comb += coded_waits.eq(Mux(self.i_sending, types_place.all(), ~types_place.any()))
        with m.Elif(kind == Kind.INTENSITY):
            m.d.comb += coded_waits.eq(Mux(self.i_sending, level.own_reveals, level.peer_reveals))
        with m.Else():
            m.d.comb += coded_waits.eq(found.slice)
        pairs, first_psi = Signal(), Signal(FinalPsi)
        m.d.sync += pairs.eq(rules.pair_span.any())
        with m.If(move):
            m.d.sync += [
                level.eq(staged_levels),
                *(by_levels[name].eq(by_types(rules[name], own_x, peer_x)) for name in names),
                self.o_known.own_level.eq(level.own),
                self.o_known.peer_level.eq(level.peer),
                self.o_known.slices.eq(found.slice),
                self.o_known.x_record.eq(found.x),
                self.o_known.z_record.eq(found.z & ~found.x),
                first_psi.eq(coded_psi),
                self.o_psi.psi.eq(coded_psi.psi - Mux(pairs, first_psi.psi, 0)),
                self.o_psi.flags.eq(coded_psi.flags & (first_psi.flags | ~pairs.replicate(2))),
            ]

        reveals, reveal_index, revealed_entry = Signal(), Signal(index_bits), Signal(Revealed)
        m.d.sync += [
            reveals.eq(self.i_reveal & self.i_consume),
            reveal_index.eq(index),
            revealed_entry.eq(self.i_revealed),
        ]
        m.d.comb += [write.en.eq(reveals), write.addr.eq(reveal_index), write.data.eq(revealed_entry)]
        return m
