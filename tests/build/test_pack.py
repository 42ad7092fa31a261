"""Registers in multipliers and block RAM: the packed netlist is proven to be the same circuit, and what must not be taken is not.

The proof needs models of the two blocks (the tools have none): a multiplication, and a block RAM of which only the output register
is told and the rest is any function (its ports are cut open), each with the registers that the parameters ask for.
"""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_firmware.build import DROP_READ_BEFORE_WRITE, MAP_LUTS, PURGE_BEFORE_LUTS, build_environment
from twinphase_firmware.pack import pack

RAM_INPUTS = [
    *(f"{kind}{side}{i}" for side in "AB" for kind, width in (("AD", 14), ("DI", 18)) for i in range(width)),
    *(f"{name}{side}" for side in "AB" for name in ("CE", "CLK", "WE", "RST")),
    *(f"CS{side}{i}" for side in "AB" for i in range(3)),
]
RAM_OUTPUTS = [f"DO{side}{i}" for side in "AB" for i in range(18)]


def _models() -> str:
    """Verilog of the two blocks."""
    a, b = ("{" + ", ".join(f"{side}{i}" for i in reversed(range(18))) + "}" for side in "AB")
    product = "{" + ", ".join(f"P{i}" for i in reversed(range(36))) + "}"
    operands = ", ".join(f"{side}{i}" for side in "ABC" for i in range(18))
    registers = "".join(
        f"""
  reg [{width - 1}:0] {name}_q = 0;
  always @(posedge CLK0) if (CE0) {name}_q <= {value};
  wire [{width - 1}:0] {name} = (REG_{stage}_CLK == "CLK0") ? {name}_q : {value};"""
        for name, stage, value, width in (
            ("a", "INPUTA", a, 18),
            ("b", "INPUTB", b, 18),
            ("p", "OUTPUT", "a * b", 36),
        )
    )
    multiplier_parameters = ", ".join(
        f'parameter REG_{stage}_{wire} = "NONE"'
        for stage in ("INPUTA", "INPUTB", "OUTPUT")
        for wire in ("CLK", "CE", "RST")
    )
    outputs = "".join(
        f"""
  wire [17:0] raw_{side};
  reg [17:0] q_{side} = 0;
  always @(posedge CLK{side}) if (OCE{side}) q_{side} <= raw_{side};
  assign {{{", ".join(f"DO{side}{i}" for i in reversed(range(18)))}}} = (REGMODE_{side} == "OUTREG") ? q_{side} : raw_{side};"""
        for side in "AB"
    )
    core_ports = ", ".join(f".{name}({name})" for name in RAM_INPUTS)
    raw_ports = ", ".join(f".DO{side}{i}(raw_{side}[{i}])" for side in "AB" for i in range(18))
    return f"""
module MULT18X18D #({multiplier_parameters}) (input {operands}, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0,
    output {", ".join(f"P{i}" for i in range(36))});{registers}
  assign {product} = p;
endmodule
(* blackbox *) module RAM_CORE (input {", ".join(RAM_INPUTS)}, output {", ".join(RAM_OUTPUTS)});
endmodule
module RAM_MODEL #(parameter REGMODE_A = "NOREG", parameter REGMODE_B = "NOREG") (input {", ".join(RAM_INPUTS)}, OCEA, OCEB,
    output {", ".join(RAM_OUTPUTS)});
  RAM_CORE core ({core_ports}, {raw_ports});{outputs}
endmodule
"""


def yosys(folder: Path, script: str) -> None:
    done = subprocess.run(
        [build_environment()["YOSYS"], "-q", "-p", script], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stderr or done.stdout)[-3000:]


def synthesise(unit: wiring.Component | Module, ports: list[Any], folder: Path) -> dict[str, Any]:
    (folder / "unit.il").write_text(rtlil.convert(unit, name="unit", ports=ports, emit_src=False))
    yosys(
        folder,
        f"read_rtlil unit.il; {DROP_READ_BEFORE_WRITE}; {PURGE_BEFORE_LUTS.format(synthesis='synth_ecp5', top='unit')}; "
        f"synth_ecp5 {MAP_LUTS} -top unit -json unit.json",
    )
    return json.loads((folder / "unit.json").read_text())


def for_proof(design: dict[str, Any], open_carry: str) -> dict[str, Any]:
    """The unit alone, its block RAMs as the model, with just the parameters that the model knows. Open outputs are left out, open
    carries into a chain are ``open_carry``."""
    module = copy.deepcopy(design["modules"]["unit"])
    for cell in module["cells"].values():
        wires = cell["connections"]
        cell["connections"] = {
            port: bits for port, bits in wires.items() if cell["port_directions"][port] == "input" or bits != ["x"]
        }
        if cell["type"] == "CCU2C" and wires["CIN"] == ["x"]:
            cell["connections"]["CIN"] = [open_carry]
        if cell["type"] == "DP16KD":
            cell["type"] = "RAM_MODEL"
            cell["parameters"] = {k: v for k, v in cell["parameters"].items() if k.startswith("REGMODE")}
    return {"modules": {"unit": module}}


