"""When a transition reaches each tap of a carry chain, per part and corner, in whole picoseconds.

Source: delays of place-and-route models and their SDF files (minimum : typical : maximum per CCU2C, two taps each), not silicon.
Two cells make four taps whose increments are not monotonic in time.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["5G-8", "6"]
Corner = Literal["min", "typ", "max"]

INCREMENTS_PS: dict[str, tuple[int, int, int, int]] = {"5G-8": (-62, 16, 27, 105), "6": (-59, 31, 40, 130)}
"""From each tap to the next, slowest corner; the pattern repeats."""
CELL_PS: dict[str, dict[str, int]] = {
    "5G-8": {"min": 39, "typ": 41, "max": 43},
    "6": {"min": 62, "typ": 66, "max": 71},
}
"""Delay of a CCU2C (two taps)."""
TILE_TAPS = 8


def tap_delays_ps(part: Part, corner: Corner, taps: int) -> NDArray[np.int64]:
    """Delay of each tap after tap 0, shape (taps,): the slowest corner's pattern scaled to the corner's cell, rounded where it
    accumulates, so that two cells keep their sum. ValueError for an unknown part or corner."""
    if part not in CELL_PS or corner not in CELL_PS[part]:
        raise ValueError(f"tap table: {part!r}, {corner!r}; allowed: parts {sorted(CELL_PS)}, corners min, typ and max")
    cell = CELL_PS[part][corner]
    pattern = np.cumsum((0, *INCREMENTS_PS[part]))
    scaled = np.rint(pattern * (2 * cell) / pattern[-1]).astype(np.int64)
    index = np.arange(taps)
    return (index // 4) * 2 * cell + scaled[index % 4]


def mean_tap_ps(part: Part, corner: Corner) -> float:
    """Mean delay per tap."""
    return CELL_PS[part][corner] / 2
