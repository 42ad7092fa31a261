"""`twinphase sift` on three nodes and on recordings of them: JSON, counters, keys, plot, and what it refuses."""

import json
from contextlib import ExitStack

import numpy as np
import pytest
from fake_node import CLIENT, SERVER, FakeNode, Registers, record_packets
from protocol_paths import SPAN, protocol_path
from sift_paths import BLOCK, WIDTH, pair_path

from twinphase import cli
from twinphase.packets import pack
from twinphase.sift.session import expand_urls
from twinphase_spec.packets import Stream
from twinphase_spec.rules import PROTOCOLS, rule_tables
from twinphase_spec.smoothing import PsiSource

BLOCKS = 24
CLOCKS = 20_000
"""From packet to packet."""


def run(capsys, *arguments):
    try:
        code = cli.main(list(map(str, arguments)))
    except SystemExit as end:  # argparse
        code = end.code
    return code, *capsys.readouterr()


def client_registers(role, path, blocks=BLOCKS, **changed):
    registers = Registers(CLIENT)
    values = {
        "ROLE": int(role == "bob"),
        "BLOCK_HERALDS": BLOCK,
        "SLICE_WIDTH": WIDTH,
        "STREAM_ENABLE": 1 << Stream.SIFTED | 1 << Stream.PEER | 1 << Stream.STATUS,
    }
    for name, value in (values | changed).items():
        registers.words[CLIENT[name].address] = value
    registers.words.update({CLIENT.memory("CELLS").address + 2 * i: count for i, count in enumerate(path.cells)})
    place = CLIENT.memory("COUNTERS").address + 2 * CLIENT.counter_names.index("blocks_agreed")
    registers.words[place] = blocks
    return registers


