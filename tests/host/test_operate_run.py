"""What a run refuses before it writes anything: other nodes, other builds, clocks that are not as told, secrets of somebody else."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from fake_node import CLIENT, SERVER, TIMETAGGER, FakeNode, Registers

from twinphase.cli import main
from twinphase.device import open_device
from twinphase.errors import TwinphaseError
from twinphase.operate.run import PairRun, Plan
from twinphase.operate.secrets import load_secrets, new_pair
from twinphase.operate.settings import check_build, client_settings, flight_clocks, server_settings
from twinphase_spec.frame import LAG_CLOCKS
from twinphase_spec.lab import Lab, load_lab
from twinphase_spec.registers import NodeType

CLOCK = 5_000_000_000


class Counting(Registers):
    """Whose counters say clock ``clock``."""

    def __init__(self, node_map, clock: int = CLOCK) -> None:
        super().__init__(node_map)
        base = node_map.memory("COUNTERS").address
        self.words[base], self.words[base + 1] = clock & 0xFFFFFFFF, clock >> 32
        if node_map is CLIENT:
            self.words[CLIENT["LANES"].address] = 8


@pytest.fixture
def pair(tmp_path):
    """Servers of three nodes, and what opens them."""
    registers = {"server": Counting(SERVER), "alice": Counting(CLIENT), "bob": Counting(CLIENT)}
    with ExitStack() as stack:
        nodes = {name: stack.enter_context(FakeNode(registers=held)) for name, held in registers.items()}
        devices = {name: stack.enter_context(open_device(node.url)) for name, node in nodes.items()}
        yield registers, nodes, devices, tmp_path


def plan(tmp_path, lab: Lab | None = None, **changed) -> Plan:
    secrets = tmp_path / "pair"
    if not secrets.exists():
        new_pair(secrets)
    values = {
        "lab": lab or load_lab("seed-370km"),
        "lab_name": "seed-370km",
        "secrets": secrets,
        "folder": tmp_path / "run",
        "ahead": {"alice": 0, "bob": 0},
        "after_s": 3.0,
    }
    return Plan(**(values | changed))


def untouched(registers) -> bool:
    """Nothing but snapshots was written."""
    return all(set(held.writes) <= {held.map["SNAPSHOT"].address} for held in registers.values())


def test_nodes_that_fit_are_taken(pair):
    registers, _, devices, tmp_path = pair
    PairRun(plan(tmp_path), devices)
    assert untouched(registers)


def test_swapped_and_foreign_nodes(pair):
    registers, _, devices, tmp_path = pair
    with pytest.raises(TwinphaseError, match="is a client, not the server that is wanted there"):
        PairRun(plan(tmp_path), devices | {"server": devices["alice"], "alice": devices["server"]})
    with FakeNode(registers=Registers(TIMETAGGER)) as tagger, open_device(tagger.url) as device:
        with pytest.raises(TwinphaseError, match="is a timetagger, not the client"):
            PairRun(plan(tmp_path), devices | {"bob": device})
        assert device.identity().node is NodeType.TIMETAGGER
    assert untouched(registers)


def test_builds_that_the_lab_does_not_fit(pair):
    registers, _, devices, tmp_path = pair
    registers["bob"].words[CLIENT["LANES"].address] = 4
    with pytest.raises(
        TwinphaseError, match=r"emits 4 pulses per clock, lab seed-370km has 8: build it with --lanes 8"
    ):
        PairRun(plan(tmp_path), devices)
    ring = load_lab("metro-50km-qrng")
    registers["alice"].words[CLIENT["LANES"].address] = ring.lanes
    with pytest.raises(
        TwinphaseError, match=rf"has symbols of AES-128, lab .* --symbols ring --ring {ring.clients.ring_symbols}"
    ):
        check_build(devices["alice"], ring, "alice")
    registers["alice"].words[CLIENT["RING_SYMBOLS"].address] = ring.clients.ring_symbols
    check_build(devices["alice"], ring, "alice")
    registers["alice"].words[CLIENT["LANES"].address] = 8
    with pytest.raises(TwinphaseError, match="wants symbols of AES-128: build it without --symbols ring"):
        PairRun(plan(tmp_path), devices)
    steered = load_lab("seed-370km-steered")
    registers["server"].words[SERVER["ACT_BITS"].address] = 16
    with pytest.raises(TwinphaseError, match=r"a DAC of 16 bits \(0: none\), lab seed-370km-steered one of 12"):
        check_build(devices["server"], steered, None)
    assert untouched(registers)


@pytest.mark.parametrize("ahead", [0, 700_000_000, -700_000_000])
def test_clocks_that_are_not_as_told(pair, ahead):
    registers, _, devices, tmp_path = pair
    base = CLIENT.memory("COUNTERS").address
    count = CLOCK + ahead
    registers["bob"].words[base], registers["bob"].words[base + 1] = count & 0xFFFFFFFF, count >> 32
    PairRun(plan(tmp_path, ahead={"alice": 0, "bob": ahead + 1_000_000}), devices)
    for wrong in (ahead + 2_000_000, ahead - 2_000_000):
        said = rf"bob's clock count is about {ahead} ahead of the server's .*, not {wrong}: say with --bob-ahead"
        with pytest.raises(TwinphaseError, match=said):
            PairRun(plan(tmp_path, ahead={"alice": 0, "bob": wrong}), devices)
    assert untouched(registers)


def test_secrets_of_another_pair(pair):
    registers, _, devices, tmp_path = pair
    ours, theirs = new_pair(tmp_path / "pair"), new_pair(tmp_path / "theirs")
    ours[1].write_text(theirs[1].read_text())
    with pytest.raises(TwinphaseError, match="are of two pairs: their digest_key differ"):
        PairRun(plan(tmp_path), devices)
    ours[1].write_text(ours[0].read_text())
    with pytest.raises(TwinphaseError, match="holds the secrets of alice, not of bob"):
        PairRun(plan(tmp_path), devices)
    assert untouched(registers)


def test_a_folder_in_use_costs_no_run(pair):
    registers, _, devices, tmp_path = pair
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(TwinphaseError, match="is not empty"):
        PairRun(plan(tmp_path), devices).carry_on()
    assert load_secrets(tmp_path / "pair" / "alice.toml").next_run == 1
    assert untouched(registers)


def test_server_settings_of_a_run():
    """The server's, and how early clients are."""
    lab = load_lab("seed-370km")
    start = 1 << 30
    server = server_settings(lab, start)
    assert server.registers["START_CLOCK"] == start
    assert server.registers["ACT_CONTROL"] == 0
    assert server.memories["FRAME_TABLE"]
    assert flight_clocks(lab, "alice") == pytest.approx(0.906e-3 * 125e6, rel=0.01)  # DESIGN.md: 185 km is 0.906 ms


