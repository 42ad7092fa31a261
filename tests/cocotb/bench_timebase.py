"""Timebase against `FrameConfig.anchor_at` and `close_clock` in every clock; the constant divider against integer division."""

from __future__ import annotations

import dataclasses
from typing import Any

import cocotb
import numpy as np

from frames import grid_word, random_frame
from rigs import DIVIDERS
from streams import start_clock
from twinphase_hdl.core.divide import ConstantDivide
from twinphase_hdl.types import Anchor
from twinphase_spec.frame import LAG_CLOCKS, FrameConfig
from twinphase_spec.units import CLOCK_BITS
from vectors import generator, pack, play

WATCH = [f"timebase__o_{name}" for name in ("anchor", "framing", "running", "close", "close_last")]


def anchor_word(frame: FrameConfig, clock: int, *, running: bool = True) -> int:
    """The anchor at ``clock``, which is not wrapped."""
    fields = dataclasses.asdict(frame.anchor_at(clock)) if running else {"clock": clock}
    return pack(Anchor, fields)


def closes(frame: FrameConfig, clock: int) -> tuple[bool, bool]:
    """Whether ``clock`` closes a window and a d-window, from `close_clock` alone."""
    ticks = max(0, clock - frame.start_clock - LAG_CLOCKS) << 45
    near = ticks // (frame.window_pulses * frame.period_q32)
    for window in range(max(0, near - 2), near + 2):
        if frame.close_clock(window) == clock:
            return True, window % frame.windows_per_dwindow == frame.windows_per_dwindow - 1
    return False, False


async def follow(dut: Any, frame: FrameConfig, first: int, clocks: int, *, load: bool, run: int = 1) -> None:
    """Checks ``clocks`` clocks from count ``first``, reached by a load or by counting."""
    if load:
        anchor = anchor_word(frame, first, running=first > frame.start_clock + LAG_CLOCKS)
        await play(dut, {"timebase__sim_load": [1], "timebase__sim_anchor": anchor, "timebase__i_run": run})
        dut.timebase__sim_load.value = 0
    seen, _ = await play(dut, {"timebase__i_run": run}, WATCH, clocks=clocks)
    for k in range(clocks):
        clock = first + k
        got = [seen[name][k] for name in WATCH]
        expected = [anchor_word(frame, clock), 1, clock >= frame.start_clock + LAG_CLOCKS, *closes(frame, clock)]
        assert got == expected, f"clock {clock} (start {frame.start_clock}): {got} is not {expected} for {frame}"


async def configure(dut: Any, frame: FrameConfig) -> None:
    """run = 0 long enough for a new configuration."""
    await play(dut, {"timebase__i_run": 0, "timebase__i_config": grid_word(frame)}, clocks=4)


@cocotb.test()
async def natural_start(dut: Any) -> None:
    """From reset, without any load, over the start of the frame; then run = 0 zeroes the position at once."""
    rng = generator()
    await start_clock(dut)
    frame = random_frame(rng, start_clock=25)
    await configure(dut, frame)
    seen, _ = await play(dut, {"timebase__i_run": 1}, WATCH, clocks=1)
    first = (seen["timebase__o_anchor"][0] & ((1 << CLOCK_BITS) - 1)) + 1
    await follow(dut, frame, first, LAG_CLOCKS + 150, load=False)
    seen, _ = await play(dut, {"timebase__i_run": 0}, WATCH, clocks=3)
    last = first + LAG_CLOCKS + 150
    assert seen["timebase__o_anchor"][1:] == [anchor_word(frame, last + k, running=False) for k in (1, 2)]
    assert not any(seen["timebase__o_framing"] + seen["timebase__o_running"] + seen["timebase__o_close"][1:])


@cocotb.test()
async def anchor_everywhere(dut: Any) -> None:
    """After loads near the start, window ends and the wraps of clock, frame, window, d-window and pulse counts."""
    rng = generator()
    await start_clock(dut)
    for case in range(10):
        start = int(rng.choice([0, 9, 1 << 40, (1 << 51) - 4100, (1 << 51) - 2]))
        frame = random_frame(rng, start_clock=start, extreme=case)
        await configure(dut, frame)
        per = frame.windows_per_dwindow
        first = start + LAG_CLOCKS
        windows = [0, 1, per - 1, per, 5 * per - 1, (1 << 32) - 1, (per << 32) - 1, int(rng.integers(1 << 40))]
        places = [
            first - 20,
            first - 3,
            first - 2,
            first - 1,
            first,
            first + 1,
            first + int(rng.integers(1 << 44)),
            (1 << 51) - 15,
        ]
        places += [frame.close_clock(window) - int(rng.integers(0, 12)) for window in windows]
        for ticks in ((frame.frame_pulses << 40) * frame.period_q32, frame.period_q32 << 56):  # frame and pulse wrap
            places.append(first + (ticks >> 45) - 8)
        for place in places:
            if place > first and not (frame.anchor_at(place).pulse or frame.anchor_at(place).remainder):
                place += 1  # a moving anchor that is zero after 2^56 pulses cannot be loaded
            if place >= start:
                await follow(dut, frame, place, 24, load=True)


