"""When a transition reaches each tap of a carry chain, per part, corner and source, in whole picoseconds.

Both sources are the model of the place-and-route tool, not silicon. ``pattern``: increments of its timing reports, four that repeat
(two cells). ``sdf``: what its SDF files say of a placed chain (twinphase_spec/taptables): sum output and wire to the
flip-flop included, eight increments that repeat (a tile). Neither is monotonic in time.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["5G-8", "6"]
Corner = Literal["min", "typ", "max"]
Source = Literal["pattern", "sdf"]

INCREMENTS_PS: dict[str, tuple[int, int, int, int]] = {"5G-8": (-62, 16, 27, 105), "6": (-59, 31, 40, 130)}
"""From each tap to the next, slowest corner; the pattern repeats."""
CELL_PS: dict[str, dict[str, int]] = {
    "5G-8": {"min": 39, "typ": 41, "max": 43},
    "6": {"min": 62, "typ": 66, "max": 71},
}
"""Delay of a CCU2C (two taps), the same in both sources."""
TABLES: dict[str, str] = {"5G-8": "lfe5um5g-8", "6": "lfe5u-6"}
"""File of a part's SDF table."""
TILE_TAPS = 8


def tap_delays_ps(part: Part, corner: Corner, taps: int, source: Source = "pattern") -> NDArray[np.int64]:
    """Delay of each tap after tap 0, shape (taps,). ValueError for an unknown part, corner or source.

    The pattern of the slowest corner is scaled to the corner's cell and rounded where it accumulates, so that two cells keep
    their sum. An SDF table is continued by its last tile, a tile's delay later each.
    """
    if part not in CELL_PS or corner not in CELL_PS[part]:
        raise ValueError(f"tap table: {part!r}, {corner!r}; allowed: parts {sorted(CELL_PS)}, corners min, typ and max")
    cell = CELL_PS[part][corner]
    index = np.arange(taps)
    if source == "pattern":
        pattern = np.cumsum((0, *INCREMENTS_PS[part]))
        scaled = np.rint(pattern * (2 * cell) / pattern[-1]).astype(np.int64)
        return (index // 4) * 2 * cell + scaled[index % 4]
    if source != "sdf":
        raise ValueError(f"tap table: source is {source!r}; allowed: pattern and sdf")
    table = np.array(_sdf_table(part)[corner], dtype=np.int64)
    beyond = np.maximum(0, index - (table.size - TILE_TAPS)) // TILE_TAPS
    return table[index - beyond * TILE_TAPS] + beyond * (TILE_TAPS // 2) * cell - table[0]


@cache
def _sdf_table(part: str) -> dict[str, list[int]]:
    """Delays of the part's table per corner."""
    file = resources.files("twinphase_spec") / "taptables" / f"{TABLES[part]}.json"
    taps: dict[str, list[int]] = json.loads(file.read_text(encoding="utf-8"))["taps"]
    return taps


def mean_tap_ps(part: Part, corner: Corner) -> float:
    """Mean delay per tap."""
    return CELL_PS[part][corner] / 2
