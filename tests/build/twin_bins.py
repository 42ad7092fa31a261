"""The time tagger for ECPIX-5 whose taps have twins, built from three seeds: clocks, area, and what the bins of its chains allow.

``python tests/build/twin_bins.py [SEED ...]`` takes them anew and writes ``twin_bins.json`` beside this file; a build takes minutes. The
bins are those of the SDF that the build wrote, with a random skew of 3 ps as in the statistics of the delay line.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tap_tables

from twinphase_firmware.area import area_per_channel
from twinphase_firmware.boards import find_board
from twinphase_firmware.build import PLACED, build_environment, check_placement, make_plan, source_hash
from twinphase_firmware.manifest import check_log, read_clocks
from twinphase_firmware.taptable import CORNERS, CellDelays, Sdf, read_sdf, read_wires, tap_table
from twinphase_firmware.tops import make_top
from twinphase_sim.physics.tap_truth import averaging_bound_ps, bin_borders_ps
from twinphase_spec.tdc import sample_order

RECORD = Path(__file__).with_name("twin_bins.json")
BOARD, NODE, TAPS = find_board("ecpix5-85f"), "timetagger", 512
OPTIONS = replace(BOARD.nodes[NODE], taps=TAPS)
SEEDS = (1, 2, 3)
SPAN_PS, SKEW_PS = 4000.0, 3.0


def bounds_ps(sdf: Sdf, channel: int) -> dict[str, float]:
    """Rms error that the bins of a channel's chain allow, per corner."""
    table = json.loads((tap_tables.FOLDER / f"{next(iter(tap_tables.TABLES))}.json").read_text())
    first, second = (tuple(delay) for delay in table["sum_of_first_and_second_half"])
    cells = CellDelays(carry=tuple(table["carry_of_two_taps"]), sums=(first, second))
    chain = f"lines.line_{channel}.chain0"
    delays = [tap_table(cells, wires) for wires in read_wires(sdf, chain, TAPS // 2, twins=True)]
    skew = np.random.default_rng(channel).normal(0, SKEW_PS, TAPS)
    bounds = {}
    for corner in CORNERS:
        arrivals = np.array([delays[twin][corner][tap] for tap, twin in sample_order(TAPS, True)]) + skew
        bounds[corner] = averaging_bound_ps([bin_borders_ps(arrivals - arrivals[0], SPAN_PS)], SPAN_PS)
    return bounds


def measure(seed: int, folder: Path) -> dict[str, Any]:
    """Clocks, utilisation per channel, the largest bound per corner over the channels. TwinphaseError if a clock is missed."""
    os.environ["AMARANTH_ENV_TRELLIS"] = ""
    top = make_top(NODE, BOARD, build_hash=0, options=OPTIONS)
    plan = make_plan(BOARD.prepare(top.channels), top, seed=seed)
    result: dict[str, Any] = {"source_hash": f"{source_hash(plan):#010x}"}
    plan.files["build_top.sh"] = plan.files["build_top.sh"].replace("--write", "--sdf top.sdf --write")
    try:
        plan.execute_local(str(folder), env=build_environment())
    finally:
        check_log(folder / "top.tim")
    check_placement(folder, top)
    clocks = read_clocks(json.loads((folder / "top.report.json").read_text()))
    sdf = read_sdf((folder / "top.sdf").read_text())
    bounds = [bounds_ps(sdf, channel) for channel in range(OPTIONS.channels)]
    placed = json.loads((folder / PLACED).read_text())
    return {
        **result,
        "clocks": {name: clock for name, clock in clocks.items() if not name.endswith(".hit")},
        "area_per_channel": area_per_channel(placed, channels=OPTIONS.channels, chains=OPTIONS.chains),
        "largest_bound_ps": {corner: round(max(bound[corner] for bound in bounds), 2) for corner in CORNERS},
    }


def main(seeds: list[int]) -> None:
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for seed in seeds or SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            record[str(seed)] = measure(seed, Path(folder))
        print(seed, record[str(seed)], flush=True)
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
