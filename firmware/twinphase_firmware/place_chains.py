"""Turns delay-line cells into placed carry cells and places their flip-flops and toggles.

A build runs this between synthesis and placement: ``python place_chains.py NETLIST.json`` rewrites Yosys's netlist in place. It stands
alone, since a build may run it elsewhere.

Each `CELL` becomes the two halves of a carry cell, TRELLIS_COMB in mode CCU2, each with a BEL; so does each tap's flip-flop, beside
its half. Placed so, chains cost the placer nothing, and the routes from pin to chain have the same ends in all builds.

A tile has the sites ``SLICEA .. SLICED``, each with two halves (K0, K1) and two flip-flops (FF0, FF1). In the tile that the netlist
names (attribute ``tdl_chain``) the injector takes SLICED, and the taps follow from the next tile on, eight per tile. The toggle
(attribute ``tdl_place``) takes SLICEA of that tile, with its inverter before it, and the choice of its source SLICEB.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

CELL = "TDL_CCU2C"
CHAIN, PLACE, TAPS = "tdl_chain", "tdl_place", "tdl_taps"
SAMPLE = "sample"
"""Name of a tap's flip-flop, with the tap's number behind it."""
HALVES_PER_TILE = 8
INJECTOR_HALF = 6
"""First of the injector's two halves in its tile."""
TOGGLE_HALF = 0
SOURCE_HALF = 2


class ChainError(Exception):
    """The netlist's delay lines are not as `delayline` makes them; the text says where."""


def bel(column: int, row: int, half: int, kind: str) -> str:
    """Name of half ``half`` (0 .. 7) of a tile: ``kind`` K is its LUT, FF its flip-flop."""
    return f"X{column}/Y{row}/SLICE{'ABCD'[half // 2]}.{kind}{half % 2}"


