"""Block sifting: the state machine of both clients against the vectorised pair and against the rule, record by record."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_statement import block_tags

from twinphase_sim.model.client import run_client, run_pair
from twinphase_sim.model.sift.block import PEER_QUEUE, BlockSifter, State
from twinphase_sim.model.sift.herald import herald_records
from twinphase_sim.model.sift.pair import SiftedPair, sift_pair
from twinphase_sim.model.sift.rule import Announced, outcome
from twinphase_sim.model.sift.symbols import symbols
from twinphase_spec import sns
from twinphase_spec.digest import DigestConfig
from twinphase_spec.packets import PSI_DTYPE, Stream
from twinphase_spec.rules import SNS, Definition, rule_tables
from twinphase_spec.sns import RING_HERALDS, Kind
from twinphase_spec.symbols import SymbolConfig

KEYS = {"alice": (11, 22, 33, 44), "bob": (55, 66, 77, 88)}
BOUNDS = {"sent_below": 570, "z_below": 1250, "vacuum_below": 1640, "mu1_below": 2990}
DIGEST = DigestConfig(key=(21, 22, 23, 24), nonce=25 << 32 | 26)
"""The pair's."""
REGISTERS = {name.upper(): bound for name, bound in BOUNDS.items()}


def registers(
    role: str, block_heralds: int = 32, slice_width: int = 8192, protocol: Definition = SNS, span: int = 0
) -> dict[str, int]:
    return {
        **rule_tables(protocol, role).registers(span),
        **REGISTERS,
        **{f"KEY_{i}": word for i, word in enumerate(KEYS[role])},
        **DIGEST.registers(),
        "ROLE": int(role == "bob"),
        "BLOCK_HERALDS": block_heralds,
        "SLICE_WIDTH": slice_width,
    }


def config(role: str) -> SymbolConfig:
    return SymbolConfig(key=KEYS[role], **BOUNDS)  # type: ignore[arg-type]


