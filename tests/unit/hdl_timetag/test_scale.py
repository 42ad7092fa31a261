"""The serial arithmetic of the scale against plain integers, to its limits on both sides."""

from __future__ import annotations

import random
from unittest import mock

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from twinphase_hdl.timetag.scale import Scale
from twinphase_spec import tdc

WINDOW_LOG = 5
IDLE_CLOCKS = tdc.SCALE_CLOCKS + 40


def saturated(x: int) -> int:
    return max(-(1 << 23), min((1 << 23) - 1, x))


def shifted(x: int, k: int) -> int:
    return x << k if k >= 0 else x >> -k


class Loop:
    """docs/timetagger.md, "Scale", window by window."""

    def __init__(self, lanes: int) -> None:
        self.lanes, self.target, self.limit = lanes, tdc.scale_target(lanes), tdc.gear_limit(lanes)
        self.rate = self.extended = self.start = self.mean = 0
        self.fast = tdc.FAST_WINDOWS
        self.saturated = self.restart = False

    def window(self, y4s: list[int]) -> None:
        error = self.target - sum(max(0, y4 - tdc.theta(self.lanes)) for y4 in y4s)
        self.mean += (error - self.mean) >> tdc.MEAN_SHIFT
        if abs(self.mean) >= self.limit:
            self.fast = tdc.FAST_WINDOWS
        elif self.fast:
            self.fast -= 1
        gain, rate = tdc.gains(self.lanes)["fast" if self.fast else "slow"]
        self.rate = saturated(self.rate + shifted(error, rate))
        wanted = self.extended + self.rate + shifted(error, gain)
        self.extended = saturated(wanted)
        self.saturated |= wanted != self.extended
        self.restart = abs(self.extended - self.start) >= tdc.RESTART
        if self.restart:
            self.start = self.extended


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("kind", ["quiet", "drift", "limit"])
def test_windows(lanes: int, kind: str) -> None:
    rng = random.Random(f"{lanes} {kind}")
    span = tdc.full_scale(lanes)
    with mock.patch.multiple(tdc, WINDOW_LOG=WINDOW_LOG, FAST_WINDOWS=2):
        dut = Scale(lanes=lanes, y4_clocks=5, sigma_clocks=2)
        fragment = Fragment.get(dut, None)
        loop = Loop(lanes)
        seen, expected = [], []

        async def bench(ctx) -> None:
            for window in range(12):
                reach = {
                    "quiet": span + rng.randrange(-20, 20),
                    "drift": int(span * rng.choice([0.97, 1.0, 1.2])),
                    "limit": 9 * span // 4 if window < 9 else span // 2,
                }[kind]
                least = 2 * span if kind == "limit" and window < 9 else 0
                y4s = [rng.randrange(least, reach) for _ in range(1 << WINDOW_LOG)]
                if kind == "quiet":  # a sum right at the target
                    y4s = [0] * len(y4s)
                    y4s[3] = tdc.theta(lanes) + loop.target + rng.randrange(-30, 30) * 4
                loop.window(y4s)
                for y4 in y4s:
                    ctx.set(dut.i_valid, 1)
                    ctx.set(dut.i_y4, y4)
                    await ctx.tick()
                    ctx.set(dut.i_valid, 0)
                    await ctx.tick().repeat(rng.randrange(2) + 1)
                restarts = 0
                for _ in range(IDLE_CLOCKS):
                    asked = ctx.get(dut.o_restart)
                    restarts += asked
                    ctx.set(dut.i_restarted, asked)
                    await ctx.tick()
                seen.append((ctx.get(dut.o_sigma), ctx.get(dut.o_limit), restarts, ctx.get(dut.o_idle)))
                expected.append((loop.extended >> tdc.EXTENDED_SHIFT, int(loop.saturated), int(loop.restart), 1))

        simulator = Simulator(fragment)
        simulator.add_clock(8e-9)
        simulator.add_testbench(bench)
        simulator.run()
    assert seen == expected
    if kind == "quiet":
        assert not loop.fast
    if kind == "limit":
        assert any(sigma == -(1 << 15) for sigma, *_ in seen)
        assert loop.saturated
        assert any(restart for _, _, restart, _ in seen)
