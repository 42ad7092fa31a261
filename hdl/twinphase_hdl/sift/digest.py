"""The keyed digest of each block: a polynomial hash of its heralds and one of their psi."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.digest import DIGEST_BITS, HALF_PRESENT, HERALD_PRESENT
from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.sns import MAX_BLOCK_HERALDS, RING_HERALDS

from .field import FieldMultiplier
from .halves import HalvedMemory

BLOCK_BITS = MAX_BLOCK_HERALDS.bit_length()
HELD_BLOCKS = RING_HERALDS // 32
"""Most blocks that can be complete and not yet sifted."""
HELD_BITS = HELD_BLOCKS.bit_length()
DETECTOR_PLACE = 56
HALF_BITS = HALF_PRESENT.bit_length()
HALF_PLACE = 32
KEPT_BITS = DIGEST_BITS + 1
"""Of a word that is kept for a block: a hash and a flag."""


class KeyedHash(wiring.Component):
    """Polynomial hash of each run of ``i_words`` words, kept for the last 256 runs.

    Formula: ``s = 1; for each word: s = (s xor word) key`` in GF(2^64) (`FieldMultiplier`).

    Members
    -------
    i_key : In(64), constant while in use
    i_words : In(12), words of a run, constant while in use
    i_valid, i_word : In(1), In(64), a word; only with ``o_ready``
    o_ready : Out(1)
    o_blocks : Out(9), complete runs so far, modulo 512
    o_busy : Out(1), a word or the end of a run is on its way
    i_index, o_hash : In(8), Out(64), hash of run ``i_index`` (number modulo 256), `HalvedMemory.latency` clocks later
    i_other_write, i_other_place, i_other_word, i_other_index, o_other : In(1), In(8), In(65), In(8), Out(65), table 1 of the memory of
        hashes, which is half empty, for who needs one

    A word waits in a register for the multiplier. A run begins with the product 0 and its first word's lowest bit inverted, which is
    s = 1.

    Latency: a run counts in ``o_blocks`` 10 clocks after its last word, if none waits. Throughput: a word in 8 clocks, a run's first one
    clock later. Overflow: a hash is overwritten 256 runs later; the owner does not let more wait. Source: docs/digest.md.
    """

    i_key: In(DIGEST_BITS)
    i_words: In(BLOCK_BITS)
    i_valid: In(1)
    i_word: In(DIGEST_BITS)
    o_ready: Out(1)
    o_blocks: Out(HELD_BITS)
    o_busy: Out(1)
    i_index: In(HELD_BITS - 1)
    o_hash: Out(DIGEST_BITS)
    i_other_write: In(1)
    i_other_place: In(HELD_BITS - 1)
    i_other_word: In(KEPT_BITS)
    i_other_index: In(HELD_BITS - 1)
    o_other: Out(KEPT_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiplier = multiplier = FieldMultiplier()
        m.submodules.hashes = hashes = HalvedMemory(width=KEPT_BITS, depth=HELD_BLOCKS)

        waits, word, word_ends = Signal(), Signal(DIGEST_BITS, reset_less=True), Signal(reset_less=True)
        position, last_position, first = Signal(BLOCK_BITS), Signal(BLOCK_BITS), Signal(init=1)
        ends = position == last_position
        starts = Signal()
        m.d.sync += [last_position.eq(self.i_words - 1), waits.eq(self.i_valid | (waits & ~starts))]
        with m.If(self.i_valid):
            m.d.sync += [
                *(word.eq(self.i_word ^ first), word_ends.eq(ends)),
                *(first.eq(ends), position.eq(Mux(ends, 0, position + 1))),
            ]

        last = Signal()
        """The word under way is the run's last."""
        closes = Signal()
        m.d.comb += [
            starts.eq(waits & ~multiplier.o_busy & ~last),
            closes.eq(last & ~multiplier.o_busy),
            multiplier.i_start.eq(starts),
            multiplier.i_a.eq(multiplier.o_product ^ word),
            multiplier.i_b.eq(self.i_key),
            multiplier.i_clear.eq(closes),
            self.o_ready.eq(~waits),
            self.o_busy.eq(waits | multiplier.o_busy | last),
            hashes.i_write[0].eq(closes),
            hashes.i_write_index[0].eq(self.o_blocks),
            hashes.i_word[0].eq(multiplier.o_product),
            hashes.i_index[0].eq(self.i_index),
            self.o_hash.eq(hashes.o_word[0]),
            hashes.i_write[1].eq(self.i_other_write),
            hashes.i_write_index[1].eq(self.i_other_place),
            hashes.i_word[1].eq(self.i_other_word),
            hashes.i_index[1].eq(self.i_other_index),
            self.o_other.eq(hashes.o_word[1]),
        ]
        m.d.sync += [last.eq((starts & word_ends) | (last & ~closes)), self.o_blocks.eq(self.o_blocks + closes)]
        return m