def test_client_settings_of_a_run(tmp_path):
    lab = load_lab("seed-370km")
    made = {}
    for role, path in zip(("alice", "bob"), new_pair(tmp_path), strict=True):
        secrets = load_secrets(path)
        made[role] = client_settings(lab, secrets, 1 << 40 | 5, 1 << 30).registers
        assert tuple(made[role][f"KEY_{k}"] for k in range(4)) == secrets.symbols_key
        assert made[role]["START_CLOCK"] == (1 << 30) - LAG_CLOCKS
        assert (made[role]["NONCE_0"], made[role]["NONCE_1"]) == (1 << 8, 5)
    alike = {f"DIGEST_KEY_{k}" for k in range(4)} | {"DIGEST_NONCE_0", "DIGEST_NONCE_1"}
    assert all(made["alice"][name] == made["bob"][name] for name in alike)
    assert (made["alice"]["DIGEST_NONCE_0"], made["alice"]["DIGEST_NONCE_1"]) == (1 << 8, 5)
    assert [made[role]["ROLE"] for role in ("alice", "bob")] == [0, 1]


def test_a_recording_is_no_node(pair, capsys):
    _, nodes, _, tmp_path = pair
    new_pair(tmp_path / "pair")
    words = ["run", "seed-370km", "--secrets", str(tmp_path / "pair"), "--out", str(tmp_path / "run")]
    urls = ["--server", nodes["server"].url, "--alice", nodes["alice"].url, "--bob", str(tmp_path / "old")]
    assert main([*words, *urls]) == 2
    assert "old" in capsys.readouterr().err
    assert main([*words, *urls, "--after", "0"]) == 2
    assert "--after is 0; allowed: more than 0" in capsys.readouterr().err
