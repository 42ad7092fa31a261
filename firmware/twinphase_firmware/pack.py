"""Takes registers around multipliers and block RAM into these blocks, which have registers of their own, and trims carry chains.

``synth_ecp5`` leaves every register in the fabric, where a route lies between it and the block; at speed grade 6 a multiplier or a
block RAM and two routes are all of an 8 ns clock. A build runs this between synthesis and placement: ``python pack.py NETLIST.json``
rewrites Yosys's netlist in place. It stands alone, since a build may run it elsewhere.

* MULT18X18D: every bit of both operands comes from a plain register, and every bit of the product goes into one and nowhere else.
* DP16KD: every bit of an output port goes into a register and nowhere else, all of them with one enable.

* CCU2C: a carry that nothing looks at is left open, and so is a constant carry into a chain, whose first half then makes its carry
  from its two inputs alone. nextpnr adds a cell of two LUTs otherwise, and a stage of carry, to bring one out of its chain or into it.

A plain register is a flip-flop at the rising edge that starts at 0, without enable, set or reset; that of a block RAM may have an
enable. Registers that something else looks at as well stay where they are for it.

Source of the blocks' parameters: Lattice FPGA-TN-02205 (sysDSP) and FPGA-TN-02204 (memory) for ECP5 and ECP5-5G.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Bit = int | str
"""A net's number, or a constant: "0", "1", "x"."""


@dataclass(frozen=True)
class Register:
    """A flip-flop that a block may take."""

    cell: str
    data: Bit
    q: Bit
    clock: Bit
    enable: Bit
    """"1": none."""


class Netlist:
    """The top module of a Yosys netlist, with the loads and the source of each net."""

    def __init__(self, design: dict[str, Any]) -> None:
        top = next(m for m in design["modules"].values() if int(m["attributes"].get("top", "0"), 2))
        self.cells: dict[str, Any] = top["cells"]
        self._loads: dict[Bit, set[tuple[str, str]]] = defaultdict(set)
        self._source: dict[Bit, str] = {}
        for port in top["ports"].values():
            for bit in port["bits"]:
                self._loads[bit].add(("", ""))
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if cell["port_directions"][port] == "input":
                        self._loads[bit].add((name, port))
                    else:
                        self._source[bit] = name

    def connect(self, cell: str, port: str, bit: Bit) -> None:
        """Connects an input of one bit."""
        connections = self.cells[cell]["connections"]
        for before in connections.get(port, ()):
            self._loads[before].discard((cell, port))
        connections[port] = [bit]
        self.cells[cell]["port_directions"][port] = "input"
        self._loads[bit].add((cell, port))

    def is_read(self, bit: Bit) -> bool:
        """Something looks at it."""
        return bool(self._loads[bit])

    def drop(self, cell: str) -> None:
        """Removes a cell."""
        for port, bits in self.cells.pop(cell)["connections"].items():
            for bit in bits:
                self._loads[bit].discard((cell, port))

    def add_lut(self, name: str, table: int, inputs: list[Bit], output: Bit) -> None:
        """A LUT that drives ``output``, which nothing else drives any more: bit ``A + 2 B + 4 C + 8 D`` of its table."""
        ports = dict.fromkeys("ABCD", "input")
        self.cells[name] = {
            "hide_name": 1,
            "type": "LUT4",
            "parameters": {"INIT": f"{table:016b}"},
            "attributes": {},
            "port_directions": {**ports, "Z": "output"},
            "connections": {"Z": [output]},
        }
        for port, bit in zip(ports, inputs, strict=True):
            self.connect(name, port, bit)
        self._source[output] = name

    def register(self, name: str) -> Register | None:
        """The flip-flop ``name`` if a block may take it."""
        cell = self.cells.get(name)
        if cell is None or cell["type"] != "TRELLIS_FF" or "keep" in cell["attributes"]:
            return None
        parameters = {key: value.strip() for key, value in cell["parameters"].items()}
        wires = {port: bits[0] for port, bits in cell["connections"].items()}
        mode = parameters.get("CEMUX", "1")
        enable = wires.get("CE", "1") if mode == "CE" else mode
        rising = parameters.get("CLKMUX", "CLK") == "CLK"
        free = wires.get("LSR", "0") in ("0", "x") and parameters.get("LSRMUX", "LSR") == "LSR"
        if not (rising and free and mode in ("CE", "1") and parameters.get("REGSET", "RESET") == "RESET"):
            return None
        return Register(name, wires["DI"], wires["Q"], wires["CLK"], enable)

    def before(self, bits: Iterable[tuple[str, Bit]]) -> dict[str, Register] | None:
        """The registers that drive ``bits`` (port, bit), constant zeros left out; None if one is driven by something else."""
        found = {}
        for port, bit in bits:
            if bit in ("0", "x"):
                continue
            register = self.register(self._source.get(bit, ""))
            if register is None:
                return None
            found[port] = register
        return found

    def behind(self, bits: Iterable[tuple[str, Bit]]) -> dict[str, Register] | None:
        """The registers that ``bits`` go into, bits without a load left out; None if something else looks at one of them."""
        found = {}
        for port, bit in bits:
            loads = self._loads[bit]
            if not loads:
                continue
            name, load = next(iter(loads))
            register = self.register(name)
            if len(loads) > 1 or load != "DI" or register is None:
                return None
            found[port] = register
        return found

    def take_before(self, cell: str, registers: dict[str, Register]) -> int:
        """Inputs of ``cell`` come from before the registers; those that nobody else looks at go. Returns how many."""
        for port, register in registers.items():
            self.connect(cell, port, register.data)
        unused = {r.cell for r in registers.values() if not self._loads[r.q]}
        for name in unused:
            self.drop(name)
        return len(unused)

    def take_behind(self, cell: str, registers: dict[str, Register]) -> int:
        """Outputs of ``cell`` are what was behind the registers, which go. Returns how many."""
        for port, register in registers.items():
            self.drop(register.cell)
            self.cells[cell]["connections"][port] = [register.q]
            self._source[register.q] = cell
        return len(registers)


