"""Nodes that wait as boards do: ``twinphase run`` sets them up, starts, relays, records and stops them, over UDP, Verilated."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from twinphase.cli import main
from twinphase.device import open_device
from twinphase.errors import TwinphaseError
from twinphase.measure.arrival import Arrival
from twinphase.measure.pulse_index import PulseIndex
from twinphase.operate.charlie import CharliePlan, CharlieRun
from twinphase.operate.secrets import load_secrets, new_pair
from twinphase.operate.user import UserPlan, UserRun
from twinphase_sim.lab.idle import IdleLab
from twinphase_sim.lab.lines import NODES
from twinphase_sim.lab.server import LabServer, open_ports
from twinphase_spec.configure import frame_config
from twinphase_spec.lab import Lab, LabError
from twinphase_spec.units import FRACTION_BITS, TICKS_PER_SECOND

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SMALL = """
base = "seed-370km"
name = "small"
fibre = {{ length_a_km = 20.0, length_b_km = 20.0, attenuation_db_per_km = {attenuation} }}
frame = {{ windows_per_dwindow = 2 }}
tracking = {{ most_lag_s = 2e-4 }}
protocol = {{ block_heralds = 32 }}
"""
CLOCK_PULSES = 8


@contextmanager
def served(lab: Lab) -> Iterator[list[str]]:
    """URLs of the lab's three nodes, which wait."""
    server = LabServer(IdleLab(lab, 3), open_ports(NODES, "127.0.0.1", 0), readers=3)
    stop = threading.Event()
    thread = threading.Thread(target=server.serve, args=(stop.is_set,))
    thread.start()
    try:
        yield ["udp://{}:{}".format(*port.address) for port in server.ports]
    finally:
        stop.set()
        thread.join()
        server.close()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Lab, Path, Path]:
    """A small lab, its file, the folder of a new pair's secrets."""
    lab = small_lab()
    path = tmp_path / "small.toml"
    path.write_text(SMALL.format(attenuation=lab.fibre.attenuation_db_per_km))
    new_pair(tmp_path / "pair")
    return lab, path, tmp_path