def status_packets(path):
    """A snapshot in the middle and one at the end."""
    packets = []
    for sequence, at in enumerate((len(path.counts_after) // 2, len(path.counts_after) - 1)):
        words = dict.fromkeys(CLIENT.counter_names, 0)
        words.update(zip(("sifted_z", "sifted_x", "kept_x", "error_x"), path.counts_after[at], strict=True))
        payload = np.array(list(words.values()), "<u8").tobytes()
        packets.append(
            pack(Stream.STATUS, sequence, payload, base_ticks=(300 + sequence) * CLOCKS << 13, first_record=sequence)
        )
    return packets


def beats(packets, stream, records):
    """Empty packets after the others, so that node time goes on."""
    number = int(np.frombuffer(packets[-1], "<u4")[1]) + 1
    return [pack(stream, number + i, base_ticks=(400 + 40 * i) * CLOCKS << 13, first_record=records) for i in range(50)]


def outboxes(path):
    boxes = {}
    for node in ("server", "alice", "bob"):
        kinds = (
            [(Stream.HERALD, path.herald_array())]
            if node == "server"
            else [
                (Stream.PEER, path.peer_array(node)),
                (Stream.SIFTED, path.sifted_array(node)),
            ]
        )
        packets, ends = [], []
        for stream, records in kinds:
            made = record_packets(stream, records, 40, 1, CLOCKS)
            packets += made
            ends += beats(made, stream, len(records))
        boxes[node] = packets + ([] if node == "server" else status_packets(path)) + ends
    return boxes


class Pair(ExitStack):
    """Three nodes of one run."""

    def __init__(self, path, **registers):
        super().__init__()
        self.path, self.registers = path, registers

    def __enter__(self):
        super().__enter__()
        self.nodes = {}
        for node, packets in outboxes(self.path).items():
            default = Registers(SERVER) if node == "server" else client_registers(node, self.path)
            words = self.registers.get(node, default)
            made = FakeNode(SERVER if node == "server" else CLIENT, paced=True, registers=words)
            made.outbox = packets
            self.nodes[node] = self.enter_context(made)
        return [node.url for node in self.nodes.values()]


@pytest.fixture(scope="module")
def path():
    return pair_path(BLOCKS, 21, p_x=0.4)


def check(result, path):
    assert result["blocks"] == {"closed": BLOCKS, "incomplete": 0, "discarded": 0}
    assert result["heralds"] == BLOCKS * BLOCK
    assert {row["cell"]: row["heralds"] for row in result["cells"]} == {i: n for i, n in enumerate(path.cells) if n}
    assert (result["x_qber"]["count"], result["x_qber"]["of"]) == (path.errors, path.kept)
    low, high = result["x_qber"]["ci95"]
    assert low < path.errors / path.kept < high
    assert result["z_error_raw"]["of"] == len(path.z)
    assert sum(result["psi_histogram"]["counts"]) == path.x
    assert sum(result["psi_histogram"]["kept"]) == path.kept
    assert result["pairing"]["spans"] == BLOCKS // 8
    assert result["bits_per_survivor"]["messages"]["pairs"]["sent"] > 0
    for role in ("alice", "bob"):
        assert result["counters"][role]["status"] == {"snapshots": 2, "equal": True, "different": 0}
        assert result["reveal_latency"][role]["blocks"] == BLOCKS


def test_on_nodes_and_on_their_recordings(capsys, tmp_path, path):
    with Pair(path) as urls:
        keys, plot = tmp_path / "keys.npz", tmp_path / "sift.png"
        code, out, err = run(
            capsys, "sift", *reversed(urls), "--seconds", "0.25", "--json", "--keys", keys, "--plot", plot
        )
        assert code == 0, err
        result = json.loads(out)
        check(result, path)
        for role in ("alice", "bob"):
            cells = result["counters"][role]["cells"]
            assert cells == {"blocks": BLOCKS, "equal": True, "different_cells": []}
    assert plot.stat().st_size > 20_000
    assert keys.stat().st_mode & 0o077 == 0
    with np.load(keys) as file:
        assert file["number"].tolist() == sorted(path.z)
        assert [*zip(file["alice"].tolist(), file["bob"].tolist(), strict=True)] == [path.z[h] for h in sorted(path.z)]
        assert np.count_nonzero(file["alice"] != file["bob"]) == result["z_error_raw"]["count"]
        assert np.count_nonzero(file["key_alice"] != file["key_bob"]) == result["pairing"]["error"]["count"]
        assert file["key_bob"].size == result["pairing"]["survivors"]["count"]
        assert json.loads(str(file["about"]))["block_heralds"] == BLOCK
    folder = tmp_path / "runs"
    folder.mkdir()
    with Pair(path) as urls:
        for node, url in zip(("server", "alice", "bob"), urls, strict=True):
            assert run(capsys, "record", url, "--out", folder / node, "--seconds", "0.25")[0] == 0
    code, out, err = run(capsys, "sift", folder, "--json")
    assert code == 0, err
    recorded = json.loads(out)
    check(recorded, path)
    assert recorded["counters"]["alice"]["cells"] is None
    code, out, err = run(capsys, "sift", folder, "--span", "0")
    assert code == 0, err
    assert "X-QBER" in out
    assert "2 snapshots: equal" in out


def test_a_counter_that_differs_is_shown(capsys, path):
    wrong = client_registers("bob", path)
    wrong.words[CLIENT.memory("CELLS").address + 10] += 1
    with Pair(path, bob=wrong) as urls:
        code, out, err = run(capsys, "sift", *urls, "--seconds", "0.25", "--json")
    assert code == 0, err
    counters = json.loads(out)["counters"]
    assert counters["alice"]["cells"]["equal"] is True
    assert counters["bob"]["cells"] == {"blocks": BLOCKS, "equal": False, "different_cells": [5]}


@pytest.mark.parametrize("name", ["MP", "PM"])
def test_another_protocol(capsys, tmp_path, name):
    """Rules from the registers; keys of both sides with their mismatches, and no pairing of Z bits."""
    other = protocol_path(name, BLOCKS, 3)
    other.counts_after = [(0, 0, 0, 0)]
    made = {}
    for role in ("alice", "bob"):
        made[role] = client_registers(role, other)
        tables = rule_tables(PROTOCOLS[name], role).registers(SPAN if name == "MP" else 0)
        for register, value in tables.items():
            for word in range(CLIENT[register].words):
                made[role].words[CLIENT[register].address + word] = value >> 32 * word & 0xFFFFFFFF
    with Pair(other, **made) as urls:
        keys, plot = tmp_path / "keys.npz", tmp_path / "sift.png"
        code, out, err = run(capsys, "sift", *urls, "--seconds", "0.25", "--json", "--keys", keys, "--plot", plot)
        assert code == 0, err
    result = json.loads(out)
    assert result["blocks"] == {"closed": BLOCKS, "incomplete": 0, "discarded": 0}
    assert {row["cell"]: row["heralds"] for row in result["cells"]} == {i: n for i, n in enumerate(other.cells) if n}
    assert result["pairing"] is None
    assert result["x_qber"] is None
    wrong = sum(a != b for a, b in other.x_keys.values())
    assert (result["x_key_error"]["count"], result["x_key_error"]["of"]) == (wrong, other.kept)
    assert result["counters"]["alice"]["cells"] == {"blocks": BLOCKS, "equal": True, "different_cells": []}
    assert (result["wrong_words"], result["unlike_between_clients"]) == (0, 0)
    with np.load(keys) as file:
        assert file["x_number"].tolist() == list(other.x_keys)
        assert np.count_nonzero(file["x_alice"] != file["x_bob"]) == wrong
        assert file["number"].tolist() == list(other.z)
        assert json.loads(str(file["about"]))["x_key_error"]["count"] == wrong


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"BLOCK_HERALDS": 96}, "BLOCK_HERALDS is 64 at"),
        ({"SLICE_WIDTH": 1}, "SLICE_WIDTH is"),
        ({"STREAM_ENABLE": 1 << Stream.SIFTED}, "does not send PEER (bit 9 of STREAM_ENABLE is 0)"),
        ({"ROLE": 0}, "are both alice"),
        ({"RULE_X": 5, "RULE_Z": 2}, "different rule tables"),
        ({"RULE_X": 5, "PAIR_SPAN": 9}, "different rule tables"),
    ],
)
def test_nodes_that_do_not_belong_together(capsys, path, changed, match):
    with Pair(path, bob=client_registers("bob", path, **changed)) as urls:
        code, out, err = run(capsys, "sift", *urls, "--seconds", "0.2")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert match in err


