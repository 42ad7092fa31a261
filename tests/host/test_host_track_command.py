"""`twinphase phase` on a node with a click tracker, and on its recording, which keeps TRACK and PSI_CAUSAL records."""

import json

import numpy as np
import pytest
from fake_node import FakeNode, record_packets
from phase_paths import phase_records, walk_path
from test_host_phase_command import run, server_registers, with_heartbeats
from track_paths import STEP_CLOCKS, STEP_S, flag, follow, track_records

from twinphase.device import open_device
from twinphase_spec.packets import PSI_DTYPE, Stream
from twinphase_spec.registers import SERVER

RECORDS = 6000
SUBSTEPS = 8
LINE_HZ, LINE_RAD = 440.0, 0.5
PER_PACKET = 20
EVENTS = {
    "locked_r": (1, 0, 1),
    "starts_r": (1, 1, 3),
    "lost_r": (0, 1, 1),
    "faded_r": (0, 0, 1),
    "jumps_r": (0, 0, 1),
    "unlocked_r": (5, 6, 125_000_000 >> 13),
    "unlocked_d": (5, 70, 90),
}
"""Counters of three STATUS packets."""


def tracks():
    """0.39 s of both channels: a walk with an acoustic line; a packet of 20 is missing, 40 of r are not locked, r jumps once."""
    rng = np.random.default_rng(41)
    r = walk_path(rng, RECORDS * SUBSTEPS, walk=20.0, dt=STEP_S / SUBSTEPS)
    r += LINE_RAD * np.cos(2 * np.pi * LINE_HZ * STEP_S / SUBSTEPS * np.arange(len(r)))
    d = walk_path(rng, RECORDS * SUBSTEPS, walk=5.0, dt=STEP_S / SUBSTEPS)
    records = np.empty(2 * RECORDS, track_records(np.zeros((1, 4))).dtype)
    states = follow(r, SUBSTEPS, clicks_per_s=4e5, diffusion=300.0)
    states[5000:, 0] += np.pi
    of_r = flag(track_records(states, first_clock=0), slice(4000, 4040), locked=False)
    records[::2] = flag(of_r, [4000, 4040, 5000], broke=True)
    records[1::2] = track_records(follow(d, SUBSTEPS, clicks_per_s=5e4, diffusion=5.0), channel=1, first_clock=0)
    made = record_packets(
        Stream.TRACK, records, PER_PACKET, PER_PACKET // 2 * STEP_CLOCKS, PER_PACKET // 2 * STEP_CLOCKS
    )
    return made[:100] + made[101:]


@pytest.fixture(scope="module")
def outbox():
    psi = np.zeros(500, PSI_DTYPE)
    psi["number"], psi["psi_turns"], psi["flags"] = np.arange(500), 7 * np.arange(500), 3
    windows = record_packets(Stream.PHASE, phase_records(np.ones(2000)), PER_PACKET, 250_000, 250_000)
    causal = record_packets(Stream.PSI_CAUSAL, psi, 100, 1 << 17, 1 << 17)
    status = np.zeros((3, len(SERVER.counters)), "<u8")
    for name, values in EVENTS.items():
        status[:, SERVER.counter_names.index(name)] = values
    books = record_packets(Stream.STATUS, status, 1, 1 << 20, 1 << 20)
    sent = sorted([*windows, *causal, *tracks(), *books], key=base)
    return with_heartbeats(sent, Stream.TRACK, 2 * RECORDS)


def base(packet):
    return int(np.frombuffer(packet[12:20], "<u8")[0])


