"""The gearbox: which TDC clock becomes which lane, at which system clock, whatever lies before it."""

from __future__ import annotations

import pytest
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.sim import Simulator

from twinphase_hdl.timetag.gearbox import Gearbox

CLOCKS = 40


@pytest.mark.parametrize("before", range(6))
def test_lanes_and_latency(before: int) -> None:
    """The sampled word is the number of the half clock that its sampling edge ends."""
    m = Module()
    m.domains.sync, m.domains.tdc = ClockDomain("sync"), ClockDomain("tdc")
    m.submodules.dut = dut = Gearbox(width=16, before=before)
    half, clock = Signal(16), Signal(16)
    m.d.tdc += half.eq(half + 1)
    m.d.sync += clock.eq(clock + 1)
    word = half
    for k in range(before + 1):  # the sampling register, and what lies before the gearbox
        later = Signal(16, name=f"word_{k}")
        m.d.tdc += later.eq(word)
        word = later
    m.d.comb += dut.i.eq(word)
    seen: list[tuple[int, int, int]] = []

    async def bench(ctx) -> None:
        for _ in range(CLOCKS):
            await ctx.tick()
            seen.append((ctx.get(clock), ctx.get(dut.o[0]), ctx.get(dut.o[1])))

    simulator = Simulator(m)
    simulator.add_clock(8e-9, phase=8e-9)
    simulator.add_clock(
        4e-9, phase=8e-9, domain="tdc"
    )  # the first edges coincide: after them, clock is 1 and half is 1
    simulator.add_testbench(bench)
    simulator.run_until(8e-9 * (CLOCKS + 2))
    assert len(seen) == CLOCKS
    for c, first, second in seen[8:]:
        # After the edge that makes clock c, half is 2 c - 1: this half clock is the first of system clock c.
        source = c - dut.latency
        assert (first, second) == (2 * source - 1, 2 * source), f"in clock {c}"


@pytest.mark.parametrize(
    ("arguments", "name"), [({"width": 0, "before": 1}, "width"), ({"width": 8, "before": -1}, "before")]
)
def test_refuses(arguments: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*; allowed"):
        Gearbox(**arguments)
