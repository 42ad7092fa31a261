"""The timebase against the closed forms of the frame."""

import dataclasses
import random

import pytest
from hdl_core_bench import anchor_fields, grid, random_frame, simulate

from twinphase_hdl.core.splittimebase import SplitTimebase
from twinphase_hdl.core.timebase import Timebase
from twinphase_spec.frame import LAG_CLOCKS, Anchor, FrameConfig
from twinphase_spec.units import CLOCK_BITS

ANCHOR_FIELDS = [field.name for field in dataclasses.fields(Anchor)]


def read(ctx, dut) -> dict[str, int]:
    anchor = ctx.get(dut.o_anchor)
    return {name: getattr(anchor, name) for name in ANCHOR_FIELDS}


async def load(ctx, dut, fields: dict[str, int]) -> None:
    """One clock with sim_load."""
    ctx.set(dut.sim_load, 1)
    ctx.set(dut.sim_anchor, fields)
    await ctx.tick()
    ctx.set(dut.sim_load, 0)


def expected(frame, clock: int, *, running: bool) -> dict[str, int]:
    fields = anchor_fields(frame.anchor_at(clock))
    if not running:
        fields = dict.fromkeys(fields, 0)
    return fields | {"clock": clock % (1 << CLOCK_BITS)}


def check(ctx, dut, frame, clock: int, *, runs: bool = True) -> None:
    at_rest = clock < frame.start_clock + LAG_CLOCKS
    assert read(ctx, dut) == expected(frame, clock, running=runs), clock
    assert ctx.get(dut.o_framing) == runs
    assert ctx.get(dut.o_running) == (runs and not at_rest)
    now, before = frame.anchor_at(clock), frame.anchor_at(clock - 1)
    assert ctx.get(dut.o_close) == (runs and now.window != before.window), clock
    assert ctx.get(dut.o_close_last) == (runs and now.dwindow != before.dwindow), clock


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_closed_form(seed: int) -> None:
    """Counting and loading, at the start, at closes and anywhere, with clock counts that wrap."""
    rng = random.Random(seed)
    start = rng.choice([0, 7, 1 << 40, (1 << CLOCK_BITS) - 9000])
    frame = random_frame(rng, start)

    async def bench(ctx):
        ctx.set(dut.i_config, grid(frame))
        await ctx.tick().repeat(4)
        ctx.set(dut.i_run, 1)
        first = start + LAG_CLOCKS
        last_close = frame.close_clock(frame.windows_per_dwindow * 3 - 1)
        places = [first - 4, first - 3, first - 2, first - 1, first, first + 1, first + rng.randrange(100_000)]
        places += [frame.close_clock(w) + rng.randrange(-4, 2) for w in (0, 1, frame.windows_per_dwindow - 1)]
        places += [last_close - 1, last_close, last_close + 1, (1 << CLOCK_BITS) - 5]
        for place in places:
            if not start <= place:
                continue
            fields = expected(frame, place, running=True)
            await load(ctx, dut, fields)
            for clock in range(place, place + rng.choice([3, 60])):
                check(ctx, dut, frame, clock)
                await ctx.tick()

    dut = Timebase()
    simulate(dut, bench)


def test_close_clock() -> None:
    frame = random_frame(random.Random(3), 100)

    async def bench(ctx):
        ctx.set(dut.i_config, grid(frame))
        ctx.set(dut.i_run, 1)
        await ctx.tick().repeat(4)
        for window in (0, 1, 5, 127, 1000):
            close = frame.close_clock(window)
            await load(ctx, dut, expected(frame, close - 2, running=True))
            seen = []
            for _ in range(5):
                seen.append(ctx.get(dut.o_close))
                await ctx.tick()
            assert seen == [0, 0, 1, 0, 0]

    dut = Timebase()
    simulate(dut, bench)


@pytest.mark.parametrize(("period_q32", "pulses"), [(1024 << 32, 16), ((8192 << 32) // 20 + 1, 40)])
def test_shortest_frame_and_window(period_q32: int, pulses: int) -> None:
    """Frames of two clocks, counted through the end of a window and of a d-window."""
    config = FrameConfig(
        period_q32=period_q32,
        slot_pulses=1,
        table=(0,) * pulses,
        frames_per_window=4096,
        windows_per_dwindow=2,
        start_clock=9,
    )

    async def bench(ctx):
        ctx.set(dut.i_config, grid(config))
        ctx.set(dut.i_run, 1)
        await ctx.tick().repeat(4)
        for window in (0, 1):
            place = config.close_clock(window) - 20
            await load(ctx, dut, expected(config, place, running=True))
            for clock in range(place, place + 40):
                check(ctx, dut, config, clock)
                await ctx.tick()

    dut = Timebase()
    simulate(dut, bench)


def test_start_stop_and_missed_start() -> None:
    """run in the clock of START + LAG starts; one clock later is too late; run = 0 zeroes; a later START starts again."""
    frame = random_frame(random.Random(1), 50)
    first = 50 + LAG_CLOCKS

    async def bench(ctx):
        clock = 0

        async def to(target: int) -> None:
            nonlocal clock
            await load(ctx, dut, expected(frame, target, running=False))
            clock = target

        ctx.set(dut.i_config, grid(frame))
        await ctx.tick().repeat(4)
        await to(first - 2)
        for _ in range(2):
            await ctx.tick()
        ctx.set(dut.i_run, 1)  # in the clock of START + LAG: in time
        for clock in range(first, first + 20):
            check(ctx, dut, frame, clock)
            await ctx.tick()
        ctx.set(dut.i_run, 0)
        assert not ctx.get(dut.o_framing)
        await ctx.tick()
        check(ctx, dut, frame, first + 21, runs=False)
        await to(first)
        await ctx.tick()
        ctx.set(dut.i_run, 1)  # too late
        for clock in range(first + 1, first + 20):
            check(ctx, dut, frame, clock, runs=False)
            await ctx.tick()
        await to(first + 5000)  # still missed after a jump that loads the position at rest
        check(ctx, dut, frame, first + 5000, runs=False)
        ctx.set(dut.i_run, 0)
        again = dataclasses.replace(frame, start_clock=first + 6000)
        ctx.set(dut.i_config, grid(again))
        await ctx.tick().repeat(4)
        ctx.set(dut.i_run, 1)
        await to(first + 5999)
        check(ctx, dut, again, first + 5999)
        await to(again.start_clock + LAG_CLOCKS - 1)
        for clock in range(again.start_clock + LAG_CLOCKS - 1, again.start_clock + LAG_CLOCKS + 20):
            check(ctx, dut, again, clock)
            await ctx.tick()

    dut = Timebase()
    simulate(dut, bench)


def test_a_clock_count_in_halves() -> None:
    """Loaded before and behind every kind of carry, and twice in a row."""
    dut = SplitTimebase()
    half = CLOCK_BITS // 2
    ones = (1 << half) - 1

    async def bench(ctx):
        for high in (0, 5, (1 << CLOCK_BITS - half) - 1):
            for low in (0, 1, ones - 3, ones - 2, ones - 1, ones):
                count = high << half | low
                await load(ctx, dut, {"clock": 3 << half | ones})
                await load(ctx, dut, {"clock": count})
                for k in range(6):
                    assert ctx.get(dut.o_anchor.clock) == (count + k) % (1 << CLOCK_BITS), (count, k)
                    await ctx.tick()

    simulate(dut, bench)
