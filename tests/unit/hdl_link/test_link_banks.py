"""The register banks that are quicker inside give what the plain one gives, clock for clock."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from twinphase_hdl.link.earlyknown import EarlyKnownBank
from twinphase_hdl.link.earlytables import EarlyTableBank
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.link.widebank import WideBank
from twinphase_spec.register_map import NodeType, RegisterMap
from twinphase_spec.registers import CLIENT, SERVER, TIMETAGGER

CLOCKS = 2_000


OPTIONS = {
    NodeType.TIMETAGGER: {"constants": {"CHANNELS": 8, "LANES": 1}, "strobes": ["DIVIDER_0"]},
    NodeType.CLIENT: {"constants": {"LANES": 8}, "strobes": ["EMIT_FRACTION"]},
    NodeType.SERVER: {"constants": {"ACT_BITS": 14}, "strobes": ["PSI_SOURCE"]},
}


@pytest.mark.parametrize(
    ("kind", "register_map"),
    [(EarlyKnownBank, TIMETAGGER), (EarlyTableBank, TIMETAGGER), (EarlyKnownBank, CLIENT), (WideBank, SERVER)],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_banks_are_alike(kind: type[RegisterBank], register_map: RegisterMap, seed: int) -> None:
    rng = random.Random(seed)
    options = {"build_hash": 0x1234ABCD, **OPTIONS[register_map.node]}
    m = Module()
    m.submodules.plain = plain = RegisterBank(register_map, **options)
    m.submodules.quick = quick = kind(register_map, **options)
    ports = {
        flow: [
            (getattr(plain, name), getattr(quick, name))
            for name, port in plain.signature.members.items()
            if port.flow is flow
        ]
        for flow in (wiring.In, wiring.Out)
    }
    addresses = [register.address + half for register in register_map.registers for half in range(register.words)]

    async def bench(ctx):
        for clock in range(CLOCKS):
            for one, other in ports[wiring.In]:
                value = rng.randrange(1 << len(Value.cast(one)))
                if one is plain.i_address:
                    value = rng.choice([*addresses, *range(max(addresses) + 16), value])
                elif one is plain.i_write:
                    value = rng.random() < 0.2
                for port in (one, other):
                    ctx.set(Value.cast(port).as_unsigned(), int(value))
            for one, other in ports[wiring.Out]:
                assert ctx.get(one) == ctx.get(other), f"{one} in clock {clock}"
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
