"""Sifters as gates in vectors give what the Verilated sifters give, record for record; what a broken gate gives is found."""

from dataclasses import replace

import numpy as np
import pytest

from twinphase_sim.native import slicedsifters
from twinphase_sim.native.sifter import NativeSifters
from twinphase_sim.native.slicedsifters import PAIRS, SlicedSifters
from twinphase_sim.soak.chunk import draw_chunk
from twinphase_sim.soak.compare import differences, inputs_of
from twinphase_spec.rules import PROTOCOLS

SEED = 23
HERALDS = 2048
CHUNKS = 2
"""Of each protocol; about a third of them with LIVE records."""
FAULTS = 40


@pytest.fixture(scope="module")
def verilated():
    sifters = NativeSifters(progress=False)
    yield sifters
    sifters.close()


@pytest.fixture
def sliced(request):
    sifters = SlicedSifters(stalls=getattr(request, "param", False), progress=False)
    yield sifters
    sifters.close()


def unlike(given, wanted):
    """Names of outputs that differ, but for clocks."""
    names = ("sifted", "peer", "cells", "bins")
    found = [name for name in names if not np.array_equal(getattr(given, name), getattr(wanted, name))]
    return found + ["counters"] * (given.counters != wanted.counters)


@pytest.mark.parametrize(("sliced", "times"), [(False, 2), (True, 1)], indirect=["sliced"], ids=["ready", "stalls"])
def test_sliced_and_verilated_sifters_give_the_same(sliced, verilated, times):
    """All protocols on the lanes together, then some again on lanes that others have used; outputs that are always taken and
    outputs that are held back; a herald that Alice has not got."""
    keys = [(protocol, number) for protocol in PROTOCOLS for number in range(CHUNKS)]
    chunks = [draw_chunk(protocol, SEED, number, HERALDS) for protocol, number in keys]
    chunks[1] = replace(chunks[1], heralds=chunks[1].heralds | {"alice": np.delete(chunks[1].heralds["alice"], 700)})
    assert {chunk.registers["alice"]["DIGEST_LIVE"] for chunk in chunks} == {0, 1}
    assert len({chunk.block_heralds for chunk in chunks}) > 2
    expected = [verilated.play(*inputs_of(chunk)) for chunk in chunks]
    assert expected[1][0].counters["blocks_discarded"] == 1
    for order in (range(len(chunks)), range(len(chunks))[::-3])[:times]:
        played = {order[k]: outputs for k, outputs in sliced.play(inputs_of(chunks[k]) for k in order)}
        assert sorted(played) == sorted(order)
        for k, outputs in played.items():
            assert not isinstance(outputs, str), (keys[k], outputs)
            assert [unlike(*sides) for sides in zip(outputs, expected[k], strict=True)] == [[], []], keys[k]


def test_a_broken_flipflop_is_found(sliced, monkeypatch):
    """Every pair but the first plays the same chunk with another flip-flop of Bob's stuck at 1: the comparison finds nothing in the
    first, and most of the others. It cannot find them all: some are 1 anyhow, or not used by this chunk."""
    monkeypatch.setattr(slicedsifters, "CLOCKS_PER_HERALD", 60)
    monkeypatch.setattr(slicedsifters, "LEAST_CLOCKS", 0)
    chunk = next(
        c for c in (draw_chunk("SNS", SEED, k, HERALDS) for k in range(99)) if c.registers["alice"]["DIGEST_LIVE"]
    )
    for pair in range(1, FAULTS + 1):
        sliced.stick(251 * pair, pair)
    found = {}
    for pair, outputs in sliced.play(inputs_of(chunk) for _ in range(FAULTS + 1)):
        found[pair] = [outputs] if isinstance(outputs, str) else differences("SNS", chunk, outputs)
    assert found.pop(0) == []
    assert sum(map(bool, found.values())) > FAULTS // 2


@pytest.mark.long
def test_more_plays_than_pairs(sliced):
    """Pairs are used again, with an own difference each; a chunk whose model is of another slice width differs, and no other."""
    chunks = [draw_chunk("PM", SEED, number, HERALDS) for number in range(PAIRS + 8)]
    spoilt = next(k for k in range(PAIRS, PAIRS + 8) if 0 < chunks[k].registers["alice"]["SLICE_WIDTH"] < 16384)
    played = []
    for k, outputs in sliced.play(inputs_of(chunk) for chunk in chunks):
        chunk = chunks[k]
        if k == spoilt:
            other = {role: registers | {"SLICE_WIDTH": 32768} for role, registers in chunk.registers.items()}
            chunk = replace(chunk, registers=other)
        assert not isinstance(outputs, str), outputs
        assert bool(differences("PM", chunk, outputs)) == (k == spoilt), k
        played.append(k)
    assert sorted(played) == list(range(PAIRS + 8))


@pytest.mark.long
def test_a_play_that_does_not_end_is_said(sliced, verilated, monkeypatch):
    """Heralds that never come keep a play open: the others end, and its lanes play again as they should."""
    monkeypatch.setattr(slicedsifters, "CLOCKS_PER_HERALD", 0)
    monkeypatch.setattr(slicedsifters, "LEAST_CLOCKS", 1 << 16)
    chunks = [draw_chunk("SNS", SEED, number, HERALDS) for number in range(2)]
    alice, bob = inputs_of(chunks[0])
    beyond = alice.heralds[:64].copy()
    beyond["number"] += 1 << 20  # never offered: its number has no room in the ring
    played = dict(sliced.play([(replace(alice, heralds=beyond), bob), inputs_of(chunks[1])]))
    assert isinstance(played[0], str)
    assert "not at rest after" in played[0]
    again = dict(sliced.play([inputs_of(chunks[0])]))
    for outputs, chunk in ((played[1], chunks[1]), (again[0], chunks[0])):
        expected = verilated.play(*inputs_of(chunk))
        assert [unlike(*sides) for sides in zip(outputs, expected, strict=True)] == [[], []]


def test_it_stops_when_asked(sliced):
    """A play that is under way is given up, and the sifters are closed."""
    asked = []
    chunk = draw_chunk("SNS", SEED, 0, HERALDS)
    assert list(sliced.play([inputs_of(chunk)], lambda: asked.append(1) or len(asked) > 2)) == []
    with pytest.raises(RuntimeError, match="closed"):
        list(sliced.play([inputs_of(chunk)]))
