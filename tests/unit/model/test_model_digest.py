"""The keyed digest of a block: model against the plain statement, and what a tag must and must not be taken for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_statement import block_tags, product
from test_model_sifting import KEYS, config, messages, pair_of, registers, sifter, stimulus

from twinphase_sim.lab.keys import pair_digest
from twinphase_sim.model.client import run_pair
from twinphase_sim.model.sift.block import State, by_kind
from twinphase_sim.model.sift.digest import BlockDigest, horner, product_table
from twinphase_sim.model.sift.herald import herald_records
from twinphase_sim.model.sift.rule import Announced
from twinphase_spec.digest import DigestConfig
from twinphase_spec.packets import PSI_DTYPE
from twinphase_spec.sns import Kind

WORD = st.integers(0, 2**64 - 1)
EDGE = st.sampled_from([0, 1, 2**63, 2**64 - 1]) | WORD
CONFIGS = st.builds(
    DigestConfig, key=st.tuples(*[st.integers(0, 2**32 - 1)] * 4), nonce=st.sampled_from([0, 2**64 - 1]) | WORD
)
HERALD = st.tuples(
    st.sampled_from([0, 1, 2**56 - 1]) | st.integers(0, 2**56 - 1),
    st.integers(0, 1),
    st.sampled_from([0, 2**16 - 1]) | st.integers(0, 2**16 - 1),
    st.integers(0, 3),
)
BLOCKS = st.sampled_from([32, 64, 96]).flatmap(lambda n: st.lists(st.none() | HERALD, min_size=n, max_size=n))
NUMBERS = st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**56 - 1]) | st.integers(0, 2**56 - 1)
DIGEST = DigestConfig(key=(0x00010203, 0x04050607, 0x08090A0B, 0x0C0D0E0F), nonce=0x0123_4567_89AB_CDEF)


GOLDEN_EMPTY = (0xBCEB4A146087544D, 0xFF007DA2C4621C74, 0x92996662269F5C34)
GOLDEN = (0x19D3B9FDDDCCEABE, 0x02009BFD3D52B97B, 0x12033C391A580EE1)
"""Digest, Alice's tag, Bob's."""


def announced(heralds):
    """Heralds as the statement has them, in arrays."""
    columns = np.array([herald or (0, 0, 0, 0) for herald in heralds], dtype=np.uint64).T
    pulse, detector, psi, flags = columns
    return Announced(
        present=np.array([herald is not None for herald in heralds]),
        pulse=pulse,
        detector=detector.astype(np.uint8),
        psi=psi.astype(np.uint16),
        flags=flags.astype(np.uint16),
    )


def plain(heralds, block, digest):
    return block_tags(heralds, block, digest.key_bytes, digest.nonce.to_bytes(8, "big"))


def modelled(heralds, block, digest):
    ours = BlockDigest(digest)
    of_block, pads = ours.of(announced(heralds)), ours.pads(block)
    return of_block, of_block ^ pads.alice, of_block ^ pads.bob


@given(factor=EDGE, words=st.lists(EDGE, max_size=20))
def test_the_kernel_is_the_field(factor, words):
    state = 1
    for word in words:
        state = product(state ^ word, factor)
    assert int(horner(np.array(words, dtype=np.uint64), product_table(factor))) == state


@given(a=EDGE, b=EDGE, c=EDGE)
def test_the_statement_has_a_field(a, b, c):
    assert product(a, 1) == a
    assert product(a, b) == product(b, a)
    assert product(product(a, b), c) == product(a, product(b, c))
    assert product(a, b ^ c) == product(a, b) ^ product(a, c)
    inverse, power = 1, a  # a^(2^64 - 2)
    for _ in range(63):
        power = product(power, power)
        inverse = product(inverse, power)
    assert product(a, inverse) == (a != 0)


@settings(max_examples=60)
@given(heralds=BLOCKS, block=NUMBERS, digest=CONFIGS)
def test_tags_are_the_statements(heralds, block, digest):
    assert modelled(heralds, block, digest) == plain(heralds, block, digest)


@pytest.mark.parametrize("count", [32, 1024, 2048])
def test_block_lengths(count):
    rng = np.random.default_rng(count)
    columns = (rng.integers(0, high, count).tolist() for high in (2**56, 2, 2**16, 4))
    heralds = [None if i % 13 == 5 else herald for i, herald in enumerate(zip(*columns, strict=True))]
    found = modelled(heralds, count, DIGEST)
    assert found == plain(heralds, count, DIGEST)
    # Missing ones at the end count: the same heralds in a longer block are another block.
    assert modelled([*heralds, None, None], count, DIGEST)[0] != found[0]


def test_golden_values():
    """FIPS-197's key 000102..0f, a block of 32: fixed for every implementation."""
    heralds = [(1000 * i + 7, i % 2, 2049 * i % 65536, i % 4) for i in range(32)]
    heralds[5] = None
    heralds[31] = (2**56 - 1, 1, 65535, 3)
    assert plain([None] * 32, 0, DIGEST) == modelled([None] * 32, 0, DIGEST) == GOLDEN_EMPTY
    assert plain(heralds, 2**32 + 3, DIGEST) == modelled(heralds, 2**32 + 3, DIGEST) == GOLDEN


