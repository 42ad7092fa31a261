"""Odd-parity pairing: number of pairings, rank and groups against statements that share nothing with the spec's code."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_spec import aopp


def all_involutions(slots):
    """In the order of the contract: the lowest slot left unpaired first, then paired with each other one in turn."""
    if not slots:
        yield {}
        return
    lowest, rest = slots[0], slots[1:]
    for tail in all_involutions(rest):
        yield {lowest: lowest} | tail
    for mate in rest:
        for tail in all_involutions([slot for slot in rest if slot != mate]):
            yield {lowest: mate, mate: lowest} | tail


@pytest.mark.parametrize("slots", range(8))
def test_rank_counts_all_pairings_in_order(slots):
    listed = [[mates[slot] for slot in range(slots)] for mates in all_involutions(list(range(slots)))]
    assert len(listed) == aopp.involutions(slots)
    assert [aopp.rank(mates) for mates in listed] == list(range(len(listed)))
    assert [aopp.unrank(value, slots) for value in range(len(listed))] == listed
    bits = aopp.field_bits(slots)
    assert 2**bits >= len(listed)
    assert bits == 0 or 2 ** (bits - 1) < len(listed)


def test_numbers_of_pairings():
    """Telephone numbers (OEIS A000085)."""
    assert [aopp.involutions(m) for m in (2, 3, 4, 5, 6, 10, 16, 20)] == [2, 4, 10, 26, 76, 9496, 46206736, 23758664096]
    assert [aopp.field_bits(m) for m in (0, 1, 2, 16, 24, 32)] == [0, 0, 1, 26, 44, 65]


@given(st.integers(0, 200), st.data())
@settings(max_examples=60, deadline=None)
def test_round_trip(slots, data):
    value = data.draw(st.integers(0, aopp.involutions(slots) - 1))
    mates = aopp.unrank(value, slots)
    assert all(mates[mates[slot]] == slot for slot in range(slots))
    assert aopp.rank(mates) == value


@pytest.mark.parametrize("mates", [[1, 2, 0], [0, 2, 0], [3, 1, 2], [-1, 1], [1, 1]])
def test_what_is_no_involution_has_no_rank(mates):
    with pytest.raises(ValueError, match="no involution"):
        aopp.rank(mates)


def test_a_value_beyond_the_last_pairing_is_refused():
    with pytest.raises(ValueError, match="10 pairings; number 10"):
        aopp.unrank(10, 4)
    with pytest.raises(ValueError, match="number -1"):
        aopp.unrank(-1, 4)


def test_groups_follow_the_contract():
    seed, n = bytes(range(16)), 11
    text = b"twinphase AOPP 1" + seed + b"".join(x.to_bytes(4, "little") for x in (7, 2, n))
    stream = hashlib.shake_128(text).digest(8 * n)
    keyed = sorted((int.from_bytes(stream[8 * i : 8 * i + 8], "little"), i) for i in range(n))
    order = [i for _, i in keyed]
    expected = [sorted(order[:4]), sorted(order[4:8]), sorted(order[8:])]
    assert [part.tolist() for part in aopp.groups(seed, 7, 2, n, 4)] == expected
    assert [part.tolist() for part in aopp.groups(seed, 7, 3, n, 4)] != expected
    assert aopp.groups(seed, 7, 2, 0, 4) == []


def test_groups_are_even():
    """Two positions meet in a group of 8 of 64 with 7/63. 4000 seeds; each of 5 pairs within 5 sigma (6e-7 each)."""
    meetings = np.zeros(5)
    for number in range(4000):
        place = np.empty(64, int)
        for i, part in enumerate(aopp.groups(number.to_bytes(16, "little"), 0, 1, 64, 8)):
            place[part] = i
        meetings += [
            place[0] == place[1],
            place[0] == place[63],
            place[30] == place[31],
            place[5] == place[40],
            place[62] == place[63],
        ]
    p = 7 / 63
    assert (np.abs(meetings - 4000 * p) < 5 * np.sqrt(4000 * p * (1 - p))).all()


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"seed": b"x"}, "1 bytes"),
        ({"group": 1}, "group is 1"),
        ({"group": 5000}, "5000"),
        ({"positions": 1 << 21}, "2097152"),
    ],
)
def test_bad_groups(changed, match):
    with pytest.raises(ValueError, match=match):
        aopp.groups(**{"seed": bytes(16), "first_block": 0, "blocks": 1, "positions": 5, "group": 4} | changed)
