"""N_live of closed blocks and yields over it: pulse by pulse, with losses, and as `twinphase sift` shows them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fake_node import record_packets
from hypothesis import given, settings
from hypothesis import strategies as st
from sift_paths import BLOCK, WIDTH, pair_path
from test_host_sift_command import BLOCKS, CLOCKS, Pair, beats, client_registers, run
from test_live_windows import FRAME, batch, records, server

from twinphase.batch import Batch, Gap
from twinphase.measure.live import LiveWindows, SignalPulses
from twinphase.sift.blocks import BlockGatherer, Fate
from twinphase.sift.rule import PairRule
from twinphase.sift.yields import Yields, pair_probabilities
from twinphase_spec.frame import SlotClass
from twinphase_spec.packets import Stream
from twinphase_spec.rules import PM, SNS, rule_tables

TABLES = rule_tables(SNS, "alice")
RULE = PairRule.of_tables(TABLES, slice_width=WIDTH)
BOUNDS = {"SENT_BELOW": 500, "Z_BELOW": 1500, "VACUUM_BELOW": 2000, "MU1_BELOW": 3500}
Z, VACUUM, MU1, MU2 = 1500, 500, 1500, 596
"""In 1/4096."""
CHANCE = np.ones((4, 4)) / 16


SIGNAL = np.repeat([byte & 15 == SlotClass.SIG for byte in FRAME.table], FRAME.slot_pulses)


def is_signal(n):
    return SIGNAL[n % SIGNAL.size]


def pulses_of(path):
    return [low | (high & 0xFFFFFF) << 32 for _, low, high in path.heralds]


def runs_of(clicks, recovery):
    """Runs as a server makes them, of the pulses of gated clicks."""
    runs = []
    for n in clicks:
        if runs and n + 1 <= runs[-1][1]:
            runs[-1] = (runs[-1][0], n + 1 + recovery)
        else:
            runs.append((n + 1, n + 1 + recovery))
    return runs


def spread(path, recovery):
    """Heralds far enough from each other to be in live windows all, and in SIG slots."""
    shift = 0
    for i, (number, low, high) in enumerate(path.heralds):
        n = (low | (high & 0xFFFFFF) << 32) + shift
        while not is_signal(n):
            n, shift = n + 1, shift + 1
        shift += recovery
        path.heralds[i] = (number, n & 0xFFFFFFFF, n >> 32 | high & 1 << 31)
    return path


def gathered(path, live_batches, *, whole=True, recovery=4):
    """Yields of a path whose LIVE records come in these batches, each before a part of the rest."""
    counter = Yields(LiveWindows(SignalPulses(FRAME.table, FRAME.slot_pulses), recovery), CHANCE, RULE)
    gatherer = BlockGatherer(BLOCK, RULE)
    parts = {("server", Stream.HERALD): path.herald_array()}
    parts |= {(role, Stream.PEER): path.peer_array(role) for role in ("alice", "bob")}
    parts |= {(role, Stream.SIFTED): path.sifted_array(role) for role in ("alice", "bob")}
    count = len(live_batches)
    for i, live in enumerate(live_batches):
        counter.windows.update(live, whole=whole)
        counter.settle()
        for (node, stream), rows in parts.items():
            part = np.array_split(rows, count)[i]
            for block in gatherer.update(node, Batch(records={stream: part})):
                counter.add(block)
    for block in gatherer.finish():
        counter.add(block)
    counter.settle()
    return counter


def plain(path, runs, blocks):
    """(live, SIG) windows of these blocks' stretches, one by one."""
    ends = [-1, *pulses_of(path)[BLOCK - 1 :: BLOCK]]
    first = path.heralds[0][0] // BLOCK
    live = signal = 0
    for block in blocks:
        start, stop = ends[block - first] + 1, ends[block - first + 1] + 1
        dead = np.zeros(stop - start, bool)
        for a, b in runs:
            dead[max(a - start, 0) : max(b - start, 0)] = True
        sig = np.resize(np.roll(SIGNAL, -(start % SIGNAL.size)), stop - start)
        live, signal = live + int(np.count_nonzero(sig & ~dead)), signal + int(np.count_nonzero(sig))
    return live, signal


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 30), recovery=st.sampled_from([1, 4, 300]), parts=st.integers(1, 5))
def test_windows_of_closed_blocks_one_by_one(seed, recovery, parts):
    path = spread(pair_path(4, seed, discarded=(1,)), recovery + 1)
    rng = np.random.default_rng(seed)
    heralds = pulses_of(path)
    others = rng.integers(0, heralds[-1], 50)
    # Other clicks leave the heralds live.
    others = [n for n in others.tolist() if not any(n < h <= n + recovery for h in heralds)]
    runs = runs_of(sorted([*heralds, *others, heralds[-1] + 5]), recovery)
    cut = np.array_split(np.arange(len(runs)), parts)
    found = gathered(path, [batch([runs[i] for i in part]) for part in cut], recovery=recovery)
    assert (found.blocks, found.left_out, found.contradictions) == (3, 0, 0)
    assert (found.live, found.signal) == plain(path, runs, [0, 2, 3])
    assert found.heralds.sum() == 3 * BLOCK
    cells = np.array(path.cells).reshape(4, 4, 8).sum(axis=2)
    assert (found.heralds == cells).all()


