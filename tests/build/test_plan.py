"""The files of a build depend on the design alone, and the build runs what a design with delay lines needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from delay_line_top import DelayLineTop

from twinphase_firmware import pack
from twinphase_firmware.boards import find_board
from twinphase_firmware.build import BuildError, make_plan, run_before_placement

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("spec/twinphase_spec", "hdl/twinphase_hdl", "firmware/twinphase_firmware", "host/twinphase")
PRINT_HASH = """\
from delay_line_top import DelayLineTop
from twinphase_firmware.boards import find_board
from twinphase_firmware.build import make_plan, source_hash
board = find_board("ulx3s-85f")
plan = make_plan(board.prepare(), DelayLineTop(board, channels=1, chains=1, taps=32, lanes=1), seed=1)
print(source_hash(plan), find_board.__code__.co_filename)
"""


def test_two_checkouts_give_the_same_files(tmp_path: Path) -> None:
    found = []
    for root in (tmp_path / "one", tmp_path / "another" / "checkout"):
        for package in PACKAGES:
            shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name("delay_line_top.py"), root)
        path = os.pathsep.join(str(folder) for folder in (root, *((root / package).parent for package in PACKAGES)))
        done = subprocess.run(
            [sys.executable, "-c", PRINT_HASH],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "AMARANTH_ENV_TRELLIS": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        build_hash, used = done.stdout.split()
        assert used.startswith(str(root))
        found.append(build_hash)
    assert found[0] == found[1]


def test_delay_lines_are_placed_between_synthesis_and_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMARANTH_ENV_TRELLIS", "")
    board = find_board("ulx3s-85f")
    plan = make_plan(board.prepare(), DelayLineTop(board, channels=1, chains=1, taps=32, lanes=1), seed=1)
    lines = plan.files["build_top.sh"].splitlines()
    tools = ("$YOSYS", "pack.py", "place_chains.py", "$NEXTPNR_ECP5")
    calls = [line for line in lines if ":=" not in line]
    order = [next(i for i, line in enumerate(calls) if tool in line) for tool in tools]
    assert order == sorted(order)
    assert "--write top.placed.json" in calls[order[-1]]
    plan.files["build_top.sh"] = "something else"
    with pytest.raises(BuildError, match="does not call nextpnr as expected"):
        run_before_placement(plan, pack)
