"""Three statements of each protocol give the same bits and counters: plain Python pulse by pulse, the numpy model, the gateware.

The plain statement knows no tables, rings, messages or words (`protocol_statement`); the gateware is a pair of Verilated block
sifters with their own AES, that talk to each other. A part of the heralds in the quick suite, a million a protocol in the long one.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from protocol_statement import Herald, Kept, Window, sift

from twinphase_sim.model.client import symbol_config
from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.model.sift.symbols import symbols
from twinphase_sim.native.sifter import NativeSifters
from twinphase_sim.soak.chunk import ROLES, draw_chunk
from twinphase_sim.soak.compare import differences, discarded_blocks, inputs_of
from twinphase_spec import sns
from twinphase_spec.rules import PROTOCOLS

SEED = 11
QUICK_HERALDS, QUICK_CHUNKS = 4096, 4
HERALDS, CHUNKS = 1 << 17, 8
"""2^20 in all."""


@pytest.fixture(scope="module")
def sifters():
    pair = NativeSifters(progress=False)
    yield pair
    pair.close()


def plainly(protocol, chunk):
    """What the statement says of a chunk's agreed blocks: records of both, cells, heralds without a partner."""
    heralds = chunk.heralds["bob"]
    heralds = heralds[~discarded_blocks(chunk)[heralds["number"] // chunk.block_heralds]]
    pulses, detectors = herald_pulses(heralds)
    psi = {number: (turns, flags == 3) for number, turns, flags in chunk.psi.tolist()}
    drawn = zip(heralds["number"].tolist(), pulses.tolist(), detectors.tolist(), strict=True)
    plain = [Herald(number, pulse, detector, *psi.get(number, (0, False))) for number, pulse, detector in drawn]
    windows = []
    for role in ROLES:
        s = symbols(symbol_config(chunk.registers[role]), pulses)
        drawn = zip(pulses.tolist(), s.x.tolist(), s.intensity.tolist(), s.slice.tolist(), strict=True)
        windows.append({pulse: Window(x, intensity, piece) for pulse, x, intensity, piece in drawn})
    registers = chunk.registers["alice"]
    return sift(
        protocol,
        plain,
        *windows,
        block=chunk.block_heralds,
        blocks=chunk.blocks,
        width=registers["SLICE_WIDTH"],
        span=registers["PAIR_SPAN"],
    )


def records_of(kept):
    """The statement's records as numbers and words, without psi, its validity and the detector, which it does not keep."""
    numbers, words = [], []
    for record in kept:
        numbers.append(record.number)
        words.append(word_of(record) if record.phase else record.bit)
    return np.array(numbers, np.int64), np.array(words, np.int64)


def word_of(record: Kept) -> int:
    word = (
        sns.SIFTED_X
        | sns.SIFTED_KEEP * record.kept
        | sns.SIFTED_ERROR * record.error
        | sns.SIFTED_BRANCH * record.branch
    )
    slices = record.own_slice << sns.SIFTED_OWN_SLICE_SHIFT | record.told_slice << sns.SIFTED_PEER_SLICE_SHIFT
    return word | record.level << sns.SIFTED_INTENSITY_SHIFT | slices


UNKEPT = sns.SIFTED_DETECTOR | sns.SIFTED_PSI_VALID | sns.SIFTED_PSI_MASK


def agree(sifters, protocol, chunk):
    """Asserts it of one chunk; heralds and SIFTED records in it."""
    given = sifters.play(*inputs_of(chunk))
    assert differences(protocol, chunk, given) == []  # numpy model and gateware
    *kept, cells, alone = plainly(protocol, chunk)
    for side, records in zip(given, kept, strict=True):
        numbers, words = records_of(records)
        np.testing.assert_array_equal(side.sifted["number"], numbers)
        is_x = side.sifted["word"] & sns.SIFTED_X != 0
        shown = np.where(is_x, side.sifted["word"] & ~np.uint32(UNKEPT), side.sifted["word"])
        np.testing.assert_array_equal(shown, words)
        counted = np.zeros(sns.CELLS, np.uint64)
        for cell, number in cells.items():
            counted[sns.cell_index(*cell)] += np.uint64(number)
        np.testing.assert_array_equal(side.cells, counted)
        phases = [record for record in records if record.phase]
        assert side.counters["sifted_x"] == len(phases)
        assert side.counters["sifted_z"] == len(records) - len(phases)
        assert side.counters["kept_x"] == sum(record.kept for record in phases)
        assert side.counters["error_x"] == sum(record.error for record in phases)
        if not side.counters["blocks_discarded"]:
            assert side.counters["unpaired"] == alone
    return chunk.psi.size, given[0].sifted.size


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_part_of_the_heralds(sifters, protocol):
    done = [agree(sifters, protocol, draw_chunk(protocol, SEED, k, QUICK_HERALDS)) for k in range(QUICK_CHUNKS)]
    assert sum(sifted for _, sifted in done) > 100


@pytest.mark.long
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_million_heralds(sifters, protocol):
    done = [agree(sifters, protocol, draw_chunk(protocol, SEED + 1, k, HERALDS)) for k in range(CHUNKS)]
    assert sum(heralds for heralds, _ in done) > 0.95 * CHUNKS * HERALDS
    assert sum(sifted for _, sifted in done) > 10_000


@pytest.mark.parametrize("case", ["lost", "a tick longer", "first pulse", "repeated"])
def test_one_record_of_the_live_mask_costs_its_block(sifters, case):
    """Clients that a server has told other masks discard the block in which they differ, and agree about all others."""
    chunk = draw_chunk("SNS", SEED, 0, QUICK_HERALDS)
    assert chunk.registers["alice"]["DIGEST_LIVE"] == 1
    assert not discarded_blocks(chunk).any()
    live, due = chunk.live["alice"].copy(), chunk.live_due["alice"]
    at = live.size // 2
    if case == "lost":
        live, due = np.delete(live, at), np.delete(due, at)
    elif case == "repeated":
        live, due = np.insert(live, at, live[at]), np.insert(due, at, due[at])
    else:
        live["length" if case == "a tick longer" else "pulse_low"][at] ^= 1
    changed = replace(chunk, live=chunk.live | {"alice": live}, live_due=chunk.live_due | {"alice": due})
    assert discarded_blocks(changed).sum() == 1
    given = sifters.play(*inputs_of(changed))
    assert differences("SNS", changed, given) == []
    assert [side.counters["blocks_discarded"] for side in given] == [1, 1]


def test_a_wrong_bit_is_found(sifters):
    """The comparison sees a word, a cell, a message and a counter that are off by one bit."""
    chunk = draw_chunk("SNS", SEED, 0, QUICK_HERALDS)
    given = sifters.play(*inputs_of(chunk))
    assert differences("SNS", chunk, given) == []
    bob = given[1]
    for name, spoil in (
        ("SIFTED", lambda: bob.sifted["word"].__setitem__(5, bob.sifted["word"][5] ^ np.uint32(1 << 30))),
        ("cells", lambda: bob.cells.__setitem__(120, bob.cells[120] + np.uint64(1))),
        ("bins", lambda: bob.bins.__setitem__(3, bob.bins[3] + np.uint64(1))),
        ("PEER of the first", lambda: bob.peer["value"].__setitem__(0, bob.peer["value"][0] ^ np.uint32(1))),
        ("counters", lambda: bob.counters.__setitem__("psi", 0)),
    ):
        spoil()
        assert any(said.startswith(f"bob: {name}") for said in differences("SNS", chunk, given))
    assert len(differences("SNS", chunk, given)) == 5
