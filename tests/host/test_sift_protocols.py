"""Blocks of PM, CAL, BB84 and of mode pairing from the streams of a pair, counted against a plain statement."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_paths import MASKS, SPAN, protocol_path
from sift_paths import BLOCK, WIDTH
from test_sift_blocks import gather, streams, whole

from twinphase.sift.blocks import Fate
from twinphase.sift.pairs import could_pair, paired
from twinphase.sift.rule import PairRule
from twinphase_spec.packets import Stream
from twinphase_spec.rules import PROTOCOLS, rule_tables


def rule_of(name):
    span = SPAN if name == "MP" else 0
    return PairRule.of_tables(rule_tables(PROTOCOLS[name], "bob"), slice_width=WIDTH, pair_span=span)


def check(found, tally, keys, path, blocks):
    assert [block.fate for block in found] == [Fate.CLOSED] * blocks
    assert tally.cells.tolist() == path.cells
    total = tally.x_total
    assert (total.records, total.kept, total.errors) == (path.x, path.kept, 0)
    assert total.key_errors == sum(a != b for a, b in path.x_keys.values())
    assert (tally.z, tally.z_errors) == (len(path.z), sum(a != b for a, b in path.z.values()))
    assert (tally.wrong_words, tally.unlike) == (0, 0)
    arrays = keys.arrays()
    for number, kind, wanted in (("number", "", path.z), ("x_number", "x_", path.x_keys)):
        assert arrays[number].tolist() == list(wanted)
        for i, role in enumerate(("alice", "bob")):
            assert arrays[f"{kind}{role}"].tolist() == [bits[i] for bits in wanted.values()]


@pytest.mark.parametrize("name", MASKS)
@given(seed=st.integers(0, 1 << 30), blocks=st.integers(1, 4), data=st.data())
@settings(max_examples=12, deadline=None)
def test_any_interleaving_gives_the_same_counts(name, seed, blocks, data):
    path = protocol_path(name, blocks, seed)
    parts = []
    for (node, stream), records in streams(path).items():
        cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3)))
        parts.append([(node, stream, part) for part in np.split(records, cuts)])
    order = data.draw(st.permutations([i for i, part in enumerate(parts) for _ in part]))
    places = [iter(part) for part in parts]
    found, tally, keys, _ = gather([next(places[i]) for i in order], rule=rule_of(name))
    check(found, tally, keys, path, blocks)


@pytest.mark.parametrize("name", MASKS)
def test_heralds_missing_at_both(name):
    """A block is known to be over when all streams have gone on: the last one's are all there."""
    missing = {0, 5, 6, BLOCK - 1, BLOCK, 2 * BLOCK + 7, *range(3 * BLOCK + 10, 3 * BLOCK + 20)}
    path = protocol_path(name, 6, 2, missing=missing)
    found, tally, keys, _ = gather(whole(path), rule=rule_of(name))
    check(found, tally, keys, path, 6)
    assert tally.heralds == sum(path.cells) < 6 * BLOCK


@pytest.mark.parametrize("kind", [3, 4, 5, 6])
def test_what_is_lost_spoils_its_block_and_no_other(kind):
    """A type, an intensity or a DONE that is lost; slices are not needed, the words have them."""
    path = protocol_path("MP", 4, 3)
    parts = streams(path)
    records = parts["bob", Stream.PEER]
    block = records["number"] // (1 if kind == 6 else BLOCK)
    at = np.flatnonzero((records["kind"] == kind) & (block == 1))[-1]
    parts["bob", Stream.PEER] = np.delete(records, at)
    found, *_ = gather([(*key, part) for key, part in parts.items()], rule=rule_of("MP"))
    fate = Fate.CLOSED if kind == 5 else Fate.INCOMPLETE
    assert [block.fate for block in found] == [Fate.CLOSED, fate, Fate.CLOSED, Fate.CLOSED]


def test_a_pair_that_a_client_makes_up_spoils_its_block():
    """Told at a herald that is no second: too far, or beside another second."""
    path = protocol_path("MP", 3, 5)
    parts = streams(path)
    told = {number for kind, number, _ in path.peer["alice"] if kind == 4}
    pulses = {number: low | high << 32 & 0xFFFFFFFFFFFFFF for number, low, high in path.heralds}
    far = next(h for h in range(BLOCK + 1, 2 * BLOCK) if h not in told and pulses[h] - pulses[h - 1] > SPAN)
    for role in ("alice", "bob"):
        records = parts[role, Stream.PEER].copy()
        at = np.flatnonzero((records["kind"] == 4) & (records["number"] == min(t for t in told if t >= BLOCK)))[0]
        records["number"][at] = far
        parts[role, Stream.PEER] = records
    found, *_ = gather([(*key, part) for key, part in parts.items()], rule=rule_of("MP"))
    assert [block.fate for block in found] == [Fate.CLOSED, Fate.INCOMPLETE, Fate.CLOSED]


@pytest.mark.parametrize("name", MASKS)
def test_words_that_contradict_themselves_are_found(name):
    path = protocol_path(name, 6, 7)
    parts = streams(path)
    words = parts["alice", Stream.SIFTED]["word"]
    x = np.flatnonzero(words >> 31)
    words[x[0]] ^= 1 << 27  # detector: wrong, and unlike Bob's
    words[x[1]] ^= 1 << 28  # branch: likewise
    words[x[2]] ^= 1 << 16  # the peer's slice is not what Bob has told
    words[x[3]] ^= 1 << 24  # not the intensity that Alice has told
    _, tally, _, _ = gather([(*key, part) for key, part in parts.items()], rule=rule_of(name))
    assert 2 <= tally.wrong_words <= 3
    assert tally.unlike == 4


@given(data=st.data(), size=st.integers(0, 40), span=st.integers(0, 5))
@settings(deadline=None)
def test_pairs_are_those_of_the_plain_rule(data, size, span):
    gaps = data.draw(st.lists(st.integers(1, 6), min_size=size, max_size=size))
    present = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_)
    pulse = np.cumsum(np.array(gaps, np.int64))
    plain = [False] * size
    for j in range(1, size):
        plain[j] = bool(present[j] and present[j - 1] and not plain[j - 1] and pulse[j] - pulse[j - 1] <= span)
    second = paired(pulse, present, span)
    assert second.tolist() == plain
    assert could_pair(pulse, np.ones(size, np.bool_), span, second)
    if second.any():
        beside = second.copy()
        beside[np.flatnonzero(second)[0] - 1] = True
        assert not could_pair(pulse, present, span, beside)


@pytest.mark.parametrize("span", [1, 30, 100, 10_000])
def test_pairs_come_as_often_as_the_scheme_says(span):
    """Heralds with p = 0.01 a pulse: pairs a pulse ``1/(1/(p q) + 1/p)``, q = 1 - (1 - p)^l. A first herald is waited for 1/p; every
    herald behind it is its second with q, so that it takes 1/q of them, 1/p each (Zeng et al. 2022, eq. 4). The variance of pairs is
    their mean times that of a wait over its square, here ``(1 + 1/q^2)/(1 + 1/q)^2 < 1``: five sigma, 6e-7."""
    p, pulses = 0.01, 40_000_000
    rng = np.random.default_rng(span)
    pulse = np.cumsum(rng.geometric(p, int(pulses * p)))
    pairs = np.count_nonzero(paired(pulse, np.ones(pulse.size, bool), span))
    q = 1 - (1 - p) ** span
    expected = pulse[-1] / (1 / (p * q) + 1 / p)
    assert abs(pairs - expected) < 5 * np.sqrt(expected)