def test_a_server_whose_heralds_get_no_psi_is_refused(capsys, path):
    registers = Registers(SERVER)
    registers.words[SERVER["PSI_SOURCE"].address] = PsiSource.NONE
    with Pair(path, server=registers) as urls:
        code, out, err = run(capsys, "sift", *urls, "--seconds", "0.2")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "gives heralds no psi (PSI_SOURCE is 2)" in err


def test_nothing_sifted(capsys, path):
    empty = pair_path(1, 1)
    with Pair(
        empty,
        alice=client_registers("alice", path, BLOCK_HERALDS=2048),
        bob=client_registers("bob", path, BLOCK_HERALDS=2048),
    ) as urls:
        code, _, err = run(capsys, "sift", *urls, "--seconds", "0.2")
    assert code == 2
    assert "no block was closed" in err


def test_discarded_blocks_are_explained(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    some = pair_path(BLOCKS, 5, discarded=(2, 3))
    with Pair(some, alice=client_registers("alice", some), bob=client_registers("bob", some)) as urls:
        code, out, err = run(capsys, "sift", *urls, "--seconds", "0.25")
    assert code == 0, err
    shown = " ".join(out.split())
    assert "22 closed, 0 incomplete, 2 discarded" in shown
    assert (
        "digests differ (other heralds, psi or LIVE records, or another DIGEST_KEY, DIGEST_NONCE or DIGEST_LIVE"
        in shown
    )
    # Two keys that differ discard every block: heralds and digests are all there is.
    none = pair_path(BLOCKS, 5, discarded=range(BLOCKS))
    sifted = [(BLOCK * BLOCKS + k, 0) for k in range(2)]
    none.sifted = {role: list(sifted) for role in none.sifted}
    none.counts_after = [(0, 0, 0, 0)] * 2
    registers = {role: client_registers(role, none, BLOCKS - 1) for role in ("alice", "bob")}  # the last may yet go on
    with Pair(none, **registers) as urls:
        code, out, err = run(capsys, "sift", *urls, "--seconds", "0.25")
    assert (code, out) == (2, "")
    assert "no block was closed and 23 discarded: the clients' digests differ" in err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("x", "--span", "-1"), "--span is -1"),
        (("x", "--group", "1"), "--group is 1; allowed: 2 to 4096"),
        (("x", "--keys", "x.txt"), "ending .npz"),
        (("x", "--plot", "x.gif"), "ending .gif"),
        (("x", "--seconds", "0"), "--seconds is 0"),
        (("no-such-recording",), "neither a device"),
    ],
)
def test_bad_arguments(capsys, arguments, match):
    code, out, err = run(capsys, "sift", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert match in err


def test_one_url_for_a_pair(tmp_path):
    assert expand_urls(["lab:x"]) == ["lab:x?node=server", "lab:x?node=alice", "lab:x?node=bob"]
    assert expand_urls(["lab:x?seed=2"])[1] == "lab:x?seed=2&node=alice"
    assert expand_urls(["udp://host:7"]) == ["udp://host:7", "udp://host:8", "udp://host:9"]
    assert expand_urls(["udp://[::1]"])[2] == "udp://[::1]:9752"
    for node in ("server", "alice", "bob"):
        (tmp_path / node).mkdir()
    assert expand_urls([str(tmp_path)]) == [str(tmp_path / node) for node in ("server", "alice", "bob")]
    assert expand_urls(["a", "b"]) == ["a", "b"]
