"""What is made of a node's Verilog for Verilator computes what the Verilog does, register by register."""

from __future__ import annotations

import random

import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from equal import modules, unequal

from twinphase_hdl.nodes.verilog import Kind, node_verilog
from twinphase_sim.native.rewrite import with_registers_in_place


def converted(m: Module, ports: list[Signal]) -> str:
    return verilog.convert(m, name="top", ports=ports, emit_src=False)


def drawn(rng: random.Random) -> str:
    """Registers whose value depends on nested conditions and cases, in whole and bit by bit, and is often taken back."""
    m = Module()
    select, a, b = Signal(6), Signal(8), Signal(8)
    registers = [Signal(rng.randint(1, 8), name=f"r{k}") for k in range(12)]

    def assign(register: Signal) -> None:
        if rng.random() < 0.4:
            m.d.sync += register.eq(register)
        elif rng.random() < 0.4:
            bit = register[rng.randrange(len(register))]
            m.d.sync += bit.eq(bit if rng.random() < 0.4 else a[0])
        else:
            m.d.sync += register.eq(rng.choice([a, b + 1, *registers]))

    def choose(register: Signal, depth: int) -> None:
        for _ in range(rng.randint(1, 3)):
            kind = rng.random()
            if kind < 0.35 or depth > 3:
                assign(register)
            elif kind < 0.7:
                with m.If(select[rng.randrange(6)]):
                    choose(register, depth + 1)
                if rng.random() < 0.5:
                    with m.Else():
                        choose(register, depth + 1)
            else:
                with m.Switch(select[:2]):
                    with m.Case(0):
                        choose(register, depth + 1)
                    with m.Case(1, 2):
                        choose(register, depth + 1)

    for register in registers:
        choose(register, 0)
    return converted(m, [select, a, b, *registers])


@pytest.mark.parametrize("seed", range(6))
def test_registers_in_place_take_the_same_values(seed: int) -> None:
    before = drawn(random.Random(f"rewrite {seed}"))
    after = with_registers_in_place(before)
    assert before.count("always @*") == 12
    assert "always @*" not in after
    assert unequal(before, after, top="top") == ""


def test_an_assignment_may_be_taken_back() -> None:
    m = Module()
    load, keep, value, held = Signal(), Signal(), Signal(8), Signal(8, name="held")
    with m.If(load):
        m.d.sync += held.eq(value)
        with m.If(keep):
            m.d.sync += held.eq(held)
    before = converted(m, [load, keep, value, held])
    after = with_registers_in_place(before)
    assert unequal(before, after, top="top") == ""
    assert after.count("held <= held ;") == 1
    assert "unproven" in unequal(before, after.replace("held <= held ;", ""), top="top")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["server", "client", "timetagger"])
def test_every_module_of_a_node_stays_what_it_is(kind: Kind) -> None:
    verilog = node_verilog(kind)
    before, after = modules(verilog), modules(with_registers_in_place(verilog))
    assert list(before) == list(after)
    assert len(before) > 50
    # The same module many times over, as channels have them, has other names.
    changed = {before[name].replace(name, ""): name for name in before if after[name] != before[name]}
    assert len(changed) > 20
    for name in changed.values():
        assert unequal(before[name], after[name], top=name, parts=before) == "", name