def check(answer):
    assert answer["source"] == "clicks"
    r, d = answer["status"]
    assert (r["locked"], r["starts"], r["lost"], r["faded"], r["jumps"]) == (True, 3, 1, 1, 1)
    assert r["unlocked_s"] == pytest.approx(1.0, rel=1e-4)
    assert (d["channel"], d["locked"], d["starts"], d["unlocked"]) == ("d", False, 0, 90)
    result, differential = answer["result"], answer["differential"]
    track = result["track"]
    assert (track["channel"], track["records"]) == ("r", RECORDS - PER_PACKET // 2)
    assert track["locked_fraction"] == pytest.approx(1 - 40 / track["records"])
    assert track["sigma_rad"] == pytest.approx((300 / (4e5 * 0.8)) ** 0.25, rel=0.1)
    assert (track["losses"], track["found_again"], track["jumps"]) == (1, 1, 1)
    assert [event["kind"] for event in result["track_events"]] == ["lost", "found", "jump"]
    assert result["trace"]["interval_s"] == pytest.approx(STEP_S)
    line = result["lines"][0]
    assert line["frequency_hz"] == pytest.approx(LINE_HZ, abs=result["spectrum"]["resolution_hz"] / 3)
    assert line["amplitude_rad"] == pytest.approx(LINE_RAD, rel=0.1)
    assert differential["track"]["channel"] == "d"
    walk = differential["walk"]
    assert abs(walk["walk_rad2_per_s"] - 5.0) < 4 * walk["walk_error"]


def test_on_a_node_and_on_its_recording(capsys, tmp_path, outbox):
    with FakeNode(paced=True, registers=server_registers()) as node:
        node.outbox = list(outbox)
        code, out, err = run(capsys, "phase", node.url, "--seconds", "0.6", "--json")
    assert code == 0, err
    check(json.loads(out))
    with FakeNode(paced=True, registers=server_registers()) as node:
        node.outbox = list(outbox)
        assert run(capsys, "record", node.url, "--out", tmp_path / "run", "--seconds", "0.6")[0] == 0
    folder = tmp_path / "plots"
    code, out, err = run(capsys, "phase", tmp_path / "run", "--json", "--out", folder)
    assert code == 0, err
    check(json.loads(out))
    names = {"trace.png", "spectrum.png", "structure.png", "allan.png", "differential.png"}
    assert {path.name for path in folder.glob("*.png")} == names
    code, out, err = run(capsys, "phase", tmp_path / "run")
    assert code == 0, err
    assert "told by the tracker" in out
    assert "psi_r now" in out
    assert "found 3" in out
    assert "psi_d now" not in out
    assert "quantum less reference band" in out
    code, out, err = run(capsys, "monitor", tmp_path / "run")
    assert code == 0, err
    assert "psi_r now" in out
    code, out, err = run(capsys, "phase", tmp_path / "run", "--json", "--source", "windows")
    assert code == 0, err
    windows = json.loads(out)
    assert (windows["source"], windows["differential"], windows["result"]["track"]) == ("windows", None, None)
    assert windows["result"]["trace"]["interval_s"] == pytest.approx(1e-4)

    causal = [
        batch[Stream.PSI_CAUSAL]
        for batch in open_device(str(tmp_path / "run")).batches()
        if Stream.PSI_CAUSAL in batch.records
    ]
    assert np.concatenate(causal)["psi_turns"].tolist() == (7 * np.arange(500)).tolist()


def test_a_node_without_track_records_is_told_apart(capsys, tmp_path):
    windows = record_packets(Stream.PHASE, phase_records(np.cumsum(np.full(3000, 0.1))), PER_PACKET, 250_000, 250_000)
    with FakeNode(paced=True, registers=server_registers()) as node:
        node.outbox = with_heartbeats(windows, Stream.PHASE, 3000)
        assert run(capsys, "record", node.url, "--out", tmp_path / "run", "--seconds", "0.4")[0] == 0
    code, out, err = run(capsys, "phase", tmp_path / "run", "--json")
    assert code == 0, err
    assert json.loads(out)["source"] == "windows"
    code, out, err = run(capsys, "phase", tmp_path / "run", "--source", "clicks")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no TRACK record in" in err

    # as one that was made before there were such records
    path = tmp_path / "run" / "recording.json"
    metadata = json.loads(path.read_text())
    for name in ("TRACK_EPOCH", "TRACK_EVERY"):
        del metadata["registers"][name]
    path.write_text(json.dumps(metadata))
    code, out, err = run(capsys, "phase", tmp_path / "run", "--json")
    assert code == 0, err
    assert json.loads(out)["source"] == "windows"
    code, out, err = run(capsys, "phase", tmp_path / "run", "--source", "clicks")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "does not hold TRACK_EPOCH" in err