def run(capsys: pytest.CaptureFixture[str], urls: list[str], path: Path, folder: Path, *more: str) -> dict[str, Any]:
    """``twinphase run``, and its result."""
    nodes = [word for name, url in zip(NODES, urls, strict=True) for word in (f"--{name}", url)]
    pair = str(path.parent / "pair")
    words = ["run", str(path), *nodes, "--secrets", pair, "--out", str(folder), "--after", "1", "--json", *more]
    assert main(words) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def sifted(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, Any]:
    assert main(["sift", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("runs", [1, pytest.param(3, marks=pytest.mark.long)])
def test_a_run_over_udp_sifts_and_others_can_follow(files, capsys, runs: int) -> None:
    """30 ms of light, on the same nodes again. The host recomputes every sifted word. Some 28 X events are kept: 8 or fewer have a chance
    of 1e-5; and at the 3 % of the lab, more than a quarter of as many as there are is wrong with 2e-5."""
    lab, path, folder = files
    with served(lab) as urls:
        for number in range(1, runs + 1):
            out = folder / f"run{number}"
            result = run(capsys, urls, path, out, "--seconds", "0.03")
            assert (result["run"], result["ended"]) == (number, "time over")
            relay = result["relay"]
            assert not relay["refused"]
            assert not relay["missing"]
            assert relay["fault"] is None
            assert set(relay["carried"]) == {
                "alice bob peer",
                "bob alice peer",
                *(f"server {to} {stream}" for to in ("alice", "bob") for stream in ("herald_code", "psi")),
            }
            assert json.loads((out / "run.json").read_text()) == result
            assert not any(sum(told["damaged_packets"].values()) for told in result["recordings"].values())
            found = sifted(capsys, out)
            assert found["wrong_words"] == found["unlike_between_clients"] == 0
            assert found["blocks"]["closed"] >= 22
            assert found["blocks"]["discarded"] == 0
            assert found["x_qber"]["of"] > 8
            assert found["x_qber"]["count"] <= found["x_qber"]["of"] // 4
            with open_device(urls[0]) as server:
                assert server.read("CONTROL") == 0
                assert server.read("FRAMING") == 0
    assert {load_secrets(folder / "pair" / f"{role}.toml").next_run for role in ("alice", "bob")} == {runs + 1}


def users(
    stack: ExitStack, lab: Lab, folder: Path, urls: list[str], *, ahead: Mapping[str, int], align: bool = False
) -> tuple[CharlieRun, Callable[..., dict[str, Any]]]:
    """Charlie, who listens, and what runs a user; each with a device and a folder of its own."""
    devices = dict(zip(NODES, (stack.enter_context(open_device(url)) for url in urls), strict=True))
    plan = CharliePlan(
        lab=lab,
        lab_name="small.toml",
        folder=folder / "charlie",
        address=("127.0.0.1", 0),
        after_s=1.0,
        align=align,
    )
    charlie = stack.enter_context(CharlieRun(plan, devices["server"]))

    def user(role: str, own: Lab = lab, out: str | None = None) -> dict[str, Any]:
        plan = UserPlan(
            lab=own,
            lab_name="small.toml",
            secrets=folder / "pair" / f"{role}.toml",
            folder=folder / (out or role),
            charlie=charlie.address,
            ahead=ahead[role],
        )
        return UserRun(plan, devices[role]).carry_on()

    return charlie, user


def test_users_with_computers_of_their_own(files, capsys) -> None:
    """Charlie and both users in threads; Charlie never has a secret. Another who says he is Alice is sent away, and one with another lab.
    Then as above."""
    lab, _, folder = files
    with served(lab) as urls:
        with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
            charlie, user = users(stack, lab, folder, urls, ahead={"alice": 0, "bob": 0})
            of_charlie = pool.submit(charlie.carry_on, seconds=0.03)
            other = lab.model_copy(update={"protocol": lab.protocol.model_copy(update={"block_heralds": 64})})
            with pytest.raises(TwinphaseError, match="alice's lab file is not Charlie's"):
                user("alice", other, "other lab")
            of_alice = pool.submit(user, "alice")
            until(lambda: "alice" in charlie.users)
            with pytest.raises(TwinphaseError, match="alice is there already"):
                user("alice", out="second alice")
            results = {"bob": user("bob"), "alice": of_alice.result()}
            result = of_charlie.result()
        for url in urls:
            with open_device(url) as node:
                assert node.read("CONTROL") == 0
    assert result["ended"] == "time over"
    assert {own["ended"] for own in results.values()} == {"Charlie's computer: time over"}
    for told in (result, *results.values()):
        assert told["run"] == 1
        assert not told["relay"]["refused"]
        assert not told["relay"]["missing"]
    for own, peer in (("alice", "bob"), ("bob", "alice")):
        route = f"{own} {peer} peer"
        assert results[own]["relay"]["carried"][route] >= result["relay"]["carried"][route] > 100
    whole = folder / "whole"
    whole.mkdir()
    for name, out in (("server", "charlie"), ("alice", "alice"), ("bob", "bob")):
        (whole / name).symlink_to(folder / out / name)
    found = sifted(capsys, whole)
    assert found["wrong_words"] == found["unlike_between_clients"] == 0
    assert found["blocks"]["closed"] >= 22
    assert found["blocks"]["discarded"] == 0
    assert {load_secrets(folder / "pair" / f"{role}.toml").next_run for role in ("alice", "bob")} == {2}


@pytest.mark.long
def test_charlie_has_the_users_keep_their_pulses_in_place(files) -> None:
    """As below, with three computers: 16 and -8 pulses are found, told to the users and corrected there, again and again."""
    lab, _, folder = files
    with served(lab) as urls, ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        charlie, user = users(stack, lab, folder, urls, ahead={"alice": 2, "bob": -1}, align=True)
        of_charlie = pool.submit(charlie.carry_on, seconds=0.9)
        of_alice = pool.submit(user, "alice")
        results = {"bob": user("bob"), "alice": of_alice.result()}
        result = of_charlie.result()
    assert result["ended"] == "time over"
    found = result["align"]
    assert [arm["pulses"] for arm in found["found"]] == [16, -8]
    for role, told in found["corrections"].items():
        assert told - 2 <= results[role]["corrections"] <= told
        assert told >= 5


@pytest.mark.long
def test_a_client_that_starts_late_is_seen_by_align(files, capsys) -> None:
    """Two clocks late, as where its count was told wrong: `align` says 16 pulses."""
    lab, path, folder = files
    with served(lab) as urls:
        run(capsys, urls, path, folder / "run", "--seconds", "0.3", "--alice-ahead", "2")
    assert main(["align", str(folder / "run" / "server"), "--lab", str(path), "--json"]) == 0
    pulses = {arm["arm"]: arm["pulses"] for arm in json.loads(capsys.readouterr().out)["pulses"]}
    assert pulses == {"a": 2 * CLOCK_PULSES, "b": 0}


@pytest.mark.long
def test_pulses_are_found_and_kept_in_their_places(files, capsys) -> None:
    """Alice starts two clocks late, Bob one early: 16 and -8 pulses. The search takes some 0.15 s, its corrections 0.25 s more; then both
    arms' pulses are in their places, to 40 ps (`tests/unit/lab/test_arrival_lab.py`)."""
    lab, path, folder = files
    with served(lab) as urls:
        more = ("--alice-ahead", "2", "--bob-ahead", "-1", "--align", "--seconds", "0.9")
        result = run(capsys, urls, path, folder / "run", *more)
    found = result["align"]["found"]
    assert [arm["pulses"] for arm in found] == [16, -8]
    assert all(count >= 5 for count in result["align"]["corrections"].values())
    with open_device(str(folder / "run" / "server")) as recording:
        frame = frame_config(lab, result["start_clock"])
        index, fractions = PulseIndex(frame), []
        late = (result["start_clock"] << FRACTION_BITS) + round(0.65 * TICKS_PER_SECOND)
        for batch in recording.batches():
            if batch.time_ticks is None or batch.time_ticks < late:
                continue
            index.update(batch)
            arrival = Arrival(frame.period_q32 / 2**32)
            arrival.update(batch)
            fractions += [offset.offset_ps for offset in arrival.newest() if offset.band == "r" and offset.offset_ps]
    assert [arm.pulses for arm in index.find()] == [0, 0]
    assert len(fractions) > 5
    assert max(map(abs, fractions)) < 40


def test_a_stop_and_a_failure_leave_whole_recordings(files, capsys, monkeypatch) -> None:
    """A lost PEER packet ends the run with a sentence; nodes are stopped, recordings closed."""
    lab, path, folder = files
    from twinphase.operate import relay

    heard = relay.Relay._note
    monkeypatch.setattr(
        relay.Relay,
        "_note",
        lambda self, source, stream, sequence: heard(self, source, stream, sequence + 2 * (sequence > 30)),
    )
    with served(lab) as urls:
        nodes = [word for name, url in zip(NODES, urls, strict=True) for word in (f"--{name}", url)]
        words = ["run", str(path), *nodes, "--secrets", str(folder / "pair"), "--out", str(folder / "run")]
        assert main([*words, "--after", "1"]) == 2
        said = capsys.readouterr().err
        assert "PEER packets of" in said
        assert "run the pair anew" in said
        for url in urls:
            with open_device(url) as node:
                assert node.read("CONTROL") == 0
    for name in NODES:
        told = json.loads((folder / "run" / name / "recording.json").read_text())
        assert told["ended"] == "stopped"
        with open_device(str(folder / "run" / name)) as recording:
            assert sum(len(records) for batch in recording.batches() for records in batch.records.values()) > 0


def test_a_start_that_no_fibre_explains_is_refused() -> None:
    with closing(IdleLab(small_lab(), 3)) as idle:
        start(idle, 1 << 28)
        with pytest.raises(LabError, match=r"pulse 0 of alice comes -\d+ clocks after its place"):
            idle.step(idle.clock + 100)


def start(idle: IdleLab, server_clock: int) -> None:
    """All nodes run; the clients from their clock 0 on."""
    from twinphase_sim.native import write_requests

    for name in NODES:
        clock = server_clock if name == "server" else 0
        for packet in write_requests(idle.nodes[name].map, {"START_CLOCK": clock, "CONTROL": 1}):
            idle.submit(name, packet)