def stimulus(seed: int, count: int, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(HERALD, PSI) records with random psi and flags; a fraction of each is lost on the way to both clients."""
    rng = np.random.default_rng(seed)
    pulses = np.cumsum(rng.integers(1, 10**6, count)).astype(np.uint64)
    heralds = herald_records(np.arange(count), pulses, rng.integers(0, 2, count).astype(np.uint8))
    psi = np.zeros(count, dtype=PSI_DTYPE)
    psi["number"] = np.arange(count)
    psi["psi_turns"] = rng.integers(0, 65536, count)
    psi["flags"] = rng.choice([0, 1, 2, 3, 3, 3, 3, 3], count)
    return heralds[rng.random(count) >= missing], psi[rng.random(count) >= missing]


def pair_of(heralds: np.ndarray, psi: np.ndarray, block: int = 32, width: int = 8192) -> SiftedPair:
    return sift_pair(heralds, psi, config("alice"), config("bob"), block_heralds=block, slice_width_turns=width)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 300),
    missing=st.sampled_from([0.0, 0.02, 0.5]),
    block=st.sampled_from([32, 64, 96]),
    width=st.sampled_from([0, 1, 3640, 8192, 8193, 32768]),
)
def test_machines_agree_with_the_pair(seed: int, count: int, missing: float, block: int, width: int) -> None:
    heralds, psi = stimulus(seed, count, missing)
    pair = pair_of(heralds, psi, block, width)
    alice, bob = run_pair(registers("alice", block, width), registers("bob", block, width), heralds, psi)
    assert (alice.sifted == pair.alice).all()
    assert (bob.sifted == pair.bob).all()
    for client in (alice, bob):
        assert (client.cells == pair.cells).all()
        assert client.counters["blocks_agreed"] == pair.blocks
        assert client.counters["refused"] == client.counters["blocks_discarded"] == 0
        for name in ("sifted_z", "sifted_x", "kept_x", "error_x"):
            assert client.counters[name] == getattr(pair, name)
    assert alice.counters["peer"] == bob.peer.size
    assert bob.counters["peer"] == alice.peer.size


def test_words_follow_the_rule_one_by_one() -> None:
    heralds, psi = stimulus(5, 1024, 0.01)
    pair = pair_of(heralds, psi, 1024)
    psi_of = {n: (p, f) for n, p, f in psi.tolist()}
    a_words, b_words = dict(pair.alice.tolist()), dict(pair.bob.tolist())
    cells = np.zeros(sns.CELLS, dtype=int)
    for number, low, high in heralds.tolist():
        pulse, detector = low | (high & 0xFFFFFF) << 32, high >> 31
        a, b = (symbols(config(role), np.array([pulse], dtype=np.uint64)) for role in ("alice", "bob"))
        turns, flags = psi_of.get(number, (0, 0))
        keep = error = 0
        ia, ib = (int(s.intensity[0]) if s.x[0] else 3 for s in (a, b))
        if not a.x[0] and not b.x[0]:
            assert a_words.pop(number) == int(a.send[0])
            assert b_words.pop(number) == 1 - int(b.send[0])
        elif a.x[0] and b.x[0] and ia == ib != 0:
            sa, sb = int(a.slice[0]), int(b.slice[0])
            s = ((sa - sb) * 4096 + turns + 4096) % 65536
            branch = s >> 15
            keep = int(s % 32768 <= 8192 and flags == 3)
            error = int(keep and detector != branch)
            word = (
                1 << 31
                | keep << 30
                | error << 29
                | branch << 28
                | detector << 27
                | (flags == 3) << 26
                | ia << 24
                | turns
            )
            assert a_words.pop(number) == word | sa << 20 | sb << 16
            assert b_words.pop(number) == word | sb << 20 | sa << 16
        cells[sns.cell_index(ia, ib, detector, keep, error)] += 1
    assert not a_words
    assert not b_words
    assert (pair.cells == cells).all()
    assert cells.sum() == heralds.size
    assert 0 < pair.error_x < pair.kept_x < pair.sifted_x


@pytest.mark.parametrize("width", [0, 1, 8192, 8193, 32767])
def test_slice_test_at_its_bounds(width: int) -> None:
    """``(d + Ds/2) mod half a turn`` from 0 to Ds is kept, on both branches."""
    s = np.array([0, width, width + 1, 32768, 32768 + width, (32768 + width + 1) % 65536])
    zero = np.zeros(s.size, dtype=np.uint8)
    announced = Announced(
        present=np.ones(s.size, dtype=bool),
        pulse=np.arange(s.size, dtype=np.uint64),
        detector=zero,
        psi=((s - (width >> 1)) % 65536).astype(np.uint16),
        flags=np.full(s.size, 3, dtype=np.uint16),
    )
    both = np.ones(s.size, dtype=bool)
    test = outcome(rule_tables(SNS, "alice"), announced, both, ~both, zero, zero, width)
    assert test.branch.tolist() == (s >> 15).tolist()
    assert test.kept.tolist() == (s % 32768 <= width).tolist()
    assert test.error.tolist() == (test.kept & (s >= 32768)).tolist()
    assert test.kept[[0, 1, 3, 4]].all()


def messages(sifter: BlockSifter) -> list[tuple[int, int, int]]:
    return [tuple(record) for record in sifter.take_peer().tolist()]


def sifter(role: str = "alice", block: int = 32, digest: DigestConfig = DIGEST) -> BlockSifter:
    return BlockSifter(
        config=config(role),
        digest=digest,
        role=role,  # type: ignore[arg-type]
        block_heralds=block,
        slice_width_turns=8192,
    )


def test_order_of_messages_and_nothing_before_the_digests_agree() -> None:
    heralds, psi = stimulus(3, 32)
    psi["flags"] = 3
    alice, bob = sifter("alice"), sifter("bob")
    for client in (alice, bob):
        client.push_heralds(heralds)
        client.push_psi(psi[:-1])
        assert messages(client) == []
        client.push_psi(psi[-1:])
    digests_a, digests_b = messages(alice), messages(bob)
    pulses = heralds["pulse_low"].astype("<u8")
    of_heralds = pulses.tolist(), (heralds["pulse_high_detector"] >> 31).tolist()
    block = list(zip(*of_heralds, psi["psi_turns"].tolist(), psi["flags"].tolist(), strict=True))
    _, tag_a, tag_b = block_tags(block, 0, DIGEST.key_bytes, DIGEST.nonce.to_bytes(8, "big"))
    for sent, tag in ((digests_a, tag_a), (digests_b, tag_b)):
        assert sent == [(Kind.DIGEST_LOW, 0, tag % 2**32), (Kind.DIGEST_HIGH, 0, tag >> 32)]

    alice.push_peer(digests_b[:1])
    assert messages(alice) == []
    alice.push_peer(digests_b[1:])
    bob.push_peer(digests_a)
    own = symbols(config("alice"), pulses)
    types = sum(int(x) << i for i, x in enumerate(own.x))
    types_a, types_b = messages(alice), messages(bob)
    assert types_a == [(Kind.TYPES, 0, types), (Kind.DONE, 0, Kind.TYPES)]
    alice.push_peer(types_b)
    intensities = messages(alice)
    assert intensities[:-1] == [(Kind.INTENSITY, h, int(own.intensity[h])) for h in np.flatnonzero(own.x)]
    assert intensities[-1] == (Kind.DONE, 0, Kind.INTENSITY)
    bob.push_peer(types_a)
    alice.push_peer(messages(bob))
    bob.push_peer(intensities)
    slices = messages(alice)
    assert {kind for kind, _, _ in slices[:-1]} == {Kind.SLICE}
    assert all(own.slice[h] == value and own.intensity[h] != 0 for _, h, value in slices[:-1])
    assert alice.take_sifted().size == 0
    alice.push_peer(messages(bob))
    assert alice.take_sifted().size > 0
    assert alice.state is State.COLLECT


def test_different_psi_discards_the_block_and_goes_on() -> None:
    heralds, psi = stimulus(9, 64)
    changed = psi.copy()
    changed["psi_turns"][3] ^= 1
    alice, bob = sifter("alice"), sifter("bob")
    for client, own in ((alice, psi), (bob, changed)):
        client.push_heralds(heralds)
        client.push_psi(own)
    for _ in range(8):
        to_bob, to_alice = messages(alice), messages(bob)
        alice.push_peer(to_alice)
        bob.push_peer(to_bob)
    for client in (alice, bob):
        assert (client.counters["blocks_discarded"], client.counters["blocks_agreed"]) == (1, 1)
        assert client.take_sifted()["number"].min() >= 32
        assert client.counters["refused"] == 0


def test_records_out_of_order_are_refused() -> None:
    heralds, psi = stimulus(2, 32)
    client = sifter()
    early = [(Kind.TYPES, 0, 5), (Kind.DONE, 0, Kind.TYPES), (Kind.DIGEST_LOW, 1, 0), (77, 0, 0)]
    client.push_peer(early)
    assert (client.counters["peer"], client.counters["refused"]) == (4, 0)  # they wait for a state that reads them
    client.push_heralds(heralds)
    client.push_psi(psi)
    assert client.counters["refused"] == 4
    messages(client)
    peer = sifter("bob")
    peer.push_heralds(heralds)
    peer.push_psi(psi)
    digests = messages(peer)
    client.push_peer(digests)
    assert client.state is State.TYPES
    client.push_peer(
        [(Kind.TYPES, 32, 1), (Kind.TYPES, 1, 1), (Kind.DONE, 1, Kind.TYPES), (Kind.DONE, 0, Kind.SLICE), *digests]
    )
    assert client.counters["refused"] == 10
    client.push_peer([(Kind.TYPES, 0, 0), (Kind.DONE, 0, Kind.TYPES)])
    assert client.state is State.INTENSITY


def test_a_full_peer_queue_refuses() -> None:
    client = sifter()
    client.push_peer([(Kind.TYPES, 0, 0)] * (PEER_QUEUE + 3))
    assert (client.counters["peer"], client.counters["refused"]) == (PEER_QUEUE, 3)


def test_numbers_missing_late_and_overflow() -> None:
    client = sifter()
    heralds, psi = stimulus(1, RING_HERALDS + 10)
    client.push_heralds(heralds[[0, 1, 5, 3]])
    assert {k: client.counters[k] for k in ("heralds", "missing", "late")} == {"heralds": 3, "missing": 3, "late": 1}
    client.push_psi(psi[[4, 2, 7]])  # 2 is late; 7 has no herald, nor has 6
    assert {k: client.counters[k] for k in ("psi", "missing", "late")} == {"psi": 2, "missing": 5, "late": 2}
    client.push_heralds(heralds[7:])
    assert client.counters["late"] == 3
    assert client.counters["overflow"] == 10
    assert client.counters["heralds"] == 3 + RING_HERALDS - 8
    client.push_psi(psi[8:])
    assert client.state is State.DIGEST
    client.stop()
    assert client.state is State.COLLECT
    client.push_heralds(heralds[:1])
    assert client.counters["heralds"] == 4 + RING_HERALDS - 8


def test_psi_of_a_missing_herald_is_zero_in_the_digest() -> None:
    heralds, psi = stimulus(4, 32)
    a, b = sifter(), sifter()
    a.push_heralds(heralds[heralds["number"] != 9])
    a.push_psi(psi)
    blank = psi.copy()
    blank[9] = (9, 0, 0)
    b.push_heralds(heralds[heralds["number"] != 9])
    b.push_psi(blank)
    assert messages(a) == messages(b)


def test_ring_slots_are_clean_after_a_block() -> None:
    """Blocks far beyond the ring's length: a herald missing late must not show the one that had its slot before."""
    heralds, psi = stimulus(6, 3 * RING_HERALDS)
    lost = np.arange(heralds.size) % 3 == 1
    kept_psi = psi[np.arange(psi.size) % 5 != 0]
    kept_psi = np.concatenate([kept_psi[:-1], psi[-1:]])
    heralds = np.concatenate([heralds[:RING_HERALDS], heralds[RING_HERALDS:][~lost[RING_HERALDS:]]])
    pair = pair_of(heralds, kept_psi, 2048)
    alice, bob = run_pair(registers("alice", 2048), registers("bob", 2048), heralds, kept_psi)
    assert pair.blocks == 12
    assert (alice.sifted == pair.alice).all()
    assert (bob.sifted == pair.bob).all()
    assert (alice.cells == pair.cells).all()


def test_a_wrong_sign_of_psi_gives_half_errors() -> None:
    """psi uniform, clicks where the physics puts them; 1.5 % of sifted X are kept errors by the slices' width, else half."""
    rng = np.random.default_rng(8)
    heralds, psi = stimulus(8, 65536)
    psi["flags"] = 3
    pulses = heralds["pulse_low"].astype(np.uint64) | (heralds["pulse_high_detector"] & 0xFFFFFF).astype(
        np.uint64
    ) << np.uint64(32)
    a, b = symbols(config("alice"), pulses), symbols(config("bob"), pulses)
    theta = ((a.phase.astype(int) - b.phase) * 256 + psi["psi_turns"]) / 65536 * 2 * np.pi
    right = rng.random(theta.size) > (1 + np.cos(theta)) / 2
    heralds = herald_records(heralds["number"], pulses, right.astype(np.uint8))
    good = pair_of(heralds, psi, 1024)
    flipped = psi.copy()
    flipped["psi_turns"] = -psi["psi_turns"]
    bad = pair_of(heralds, flipped, 1024)
    assert good.kept_x > 1500
    assert good.error_x / good.kept_x < 0.03
    assert 0.4 < bad.error_x / bad.kept_x < 0.6


def test_a_hundred_thousand_heralds_are_fast() -> None:
    heralds, psi = stimulus(1, 100_000)
    began = time.process_time()
    pair = pair_of(heralds, psi, 1024)
    assert time.process_time() - began < 1
    assert pair.blocks == 97


def test_nothing_and_bad_input() -> None:
    heralds, psi = stimulus(1, 0)
    assert pair_of(heralds, psi).blocks == 0
    assert run_client(registers("alice"), []).peer.size == 0
    with pytest.raises(ValueError, match="allowed: HERALD_CODE, PSI, LIVE and PEER"):
        run_client(registers("alice"), [(Stream.TAG, heralds)])
    with pytest.raises(ValueError, match="block_heralds is 33"):
        sifter(block=33)
