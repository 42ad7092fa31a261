"""Blocks from the streams of a pair, counted against a plain statement of the protocol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sift_paths import BLOCK, WIDTH, pair_path

from twinphase.batch import Batch
from twinphase.sift.blocks import BlockGatherer, Fate
from twinphase.sift.check import CellCheck, CellHistory, Reading, StatusCheck
from twinphase.sift.costs import HeraldCost, costs
from twinphase.sift.keys import KeyMaker
from twinphase.sift.rule import PairRule
from twinphase.sift.tally import Tally
from twinphase_spec.herald_code import BATCH, bound_bits, divisor_of_batch
from twinphase_spec.packets import Stream
from twinphase_spec.registers import CLIENT
from twinphase_spec.rules import SNS, rule_tables

TABLES = rule_tables(SNS, "alice")
RULE = PairRule.of_tables(TABLES, slice_width=WIDTH)


def streams(path):
    return {
        ("server", Stream.HERALD): path.herald_array(),
        ("alice", Stream.PEER): path.peer_array("alice"),
        ("bob", Stream.PEER): path.peer_array("bob"),
        ("alice", Stream.SIFTED): path.sifted_array("alice"),
        ("bob", Stream.SIFTED): path.sifted_array("bob"),
    }


def gather(parts, *, rule=RULE):
    """Tally, keys and history of (node, stream, records) in that order."""
    gatherer, tally = BlockGatherer(BLOCK, rule), Tally(rule)
    keys, history = KeyMaker(rule, BLOCK, span=2), CellHistory()
    blocks = []

    def take(found):
        for block in found:
            blocks.append(block)
            tally.add(block)
            keys.add(block)
            history.add(block, tally.cells)

    for node, stream, records in parts:
        take(gatherer.update(node, Batch(records={stream: records})))
    take(gatherer.finish())
    return blocks, tally, keys, history


def whole(path):
    return [(node, stream, records) for (node, stream), records in streams(path).items()]


def check(tally, path):
    assert tally.cells.tolist() == path.cells
    total = tally.x_total
    assert (total.records, total.kept, total.errors) == (path.x, path.kept, path.errors)
    assert tally.z == len(path.z)
    assert tally.z_errors == sum(a != b for a, b in path.z.values())
    assert (tally.wrong_words, tally.unlike) == (0, 0)


@given(st.integers(0, 1 << 30), st.integers(1, 6), st.floats(0, 1), st.data())
@settings(max_examples=30, deadline=None)
def test_any_interleaving_gives_the_same_counts(seed, blocks, p_x, data):
    path = pair_path(blocks, seed, p_x=p_x, quiet=0.2)
    parts = []
    for (node, stream), records in streams(path).items():
        cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=4)))
        parts.append([(node, stream, part) for part in np.split(records, cuts)])
    order = data.draw(st.permutations([i for i, part in enumerate(parts) for _ in part]))
    places = [iter(part) for part in parts]
    found, tally, _, _ = gather([next(places[i]) for i in order])
    assert [block.number for block in found] == list(range(blocks))
    assert all(block.fate is Fate.CLOSED for block in found)
    check(tally, path)


def test_discarded_blocks_and_heralds_missing_at_both():
    path = pair_path(6, 3, discarded=(0, 2), missing=(BLOCK + 5, 4 * BLOCK, 4 * BLOCK + 1))
    found, tally, keys, history = gather(whole(path))
    fates = [block.fate for block in found]
    assert fates == [Fate.DISCARDED, Fate.CLOSED, Fate.DISCARDED, Fate.CLOSED, Fate.CLOSED, Fate.CLOSED]
    check(tally, path)
    assert tally.heralds == 4 * BLOCK - 3
    assert history.broken_at is None
    assert keys.spans == 1


def test_blocks_that_are_all_discarded_are_told_without_any_sifted_record():
    """As with two keys: SIFTED stays silent for ever. Joined in the middle, where the first tag has passed; the last may yet go on."""
    path = pair_path(6, 3, first_block=7, discarded=range(7, 13))
    parts = streams(path)
    parts["bob", Stream.PEER] = parts["bob", Stream.PEER][1:]
    found, tally, _, history = gather(
        [(*key, records) for key, records in parts.items() if key[1] is not Stream.SIFTED]
    )
    assert [block.number for block in found] == [8, 9, 10, 11]
    assert all(block.fate is Fate.DISCARDED for block in found)
    assert tally.heralds == 0
    assert (history.first_block, history.broken_at) == (8, None)


@pytest.mark.parametrize(
    ("name", "node", "stream", "spoil"),
    [
        ("sifted lost", "alice", Stream.SIFTED, lambda r: np.delete(r, np.flatnonzero(r["number"] // BLOCK == 1)[0])),
        (
            "reveal lost",
            "bob",
            Stream.PEER,
            lambda r: np.delete(r, np.flatnonzero((r["kind"] == 4) & (r["number"] // BLOCK == 1))[0]),
        ),
        (
            "types lost",
            "bob",
            Stream.PEER,
            lambda r: np.delete(r, np.flatnonzero((r["kind"] == 3) & (r["number"] == BLOCK))[0]),
        ),
        (
            "done lost",
            "alice",
            Stream.PEER,
            lambda r: np.delete(r, np.flatnonzero((r["kind"] == 6) & (r["number"] == 1))[2]),
        ),
        ("herald lost", "server", Stream.HERALD, lambda r: np.delete(r, np.flatnonzero(r["number"] // BLOCK == 1))),
    ],
)
def test_what_is_lost_spoils_its_block_and_no_other(name, node, stream, spoil):
    path = pair_path(4, 9)
    parts = streams(path)
    parts[node, stream] = spoil(parts[node, stream])
    found, tally, keys, history = gather([(*key, records) for key, records in parts.items()])
    assert [block.fate for block in found] == [Fate.CLOSED, Fate.INCOMPLETE, Fate.CLOSED, Fate.CLOSED]
    assert tally.heralds == 3 * BLOCK
    assert keys.spans == 1
    assert history.broken_at == 1


def test_streams_joined_in_the_middle():
    path = pair_path(5, 14, first_block=3)
    parts = streams(path)
    for (node, stream), records in parts.items():
        parts[node, stream] = records[len(records) // (3 if stream is Stream.PEER else 4) :]
    found, _, _, history = gather([(*key, records) for key, records in parts.items()])
    assert [block.number for block in found] == [5, 6, 7]
    assert all(block.fate is Fate.CLOSED for block in found)
    assert (history.first_block, history.broken_at) == (5, None)


def test_a_block_that_the_end_cuts_is_dropped():
    path = pair_path(3, 4)
    parts = streams(path)
    parts["bob", Stream.SIFTED] = parts["bob", Stream.SIFTED][:-1]
    found, *_ = gather([(*key, records) for key, records in parts.items()])
    assert [block.number for block in found] == [0, 1]


def test_words_that_contradict_themselves_are_found():
    path = pair_path(2, 5)
    parts = streams(path)
    words = parts["alice", Stream.SIFTED]["word"]
    x = np.flatnonzero(words >> 31)
    words[x[0]] ^= 1 << 29  # error
    words[x[1]] ^= 1 << 20  # own slice
    _, tally, _, _ = gather([(*key, records) for key, records in parts.items()])
    assert tally.wrong_words in (1, 2)  # a slice more need not change the outcome
    assert tally.unlike == 2


def test_keys_are_those_of_the_z_windows_and_pairs_are_odd():
    path = pair_path(8, 6, p_x=0.2)
    _, _, keys, _ = gather(whole(path))
    arrays = keys.arrays()
    assert arrays["number"].tolist() == sorted(path.z)
    for i, role in enumerate(("alice", "bob")):
        assert arrays[role].tolist() == [path.z[h][i] for h in sorted(path.z)]
        kept = [path.z[h][i] for h in arrays["key_number"].tolist()]
        assert arrays[f"key_{role}"].tolist() == kept
        assert all(path.z[h][i] != bit for h, bit in zip(arrays["key_discarded"].tolist(), kept, strict=True))
    assert keys.survivors == arrays["key_bob"].size > 0
    assert keys.errors == np.count_nonzero(arrays["key_alice"] != arrays["key_bob"])
    assert keys.spans == 4


def cells_check(path, blocks_read, *, start=0, spoil=None, under_way=0):
    _, _, _, history = gather(whole(path))
    checker = CellCheck("alice")
    for blocks in blocks_read:
        part = pair_path(blocks, 11)  # the same seed: the first blocks of the same run
        cells = np.array(part.cells, np.uint64) + np.uint64(start)
        if spoil is not None:
            cells[spoil] += np.uint64(1)
        checker.offer(Reading(blocks + under_way, cells))
        assert checker.settle(history)
    return checker.as_dict()


def test_cells_of_the_gateware_are_compared_where_they_were_read():
    path = pair_path(6, 11)
    assert cells_check(path, [4]) == {"blocks": 4, "equal": True, "different_cells": []}
    assert cells_check(path, [2, 6])["equal"] is True
    assert cells_check(path, [6], spoil=120) == {"blocks": 6, "equal": False, "different_cells": [120]}
    assert cells_check(path, [6], start=5)["equal"] is False
    assert cells_check(path, [3], under_way=1) == {"blocks": 3, "equal": True, "different_cells": []}
    assert cells_check(path, [2, 4], under_way=1)["equal"] is True


def test_a_last_reading_that_the_streams_did_not_reach_decides_nothing():
    _, _, _, history = gather(whole(pair_path(6, 11)))
    ahead = CellCheck("alice")
    ahead.offer(Reading(7, np.array(pair_path(7, 11).cells, np.uint64)))
    assert not ahead.settle(history)
    assert ahead.settle(history, final=True)
    assert ahead.as_dict()["equal"] is None
    ahead.offer(Reading(7, np.array(pair_path(6, 11).cells, np.uint64)))
    assert ahead.settle(history, final=True)
    assert ahead.as_dict() == {"blocks": 6, "equal": True, "different_cells": []}


def test_cells_wait_for_the_streams_and_wrap():
    path = pair_path(6, 11)
    checker = CellCheck("bob")
    history = CellHistory()
    checker.offer(Reading(3, np.array(pair_path(3, 11).cells, np.uint64)))
    gatherer, tally = BlockGatherer(BLOCK, RULE), Tally(RULE)
    settled = []
    for part in whole(path):
        for block in gatherer.update(part[0], Batch(records={part[1]: part[2]})):
            tally.add(block)
            history.add(block, tally.cells)
            settled.append(checker.settle(history))
    assert settled == [False, False, True, True, True, True]
    assert checker.as_dict()["equal"] is True
    # joined late, with cells that wrap between two readings
    late = CellCheck("bob")
    offset = np.uint64((1 << 64) - 20)
    _, _, _, late_history = gather([part for part in whole(pair_path(6, 11, first_block=7))])
    late_history.first_block = 7
    for blocks in (8, 13):
        total = late_history.after(blocks)
        late.offer(Reading(blocks, total.astype(np.uint64) + offset))
        assert late.settle(late_history)
    assert late.as_dict() == {"blocks": 5, "equal": True, "different_cells": []}


def test_status_snapshots_at_every_record():
    path = pair_path(4, 12)
    records = path.sifted_array("bob")
    names = ("sifted_z", "sifted_x", "kept_x", "error_x")
    snapshots = np.zeros(len(records), np.dtype([(name, "<u8") for name in CLIENT.counter_names]))
    for name, column in zip(names, np.array(path.counts_after).T, strict=True):
        snapshots[name] = column
    good = StatusCheck()
    for at in range(0, len(records), 7):
        good.status(snapshots[at : at + 7])  # ahead of the records
        good.sifted(records["word"][at : at + 7])
    assert good.as_dict(True) == {"snapshots": len(records), "equal": True, "different": 0}
    assert good.as_dict(False)["equal"] is None
    snapshots["error_x"][-3] += 1
    bad = StatusCheck()
    bad.sifted(records["word"])
    bad.status(snapshots)
    assert bad.as_dict(True)["different"] == 1


def test_cost_of_heralds_is_that_of_the_code():
    """Bits of each gap counted one by one with the divisor of the batch before; near the bound for a Bernoulli stream of 50 000 heralds
    (Golomb's code is 0.3 % above at most; 0.5 % leaves 4 standard errors of the mean gap's share)."""
    rng = np.random.default_rng(8)
    pulses = np.cumsum(rng.geometric(1e-4, 50_000)).astype(np.int64)
    cost = HeraldCost()
    for part in np.array_split(pulses, 37):
        cost.add(part)
    bits = 0
    for batch in range(1, 4):
        m = divisor_of_batch(int(pulses[BATCH * batch] - pulses[BATCH * (batch - 1)])).m
        b = (m - 1).bit_length()
        for h in range(BATCH * batch + 1, BATCH * (batch + 1) + 1):
            q, r = divmod(int(pulses[h] - pulses[h - 1]) - 1, m)
            bits += q + 1 + (b - 1 if r < (1 << b) - m else b) + 1
    few = HeraldCost()
    few.add(pulses[: 4 * BATCH + 1])
    assert (few.heralds, few.bits) == (3 * BATCH, bits)
    assert 0.995 < cost.per_herald / bound_bits(cost.probability) < 1.005


def test_costs_per_survivor():
    path = pair_path(40, 13)
    _, tally, keys, _ = gather(whole(path))
    heralds = HeraldCost()
    heralds.add((path.herald_array()["pulse_low"]).astype(np.int64))
    result = costs(
        tally,
        heralds,
        block_heralds=BLOCK,
        pairs_bits=keys.pairs_bits,
        odd_bits=keys.odd_bits,
        paired_z=keys.paired_z,
        survivors=keys.survivors,
    )
    n, survivors = 40 * BLOCK, keys.survivors
    assert keys.paired_z == tally.z
    peer = sum(len(path.peer[role]) for role in ("alice", "bob"))
    said = result["messages"]
    parts = ("digests and done", "types", "intensities", "slices")
    assert sum(said[name]["sent"] for name in parts) == pytest.approx(96 * peer / survivors)
    assert said["heralds"]["sent"] == pytest.approx(96 * n / survivors)
    assert said["types"]["coded"] == pytest.approx(2 * n / survivors, rel=0.01)
    assert said["pairs"]["sent"] == keys.pairs_bits / survivors
    assert result["core"] < result["coded"] < result["sent"]
    nothing = costs(tally, heralds, block_heralds=BLOCK, pairs_bits=0, odd_bits=0, paired_z=0, survivors=0)
    assert nothing["sent"] is None