def assert_equal(before: dict[str, Any], after: dict[str, Any], folder: Path, open_carry: str = "0") -> None:
    """Proof by induction that both netlists give the same outputs for ever."""
    (folder / "models.v").write_text(_models())
    for name, design in (("gold", before), ("gate", after)):
        (folder / f"{name}.json").write_text(json.dumps(for_proof(design, open_carry)))
        yosys(
            folder,
            f"read_json {name}.json; read_verilog models.v; read_verilog -overwrite +/ecp5/cells_sim.v; "
            "hierarchy -top unit; proc; flatten; "
            "expose -evert t:RAM_CORE; memory; opt -full; techmap; opt -full; clean; "
            f"rename unit {name}; write_rtlil {name}.il",
        )
    yosys(
        folder,
        "read_rtlil gold.il; read_rtlil gate.il; miter -equiv -flatten -make_assert gold gate miter; hierarchy -top miter; "
        "opt -full; opt_merge -share_all; opt -full; sat -verify -tempinduct -prove-asserts -seq 1 -maxsteps 12 miter",
    )


class Registered(wiring.Component):
    """A multiplier between registers; what else there is says why it must not be packed."""

    a: In(18)
    b: In(18)
    enable: In(1)
    o: Out(36)
    seen: Out(36)

    def __init__(self, what: str) -> None:
        self._what = what
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a = Signal(18, init=self._what == "starts at one", reset_less=True)
        b, o = Signal(18, reset_less=True), Signal(36, reset_less=True)
        m.d.sync += b.eq(self.b)
        with m.If(self.enable if self._what == "enable" else 1):
            m.d.sync += a.eq(self.a)
        operand = self.a if self._what == "no register" else a
        m.d.sync += o.eq(operand * b)
        m.d.comb += self.o.eq(o)
        if self._what == "product is seen":
            m.d.comb += self.seen.eq(operand * b)
        if self._what == "operand is seen":
            m.d.comb += self.seen.eq(a)
        return m


@pytest.mark.parametrize("what", ["nothing else", "operand is seen"])
def test_multiplier_takes_its_registers(what: str, tmp_path: Path) -> None:
    unit = Registered(what)
    before = synthesise(unit, [unit.a, unit.b, unit.enable, unit.o, unit.seen], tmp_path)
    after = copy.deepcopy(before)
    assert list(pack(after).values()) == [72 if what == "nothing else" else 54]
    assert_equal(before, after, tmp_path)


@pytest.mark.parametrize("what", ["enable", "no register", "product is seen", "starts at one"])
def test_multiplier_is_left_alone(what: str, tmp_path: Path) -> None:
    unit = Registered(what)
    design = synthesise(unit, [unit.a, unit.b, unit.enable, unit.o, unit.seen], tmp_path)
    before = copy.deepcopy(design)
    assert pack(design) == {}
    assert design == before


class RegisteredRam(wiring.Component):
    """Block RAM with a register behind it; what else there is says why it must not be packed."""

    write: In(1)
    i_address: In(9)
    i: In(40)
    read: In(1)
    o_address: In(9)
    enable: In(1)
    o: Out(40)
    seen: Out(40)

    def __init__(self, what: str) -> None:
        self._what = what
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = ram = memory.Memory(shape=40, depth=512, init=[])
        write, read = ram.write_port(), ram.read_port()
        o = Signal(40, reset_less=True)
        m.d.comb += [
            *(write.en.eq(self.write), write.addr.eq(self.i_address), write.data.eq(self.i)),
            *(read.en.eq(self.read), read.addr.eq(self.o_address), self.o.eq(o)),
        ]
        if self._what == "two enables":
            with m.If(self.enable):
                m.d.sync += o[:20].eq(read.data[:20])
            m.d.sync += o[20:].eq(read.data[20:])
        else:
            with m.If(1 if self._what == "no enable" else self.enable):
                m.d.sync += o.eq(read.data)
        if self._what == "data are seen":
            m.d.comb += self.seen.eq(read.data)
        return m


def _ram(what: str, folder: Path) -> dict[str, Any]:
    unit = RegisteredRam(what)
    names = ("write", "i_address", "i", "read", "o_address", "enable", "o", "seen")
    return synthesise(unit, [getattr(unit, name) for name in names], folder)


@pytest.mark.parametrize("what", ["enable", "no enable"])
def test_block_ram_takes_its_register(what: str, tmp_path: Path) -> None:
    before = _ram(what, tmp_path)
    after = copy.deepcopy(before)
    assert sum(pack(after).values()) == 40
    assert_equal(before, after, tmp_path)


