"""What a channel of a node costs on a board: cells of the placed netlist by the names of the parts that they are of."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from .family import ECP5, Family
from .place_chains import top_module

_OF_CHANNEL = re.compile(r"(?:^|\.)(?:channel|line|fine|gearbox)_(\d+)(?=[._]|$)")
_OF_ENCODER = re.compile(r"(?:^|\.)encoder_(\d+)_\d+(?=[._]|$)")
_OF_CHAIN = re.compile(r"(?:^|\.)(?:calibration|scale|tables)_(\d+)(?=[._]|$)")


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
    kinds = {cell: name for name, cell in family.cells.items()}
    used: Counter[str] = Counter()
    for name, cell in top_module(placed)["cells"].items():
        if (kind := kinds.get(cell["type"])) and channel_of(name, chains) is not None:
            used[kind] += 1
    return {name: round(used[name] / channels, 1) for name in family.cells}
