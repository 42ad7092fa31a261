"""The node's Verilog in the form that Verilator makes the fastest model of. Each function leaves what it computes as it is."""

from __future__ import annotations

import re
from collections import Counter

from .toolchain import Kind


def for_verilator(verilog: str, kind: Kind) -> str:
    """All of this page."""
    return with_short_memories(with_registers_in_place(without_reset(verilog, kind)))


def without_reset(verilog: str, kind: Kind) -> str:
    """The node's Verilog with a top module ``native`` around it that ties the resets low.

    All state starts from its reset value anyway, and as an input the reset would make Verilator evaluate all next-state
    logic twice per clock: before the edge, because an input may have changed, and after it. ValueError when the node's
    module is not there.
    """
    name = f"twinphase_{kind}"
    found = re.search(rf"^module {name}\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"the Verilog of the {kind} node has no module {name}")
    ports = re.findall(r"^  (input|output)( \[[0-9:]+\])? (\w+);", found.group(), re.MULTILINE)
    shown = [(direction, width, port) for direction, width, port in ports if not _is_reset(port)]
    connections = [f".{port}({port})" if not _is_reset(port) else f".{port}(1'b0)" for _, _, port in ports]
    return (
        f"{verilog}\nmodule native({', '.join(port for _, _, port in shown)});\n"
        + "".join(f"  {direction}{width} {port};\n" for direction, width, port in shown)
        + f"  {name} node ({', '.join(connections)});\nendmodule\n"
    )


def _is_reset(port: str) -> bool:
    return port == "rst" or port.endswith("_rst")


_MODULE = re.compile(r"^module .*?^endmodule\n", re.MULTILINE | re.DOTALL)
_NEXT = re.compile(r"\\\$\d+(?= )")
_REGISTER = re.compile(r"^  always @\(posedge (\w+)\)\n    (\w+|\\\S+) +<= (\\\$\d+) ;\n", re.MULTILINE)
_CHOICE = re.compile(r"^  always @\* begin\n(.*?)^  end\n", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"^( *)(\S.*?) += (.*?) *;$")


def with_registers_in_place(verilog: str) -> str:
    """The same Verilog with every register's next value chosen where the register is.

    Amaranth's Yosys writes a register as a variable that is computed in a block of its own, after whatever it depends on has
    changed, and is copied at the edge. Verilator then computes all of them in every clock. Put into the block of the edge, only what
    is chosen is computed, and nothing for a register that has no edge or keeps its value.
    """
    return _MODULE.sub(lambda found: _in_place(found.group()), verilog)


def _in_place(module: str) -> str:
    registers = {value: (clock, name) for clock, name, value in _REGISTER.findall(module)}
    uses = Counter(_NEXT.findall(module))
    moved = set()

    def move(found: re.Match[str]) -> str:
        lines = [line for line in found.group(1).splitlines() if "\\$auto$verilog_backend" not in line]
        assigned = {
            value for line in lines if (parts := _ASSIGNMENT.match(line)) for value in _NEXT.findall(f"{parts[2]} ")
        }
        value = min(assigned, default="")
        # Its other two places are the declaration and the register.
        if (
            len(assigned) != 1
            or value not in registers
            or uses[value] != 2 + len(re.findall(f"{re.escape(value)} ", found[1]))
        ):
            return found.group()
        moved.add(value)
        clock, name = registers[value]
        kept: list[str] = []
        for line in lines:
            if parts := _ASSIGNMENT.match(line):
                target = f"{parts[2]} ".replace(f"{value} ", f"{name} ").rstrip()
                if not kept and target.replace(" ", "") == parts[3].replace(" ", ""):
                    continue  # keeps its value, as registers do; further down this takes another assignment back
                line = f"{parts[1]}{target} <= {parts[3]} ;"
            kept.append(f"{line}\n")
        return f"  always @(posedge {clock}) begin\n{''.join(kept)}  end\n"

    module = _CHOICE.sub(move, module)
    return _REGISTER.sub(lambda found: "" if found[3] in moved else found.group(), module)


_ZEROS = re.compile(r"(?:^    (\\?\w+ ?)\[0\] = \d+'h0+;\n)(?:    \1\[\d+\] = \d+'h0+;\n)+", re.MULTILINE)


def with_short_memories(verilog: str) -> str:
    """The same Verilog with one loop for each memory that is cleared word by word: Verilator reads it three times as fast."""

    def loop(found: re.Match[str]) -> str:
        words = found.group().count("\n")
        return f"    for (int i = 0; i < {words}; i = i + 1) {found.group(1)}[i] = 0;\n"

    return _ZEROS.sub(loop, verilog)
