"""The test pulser: period, fine time, pin."""

import pytest
from amaranth.sim import Simulator

from twinphase_hdl.timetag.pulser import Pulser


@pytest.mark.parametrize("period", [0, 1, 2, 3, 4, 7, 8, 9, 100])
def test_period_and_pin(period: int) -> None:
    dut = Pulser()
    effective = max(period, 2)
    pulses, pins, clocks = [], [], 3 * effective + 20

    async def bench(ctx):
        ctx.set(dut.i_period, period)
        await ctx.tick()
        assert ctx.get(dut.o_idle)
        for k in range(clocks):
            ctx.set(dut.i_enable, k < clocks - 10)
            ctx.set(dut.i_fine, 100 + k)
            if ctx.get(dut.o_pulse):
                assert ctx.get(dut.o_fine) == 99 + k
                pulses.append(k)
            pins.append(ctx.get(dut.o_pin))
            await ctx.tick()
        assert ctx.get(dut.o_idle)

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert pulses == list(range(max(period, 1), clocks - 9, effective))
    high = 4 if period >= 8 else 1
    expected = {at + k for at in pulses for k in range(high)}
    assert [k for k, pin in enumerate(pins) if pin] == sorted(expected)


def test_a_shorter_period_ends_the_current_one() -> None:
    dut = Pulser()

    async def bench(ctx):
        ctx.set(dut.i_enable, 1)
        ctx.set(dut.i_period, (1 << 32) - 1)
        await ctx.tick().repeat(50)
        ctx.set(dut.i_period, 30)
        await ctx.tick()
        for k in range(61):
            assert ctx.get(dut.o_pulse) == (k % 30 == 0)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
