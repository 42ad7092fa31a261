"""Delay lines each of whose taps has two flip-flops: which they are, what is sampled in which order, and what cannot be."""

import pytest

from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.tdc import TWIN_CELLS, TWIN_TAPS, chain_taps, group_codes, has_twins, sample_order


@pytest.mark.parametrize("taps", [32, 448, 512])
def test_every_tap_and_every_twin_is_sampled_once(taps: int) -> None:
    order = sample_order(taps, True)
    along = chain_taps(taps, True)
    assert (len(order), along) == (taps, taps // 2)
    assert set(order) == {(tap, twin) for tap in range(along) for twin in (False, True)}
    assert order[0] == (0, False), "the detector"
    for twin in (False, True):
        assert [tap for tap, is_twin in order if is_twin is twin] == list(range(along))


def test_twins_lie_among_the_taps_of_their_time() -> None:
    """Those of cell k directly behind the taps of cell k + TWIN_CELLS, as long as there are such."""
    order = sample_order(512, True)
    for cell in range(128 - TWIN_CELLS):
        place = order.index((2 * (cell + TWIN_CELLS) + 1, False))
        assert order[place + 1 : place + 3] == ((2 * cell, True), (2 * cell + 1, True))
    assert [tap for tap, _ in order[-2 * TWIN_CELLS :]] == list(range(256 - 2 * TWIN_CELLS, 256))


def test_without_twins_taps_are_sampled_in_their_order() -> None:
    assert sample_order(48, False) == tuple((tap, False) for tap in range(48))
    assert chain_taps(48, False) == 48


def test_long_lines_at_two_lanes_have_twins() -> None:
    """At one lane a chain of 512 taps covers 8 ns (5G); at two lanes one of 448 would cover two spans of 4 ns."""
    assert [has_twins(taps, 2) for taps in (TWIN_TAPS - 16, TWIN_TAPS, 512)] == [False, True, True]
    assert not has_twins(512, 1)
    assert (group_codes(512, 2), group_codes(512, 1), group_codes(256, 2)) == (32, 16, 16)
    assert [TaggerOptions(lanes=lanes, taps=512).twins for lanes in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("taps", "words"), [(464, "taps is 464; allowed from 448 on at 2 lanes"), (544, "taps is 544; allowed")]
)
def test_twins_that_cannot_be_are_refused(taps: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TaggerOptions(frontend="delay line", lanes=2, taps=taps)