@given(heralds=BLOCKS, digest=CONFIGS, data=st.data())
def test_one_bit_of_any_field_changes_the_digest(heralds, digest, data):
    """That of two blocks which differ in one word only differs by a multiple of a power of h or k, which is not 0."""
    place = data.draw(st.sampled_from(range(len(heralds))))
    changed = list(heralds)
    if heralds[place] is None:
        changed[place] = (0, 0, 0, 0)  # a herald whose fields are all 0 is not a missing one
    else:
        field, bits = data.draw(st.sampled_from([(0, 56), (1, 1), (2, 16), (3, 2)]))
        fields = list(heralds[place])
        fields[field] ^= 1 << data.draw(st.sampled_from(range(bits)))
        changed[place] = tuple(fields)
    before, after = modelled(heralds, 3, digest), modelled(changed, 3, digest)
    assert all(one != other for one, other in zip(before, after, strict=True))


@given(heralds=BLOCKS, digest=CONFIGS, data=st.data())
def test_order_counts(heralds, digest, data):
    """Two heralds that have changed places: W_a h^m + W_b h^n is another sum unless h^(m - n) = 1, whose odds are 2048 in 2^64."""
    places = st.sampled_from(range(len(heralds)))
    a, b = data.draw(places), data.draw(places)
    changed = list(heralds)
    changed[a], changed[b] = heralds[b], heralds[a]
    assert (modelled(changed, 0, digest)[0] == modelled(heralds, 0, digest)[0]) == (changed == heralds)