def test_blocks_with_lost_records_and_the_first_of_a_late_join_are_left_out():
    path = spread(pair_path(5, 8), 5)
    runs = runs_of(pulses_of(path), 4)
    third = next(i for i, (first, _) in enumerate(runs) if first > pulses_of(path)[2 * BLOCK + 5])
    lossy = runs[:third] + runs[third + 1 :]
    ticks = [i // 10 for i in range(len(lossy))]
    gap = Gap(index=third, records=1, packets=0, time_ticks=ticks[third])
    found = gathered(path, [batch(lossy, [gap], ticks)])
    assert (found.blocks, found.left_out) == (4, 1)
    assert (found.live, found.signal) == plain(path, runs, [0, 1, 3, 4])
    assert found.contradictions == 0
    late = gathered(path, [batch(runs)], whole=False)
    assert (late.blocks, late.left_out) == (4, 1)
    assert (late.live, late.signal) == plain(path, runs, [1, 2, 3, 4])
    path = spread(pair_path(3, 8, first_block=3), 5)
    joined = gathered(path, [batch(runs_of(pulses_of(path), 4))])
    assert (joined.blocks, joined.left_out) == (2, 1)


def test_a_record_that_is_missing_untold_contradicts_a_herald():
    path = spread(pair_path(2, 8), 5)
    runs = runs_of(pulses_of(path), 4)
    found = gathered(path, [batch(runs[:30] + runs[31:])])
    assert found.contradictions == 1
    assert not found.as_dict(0, 0)["exact"]


def test_windows_of_heralds_that_neither_client_had_are_taken_off():
    path = spread(pair_path(3, 8, missing=(3, 70, 71)), 5)
    runs = runs_of(pulses_of(path), 4)
    found = gathered(path, [batch(runs)])
    live, signal = plain(path, runs, [0, 1, 2])
    assert (found.blocks, found.live, found.signal) == (3, live - 3, signal)
    assert found.heralds.sum() == 3 * BLOCK - 3


def test_a_server_that_starts_anew_ends_the_count():
    path = spread(pair_path(3, 8), 5)
    runs = runs_of(pulses_of(path), 4)
    found = gathered(path, [batch(runs[:70]), batch([(1, 4)])])
    assert found.windows.restarted
    assert (found.blocks, found.left_out) == (1, 2)


def clients(reveal, **bounds):
    """Two devices of which only registers are asked for."""

    class Asked:
        def read(self, name):
            return (BOUNDS | bounds)[name]

    rule = replace(RULE, reveal=reveal)
    return pair_probabilities(rule, {"alice": Asked(), "bob": Asked()})


def test_probabilities_of_announced_levels():
    sns = clients(TABLES.reveal) * 4096**2
    own = np.array([VACUUM, MU1, MU2, Z])
    assert sns == pytest.approx(np.outer(own, own))  # the X user speaks in mixed windows
    pm = clients(rule_tables(PM, "bob").reveal, SENT_BELOW=0, Z_BELOW=0) * 4096**2
    own = np.array([2000, 1500, 596, 0])
    assert pm == pytest.approx(np.outer(own, own))


class LivePair(Pair):
    """Three nodes whose server sends LIVE as well; if not ``beating``, the clients' time alone ends a run, which have more to send."""

    def __init__(self, path, runs, server_registers, beating=False, **registers):
        super().__init__(path, **registers)
        self.runs, self.server_registers, self.beating = runs, server_registers, beating

    def __enter__(self):
        urls = super().__enter__()
        node = self.nodes["server"]
        node.registers.words.update(self.server_registers.words)
        made = record_packets(Stream.LIVE, records(self.runs), 30, 1, CLOCKS // 2)
        if self.beating:
            node.outbox = made + node.outbox + beats(made, Stream.LIVE, len(self.runs))
        else:
            node.outbox = made + [packet for packet in node.outbox if len(packet) > 32]
        return urls


def test_sift_shows_yields_of_nodes_and_of_their_recordings(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "220")
    recovery = 4
    path = spread(pair_path(BLOCKS, 21, p_x=0.4), recovery + 1)
    runs = runs_of([*pulses_of(path), pulses_of(path)[-1] + 50], recovery)
    live, signal = plain(path, runs, range(BLOCKS))
    registers = {role: client_registers(role, path, **BOUNDS) for role in ("alice", "bob")}
    of_server = server(RECOVERY_PULSES=recovery)
    known = ("--lab", "metro-50km")

    def check(result):
        found = result["live"]
        assert (found["live_windows"], found["signal_windows"]) == (live, signal)
        assert (found["blocks"], found["blocks_left_out"], found["exact"], found["whole"]) == (BLOCKS, 0, True, True)
        own = {"vacuum": VACUUM, "mu_1": MU1, "mu_2": MU2, "Z": Z}
        assert len(found["yields"]) == 16
        for row in found["yields"]:
            windows = own[row["alice"]] * own[row["bob"]] / 4096**2 * live
            assert row["windows"] == pytest.approx(windows)
            assert row["yield"] == pytest.approx(row["heralds"] / windows)
            assert row["ci95"][0] <= row["yield"] <= row["ci95"][1]
        assert sum(row["heralds"] for row in found["yields"]) == BLOCKS * BLOCK

    with LivePair(path, runs, of_server, **registers) as urls:
        code, out, err = run(capsys, "sift", *urls, "--seconds", "0.25", "--json", *known)
        assert code == 0, err
        check(json.loads(out))
    with LivePair(path, runs, of_server, beating=True, **registers) as urls:
        for node, url in zip(("server", "alice", "bob"), urls, strict=True):
            assert run(capsys, "record", url, "--out", tmp_path / node, "--seconds", "0.25", *known)[0] == 0
    code, out, err = run(capsys, "sift", tmp_path, "--json")
    assert code == 0, err
    check(json.loads(out))
    code, out, err = run(capsys, "sift", tmp_path)
    assert code == 0, err
    assert f"{live:,} of {signal:,} SIG" in out
    assert "exact" in out
    assert "not exact" not in out
    assert "yield mu_1, Z" in out


def test_what_keeps_yields_from_being_known_is_said(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    path = spread(pair_path(BLOCKS, 21, p_x=0.4), 2)
    runs = runs_of(pulses_of(path), 1)
    registers = {role: client_registers(role, path, **BOUNDS) for role in ("alice", "bob")}
    for changed, known, said in (
        (
            {"RECOVERY_PULSES": 1, "STREAM_ENABLE": 1 << Stream.HERALD},
            ("--lab", "metro-50km"),
            "does not send LIVE (bit 13",
        ),
        ({"RECOVERY_PULSES": 0}, ("--lab", "metro-50km"), "RECOVERY_PULSES is 0: windows of dead detectors count"),
        ({}, (), "the server's frame is not known: give its lab with --lab"),
    ):
        with LivePair(path, runs, server(**changed), **registers) as urls:
            code, out, err = run(capsys, "sift", *urls, "--seconds", "0.25", *known)
        assert code == 0, err
        assert said in " ".join(out.split())


def test_fates_are_as_before():
    """Live windows judge nothing: the blocks of the path close whatever LIVE says."""
    path = spread(pair_path(2, 8), 5)
    gatherer = BlockGatherer(BLOCK, RULE)
    fates = []
    for node, stream, rows in (
        ("server", Stream.HERALD, path.herald_array()),
        *((role, Stream.PEER, path.peer_array(role)) for role in ("alice", "bob")),
        *((role, Stream.SIFTED, path.sifted_array(role)) for role in ("alice", "bob")),
    ):
        fates += [(block.fate, block.pulse.tolist()) for block in gatherer.update(node, Batch(records={stream: rows}))]
    heralds = pulses_of(path)
    assert fates == [(Fate.CLOSED, heralds[:BLOCK]), (Fate.CLOSED, heralds[BLOCK:])]
