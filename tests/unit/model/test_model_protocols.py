"""The five protocols: tables, vectorised pair and both state machines against the plain statement."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_statement import Herald, Kept, Window, sift
from test_model_sifting import config, registers, stimulus

from twinphase_sim.model.client import run_pair
from twinphase_sim.model.sift.pair import sift_pair
from twinphase_sim.model.sift.symbols import symbols
from twinphase_spec import sns
from twinphase_spec.rules import MP, PROTOCOLS, SNS, Code, rule_tables

SPAN = 700_000
NO_Z = {"sent_below": 0, "z_below": 0}
SOURCES = {
    "SNS": ({}, {}),
    "PM": (NO_Z, NO_Z),
    "CAL": ({"sent_below": 1250, "slices_z": 8}, {"sent_below": 1250, "slices_z": 8}),
    "MP": (NO_Z | {"vacuum_below": 500, "mu1_below": 3800}, NO_Z | {"vacuum_below": 500, "mu1_below": 3800}),
    "BB84": (NO_Z | {"slices_x": 12}, NO_Z | {"vacuum_below": 0, "mu1_below": 4096, "slices_x": 4}),
}
"""What a protocol's users change in their sources."""


def sources(name):
    """Both users' generators."""
    return [replace(config(role), **changes) for role, changes in zip(("alice", "bob"), SOURCES[name], strict=True)]


def plain_inputs(name, heralds, psi):
    psi_of = {n: (turns, flags) for n, turns, flags in psi.tolist()}
    plain = []
    for number, low, high in heralds.tolist():
        turns, flags = psi_of.get(number, (0, 0))
        plain.append(Herald(number, low | (high & 0xFFFFFF) << 32, high >> 31, turns, flags == 3))
    pulses = np.array([h.pulse for h in plain], np.uint64)
    windows = []
    for source in sources(name):
        s = symbols(source, pulses)
        drawn = zip(pulses.tolist(), s.x.tolist(), s.intensity.tolist(), s.slice.tolist(), strict=True)
        windows.append({pulse: Window(x, i, piece) for pulse, x, i, piece in drawn})
    return plain, *windows


def as_kept(records, psi_of, detectors):
    """SIFTED records in the statement's terms; psi and detector of the word are checked on the way."""
    kept = []
    for number, word in records.tolist():
        if not word & sns.SIFTED_X:
            assert word < 2
            kept.append(Kept(number, False, word))
            continue
        if psi_of is not None:
            turns, flags = psi_of.get(number, (0, 0))
            assert word & 0xFFFF == turns
            assert bool(word & sns.SIFTED_PSI_VALID) == (flags == 3)
            assert bool(word & sns.SIFTED_DETECTOR) == detectors[number]
        kept.append(
            Kept(
                number,
                True,
                0,
                bool(word & sns.SIFTED_KEEP),
                bool(word & sns.SIFTED_ERROR),
                word >> 28 & 1,
                word >> 20 & 15,
                word >> 16 & 15,
                word >> 24 & 3,
            )
        )
    return kept


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 300),
    missing=st.sampled_from([0.0, 0.02, 0.4]),
    block=st.sampled_from([32, 64]),
    width=st.sampled_from([0, 1, 3640, 8192, 8193, 32768]),
)
def test_a_protocol_is_what_its_statement_says(name, seed, count, missing, block, width):
    protocol, span = PROTOCOLS[name], SPAN if name == "MP" else 0
    heralds, psi = stimulus(seed, count, missing)
    pair = sift_pair(
        heralds,
        psi,
        *sources(name),
        block_heralds=block,
        slice_width_turns=width,
        protocol=protocol,
        pair_span=span,
    )
    plain = sift(name, *plain_inputs(name, heralds, psi), block=block, blocks=pair.blocks, width=width, span=span)
    psi_of = None if span else {n: (turns, flags) for n, turns, flags in psi.tolist()}
    detectors = {n: bool(high >> 31) for n, _, high in heralds.tolist()}
    assert as_kept(pair.alice, psi_of, detectors) == plain[0]
    assert as_kept(pair.bob, psi_of, detectors) == plain[1]
    cells = np.zeros(sns.CELLS, np.uint64)
    for (la, lb, detector, kept, error), number in plain[2].items():
        cells[sns.cell_index(la, lb, detector, kept, error)] += np.uint64(number)
    assert (pair.cells == cells).all()
    assert pair.unpaired == plain[3]

    users = (
        registers(role, block, width, protocol, span) | {key.upper(): value for key, value in changes.items()}
        for role, changes in zip(("alice", "bob"), SOURCES[name], strict=True)
    )
    machines = run_pair(*users, heralds, psi)
    for machine, records in zip(machines, (pair.alice, pair.bob), strict=True):
        assert (machine.sifted == records).all()
        assert (machine.cells == pair.cells).all()
        for counter in ("sifted_z", "sifted_x", "kept_x", "error_x", "unpaired"):
            assert machine.counters[counter] == getattr(pair, counter)
        assert machine.counters["refused"] == machine.counters["blocks_discarded"] == 0
    assert machines[0].counters["peer"] == machines[1].peer.size


