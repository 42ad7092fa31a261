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
UNEVEN_LOG = {"quiet": {1: 7, 2: 6}, "drift": {1: 12, 2: 11}, "limit": {1: 29, 2: 29}}
"""The error from which a window is uneven: as it is for windows this short, some of the windows, none."""


def saturated(x: int) -> int:
    return max(-(1 << 23), min((1 << 23) - 1, x))


def shifted(x: int, k: int) -> int:
    return x << k if k >= 0 else x >> -k


def tent(y4: int, lanes: int) -> int:
    full, theta = tdc.full_scale(lanes), tdc.theta(lanes)
    if theta - full // 32 <= y4 < theta:
        return y4 - (theta - full // 32)
    return full - 1 - y4 if theta <= y4 < full else 0


class Loop:
    """docs/timetagger.md, "Scale", window by window."""

    def __init__(self, lanes: int) -> None:
        self.lanes, self.target, self.limit = lanes, tdc.scale_target(lanes), tdc.gear_limit(lanes)
        self.rate = self.extended = self.start = self.mean = 0
        self.fast = tdc.FAST_WINDOWS
        self.tent_target, self.uneven_err = tdc.tent_target(lanes), tdc.uneven_err(lanes)
        self.saturated = self.restart = self.uneven = self.seen = False
        self.gears: set[str] = set()

    def window(self, y4s: list[int]) -> None:
        error = self.target - sum(max(0, y4 - tdc.theta(self.lanes)) for y4 in y4s)
        bend = self.tent_target - sum(tent(y4, self.lanes) for y4 in y4s)
        limit = self.uneven_err
        self.uneven = not (-limit <= error < limit and -2 * limit <= bend < 2 * limit)
        if not self.uneven:
            self.even_window(error)
        self.restart = abs(self.extended - self.start) >= tdc.RESTART or self.uneven != self.seen
        if self.restart:
            self.start, self.seen = self.extended, self.uneven

    def even_window(self, error: int) -> None:
        self.mean += (error - self.mean) >> tdc.MEAN_SHIFT
        large = abs(self.mean) >= self.limit
        self.fast = tdc.FAST_WINDOWS if large else max(0, self.fast - 1)
        gear = "fastest" if large else "fast" if self.fast else "slow"
        self.gears.add(gear)
        gain, rate = tdc.gains(self.lanes)[gear]
        self.rate = saturated(self.rate + shifted(error, rate))
        wanted = self.extended + self.rate + shifted(error, gain)
        self.extended = saturated(wanted)
        self.saturated |= wanted != self.extended


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("kind", ["quiet", "drift", "limit"])
def test_windows(lanes: int, kind: str) -> None:
    rng = random.Random(f"{lanes} {kind}")
    span = tdc.full_scale(lanes)
    with mock.patch.multiple(
        tdc, WINDOW_LOG=WINDOW_LOG, FAST_WINDOWS=2, uneven_err=lambda lanes: 1 << UNEVEN_LOG[kind][lanes]
    ):
        dut = Scale(lanes=lanes, y4_clocks=5, sigma_clocks=2)
        fragment = Fragment.get(dut, None)
        loop = Loop(lanes)
        seen, expected, uneven_windows = [], [], []

        async def bench(ctx) -> None:
            for window in range(12):
                reach = {
                    "quiet": span + rng.randrange(-20, 20),
                    "drift": int(span * rng.choice([0.97, 1.0, 1.2])),
                    "limit": 9 * span // 4 if window < 9 else span // 2,
                }[kind]
                least = 2 * span if kind == "limit" and window < 9 else 0
                y4s = [rng.randrange(least, reach) for _ in range(1 << WINDOW_LOG)]
                if kind == "quiet":  # a sum right at the target, a tent at its own, or at the edge of what is even
                    y4s = [0] * len(y4s)
                    missing = rng.choice(
                        [0, 0, 0, 2 * loop.uneven_err - 2, 2 * loop.uneven_err - 1, 2 * loop.uneven_err]
                    )
                    y4s[7] = tdc.theta(lanes) - span // 32 + loop.tent_target - missing
                    y4s[3] = tdc.theta(lanes) + loop.target + rng.randrange(-30, 30) * 2
                loop.window(y4s)
                for y4 in y4s:
                    ctx.set(dut.i_valid, 1)
                    ctx.set(dut.i_y4, y4)
                    await ctx.tick()
                    ctx.set(dut.i_valid, 0)
                    await ctx.tick().repeat(rng.randrange(2) + 1)
                restarts = uneven = 0
                for _ in range(IDLE_CLOCKS):
                    asked = ctx.get(dut.o_restart)
                    restarts += asked
                    uneven += ctx.get(dut.o_uneven)
                    ctx.set(dut.i_restarted, asked)
                    await ctx.tick()
                seen.append((ctx.get(dut.o_sigma), ctx.get(dut.o_limit), restarts, uneven, ctx.get(dut.o_idle)))
                sigma = loop.extended >> tdc.EXTENDED_SHIFT
                expected.append((sigma, int(loop.saturated), int(loop.restart), int(loop.uneven), 1))
                uneven_windows.append(loop.uneven)

        simulator = Simulator(fragment)
        simulator.add_clock(8e-9)
        simulator.add_testbench(bench)
        simulator.run()
    assert seen == expected
    assert any(uneven_windows) == (kind != "limit")
    assert not all(uneven_windows)
    assert loop.gears >= ({"slow", "fast"} if kind == "quiet" else {"fastest"})
    if kind == "quiet":
        assert not loop.fast
    if kind == "limit":
        assert any(sigma == -(1 << 15) for sigma, *_ in seen)
        assert loop.saturated
        assert any(restart for _, _, restart, *_ in seen)
