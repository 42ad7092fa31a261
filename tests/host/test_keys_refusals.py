"""Everything that a peer can send and must not, and steps out of order: refused with one sentence, and never answered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keys_paths import BLOCK, seeded, z_bits

from twinphase.keys.aopp import AnsweringUser, PairingUser, SpanLedger
from twinphase.keys.bitfields import pack_fields, unpack_fields
from twinphase.keys.refused import Refused
from twinphase.keys.zbits import ZBits
from twinphase_spec import aopp
from twinphase_spec.packets import SIFTED_DTYPE
from twinphase_spec.sns import SIFTED_X

ALICE, BOB = [0, 1, 0, 1, 1, 0, 1, 0] * 5, [0, 1, 0, 1, 1, 0, 0, 1] * 5
U4 = {"first_block": 4, "blocks": 8, "positions": 12, "numbers_crc": 16}


def changed(message, at, value, size=4):
    return message[:at] + value.to_bytes(size, "little") + message[at + size :]


HOSTILE_PAIRS = {
    "cut": (lambda m: m[:20], "20 bytes; a header alone has 36"),
    "empty": (lambda m: b"", "0 bytes"),
    "kind": (lambda m: changed(m, 0, 2, 1), "kind 2 instead of 1"),
    "version": (lambda m: changed(m, 1, 9, 1), "version 9, this host 1"),
    "group of one": (lambda m: changed(m, 2, 1, 2), "groups of 1; allowed: 2 to 4096"),
    "group too large": (lambda m: changed(m, 2, 5000, 2), "groups of 5000"),
    "group not used": (lambda m: changed(m, 2, 64, 2), "bytes of fields instead of"),
    "block": (lambda m: changed(m, 4, 2), "blocks 3 to 4: the message is of block 2"),
    "more blocks": (lambda m: changed(m, 8, 3), "of block 3 and the 2 after it"),
    "position too many": (lambda m: changed(m, 12, 41), "the peer counts 41 Z heralds, here are 40"),
    "count beyond memory": (lambda m: changed(m, 12, 0xFFFFFFFF), "the peer counts 4294967295"),
    "not Z": (lambda m: changed(m, 16, 12345), "the peer's list of 40 Z heralds is not the one here"),
    "short": (lambda m: m[:-1], "bytes of fields instead of"),
    "long": (lambda m: m + b"\0", "bytes of fields instead of"),
    "no pairing": (
        lambda m: m[:36] + b"\xff" * 8 + bytes([m[44] | 1]) + m[45:],
        "the field of group 0 is no pairing of 32",
    ),
    "padding": (lambda m: m[:-1] + bytes([m[-1] | 0x80]), "bits behind the last field are not 0"),
}


@pytest.mark.parametrize("name", HOSTILE_PAIRS)
def test_hostile_pairs_are_refused_and_never_answered(name):
    spoil, match = HOSTILE_PAIRS[name]
    good = PairingUser(z_bits(BOB), group=32, random_bytes=seeded(3)).announce()
    assert len(good) == 36 + (65 + aopp.field_bits(8) + 7) // 8
    alice = AnsweringUser(z_bits(ALICE))
    with pytest.raises(Refused, match=match) as refusal:
        alice.answer(spoil(good))
    assert "\n" not in str(refusal.value)
    assert "block" in str(refusal.value)
    with pytest.raises(Refused, match="came twice"):
        alice.answer(good)


HOSTILE_ODD = {
    "cut": (lambda m: m[:9], "9 bytes; a header alone has 24"),
    "kind": (lambda m: changed(m, 0, 1, 1), "kind 1 instead of 2"),
    "version": (lambda m: changed(m, 1, 0, 1), "version 0"),
    "reserved": (lambda m: changed(m, 2, 1, 2), "reserved field is 1"),
    "block": (lambda m: changed(m, 4, 7), "of block 7"),
    "blocks": (lambda m: changed(m, 8, 1), "of block 3 and the 0 after it"),
    "pairs": (lambda m: changed(m, 12, 3), "speaks of 3 pairs"),
    "odd": (lambda m: changed(m, 16, 1), "counts 1 odd pairs and marks"),
    "answer to another": (lambda m: changed(m, 20, 1), "another PAIRS message"),
    "short": (lambda m: m[:-1], "bytes of parities instead of"),
    "long": (lambda m: m + b"\0", "bytes of parities instead of"),
    "padding": (lambda m: m[:-1] + bytes([m[-1] | 0x80]), "behind the last pair"),
}


@pytest.mark.parametrize("name", HOSTILE_ODD)
def test_hostile_odd_is_refused(name):
    spoil, match = HOSTILE_ODD[name]
    bob = PairingUser(z_bits(BOB), group=32, random_bytes=seeded(3))
    odd, _ = AnsweringUser(z_bits(ALICE)).answer(bob.announce())
    assert bob.pairs % 8, "the test of the padding needs some"
    with pytest.raises(Refused, match=match):
        bob.keep(spoil(odd))
    with pytest.raises(Refused, match="came twice"):
        bob.keep(odd)


@given(st.binary(max_size=60), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_a_pairing(noise, at):
    good = PairingUser(z_bits(BOB), group=32, random_bytes=seeded(3)).announce()
    message = good[:at] + noise + good[at + len(noise) :]
    try:
        _, key = AnsweringUser(z_bits(ALICE)).answer(message)
    except Refused:
        return
    used = np.concatenate((key.kept, key.discarded))
    assert np.unique(used).size == used.size
    assert np.isin(used, z_bits(ALICE).numbers).all()


def test_order_and_repetition():
    bob = PairingUser(z_bits(BOB), random_bytes=seeded(1))
    with pytest.raises(Refused, match="before any pairs were announced"):
        bob.keep(b"")
    bob.announce()
    with pytest.raises(Refused, match="has been announced"):
        bob.announce()
    with pytest.raises(Refused, match="group is 1"):
        PairingUser(z_bits(BOB), group=1)


def test_a_ledger_lets_no_block_be_paired_twice():
    ledger = SpanLedger()
    PairingUser(z_bits(BOB, first=3, blocks=2), ledger=ledger)
    AnsweringUser(z_bits(ALICE, first=5, blocks=1), ledger=ledger)
    AnsweringUser(z_bits(ALICE, first=0, blocks=3), ledger=ledger)
    for first, blocks in ((4, 1), (0, 1), (2, 9), (5, 4)):
        with pytest.raises(Refused, match="overlaps blocks"):
            PairingUser(z_bits(BOB[:20], first=first, blocks=blocks), ledger=ledger)
    PairingUser(z_bits(BOB, first=6, blocks=1), ledger=ledger)


def test_lists_of_z_heralds_that_differ_are_found():
    pairs = PairingUser(z_bits(BOB), random_bytes=seeded(1)).announce()
    numbers = np.arange(3 * BLOCK, 3 * BLOCK + 40)
    numbers[-1] += 1
    with pytest.raises(Refused, match="list of 40 Z heralds is not the one here"):
        AnsweringUser(z_bits(ALICE, numbers=numbers)).answer(pairs)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: z_bits([0, 1], numbers=[192, 192]), "herald 192 after 192"),
        (lambda: z_bits([0, 1], numbers=[193, 192]), "numbers must rise"),
        (lambda: z_bits([0], numbers=[191]), "herald 191 lies outside; allowed: 192 to 319"),
        (lambda: z_bits([0], numbers=[320]), "herald 320 lies outside"),
        (lambda: z_bits([0, 2]), "bit of herald 193 is 2"),
        (lambda: z_bits([0, 1], numbers=[192]), "equal length"),
        (lambda: z_bits([], blocks=0), "at least one block"),
    ],
)
def test_bad_z_bits(make, match):
    with pytest.raises(Refused, match=match):
        make()


def test_z_bits_from_sifted_records():
    sifted = np.array([(190, 1), (192, 1), (200, SIFTED_X | 1), (201, 0), (319, 1), (320, 0)], SIFTED_DTYPE)
    chosen = ZBits.from_sifted(sifted, first_block=3, blocks=2, block_heralds=BLOCK)
    assert chosen.numbers.tolist() == [192, 201, 319]
    assert chosen.bits.tolist() == [1, 0, 1]
    sifted["word"][3] = 2
    with pytest.raises(Refused, match="herald 201 has the word 0x00000002"):
        ZBits.from_sifted(sifted, first_block=3, blocks=2, block_heralds=BLOCK)


@given(st.lists(st.integers(0, 70).flatmap(lambda w: st.tuples(st.integers(0, (1 << w) - 1), st.just(w))), max_size=30))
@settings(deadline=None)
def test_fields(fields):
    data = pack_fields(fields)
    text = "".join(format(value, f"0{width}b")[::-1] if width else "" for value, width in fields)
    assert data == b"".join(int(text[at : at + 8][::-1], 2).to_bytes(1, "little") for at in range(0, len(text), 8))
    assert unpack_fields(data, [width for _, width in fields]) == [value for value, _ in fields]
    with pytest.raises(ValueError, match="instead of"):
        unpack_fields(data + b"\0", [width for _, width in fields])


def test_a_field_too_large():
    with pytest.raises(ValueError, match="does not fit"):
        pack_fields([(4, 2)])
