"""When a transition reaches each tap of a carry chain, per part, corner and source, in whole picoseconds.

Both sources are the model of the place-and-route tool, not silicon. ``pattern``: increments of its timing reports, four that repeat
(two cells). ``sdf``: what its SDF files say of a placed chain (twinphase_spec/taptables): sum output and wire to the
flip-flop included, eight increments that repeat (a tile). Neither is monotonic in time. ``twins``: of a chain whose taps have two
flip-flops each, the second one's way through the fabric as a router found it, which does not repeat.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import sample_order

Part = Literal["5G-8", "6"]
Corner = Literal["min", "typ", "max"]
Source = Literal["pattern", "sdf", "twins"]

INCREMENTS_PS: dict[str, tuple[int, int, int, int]] = {"5G-8": (-62, 16, 27, 105), "6": (-59, 31, 40, 130)}
"""From each tap to the next, slowest corner; the pattern repeats."""
CELL_PS: dict[str, dict[str, int]] = {
    "5G-8": {"min": 39, "typ": 41, "max": 43},
    "6": {"min": 62, "typ": 66, "max": 71},
}
"""Delay of a CCU2C (two taps), the same in both sources."""
TABLES: dict[str, str] = {"5G-8": "lfe5um5g-8", "6": "lfe5u-6"}
"""File of a part's SDF table."""
TWINS: dict[str, str] = {"5G-8": "lfe5um5g-8-twins"}
"""File of that of the twins, which chains at 250 MHz may have."""
TILE_TAPS = 8


def tap_delays_ps(part: Part, corner: Corner, taps: int, source: Source = "pattern") -> NDArray[np.int64]:
    """Delay of each flip-flop's tap after tap 0, shape (taps,). ValueError for an unknown part, corner or source.

    The pattern of the slowest corner is scaled to the corner's cell and rounded where it accumulates, so that two cells keep
    their sum. An SDF table is continued by its last tile, a tile's delay later each. With twins the flip-flops are in the order of
    `twinphase_spec.tdc.sample_order`, whose ValueError it raises.
    """
    if part not in CELL_PS or corner not in CELL_PS[part]:
        raise ValueError(f"tap table: {part!r}, {corner!r}; allowed: parts {sorted(CELL_PS)}, corners min, typ and max")
    cell = CELL_PS[part][corner]
    index = np.arange(taps)
    if source == "pattern":
        pattern = np.cumsum((0, *INCREMENTS_PS[part]))
        scaled = np.rint(pattern * (2 * cell) / pattern[-1]).astype(np.int64)
        return (index // 4) * 2 * cell + scaled[index % 4]
    if source not in ("sdf", "twins") or (source == "twins" and part not in TWINS):
        allowed = "pattern, sdf and twins" if part in TWINS else "pattern and sdf"
        raise ValueError(f"tap table: source is {source!r}; allowed on {part}: {allowed}")
    table = _sdf_table(TABLES[part], corner)
    if source == "twins":
        twins = _sdf_table(TWINS[part], corner)
        return np.array([(twins if twin else table)[tap] for tap, twin in sample_order(taps, True)]) - table[0]
    beyond = np.maximum(0, index - (table.size - TILE_TAPS)) // TILE_TAPS
    return table[index - beyond * TILE_TAPS] + beyond * (TILE_TAPS // 2) * cell - table[0]


@cache
def _sdf_table(name: str, corner: Corner) -> NDArray[np.int64]:
    """Delays of a table at a corner."""
    file = resources.files("twinphase_spec") / "taptables" / f"{name}.json"
    return np.array(json.loads(file.read_text(encoding="utf-8"))["taps"][corner], dtype=np.int64)


def mean_tap_ps(part: Part, corner: Corner) -> float:
    """Mean delay per tap."""
    return CELL_PS[part][corner] / 2