@cocotb.test()
async def missed_and_stopped(dut: Any) -> None:
    """run that rises too late never frames; run = 0 at any clock, closes included, zeroes; a new START starts again."""
    rng = generator()
    await start_clock(dut)
    frame = random_frame(rng, start_clock=1000)
    first = frame.start_clock + LAG_CLOCKS
    for late in (0, 1, 2, 50):
        await configure(dut, frame)
        # The load shows its count one clock later; run rises ``late`` clocks after START + LAG.
        rest = anchor_word(frame, first - 3, running=False)
        run = [0] * (4 + late) + [1] * 30
        load = [1] + [0] * (len(run) - 1)
        vectors = {"timebase__sim_load": load, "timebase__sim_anchor": rest, "timebase__i_run": run}
        seen, _ = await play(dut, vectors, WATCH)
        for k in range(4 + late, len(run)):
            clock = first - 4 + k
            assert seen["timebase__o_anchor"][k] == anchor_word(frame, clock, running=late == 0), (late, clock)
            assert seen["timebase__o_framing"][k] == (late == 0)
            assert seen["timebase__o_running"][k] == (late == 0)
    for before in range(-2, 3):  # run falls around a close
        await configure(dut, frame)
        close = frame.close_clock(3)
        await follow(dut, frame, close - 6, 6 + before, load=True)
        seen, _ = await play(dut, {"timebase__i_run": 0}, WATCH, clocks=5)
        clocks = [close + before + k for k in range(5)]
        assert seen["timebase__o_anchor"][1:] == [anchor_word(frame, clock, running=False) for clock in clocks[1:]]
        assert not any(seen["timebase__o_close"][1:] + seen["timebase__o_running"] + seen["timebase__o_framing"])
    again = dataclasses.replace(frame, start_clock=first + 9000)
    await configure(dut, again)
    await follow(dut, again, again.start_clock + LAG_CLOCKS - 5, 30, load=True)


def dividends(rng: np.random.Generator, divisor: int, limit: int, count: int) -> list[int]:
    """Dividends below ``limit``: random ones and both sides of multiples of the divisor."""
    values = [0, 1, divisor - 1, divisor, limit - 1, (limit - 1) // divisor * divisor]
    for _ in range(count):
        quotient = int(rng.integers(0, limit // divisor + 1)) if rng.random() < 0.5 else limit // divisor
        value = quotient * divisor + int(rng.choice([0, 1, -1, divisor - 1, divisor // 2]))
        values += [value, int(rng.random() * limit)]
    return [value for value in values if 0 <= value < limit]


@cocotb.test()
async def divide(dut: Any) -> None:
    """Quotient and remainder, one per clock with gaps, at exactly ``latency``."""
    rng = generator()
    await start_clock(dut)
    for name, sizes in DIVIDERS.items():
        latency = ConstantDivide(**sizes).latency
        add_bits, d_min, d_max = sizes.get("add_bits", sizes["q_bits"]), sizes["d_min"], sizes["d_max"]
        small = name == "small_divide"
        divisors = range(d_min, d_max + 1) if small else [d_min, d_min + 1, d_max, d_max - 1]
        if not small:
            divisors += [int(d_min * (d_max / d_min) ** rng.random()) for _ in range(8)]
        for divisor in divisors:
            limit = min(sizes["x_max"], divisor << sizes["q_bits"])
            xs = list(range(limit)) if small else dividends(rng, divisor, limit, 40)
            valid = (rng.random(len(xs) * 2) < 0.75).astype(int)
            valid[-latency - 1 :] = 0
            valid[0] = 0  # the divisor is there a clock before the first dividend
            x = [xs.pop() if v and xs else int(rng.integers(sizes["x_max"])) if not v else 0 for v in valid]
            add = [int(a) for a in rng.integers(0, 1 << add_bits, len(x))]
            drive = {"i_valid": valid, "i_x": x, "i_add": add, "i_d": divisor}
            drive["i_reciprocal"] = (1 << sizes["shift"]) // divisor
            drive = {f"{name}__{port}": values for port, values in drive.items()}
            _, caught = await play(
                dut, drive, when={f"{name}__o_q": f"{name}__o_valid", f"{name}__o_r": f"{name}__o_valid"}
            )
            at = [int(k) for k in np.flatnonzero(valid)]
            mask = (1 << add_bits) - 1
            assert caught[f"{name}__o_q"] == [(k + latency, (add[k] + x[k] // divisor) & mask) for k in at], divisor
            assert caught[f"{name}__o_r"] == [(k + latency, x[k] % divisor) for k in at], divisor
