"""Odd-parity pairing at both users: what is announced, what is revealed, what is kept."""

import itertools
import zlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keys_paths import BLOCK, run, z_bits

from twinphase.keys.aopp import AnsweringUser, PairingUser
from twinphase.keys.messages import decode_pairs
from twinphase_spec import aopp

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
