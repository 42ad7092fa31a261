"""Odd-parity pairing at both users: what is announced, what is revealed, what is kept, and what is refused."""

import itertools
import zlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.keys.aopp import AnsweringUser, PairingUser, SpanLedger
from twinphase.keys.bitfields import pack_fields, unpack_fields
from twinphase.keys.messages import decode_pairs
from twinphase.keys.refused import Refused
from twinphase.keys.zbits import ZBits
from twinphase_spec import aopp
from twinphase_spec.packets import SIFTED_DTYPE
from twinphase_spec.sns import SIFTED_X

BLOCK = 64


def z_bits(bits, *, first=3, blocks=2, numbers=None):
    bits = np.asarray(bits, np.uint8)
    start = first * BLOCK
    numbers = np.arange(start, start + bits.size) if numbers is None else np.asarray(numbers)
    return ZBits(first_block=first, blocks=blocks, block_heralds=BLOCK, numbers=numbers.astype(np.uint32), bits=bits)


def seeded(seed):
    return np.random.default_rng(seed).bytes


def run(alice, bob, *, seed=1, group=aopp.GROUP, **where):
    drawer = PairingUser(z_bits(bob, **where), group=group, random_bytes=seeded(seed))
    pairs = drawer.announce()
    odd, alice_key = AnsweringUser(z_bits(alice, **where)).answer(pairs)
    return pairs, odd, alice_key, drawer.keep(odd)


bit_strings = st.lists(st.integers(0, 1), max_size=120)


@given(bit_strings, st.integers(0, 1 << 30), st.sampled_from((2, 3, 8, 32, 4096)))
@settings(max_examples=80, deadline=None)
def test_equal_strings_give_equal_keys_and_every_pair_is_odd(bits, seed, group):
    _, _, alice, bob = run(bits, bits, seed=seed, group=group)
    assert alice.bits.tolist() == bob.bits.tolist()
    assert alice.bits.size == alice.pairs
    used = np.concatenate((bob.kept, bob.discarded))
    assert np.unique(used).size == used.size
    value = dict(zip(range(3 * BLOCK, 3 * BLOCK + len(bits)), bits, strict=True))
    for kept, discarded, bit in zip(bob.kept.tolist(), bob.discarded.tolist(), bob.bits.tolist(), strict=True):
        assert kept < discarded
        assert value[kept] == bit != value[discarded]
    if group >= len(bits):
        assert bob.pairs == min(bits.count(0), bits.count(1))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=100), st.integers(0, 1 << 30))
@settings(max_examples=80, deadline=None)
def test_keys_differ_exactly_where_both_bits_of_a_pair_differ(bits, seed):
    """A kept pair is odd at both, so its two bits are both right or both wrong."""
    alice_bits, bob_bits = [a for a, _ in bits], [b for _, b in bits]
    _, _, alice, bob = run(alice_bits, bob_bits, seed=seed)
    differ = {3 * BLOCK + i for i, (a, b) in enumerate(bits) if a != b}
    wrong = [kept in differ for kept in alice.kept.tolist()]
    assert wrong == [discarded in differ for discarded in alice.discarded.tolist()]
    assert (alice.bits != bob.bits).tolist() == wrong
    assert (alice.kept == bob.kept).all()


def test_message_bit_by_bit():
    """Both messages of 6 positions in groups of 4, written down with strings of bits."""
    bits = [1, 0, 0, 1, 1, 0]
    pairs, odd, alice, _ = run([1, 0, 0, 1, 1, 1], bits, group=4)
    seed = pairs[20:36]
    numbers = b"".join((3 * BLOCK + i).to_bytes(4, "little") for i in range(6))
    head = bytes([1, 1, 4, 0]) + b"".join(x.to_bytes(4, "little") for x in (3, 2, 6, zlib.crc32(numbers)))
    assert pairs[:20] == head
    parts = aopp.groups(seed, 3, 2, 6, 4)
    said = decode_pairs(pairs, z_bits(bits))
    mate = {int(low): int(up) for low, up in zip(said.lower, said.upper, strict=True)}
    text = ""
    for part, width in zip(parts, (4, 1), strict=True):  # T(4) = 10 needs 4 bits, T(2) = 2 one
        slot = {int(position): i for i, position in enumerate(part)}
        mates = list(range(len(part)))
        for low in part.tolist():
            if low in mate:
                mates[slot[low]], mates[slot[mate[low]]] = slot[mate[low]], slot[low]
        text += format(aopp.rank(mates), f"0{width}b")[::-1]
    assert pairs[36:] == bytes([int(text[::-1], 2)])
    alice_bits = [1, 0, 0, 1, 1, 1]
    marks = [alice_bits[low] != alice_bits[up] for low, up in zip(said.lower, said.upper, strict=True)]
    head = bytes([2, 1, 0, 0]) + b"".join(
        x.to_bytes(4, "little") for x in (3, 2, len(marks), sum(marks), zlib.crc32(pairs))
    )
    assert odd == head + bytes([sum(mark << i for i, mark in enumerate(marks))])
    assert alice.bits.size == sum(marks)


