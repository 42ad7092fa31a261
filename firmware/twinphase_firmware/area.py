"""What parts of a node cost on a board: cells of the placed netlist by the names of the parts that they are of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from .family import ECP5, Family
from .place_chains import top_module

_OF_CHANNEL = re.compile(r"(?:^|\.)(?:channel|line|fine|gearbox)_(\d+)(?=[._]|$)")
_OF_ENCODER = re.compile(r"(?:^|\.)encoder_(\d+)_\d+(?=[._]|$)")
_OF_CHAIN = re.compile(r"(?:^|\.)(?:calibration|scale|tables)_(\d+)(?=[._]|$)")

HERALD_PATH = re.compile(
    r"node\.(?:finder|pendingroom|gate|join|smoothjoin|causal|link\.packer_(?:herald|herald_code|psi|psi_causal))\."
)
"""Parts of a server that make heralds of clicks, join phases to them, code and pack both."""


def channel_of(cell: str, chains: int) -> int | None:
    """The channel whose part a cell is, by its name; None if it belongs to all of them."""
    if found := _OF_CHANNEL.search(cell) or _OF_ENCODER.search(cell):
        return int(found[1])
    found = _OF_CHAIN.search(cell)
    return int(found[1]) // max(chains, 1) if found else None


def area_per_channel(placed: dict[str, Any], *, channels: int, chains: int, family: Family = ECP5) -> dict[str, float]:
    """Cells of a channel, the mean over ``channels``, in a netlist as nextpnr writes it.

    By names: what synthesis merged across channels, or named after a net of another part, counts with that part.
    """
    used = _area(placed, lambda cell: channel_of(cell, chains) is not None, family)
    return {name: round(cells / channels, 1) for name, cells in used.items()}


def area_of_parts(placed: dict[str, Any], parts: re.Pattern[str], family: Family = ECP5) -> dict[str, int]:
    """Cells whose names begin with ``parts``, counted as `area_per_channel` does."""
    return _area(placed, lambda cell: parts.match(cell) is not None, family)


def _area(placed: dict[str, Any], counts: Callable[[str], bool], family: Family) -> dict[str, int]:
    kinds = {cell: name for name, cell in family.cells.items()}
    used: Counter[str] = Counter()
    for name, cell in top_module(placed)["cells"].items():
        if (kind := kinds.get(cell["type"])) and counts(name):
            used[kind] += 1
    return {name: used[name] for name in family.cells}
