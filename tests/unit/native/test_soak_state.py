"""A soak's state: chunks by number, going on, starting anew, refusing what is no state; the script's exit codes."""

import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from twinphase.errors import TwinphaseError
from twinphase_sim.native.slicedsifters import SlicedSifters
from twinphase_sim.soak import run
from twinphase_sim.soak.chunk import chunk_size, draw_chunk
from twinphase_sim.soak.state import MOST_KEPT, Progress, State

ABOUT = {"seed": 1}
SCRIPT = Path(__file__).parents[3] / "benchmarks" / "soak.py"


def result(**changed):
    values = {
        "heralds": 100,
        "blocks": 3,
        "discarded": 1,
        "sifted": 7,
        "differences": [],
        "gateware_seconds": 1.0,
        "model_seconds": 2.0,
    }
    return run.Result(**(values | changed))


def play(state, monkeypatch, heralds, *, given=lambda number: result(), stop_after=None):
    """Chunk numbers that were played."""
    played = []

    def chunks(protocol, seed, numbers, size, stopped):
        for number in numbers:
            played.append(number)
            yield number, given(number)

    monkeypatch.setattr(run, "play_chunks", chunks)
    monkeypatch.setattr(run, "chunk_size", lambda protocol, seed, number, size: size)
    run.soak(
        state,
        "PM",
        heralds=heralds,
        seed=1,
        chunk_heralds=100,
        jobs=1,
        stopped=lambda: stop_after is not None and len(played) >= stop_after,
        progressed=lambda done: None,
    )
    return played


def test_it_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    path = tmp_path / "new" / "soak.json"
    state, left = State.open(path, ABOUT)
    assert not left
    assert play(state, monkeypatch, 1000, stop_after=4) == [0, 1, 2, 3]
    again, left = State.open(path, ABOUT)
    assert not left
    assert play(again, monkeypatch, 1000) == [4, 5, 6, 7, 8, 9]
    assert play(again, monkeypatch, 1000) == []
    done = json.loads(path.read_text())["protocols"]["PM"]
    assert (done["heralds"], done["blocks"], done["discarded"], done["sifted"], done["chunks"]) == (
        1000,
        30,
        10,
        70,
        10,
    )
    assert (done["mismatches"], done["gateware_seconds"], done["model_seconds"]) == (0, 10, 20)
    assert done["heralds_per_gateware_second"] == 100
    other, left = State.open(path, {"seed": 2})
    assert left
    assert other.protocols == {}
    assert path.with_name("soak.json.old").exists()


def test_chunks_that_are_done_already_are_left_out(tmp_path, monkeypatch):
    """As after a kill: those under way are played again, those done beyond them are not."""
    state, _ = State.open(tmp_path / "soak.json", ABOUT)
    progress = state.of("PM")
    for number in (0, 3, 4):
        progress.close(number)
        progress.heralds += 100
    state.write()
    (tmp_path / "soak.json.part").write_text('{"format": 1, "abo')  # killed while it was written
    again, left = State.open(tmp_path / "soak.json", ABOUT)
    assert not left
    assert play(again, monkeypatch, 800) == [1, 2, 5, 6, 7]
    assert (again.of("PM").chunks, again.of("PM").ahead, again.of("PM").heralds) == (8, [], 800)


@pytest.mark.parametrize("protocol", ["SNS", "MP"])
def test_sizes_of_chunks_are_known_before_they_are_drawn(protocol):
    for number in range(12):
        chunk = draw_chunk(protocol, 1, number, 4096)
        assert chunk.block_heralds * chunk.blocks == chunk_size(protocol, 1, number, 4096)


def test_chunks_that_are_done_out_of_order():
    progress = Progress()
    for number, pending in ((2, 0), (0, 1), (1, 3), (4, 3)):
        progress.close(number)
        assert progress.pending(set()) == pending
    assert (progress.chunks, progress.ahead) == (3, [4])
    assert progress.pending({3, 5}) == 6


def test_mismatches_are_kept_and_end_it(tmp_path, monkeypatch):
    state, _ = State.open(tmp_path / "soak.json", ABOUT)
    played = play(
        state, monkeypatch, 10**9, given=lambda number: result(differences=[f"word {number}"] if number % 2 else [])
    )
    assert len(played) == 2 * MOST_KEPT
    done = State.open(tmp_path / "soak.json", ABOUT)[0].of("PM")
    assert (done.mismatches, done.said[0]) == (MOST_KEPT, {"chunk": 1, "differences": ["word 1"]})


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": 1, "about": {"seed": 1}, "protocols": {"PM": {"heralds": 1}}}']
)
def test_a_file_that_is_no_state_is_refused(tmp_path, text):
    path = tmp_path / "soak.json"
    path.write_text(text)
    with pytest.raises(TwinphaseError, match="no state of a soak"):
        State.open(path, ABOUT)


def test_chunks_differ_by_seed_number_and_protocol_and_are_the_same_again():
    def words(*arguments):
        return draw_chunk(*arguments, 2048).heralds["bob"]["pulse_low"][:20].tolist()

    first = words("SNS", 1, 0)
    assert first == words("SNS", 1, 0)
    assert len({tuple(first), tuple(words("PM", 1, 0)), tuple(words("SNS", 2, 0)), tuple(words("SNS", 1, 1))}) == 4
    with pytest.raises(ValueError, match="a chunk has 5 heralds; allowed: 2048 to"):
        draw_chunk("SNS", 1, 0, 5)


@pytest.mark.long
def test_the_script_in_two_processes(tmp_path):
    """Both take chunks; the state says what was done, and a second call has nothing left to do."""
    command = [
        sys.executable,
        str(SCRIPT),
        "--protocol",
        "PM",
        "MP",
        "--heralds",
        "12000",
        "--chunk-heralds",
        "4096",
        "--jobs",
        "2",
    ]
    for _ in range(2):
        done = subprocess.run(
            [*command, "--state", str(tmp_path / "soak.json"), "--json"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)["protocols"]
        for name in ("PM", "MP"):
            assert said[name]["mismatches"] == 0
            assert 3 <= said[name]["chunks"] <= 4
            assert said[name]["ahead"] == []
            assert 12_000 <= said[name]["heralds"] <= 4 * 4096
    alone = subprocess.run(
        [*command[:3], "PM", "--chunk", "1", "--chunk-heralds", "4096"], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    assert "heralds, no difference" in alone.stdout


@pytest.mark.parametrize("arguments", [["--chunk-heralds", "5"], ["--jobs", "0"], ["--chunk", "0"], ["--seed", "-1"]])
def test_bad_arguments(arguments, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("soak_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["soak.py", *arguments])
    assert script.main() == 2
    assert capsys.readouterr().err.startswith("--")


def test_a_soak_goes_on_while_other_rooms_change() -> None:
    """Its sources are all that play and predict the sifters, and nothing of the lab."""
    code = "import json, sys; from twinphase_sim.soak import run; run.sources(); print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    ours = {name for name in loaded if name.startswith(("twinphase_sim.", "twinphase_spec."))}
    assert {"twinphase_sim.soak.compare", "twinphase_sim.model.sift.digest", "twinphase_spec.rules"} <= ours
    assert not {
        name for name in ours if name.startswith(("twinphase_sim.lab", "twinphase_sim.physics", "twinphase_spec.lab"))
    }
    known = run.sources()
    assert Path(inspect.getfile(State)).read_bytes() in known
    assert Path(inspect.getfile(SlicedSifters)).with_name("slicedpair.cpp").read_bytes() in known
