"""Places delay lines each of whose taps goes to a second flip-flop, its twin.

A build whose delay lines have twins runs this in the place of `place_chains`, which it finds beside it: ``python place_twins.py
NETLIST.json``. A twin lies in the row that its attribute `TWINS` names, in the column of its tap, and its data come through the fabric
(input M), as no carry cell lies beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if __package__:
    from . import place_chains as chain
else:
    import place_chains as chain  # type: ignore[import-not-found, no-redef]  # beside this in a build's folder

TWIN = "twin"
"""Name of a tap's twin, with the tap's number behind it."""
TWINS = "tdl_twins"
"""Attribute of a twin: where its chain's injector would be if the chain lay in the twins' row."""


def place_twins(design: dict[str, Any]) -> dict[str, int]:
    """Places all delay lines of ``design`` (Yosys's JSON) and their twins, in place. Returns the taps per injector. Raises ChainError."""
    cells = chain.top_module(design)["cells"]
    twins = {name: cell for name, cell in cells.items() if TWINS in cell["attributes"]}
    for name in twins:
        del cells[name]
    chains = chain.place_chains(design)
    for name, twin in twins.items():
        tile = chain.tile(twin["attributes"][TWINS])
        twin["attributes"]["BEL"] = chain.tap_bel(*tile, int(name.rpartition(TWIN)[2]), "FF")
        twin["parameters"]["SD"] = "0 "
        twin["connections"]["M"] = twin["connections"].pop("DI")
        twin["port_directions"]["M"] = twin["port_directions"].pop("DI")
    cells |= twins
    return chains


def main(path: Path) -> None:
    design = json.loads(path.read_text())
    try:
        chains = place_twins(design)
    except chain.ChainError as error:
        sys.exit(f"delay lines: {error}")
    print(f"delay lines: {len(chains)} chains with twins placed")
    path.write_text(json.dumps(design))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