class BlockDigest(wiring.Component):
    """Digest of each block of a herald stream, kept for the last 256 blocks.

    Formula: docs/digest.md: ``s`` over the herald words with key h, ``t`` over the psi words with key k, ``digest = s xor t``, or ``s xor
    t xor u`` with the hashes u that `LiveLists` makes. A `KeyedHash` each, since heralds run ahead of their psi; all hashes of a block
    are kept, and their sum is taken as they are read. What `LiveLists` has stored is in the other halves of their memories.

    Members
    -------
    i_block_heralds : In(12), a multiple of 2, constant while in use
    i_herald_key, i_psi_key : In(64), h and k, constant while in use
    i_herald_valid, i_pulse, i_detector, i_missing : In(1, 56, 1, 1), next herald, if missing without meaning; only with
        ``o_herald_ready``
    o_herald_ready : Out(1)
    i_psi_valid, i_psi, i_flags, i_present : In(1, 16, 2, 1), next psi, 0 with flags 0 and not present for a missing herald; only if
        ``o_psi_ready`` was high in some clock since that of the last
    o_psi_ready : Out(1)
    i_live : In(1), the digest has u, and waits for it; constant while in use
    i_boundary_valid, i_boundary : In(1), In(56), B of the next block, to be stored
    i_list_index, o_boundary : In(8), Out(56), B of that block (number modulo 256), `HalvedMemory.latency` clocks later
    i_list_valid, i_list : In(1), In(65), list ``i_list_index`` is hashed: u, and whether its block is spoilt
    i_lists : In(9), lists that are hashed, modulo 512, one clock after ``i_list_valid``
    o_blocks : Out(9), blocks whose digest is complete, modulo 512
    o_busy : Out(1), something is on its way
    i_index, o_digest, o_spoilt : In(8), Out(64), Out(1), digest of block ``i_index`` (number modulo 256) and whether its list spoils it,
        `latency` clocks later

    Latency: a block counts in ``o_blocks`` 11 clocks after the last of its heralds and psi, if none waits, and two after its list.
    Throughput: a herald in 8 clocks, a psi in 4 (two make a word), one clock more for each block. Overflow: a digest is overwritten 256
    blocks later; the owner does not let more wait. Source: docs/digest.md.
    """

    latency = HalvedMemory.latency + 1
    """Clocks from ``i_index``, and from ``o_blocks``, to ``o_digest``."""

    i_block_heralds: In(BLOCK_BITS)
    i_herald_key: In(DIGEST_BITS)
    i_psi_key: In(DIGEST_BITS)
    i_herald_valid: In(1)
    i_pulse: In(PULSE_BITS)
    i_detector: In(1)
    i_missing: In(1)
    o_herald_ready: Out(1)
    i_psi_valid: In(1)
    i_psi: In(16)
    i_flags: In(2)
    i_present: In(1)
    o_psi_ready: Out(1)
    i_live: In(1)
    i_boundary_valid: In(1)
    i_boundary: In(PULSE_BITS)
    i_list_index: In(HELD_BITS - 1)
    o_boundary: Out(PULSE_BITS)
    i_list_valid: In(1)
    i_list: In(KEPT_BITS)
    i_lists: In(HELD_BITS)
    o_blocks: Out(HELD_BITS)
    o_busy: Out(1)
    i_index: In(HELD_BITS - 1)
    o_digest: Out(DIGEST_BITS)
    o_spoilt: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.heralds = heralds = KeyedHash()
        m.submodules.psis = psis = KeyedHash()
        spare = C(0, HERALD_PRESENT.bit_length() - 1 - DETECTOR_PLACE - 1)
        m.d.comb += [
            heralds.i_key.eq(self.i_herald_key),
            heralds.i_words.eq(self.i_block_heralds),
            heralds.i_valid.eq(self.i_herald_valid),
            heralds.i_word.eq(Mux(self.i_missing, 0, Cat(self.i_pulse, self.i_detector, spare, C(1, 1)))),
            self.o_herald_ready.eq(heralds.o_ready),
        ]

        # The first of two psi waits for the second, which completes their word.
        low, odd = Signal(HALF_BITS, reset_less=True), Signal()
        half = Cat(self.i_psi, self.i_flags, self.i_present)
        m.d.comb += [
            psis.i_key.eq(self.i_psi_key),
            psis.i_words.eq(self.i_block_heralds[1:]),
            psis.i_valid.eq(self.i_psi_valid & odd),
            psis.i_word.eq(Cat(low, C(0, HALF_PLACE - HALF_BITS), half)),
            self.o_psi_ready.eq(psis.o_ready | ~odd),
        ]
        with m.If(self.i_psi_valid):
            m.d.sync += odd.eq(~odd)
            with m.If(~odd):
                m.d.sync += low.eq(half)

        # Boundaries beside the heralds' hashes, those of lists beside the psi's.
        boundaries = Signal(HELD_BITS - 1)
        m.d.sync += boundaries.eq(boundaries + self.i_boundary_valid)
        m.d.comb += [
            heralds.i_other_write.eq(self.i_boundary_valid),
            heralds.i_other_place.eq(boundaries),
            heralds.i_other_word.eq(self.i_boundary),
            heralds.i_other_index.eq(self.i_list_index),
            self.o_boundary.eq(heralds.o_other),
            psis.i_other_write.eq(self.i_list_valid),
            psis.i_other_place.eq(self.i_list_index),
            psis.i_other_word.eq(self.i_list),
            psis.i_other_index.eq(self.i_index),
        ]

        complete = Signal()
        listed = Mux(self.i_live, psis.o_other, 0)
        m.d.comb += [
            complete.eq(
                (heralds.o_blocks != self.o_blocks)
                & (psis.o_blocks != self.o_blocks)
                & ((self.i_lists != self.o_blocks) | ~self.i_live)
            ),
            self.o_busy.eq(heralds.o_busy | psis.o_busy | complete),
            heralds.i_index.eq(self.i_index),
            psis.i_index.eq(self.i_index),
        ]
        # Without a reset: what is read is of block RAM, and waits for none.
        digest, spoilt = Signal(DIGEST_BITS, reset_less=True), Signal(reset_less=True)
        m.d.sync += [digest.eq(heralds.o_hash ^ psis.o_hash ^ listed[:DIGEST_BITS]), spoilt.eq(listed[DIGEST_BITS])]
        m.d.comb += [self.o_digest.eq(digest), self.o_spoilt.eq(spoilt)]
        with m.If(complete):
            m.d.sync += self.o_blocks.eq(self.o_blocks + 1)
        return m