@pytest.mark.parametrize("what", ["two enables", "data are seen"])
def test_block_ram_is_left_alone(what: str, tmp_path: Path) -> None:
    """A block whose bits share an enable is packed also when another one's do not."""
    before = _ram(what, tmp_path)
    after = copy.deepcopy(before)
    taken = sum(pack(after).values())
    assert taken < 40 if what == "two enables" else taken == 0
    assert_equal(before, after, tmp_path)


def test_carry_chains_end_where_nothing_looks_at_them(tmp_path: Path) -> None:
    """A sum has an open end, a comparison looks at its last carry; within a chain nothing is opened."""
    m = Module()
    a, b, total, below = Signal(12), Signal(12), Signal(12), Signal()
    m.d.sync += [total.eq(a + b), below.eq(a < b)]
    before = synthesise(m, [a, b, total, below], tmp_path)
    after = copy.deepcopy(before)
    assert pack(after) == {}
    cells = [cell for cell in after["modules"]["unit"]["cells"].values() if cell["type"] == "CCU2C"]
    carries = [cell["connections"]["COUT"][0] for cell in cells]
    assert len(carries) == 12
    assert carries.count("x") == 1
    assert_equal(before, after, tmp_path)


@pytest.mark.parametrize("open_carry", "01")
@pytest.mark.parametrize("width", [7, 8])
def test_constant_carry_into_a_chain_is_left_open(width: int, open_carry: str, tmp_path: Path) -> None:
    """Of sums, differences, counters and comparisons, with and without their lowest bit; whatever an open carry is on the part."""
    m = Module()
    a, b = Signal(width), Signal(width)
    outputs = [Signal(width, name=f"o{k}") for k in range(5)]
    below, not_above, upper = Signal(), Signal(), Signal(width)
    m.d.sync += [
        *(o.eq(value) for o, value in zip(outputs[:3], (a + b, a - b, 3 - a), strict=True)),
        outputs[3].eq(outputs[3] + 1),
        outputs[4].eq(outputs[4] - a),
        below.eq(a < b),
        not_above.eq(a <= b),
        upper.eq((a + b) >> 1),
    ]
    ports = [a, b, *outputs, below, not_above, upper]
    before = synthesise(m, ports, tmp_path)
    after = copy.deepcopy(before)
    assert pack(after) == {}
    carries = [
        [
            cell["connections"]["CIN"][0]
            for cell in design["modules"]["unit"]["cells"].values()
            if cell["type"] == "CCU2C"
        ]
        for design in (before, after)
    ]
    constants = [carries[0].count(value) for value in "01"]
    assert all(constants)
    assert [carries[1].count(value) for value in "01x"] == [0, 0, sum(constants)]
    assert_equal(before, after, tmp_path, open_carry)


def test_carry_by_more_than_two_inputs_is_left_in(tmp_path: Path) -> None:
    """A first half may look at four signals; with a constant in place of the carry it still looks at more than the two it has."""
    m = Module()
    a, b, o = Signal(6), Signal(6), Signal(6)
    m.d.sync += o.eq(a + b)
    design = synthesise(m, [a, b, o], tmp_path)
    first = next(
        cell for cell in design["modules"]["unit"]["cells"].values() if cell["connections"].get("CIN") == ["0"]
    )
    first["connections"]["C0"] = first["connections"]["B1"]
    before = copy.deepcopy(first)
    pack(design)
    assert first == before


def test_wrong_packing_is_seen(tmp_path: Path) -> None:
    """The proof itself: a product register forgotten, a chain that goes by the open carry, an output register without its enable."""
    unit = Registered("nothing else")
    before = synthesise(unit, [unit.a, unit.b, unit.enable, unit.o, unit.seen], tmp_path)
    wrong = copy.deepcopy(before)
    pack(wrong)
    multiplier = next(c for c in wrong["modules"]["unit"]["cells"].values() if c["type"] == "MULT18X18D")
    multiplier["parameters"]["REG_OUTPUT_CLK"] = "NONE"
    with pytest.raises(AssertionError, match="proof did fail"):
        assert_equal(before, wrong, tmp_path)
    m = Module()
    a, o = Signal(6), Signal(6)
    m.d.sync += o.eq(a + o)
    before = synthesise(m, [a, o], tmp_path)
    wrong = copy.deepcopy(before)
    pack(wrong)
    cells = wrong["modules"]["unit"]["cells"]
    first = next(name for name, cell in cells.items() if cell["connections"].get("CIN") == ["x"])
    cells[first]["parameters"]["INIT0"] = before["modules"]["unit"]["cells"][first]["parameters"]["INIT0"]
    with pytest.raises(AssertionError, match="proof did fail"):
        assert_equal(before, wrong, tmp_path, "1")
    before = _ram("enable", tmp_path)
    wrong = copy.deepcopy(before)
    pack(wrong)
    for block in wrong["modules"]["unit"]["cells"].values():
        if block["type"] == "DP16KD":
            block["connections"] |= {"OCEA": ["1"], "OCEB": ["1"]}
    with pytest.raises(AssertionError, match="proof did fail"):
        assert_equal(before, wrong, tmp_path)