@given(heralds=BLOCKS, digest=CONFIGS, block=NUMBERS, bit=st.integers(0, 191))
def test_another_key_nonce_or_block_has_another_tag(heralds, digest, block, bit):
    key = list(digest.key)
    key[bit // 32 % 4] ^= 1 << bit % 32
    nonce = digest.nonce ^ 1 << bit % 64
    tags = [modelled(heralds, block, one) for one in (digest, replace(digest, key=tuple(key)))]
    tags += [modelled(heralds, block, replace(digest, nonce=nonce)), modelled(heralds, block ^ 1 << bit % 56, digest)]
    assert len({tag for _, *both in tags for tag in both}) == 8  # Alice's and Bob's differ as well
    assert tags[0][0] == tags[2][0] == tags[3][0] != tags[1][0]


def closed_pair(digest_b=DIGEST, seed=3, change=None):
    """Alice and Bob with one block of the same heralds each, at their digests; their messages."""
    heralds, psi = stimulus(seed, 32)
    clients = [sifter("alice", digest=DIGEST), sifter("bob", digest=digest_b)]
    for client in clients:
        client.push_heralds(heralds)
        client.push_psi(psi if change is None or client is clients[0] else change(psi))
    return clients, [messages(client) for client in clients]


def fates(clients):
    return [(client.counters["blocks_agreed"], client.counters["blocks_discarded"]) for client in clients]


def test_only_the_peers_own_tag_is_taken():
    clients, tags = closed_pair()
    assert tags[0] != tags[1]
    for client, tag in zip(clients, tags[::-1], strict=True):
        client.push_peer(tag)
    assert fates(clients) == [(1, 0)] * 2

    clients, tags = closed_pair()
    for client, own in zip(clients, tags, strict=True):
        client.push_peer(own)  # sent back
        assert client.state is State.COLLECT
        assert messages(client) == []
        assert client.counters["refused"] == 0
    assert fates(clients) == [(0, 1)] * 2


@pytest.mark.parametrize("bit", range(0, 192, 5))
def test_clients_of_another_key_or_nonce_never_agree(bit):
    key = list(DIGEST.key)
    if bit < 128:
        key[bit // 32] ^= 1 << bit % 32
    other = DigestConfig(key=tuple(key), nonce=DIGEST.nonce ^ (1 << bit - 128 if bit >= 128 else 0))
    clients, tags = closed_pair(other)
    for client, tag in zip(clients, tags[::-1], strict=True):
        client.push_peer(tag)
    assert fates(clients) == [(0, 1)] * 2
    assert [messages(client) for client in clients] == [[], []]


@pytest.mark.parametrize("word", [0, 1])
@pytest.mark.parametrize("bit", [0, 31])
def test_a_tag_with_one_bit_changed_is_not_taken(word, bit):
    (alice, _), (_, tag) = closed_pair()
    kind, number, value = tag[word]
    tag[word] = (kind, number, value ^ 1 << bit)
    alice.push_peer(tag)
    assert fates([alice]) == [(0, 1)]


def test_a_tag_serves_for_one_block():
    """The tag of a block, replayed for the next one with the same content, is not taken: pads come once."""
    records = herald_records(np.arange(64), np.full(64, 9, np.uint64), np.zeros(64, np.uint8))
    psi = np.zeros(64, dtype=PSI_DTYPE)
    psi["number"] = np.arange(64)
    alice, bob = sifter("alice", digest=DIGEST), sifter("bob", digest=DIGEST)
    for client in (alice, bob):
        client.push_heralds(records)
        client.push_psi(psi)
    tag = messages(bob)
    forged = [(kind, 1, value) for kind, _, value in tag]
    alice.push_peer([*tag, (Kind.TYPES, 0, 0), *((Kind.DONE, 0, kind) for kind in (3, 4))])
    told = [record for record in messages(alice) if record[0] == Kind.SLICE]
    assert told == []  # the peer is Z everywhere
    alice.push_peer([(Kind.DONE, 0, Kind.SLICE), *forged])
    assert fates([alice]) == [(1, 1)]


def test_pads_count_blocks_beyond_32_bits_and_begin_anew_with_the_frame():
    heralds, psi = stimulus(5, 32)
    client = sifter("bob", digest=DIGEST)
    for blocks in (0, 2**32 + 5):
        client.stop()
        client._blocks = blocks
        client.push_heralds(heralds)
        client.push_psi(psi)
        pulses = (heralds["pulse_low"] | (heralds["pulse_high_detector"].astype(np.uint64) & 0xFFFFFF) << 32).tolist()
        detectors = (heralds["pulse_high_detector"] >> 31).tolist()
        plainly = list(zip(pulses, detectors, psi["psi_turns"].tolist(), psi["flags"].tolist(), strict=True))
        tag = plain(plainly, blocks, DIGEST)[2]
        assert messages(client) == [(kind, blocks % 2**32, word) for kind, word in by_kind(tag).items()]


def test_a_present_herald_of_zeros_is_not_a_missing_one():
    """One client has herald 0 with pulse 0, detector 0 and psi 0, the other has missed it."""
    heralds, psi = stimulus(6, 32)
    heralds["pulse_low"][0] = heralds["pulse_high_detector"][0] = 0
    psi[0] = (0, 0, 0)
    clients = [sifter("alice", digest=DIGEST), sifter("bob", digest=DIGEST)]
    for client, first in zip(clients, (0, 1), strict=True):
        client.push_heralds(heralds[first:])
        client.push_psi(psi)
    tags = [messages(client) for client in clients]
    for client, tag in zip(clients, tags[::-1], strict=True):
        client.push_peer(tag)
    assert fates(clients) == [(0, 1)] * 2


def test_only_the_two_flags_of_psi_are_hashed():
    """Other bits of a PSI record's flags mean nothing and are not held."""
    clients, tags = closed_pair(
        change=lambda psi: np.array([(n, p, f | 0xFFFC) for n, p, f in psi.tolist()], PSI_DTYPE)
    )
    for client, tag in zip(clients, tags[::-1], strict=True):
        client.push_peer(tag)
    assert fates(clients) == [(1, 0)] * 2


def test_registers_make_a_pair_agree_and_another_nonce_makes_it_discard():
    heralds, psi = stimulus(4, 96)
    alice, bob = (registers(role) | pair_digest(7).registers() for role in ("alice", "bob"))
    for client in run_pair(alice, bob, heralds, psi):
        assert (client.counters["blocks_agreed"], client.counters["blocks_discarded"]) == (3, 0)
    assert (run_pair(alice, bob, heralds, psi)[0].sifted == pair_of(heralds, psi).alice).all()
    for client in run_pair(alice, bob | {"DIGEST_NONCE_1": bob["DIGEST_NONCE_1"] ^ 1}, heralds, psi):
        assert (client.counters["blocks_agreed"], client.counters["blocks_discarded"]) == (0, 3)
        assert set(client.peer["kind"]) == {Kind.DIGEST_LOW, Kind.DIGEST_HIGH}
        assert client.sifted.size == 0


def test_a_labs_pair_has_its_own_key_by_the_seed():
    assert pair_digest(7) == pair_digest(7)
    assert len({pair_digest(seed) for seed in range(50)}) == 50
    assert pair_digest(7).key not in KEYS.values()
    assert config("alice").key_bytes != pair_digest(7).key_bytes


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"key": (1, 2, 3)}, "digest: key is not usable; allowed: 4 words of 32 bits"),
        ({"key": (1, 2, 3, 1 << 32)}, "digest: key is not usable"),
        ({"nonce": -1}, r"digest: nonce is -1; allowed: 0 to 2\^64 - 1"),
        ({"nonce": 1 << 64}, "digest: nonce is"),
    ],
)
def test_a_wrong_key_is_refused(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(DIGEST, **changed)
