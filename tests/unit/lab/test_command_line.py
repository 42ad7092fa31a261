"""The lab's commands as a user runs them: help, what they refuse, and a recording of ``serve`` over UDP judged by others."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import ptufile
import pytest
import tttrlib

from twinphase.cli import main
from twinphase_sim.lab.keys import client_generator
from twinphase_sim.model.server import run_server
from twinphase_sim.physics.link import Link
from twinphase_spec.configure import frame_config, server_memories, server_registers
from twinphase_spec.lab import load_lab
from twinphase_spec.units import CLOCK_HZ

SEED = 5
LAB = "seed-370km"
SECONDS = 0.05
LONG_LAB = "length_a_km = 185.0", "length_a_km = 20000.0"


@pytest.mark.parametrize("name", ["build", "demo", "serve"])
def test_every_command_has_help_with_an_example_and_json(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert f"example:\n  twinphase {name}" in out
    assert "--json" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--lab", "nowhere"], "neither a preset"),
        (["demo", "--milliseconds", "0"], "--milliseconds is 0; allowed: more than 0"),
        (["demo", "--milliseconds", "inf"], "--milliseconds is inf; allowed: more than 0, and finite"),
        (["demo", "--seed", "-1"], "--seed is -1; allowed: 0 and up"),
        (["demo", "--out", "/dev/null/x"], "choose another folder with --out"),
        (["demo", "--lab", "LONG"], "heralds wait at a client"),
        (["serve", "nowhere"], "neither a preset"),
        (["serve", "LONG", "--port", "0"], "heralds wait at a client"),
        (["serve", LAB, "--seconds", "nan"], "--seconds is nan; allowed: more than 0"),
        (["serve", LAB, "--seed", "-1"], "--seed is -1; allowed: 0 and up"),
        (["serve", LAB, "--port", "BUSY"], "is busy: stop the program that uses it or choose other ports with --port"),
        (["record", "lab:nowhere", "--out", "x"], "neither a preset"),
        (["build", "breadboard"], "board breadboard is not known; allowed: "),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], says: str
) -> None:
    preset = (Path(sys.modules["twinphase_spec"].__path__[0]) / "labs" / f"{LAB}.toml").read_text()
    assert LONG_LAB[0] in preset
    (tmp_path / "long.toml").write_text(preset.replace(*LONG_LAB))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        real = {"LONG": str(tmp_path / "long.toml"), "BUSY": str(busy.getsockname()[1])}
        code = main([real.get(argument, argument) for argument in arguments])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert says in captured.err
    assert captured.err.strip().count("\n") == 0


@pytest.mark.parametrize("command", [["demo", "--out", "out"], ["serve", LAB, "--port", "0"]])
def test_a_missing_compiler_is_one_sentence(tmp_path: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twinphase.cli", *command],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().startswith("the C++ compiler g++ is missing")
    assert done.stderr.strip().count("\n") == 0


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, with the first Ctrl-C at the end of the block if it still runs."""
    process = subprocess.Popen([sys.executable, "-m", "twinphase.cli", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=20)
        finally:
            process.kill()


def test_a_recording_of_serve_is_read_alike_by_two_judges_and_by_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with command("serve", LAB, "--port", "0", "--seed", str(SEED), "--json") as serve:
        assert serve.stdout is not None
        ready = json.loads(serve.stdout.readline())
        url = ready["nodes"]["server"]
        with command("record", url, "--out", str(folder), "--seconds", str(SECONDS), "--json") as record:
            out, _ = record.communicate(timeout=60)
            summary = json.loads(out)
            assert record.returncode == 0
        with command("monitor", url, "--json", "--interval", "0.1") as monitor:
            assert monitor.stdout is not None
            assert json.loads(monitor.stdout.readline())["devices"][0]["node"] == "server"
            time.sleep(0.2)
        assert monitor.returncode == 0
    assert serve.returncode == 0
    assert summary["ended"] == "time over"
    assert summary["losses"]["records"] == 0

    lab = load_lab(LAB)
    frame = frame_config(lab, ready["start_clock"])
    alice, bob = (client_generator(lab, SEED, who) for who in ("alice", "bob"))  # type: ignore[arg-type]
    seconds = 2 * SECONDS
    clicks = Link(lab, SEED, alice, bob, start_clock=frame.start_clock).clicks(
        0, round(seconds * lab.frame.pulse_rate_hz)
    )
    until_clock = frame.start_clock + round(seconds * CLOCK_HZ)
    model = run_server(
        server_registers(lab, frame.start_clock),
        frame,
        clicks.times_ticks,
        clicks.channels,
        until_clock,
        smooth_table=server_memories(lab).get("SMOOTH_TABLE"),
    )
    tags = summary["records"]["tag"]
    assert tags > 0.5 * SECONDS * len(clicks) / seconds
    with ptufile.PtuFile(folder / "tags.ptu") as file:
        records = file.decode_records()
    data = tttrlib.TTTR(str(folder / "tags.ptu"))
    is_tag, is_photon = records["channel"] >= 0, data.event_types == 0
    for times, channels in (
        (records["time"][is_tag], records["channel"][is_tag]),
        (data.macro_times[is_photon], data.routing_channels[is_photon]),
    ):
        assert len(times) == tags
        np.testing.assert_array_equal(times.astype(np.int64), model.tag_times_ticks[:tags].astype(np.int64))
        np.testing.assert_array_equal(channels, model.tag_channels[:tags])