def _one(values: Iterable[Bit]) -> Bit | None:
    """The one value that all are, or None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _pack_multiplier(netlist: Netlist, name: str) -> int:
    wires, parameters = netlist.cells[name]["connections"], netlist.cells[name]["parameters"]
    before = netlist.before((f"{side}{i}", wires[f"{side}{i}"][0]) for side in "AB" for i in range(18))
    behind = netlist.behind((f"P{i}", wires[f"P{i}"][0]) for i in range(36) if f"P{i}" in wires)
    if not before or not behind:
        return 0
    registers = [*before.values(), *behind.values()]
    clock = _one(register.clock for register in registers)
    if clock is None or _one(register.enable for register in registers) != "1":
        return 0
    for stage in ("INPUTA", "INPUTB", "OUTPUT"):
        parameters |= {f"REG_{stage}_CLK": "CLK0", f"REG_{stage}_CE": "CE0", f"REG_{stage}_RST": "RST0"}
    for port, bit in (("CLK0", clock), ("CE0", "1"), ("RST0", "0")):
        netlist.connect(name, port, bit)
    return netlist.take_before(name, before) + netlist.take_behind(name, behind)


def _pack_ram(netlist: Netlist, name: str) -> int:
    wires, parameters = netlist.cells[name]["connections"], netlist.cells[name]["parameters"]
    taken = 0
    for side in "AB":
        behind = netlist.behind(
            (f"DO{side}{i}", wires[f"DO{side}{i}"][0]) for i in range(18) if f"DO{side}{i}" in wires
        )
        if not behind or _one(register.clock for register in behind.values()) != wires[f"CLK{side}"][0]:
            continue
        enable = _one(register.enable for register in behind.values())
        if enable is None:
            continue
        parameters[f"REGMODE_{side}"] = "OUTREG"
        netlist.connect(name, f"OCE{side}", enable)
        taken += netlist.take_behind(name, behind)
    return taken


def _end_chain(cell: dict[str, Any], netlist: Netlist) -> None:
    if not netlist.is_read(cell["connections"]["COUT"][0]):
        cell["connections"]["COUT"] = ["x"]


def _begin_chain(name: str, netlist: Netlist) -> None:
    """Opens a constant carry into ``name``, if its first half passes none on but what its inputs say.

    A half is ``S = L ^ CIN`` and a carry of ``CIN if L else INIT[A + 2 B]`` with ``L = INIT[A + 2 B + 4 C + 8 D]``. With the constant in
    it that is a function of A and B where C and D are constants, as Yosys leaves them. It goes where C = D = 0 would look, and C = D = 1
    looks at zeros, so that the new L is 0 and the carry is this function whatever CIN. A sum that something looks at gets a LUT.
    """
    cell = netlist.cells[name]
    wires, parameters = cell["connections"], cell["parameters"]
    carry, *fixed = (wires[port][0] for port in ("CIN", "C0", "D0"))
    if not {carry, *fixed} <= {"0", "1"} or parameters["INJECT1_0"].strip() != "NO":
        return
    table = int(parameters["INIT0"], 2)
    above = 4 * int(fixed[0]) + 8 * int(fixed[1])
    carries = (int(carry) if table >> (inputs + above) & 1 else table >> inputs & 1 for inputs in range(4))
    if netlist.is_read(wires["S0"][0]):
        netlist.add_lut(
            f"{name}$sum", table ^ (0xFFFF * int(carry)), [wires[f"{port}0"][0] for port in "ABCD"], wires["S0"][0]
        )
    wires["S0"] = ["x"]
    parameters["INIT0"] = f"{sum(bit << inputs for inputs, bit in enumerate(carries)):016b}"
    for port, bit in (("CIN", "x"), ("C0", "1"), ("D0", "1")):
        netlist.connect(name, port, bit)


_PACKERS = {"MULT18X18D": _pack_multiplier, "DP16KD": _pack_ram}


def pack(design: dict[str, Any]) -> dict[str, int]:
    """Packs ``design`` (Yosys's JSON) in place. Returns the number of registers taken per block that took any."""
    netlist = Netlist(design)
    blocks = [(name, cell["type"]) for name, cell in netlist.cells.items() if cell["type"] in _PACKERS]
    taken = {name: _PACKERS[kind](netlist, name) for name, kind in blocks}
    for name in [name for name, cell in netlist.cells.items() if cell["type"] == "CCU2C"]:
        _end_chain(netlist.cells[name], netlist)
        _begin_chain(name, netlist)
    return {name: count for name, count in taken.items() if count}


def main(path: Path) -> None:
    design = json.loads(path.read_text())
    pack(design)
    path.write_text(json.dumps(design))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