def words_of(name):
    """Both users' X words of a protocol where clicks come where the physics puts them, psi uniform and known."""
    rng = np.random.default_rng(8)
    heralds, psi = stimulus(8, 1 << 16)
    psi["flags"] = 3
    pulses = heralds["pulse_low"].astype(np.uint64)
    a, b = (symbols(config(role), pulses) for role in ("alice", "bob"))
    mask_a, mask_b = (
        np.where(s.x, *PROTOCOLS[name].source_masks[role][::-1]) for s, role in ((a, "alice"), (b, "bob"))
    )
    theta = (((a.slice & mask_a).astype(int) - (b.slice & mask_b)) * 4096 + psi["psi_turns"]) / 65536 * 2 * np.pi
    right = rng.random(theta.size) > (1 + np.cos(theta)) / 2
    heralds["pulse_high_detector"] = right.astype(np.uint32) << 31
    pair = sift_pair(
        heralds,
        psi,
        *sources(name),
        block_heralds=1024,
        slice_width_turns=3640,
        protocol=PROTOCOLS[name],
        pair_span=10**9 if name == "MP" else 0,
    )
    return pair, [
        own["word"][own["word"] & (sns.SIFTED_X | sns.SIFTED_KEEP) > sns.SIFTED_X] for own in (pair.alice, pair.bob)
    ]


@pytest.mark.parametrize("name", ["PM", "CAL", "BB84", "MP"])
def test_keys_of_phases_agree(name):
    """Key: own slice's bit 3, at Bob xor detector xor branch. With uniform d inside Ds = 20 deg the intrinsic error is 0.25 %
    (docs/physics.md); of two such clicks, as in a pair, 2 e (1 - e) where both have been near 0 or pi, which only their difference
    is tested for: the detectors of single clicks of any phase are right with cos^2, so a pair errs with 1/4."""
    pair, (alice, bob) = words_of(name)
    assert alice.size > 200
    key_a = alice >> 23 & 1
    key_b = (bob >> 23 & 1) ^ (bob >> 27 & 1) ^ (bob >> 28 & 1)
    errors = np.count_nonzero(key_a != key_b) / alice.size
    expected = 0.25 if name == "MP" else 0.0025
    assert abs(errors - expected) < 5 * np.sqrt(expected * (1 - expected) / alice.size)
    assert pair.error_x == 0


def test_a_mode_pair_tells_which_of_two_pulses_was_lit():
    tables = rule_tables(MP, "alice"), rule_tables(MP, "bob")
    for first, second, code, keys in (
        (0, 2, Code(0, 2), (0, 1)),
        (2, 0, Code(0, 2), (1, 0)),
        (1, 1, Code(1, 1), (0, 0)),
        (0, 0, Code(1, 0), (0, 0)),
        (1, 2, Code(1, 3), (0, 0)),
        (3, 3, Code(1, 3), (0, 0)),
    ):
        for table, key in zip(tables, keys, strict=True):
            nibble = table.pair >> 4 * (first << 2 | second) & 15
            assert nibble == code.x | code.level << 1 | key << 3


def test_a_secret_of_both_z_windows_changes_no_message():
    """SNS: in windows where both are Z, another intensity (sent or not) at Alice leaves every message of hers as it was."""
    heralds, psi = stimulus(12, 256)
    alice = registers("alice", 64)
    machines = [run_pair(alice | {"SENT_BELOW": bound}, registers("bob", 64), heralds, psi)[0] for bound in (0, 1250)]
    assert (machines[0].peer == machines[1].peer).all()
    assert (machines[0].sifted != machines[1].sifted).any()


def altered(**changes):
    return replace(SNS, name="ours", **changes)


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        (altered(outcome=lambda a, b: None), "has no outcome"),
        (altered(outcome=lambda a, b: "x" if a.level < b.level else "nothing"), "the other way round"),
        (altered(slices=lambda a, b: False), "gives an X record without slices"),
        (altered(slice_mask=7), "15 where errors are known"),
        (altered(slice_mask=16, errors=False), "0 to 15"),
    ],
)
def test_a_protocol_with_a_hole_is_refused(definition, sentence):
    with pytest.raises(ValueError, match=f"rules: ours .*{sentence}"):
        rule_tables(definition, "alice")


def test_spans_and_pairs_belong_together():
    with pytest.raises(ValueError, match="pair_span is 5; allowed: 0"):
        rule_tables(SNS, "bob").registers(5)
    with pytest.raises(ValueError, match="pair_span is 0; allowed: 1 to"):
        rule_tables(MP, "bob").registers()
