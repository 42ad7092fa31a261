"""Four-fold oversampling as synthesised and placed: input registers in step, on an edge clock that is routed as one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oversampling_top import OversamplingTop

from twinphase_firmware import oversampling
from twinphase_firmware.boards import find_board
from twinphase_firmware.build import PLACED, build_environment, make_plan
from twinphase_firmware.manifest import check_timing, read_clocks, read_cross_clock
from twinphase_firmware.place_chains import top_module
from twinphase_hdl.timetag.oversample import SampledPins


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At the slow speed grade."""
    os.environ["AMARANTH_ENV_TRELLIS"] = ""
    folder = tmp_path_factory.mktemp("oversampling")
    board = find_board("ulx3s-85f")
    make_plan(board.prepare(), OversamplingTop(board, lanes=2), seed=1).execute_local(
        str(folder), env=build_environment()
    )
    return folder


def test_clocks_meet_timing(built: Path) -> None:
    clocks = read_clocks(json.loads((built / "top.report.json").read_text()))
    assert clocks["clk"]["constraint_mhz"] == 125
    check_timing(clocks, read_cross_clock((built / "top.tim").read_text()))
    log = (built / "top.tim").read_text()
    assert "Derived frequency constraint of 250.0 MHz for net clock.o_edge_clock$eclk" in log


def test_all_input_registers_share_clocks_and_reset(built: Path) -> None:
    cells = top_module(json.loads((built / PLACED).read_text()))["cells"]
    registers = [
        cell for cell in cells.values() if cell["type"] == "IOLOGIC" and cell["parameters"]["MODE"] == "IDDRXN"
    ]
    assert len(registers) == 4
    for port in ("ECLK", "CLK", "LSR"):
        assert len({tuple(cell["connections"][port]) for cell in registers}) == 1
    for cell in registers:
        assert cell["parameters"]["GSR"].strip() == "DISABLED"
        outputs = [cell["connections"][f"RXDATA{sample}"][0] for sample in range(4)]
        assert len(set(outputs)) == 4


def _start(cells: dict[str, Any], locked: list[int]) -> list[tuple[int, int, int]]:
    """(stop, reset, running) per clock of the oscillator, by the synthesised flip-flops and LUTs behind the PLL's lock."""
    kinds = {kind: next(c for c in cells.values() if c["type"] == kind) for kind in ("EHXPLLL", "ECLKSYNCB", "CLKDIVF")}
    clock = kinds["EHXPLLL"]["connections"]["CLKI"]
    flip_flops = [c for c in cells.values() if c["type"] == "TRELLIS_FF" and c["connections"]["CLK"] == clock]
    luts = [c for c in cells.values() if c["type"] == "LUT4"]
    first_of_sync = next(c for name, c in cells.items() if name.startswith("clock.reset_meta"))
    watched = [kinds["ECLKSYNCB"]["connections"]["STOP"], kinds["CLKDIVF"]["connections"]["RST"]]
    watched.append(first_of_sync["connections"]["DI"])
    assert all(flip_flop["parameters"]["GSR"] == "DISABLED" for flip_flop in flip_flops)
    state = {flip_flop["connections"]["Q"][0]: 0 for flip_flop in flip_flops}
    seen = []
    for lock in locked:
        values: dict[Any, int] = {"0": 0, "1": 1, "x": 0, kinds["EHXPLLL"]["connections"]["LOCK"][0]: lock, **state}
        for _ in range(4):  # deeper than any LUT tree here
            for lut in luts:
                pins = [lut["connections"][port][0] for port in "ABCD"]
                # Other inputs (the reset button's pin) are at rest, which is high.
                index = sum(values.get(pin, 1) << k for k, pin in enumerate(pins))
                values[lut["connections"]["Z"][0]] = int(lut["parameters"]["INIT"][::-1][index])
        seen.append(tuple(values[net[0]] for net in watched))
        state = {ff["connections"]["Q"][0]: values[ff["connections"]["DI"][0]] for ff in flip_flops}
    return seen


def test_registers_start_in_step(built: Path) -> None:
    """The edge clock stops, is reset while it stands, and goes on before anything else leaves reset; and all that once more."""
    (built / "synthesised.ys").write_text((built / "top.ys").read_text().replace("top.json", "synthesised.json"))
    subprocess.run([build_environment()["YOSYS"], "-q", "synthesised.ys"], cwd=built, check=True)
    cells = top_module(json.loads((built / "synthesised.json").read_text()))["cells"]
    seen = _start(cells, [0] * 5 + [1] * 40 + [0] * 30 + [1] * 40)
    for part in (seen[:45], seen[70:]):
        stops, resets, runs = ([clock for clock, levels in enumerate(part) if levels[k]] for k in range(3))
        assert stops == list(range(stops[0], stops[-1] + 1))
        assert resets == list(range(resets[0], resets[-1] + 1))
        assert stops[0] + 2 <= resets[0] < resets[-1] <= stops[-1] - 2  # periods of a whole oscillator on either side
        assert runs[0] >= stops[-1] + 2


def test_the_simulation_box_has_the_latency_of_the_part() -> None:
    assert oversampling.OversampledPins.latency == SampledPins.latency