def test_the_pairing_reveals_nothing_but_that_pairs_are_odd():
    """All 32 strings of 5 bits and all 120 orders of the private words: how often each message comes depends on the string only through
    the number of its ones. So, with bits that are independent and of equal bias, all orientations of the pairs are equally likely to
    whoever hears the message."""
    orders = [np.argsort(order).astype("<u8").tobytes() for order in itertools.permutations(range(5))]
    seen = {}
    for bits in itertools.product((0, 1), repeat=5):
        messages = Counter()
        for private in orders:
            source = iter((bytes(16), private))
            messages[PairingUser(z_bits(bits), random_bytes=lambda _, source=source: next(source)).announce()] += 1
        seen[bits] = messages
    by_message = defaultdict(lambda: defaultdict(dict))
    for bits, messages in seen.items():
        for message, times in messages.items():
            by_message[message][sum(bits)][bits] = times
    tried = 0
    for message, counts in by_message.items():
        said = decode_pairs(message, z_bits([0] * 5))
        for strings in counts.values():
            assert len(set(strings.values())) == 1
            for bits in strings:
                for flips in itertools.product((0, 1), repeat=said.lower.size):
                    turned = list(bits)
                    for low, up, flip in zip(said.lower.tolist(), said.upper.tolist(), flips, strict=True):
                        turned[low] ^= flip
                        turned[up] ^= flip
                    assert tuple(turned) in strings
                    tried += 1
    assert tried > 200


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=100),
    st.integers(0, 1 << 30),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_turning_secrets_changes_no_announced_bit(bits, seed, data):
    """All of Bob's bits turned: the same PAIRS. Both bits of any pairs, or all bits, of Alice turned: the same ODD."""
    alice_bits, bob_bits = np.array(bits, np.uint8).T
    pairs, odd, *_ = run(alice_bits, bob_bits, seed=seed)
    assert run(alice_bits, 1 - bob_bits, seed=seed)[:2] == (pairs, odd)
    said = decode_pairs(pairs, z_bits(bob_bits))
    turned = alice_bits.copy()
    for low, up in zip(said.lower, said.upper, strict=True):
        flip = data.draw(st.integers(0, 1))
        turned[low] ^= flip
        turned[up] ^= flip
    assert AnsweringUser(z_bits(turned)).answer(pairs)[0] == odd
    assert AnsweringUser(z_bits(1 - alice_bits)).answer(pairs)[0] == odd


def test_survivors_errors_and_orientation_as_expected():
    """400 spans of 320 Z heralds (both sent 60, Alice 130, Bob 120, nobody 10), groups of 64.

    Given its members, a group with N0 zeros and N1 ones of Bob, n_D both, n_A only Alice, n_B only Bob, n_V nobody sent keeps on average
    min(N0, N1) (nD nV + nA nB)/(N0 N1) pairs, of which min(N0, N1) nD nV/(N0 N1) are wrong (Xu et al.). The means over 400 independent
    spans of what is left after subtracting these lie within 5 standard errors of 0 (6e-7 each); kept ones likewise around one half.
    """
    generator = np.random.default_rng(7)
    left = []
    for span in range(400):
        kinds = generator.permutation(np.repeat([0, 1, 2, 3], [60, 130, 120, 10]))
        alice_bits, bob_bits = np.array([1, 1, 0, 0], np.uint8)[kinds], np.array([0, 1, 0, 1], np.uint8)[kinds]
        pairs, _, alice, bob = run(alice_bits, bob_bits, seed=1000 + span, blocks=5)
        survivors = wrong = 0.0
        for part in aopp.groups(pairs[20:36], 3, 5, 320, aopp.GROUP):
            both, only_a, only_b, none = (np.count_nonzero(kinds[part] == kind) for kind in range(4))
            zeros, ones = both + only_b, none + only_a
            if zeros and ones:
                survivors += min(zeros, ones) * (both * none + only_a * only_b) / (zeros * ones)
                wrong += min(zeros, ones) * both * none / (zeros * ones)
        errors = np.count_nonzero(alice.bits != bob.bits)
        left.append((alice.bits.size - survivors, errors - wrong, alice.bits.sum() - alice.bits.size / 2))
    left = np.array(left)
    assert (np.abs(left.mean(0)) < 5 * left.std(0) / 20).all()
    assert (left.std(0) > 0).all()


@pytest.mark.parametrize("bits", [[], [0], [1, 1, 1], [0] * 33])
def test_nothing_to_pair(bits):
    _, _, alice, bob = run(bits, bits)
    assert alice.pairs == bob.pairs == alice.bits.size == 0


def test_the_usual_source_of_randomness_differs_from_run_to_run():
    bits = [0, 1] * 30
    assert PairingUser(z_bits(bits)).announce() != PairingUser(z_bits(bits)).announce()


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