def tap_bel(column: int, row: int, tap: int, kind: str) -> str:
    """Name of tap ``tap``'s place in the chain whose injector is in tile (column, row)."""
    return bel(column + 1 + tap // HALVES_PER_TILE, row, tap % HALVES_PER_TILE, kind)


def tile(text: str) -> tuple[int, int]:
    """``X4/Y20`` as (4, 20)."""
    if not (match := re.fullmatch(r"X(\d+)/Y(\d+)", text.strip())):
        raise ChainError(f"{text!r} is no tile; allowed: X4/Y20 and the like")
    return int(match[1]), int(match[2])


def top_module(design: dict[str, Any]) -> dict[str, Any]:
    """The module with the attribute ``top``."""
    return next(m for m in design["modules"].values() if int(m["attributes"].get("top", "0"), 2))


def _half(cell: dict[str, Any], half: int, carry_in: Any, carry_out: Any, name: str) -> dict[str, Any]:
    """One half of a carry cell. Constant ones stay open: that is what an open LUT input reads."""
    wires = {
        port: [cell["connections"][f"{port}{half}"][0]] for port in "ABCD" if f"{port}{half}" in cell["connections"]
    }
    wires = {port: bits for port, bits in wires.items() if bits != ["1"]}
    if any(bits[0] in ("0", "x") for bits in wires.values()):
        raise ChainError(f"{name} has a constant 0 at an input of half {half}; allowed: nets and 1")
    wires |= {"FCI": [carry_in], "FCO": [carry_out]}
    if f"S{half}" in cell["connections"]:
        wires["F"] = cell["connections"][f"S{half}"]
    if cell["parameters"].get(f"INJECT1_{half}", "").strip() != "NO":
        raise ChainError(f"{name} has INJECT1_{half} other than NO")
    return {
        "hide_name": 0,
        "type": "TRELLIS_COMB",
        "parameters": {
            "MODE": "CCU2",
            "INITVAL": cell["parameters"][f"INIT{half}"],
            "CCU2_INJECT1": "NO",
            "WREMUX": "WRE",
        },
        "attributes": {key: value for key, value in cell["attributes"].items() if key == "keep"},
        "port_directions": {port: "output" if port in ("F", "FCO") else "input" for port in wires},
        "connections": wires,
    }


class _Placer:
    def __init__(self, design: dict[str, Any]) -> None:
        self.cells = top_module(design)["cells"]
        self.next_net = 1 + max(
            bit
            for cell in self.cells.values()
            for bits in cell["connections"].values()
            for bit in bits
            if isinstance(bit, int)
        )
        self.loads: dict[Any, list[tuple[str, str]]] = defaultdict(list)
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input":
                    self.loads[bits[0]].append((name, port))

    def place_chain(self, name: str) -> int:
        """Places the chain that begins with the injector ``name``. Returns its number of taps."""
        column, row = tile(self.cells[name]["attributes"][CHAIN])
        wanted = int(self.cells[name]["attributes"][TAPS])
        carry = self._replace(name, bel(column, row, INJECTOR_HALF, "K"), bel(column, row, INJECTOR_HALF + 1, "K"))
        taps = 0
        while (followers := [cell for cell, port in self.loads[carry] if port == "CIN"]) and taps < wanted:
            cell = followers[0]
            for half in range(2):
                sampled = self.cells[cell]["connections"].get(f"S{half}", [None])[0]
                loads = self.loads[sampled]
                if len(loads) != 1 or loads[0][1] != "DI" or self.cells[loads[0][0]]["type"] != "TRELLIS_FF":
                    raise ChainError(f"tap {taps + half} of {name} does not go to one flip-flop and nowhere else")
                flip_flop = self.cells[loads[0][0]]
                flip_flop["attributes"]["BEL"] = tap_bel(column, row, taps + half, "FF")
                flip_flop["parameters"]["SD"] = "1 "
            carry = self._replace(cell, *(tap_bel(column, row, taps + half, "K") for half in range(2)))
            taps += 2
        if taps != wanted or followers:
            raise ChainError(f"the chain of {name} has {taps} taps; {wanted} are wanted")
        return taps

    def _replace(self, name: str, first: str, second: str) -> Any:
        """Two placed halves instead of cell ``name``. Returns the net of its carry out."""
        cell = self.cells.pop(name)
        between = self.next_net
        carry_in, carry_out = cell["connections"]["CIN"][0], cell["connections"].get("COUT", [between + 1])[0]
        self.next_net += 2
        halves = (_half(cell, 0, carry_in, between, name), _half(cell, 1, between, carry_out, name))
        if carry_in == "0":  # the injector does not look at its carry in
            halves[0]["connections"].pop("FCI")
            halves[0]["port_directions"].pop("FCI")
        if CHAIN in cell["attributes"]:
            halves[0]["attributes"][CHAIN] = cell["attributes"][CHAIN]
        for half, place in enumerate((first, second)):
            halves[half]["attributes"]["BEL"] = place
            self.cells[f"{name}$half{half}"] = halves[half]
        return carry_out

    def place_toggle(self, name: str) -> None:
        """Places one of the three cells of a toggle."""
        cell = self.cells[name]
        column, row = tile(cell["attributes"][PLACE])
        if cell["type"] == "TRELLIS_FF":
            cell["attributes"]["BEL"] = bel(column, row, TOGGLE_HALF, "FF")
            cell["parameters"]["SD"] = "1 "
            return
        drives_toggle = any(port == "DI" for _, port in self.loads[cell["connections"]["Z"][0]])
        half = TOGGLE_HALF if drives_toggle else SOURCE_HALF
        # An input at a constant stays open, which reads as 1; the table is that of the constant in both cases.
        inputs = {port: cell["connections"].get(port, ["1"])[0] for port in "ABCD"}
        zeros = sum(1 << k for k, port in enumerate("ABCD") if inputs[port] in ("0", "x"))
        ones = sum(1 << k for k, port in enumerate("ABCD") if inputs[port] == "1")
        table = cell["parameters"]["INIT"][::-1]
        table = "".join(table[(index | ones) & ~zeros] for index in range(16))
        wires = {port: [bit] for port, bit in inputs.items() if isinstance(bit, int)} | {"F": cell["connections"]["Z"]}
        self.cells[name] = {
            **cell,
            "type": "TRELLIS_COMB",
            "parameters": {"MODE": "LOGIC", "INITVAL": table[::-1]},
            "attributes": cell["attributes"] | {"BEL": bel(column, row, half, "K")},
            "port_directions": {port: "output" if port == "F" else "input" for port in wires},
            "connections": wires,
        }


def place_chains(design: dict[str, Any]) -> dict[str, int]:
    """Places all delay lines of ``design`` (Yosys's JSON) in place. Returns the taps per injector. Raises `ChainError`."""
    placer = _Placer(design)
    heads = [name for name, cell in placer.cells.items() if CHAIN in cell["attributes"]]
    chains = {name: placer.place_chain(name) for name in heads}
    for name in [name for name, cell in placer.cells.items() if PLACE in cell["attributes"]]:
        placer.place_toggle(name)
    left = [name for name, cell in placer.cells.items() if cell["type"] == CELL]
    if left:
        raise ChainError(f"cells of no chain: {', '.join(left[:3])}")
    return chains


def main(path: Path) -> None:
    design = json.loads(path.read_text())
    try:
        chains = place_chains(design)
    except ChainError as error:
        sys.exit(f"delay lines: {error}")
    print(f"delay lines: {len(chains)} chains placed")
    path.write_text(json.dumps(design))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
