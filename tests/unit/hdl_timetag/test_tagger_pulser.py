"""The test pulser: period, fine time, pin."""

import pytest
from amaranth.sim import Simulator

from twinphase_hdl.timetag.countdown import CountdownPulser
from twinphase_hdl.timetag.pulser import Pulser


@pytest.mark.parametrize("kind", [Pulser, CountdownPulser])
@pytest.mark.parametrize("period", [0, 1, 2, 3, 4, 7, 8, 9, 100])
def test_period_and_pin(period: int, kind: type[Pulser]) -> None:
    dut = kind()
    effective = max(period, 2)
    pulses, pins, clocks = [], [], 3 * effective + 20

    async def bench(ctx):
        ctx.set(dut.i_period, period)
        await ctx.tick().repeat(3)
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


def test_a_countdown_beyond_its_low_half() -> None:
    """Periods around 2^16, where the high half goes on a clock late; another period acts after the edge that follows."""
    dut = CountdownPulser()
    periods = [65_536, 65_538, 65_535, 30]
    seen: list[int] = []

    async def bench(ctx):
        ctx.set(dut.i_period, periods[0])
        await ctx.tick().repeat(4)
        ctx.set(dut.i_enable, 1)
        clock = 0
        while len(seen) < len(periods):
            if clock == sum(periods[: len(seen)]) + 10:  # long before the next edge
                ctx.set(dut.i_period, [*periods[1:], 0][len(seen)])
            if ctx.get(dut.o_pulse):
                seen.append(clock)
            await ctx.tick()
            clock += 1
            assert clock < 200_000

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [sum(periods[: k + 1]) for k in range(len(periods))]
