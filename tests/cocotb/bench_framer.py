"""Framer against the model, tag by tag, with an anchor that jumps in every clock."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from bench_timebase import anchor_word
from frames import grid_word, random_frame
from streams import start_clock
from twinphase_hdl.core.framer import Framer
from twinphase_hdl.types import Click, Tag
from twinphase_sim.model.core.framer import Gates, frame_clicks
from twinphase_spec import smoothing, units
from twinphase_spec.frame import LAG_CLOCKS, FrameConfig, SlotClass, slot_byte
from vectors import generator, pack, play, unpack

LATENCY = Framer().latency
CLASSES = ("unframed", "background", "signal", "reference_q", "reference_r", "other")
U64 = 1 << 64


def random_gates(rng: np.random.Generator, frame: FrameConfig) -> Gates:
    """Inside the pulse, empty, whole, or reaching over its end."""
    period = frame.period_q32 >> 32
    gates = []
    for _ in range(2):
        start = int(rng.choice([0, 1, period // 3, period - 1, int(rng.integers(period))]))
        gates.append(
            (start, int(rng.choice([start, start + 1, period, period + 1, (1 << 18) - 1, start + period // 2])))
        )
    return gates[0], gates[1]


def hostile_tag(rng: np.random.Generator, frame: FrameConfig, gates: Gates, clock: int) -> int:
    """A time that may reach the framer at ``clock``, not wrapped: anywhere, or on an edge of something."""
    low, high = (clock - LAG_CLOCKS) * 8192, (clock + 512) * 8192 - 1
    start = frame.start_clock * 8192
    time = int(rng.integers(0, high - low + 1)) + low
    kind = rng.random()
    if kind < 0.1:
        return int(rng.choice([low, high]))
    if kind < 0.7:
        pulse = max(0, ((time - start) << 32) // frame.period_q32)
        unit = [1, frame.slot_pulses, frame.frame_pulses, frame.window_pulses][int(rng.integers(4))]
        pulse = (pulse // unit + int(rng.integers(2))) * unit
        edge = int(rng.choice([0, gates[0][0], gates[0][1], gates[1][0], gates[1][1], frame.period_q32 >> 32]))
        near = start - (-pulse * frame.period_q32 >> 32) + edge + int(rng.integers(-2, 2))
        if low <= near <= high:
            return near
    return time


async def check(dut: Any, rng: np.random.Generator, frame: FrameConfig, clocks: list[int]) -> None:
    """One tag (or none) per clock of ``clocks``."""
    gates = random_gates(rng, frame)
    slots = len(frame.table)
    drive: dict[str, Any] = {"framer__i__valid": 0, "framer__i_config": grid_word(frame), "framer__i_table_en": 1}
    drive |= {"framer__i_table_address": list(range(slots)), "framer__i_table_data": list(frame.table)}
    for band, (start, stop) in zip("qr", gates, strict=True):
        drive |= {f"framer__i_gate_start_{band}": start, f"framer__i_gate_stop_{band}": stop}
    await play(dut, drive)

    valid = (rng.random(len(clocks)) < rng.choice([0.3, 0.9, 1.0])).astype(int)
    framing = (rng.random(len(clocks)) < 0.95).astype(int)
    times = [hostile_tag(rng, frame, gates, clock) for clock in clocks]
    channels = rng.integers(0, 4, len(clocks)).astype(np.uint8)
    tail = [0] * (LATENCY + 1)
    drive = {
        "framer__i_table_en": 0,
        "framer__i__valid": [*valid, *tail],
        "framer__i_framing": [*framing, *tail],
        "framer__i__payload": [
            *(pack(Tag, {"time": time, "channel": channel}) for time, channel in zip(times, channels, strict=True)),
            *tail,
        ],
        "framer__i_anchor": [
            *(anchor_word(frame, clock, running=clock > frame.start_clock + LAG_CLOCKS) for clock in clocks),
            *tail,
        ],
    }
    strobes = {f"framer__o_{name}": "framer__o_valid" for name in CLASSES}
    seen, caught = await play(dut, drive, ["framer__o_busy"], {"framer__o": "framer__o_valid", **strobes})

    at = np.flatnonzero(valid)
    model = frame_clicks(frame, gates, np.array([times[k] % U64 for k in at], dtype=np.uint64), channels[at])
    lit = framing[at].astype(bool)
    framed = model.framed & lit
    assert [k for k, _ in caught["framer__o"]] == [int(k) + LATENCY for k in at], "latency is not constant"
    got = unpack(Click, [word for _, word in caught["framer__o"]])
    np.testing.assert_array_equal(got["framed"], framed, f"framed: {frame}")
    np.testing.assert_array_equal(got["channel"], model.channel)
    low = (1 << smoothing.CLOCK_LOW_BITS) - 1
    np.testing.assert_array_equal(got["clock"], [times[k] // units.TICKS_PER_CLOCK & low for k in at])
    for name in ("gated", "slot_class", "pulse", "position", "window", "dwindow"):
        wrong = np.flatnonzero((got[name] != getattr(model, name).astype(np.uint64)) & framed)
        first = [(times[at[i]], clocks[at[i]], got[name][i], getattr(model, name)[i]) for i in wrong[:2]]
        assert not wrong.size, f"{name}: (time, clock, got, model) {first} of {frame}, gates {gates}"
    reference, signal = model.reference & lit, model.signal & lit
    expected = {
        "unframed": ~framed,
        "background": framed & ~model.gated,
        "signal": signal,
        "reference_q": reference & (model.band == 0),
        "reference_r": reference & (model.band == 1),
        "other": model.gated & lit & ~reference & ~signal,
    }
    for name, mask in expected.items():
        np.testing.assert_array_equal([v for _, v in caught[f"framer__o_{name}"]], mask.astype(int), name)
    # Busy while a tag is in one of the registers.
    inside = np.convolve(drive["framer__i__valid"], [0] + [1] * LATENCY)[: len(seen["framer__o_busy"])] > 0
    assert seen["framer__o_busy"][LATENCY:] == inside.astype(int).tolist()[LATENCY:]


def places(rng: np.random.Generator, frame: FrameConfig, count: int) -> list[int]:
    """Clocks around the start, window ends, wraps and anywhere within 104 days."""
    first, per = frame.start_clock + LAG_CLOCKS, frame.windows_per_dwindow
    far = ((1 << 49) << 45) // (frame.window_pulses * frame.period_q32)
    wrap = (1 << 32) - 1 if far > 1 << 32 else far
    clocks = []
    for _ in range(count):
        kind = rng.random()
        window = int(rng.choice([0, 1, per - 1, per, 3 * per - 1, wrap, int(rng.integers(far))]))
        if kind < 0.25:
            clock = first + int(rng.integers(-LAG_CLOCKS - 600, 600))
        elif kind < 0.75:
            clock = frame.close_clock(window) + int(rng.integers(-5000, 50))
        else:
            clock = first + int(rng.integers(1 << 49))
        clocks.append(max(clock, frame.start_clock - 600))
    return clocks


@cocotb.test()
async def frames(dut: Any) -> None:
    """Extreme and random frames; tags on gate edges, pulse, slot, frame and window ends; the clock wraps in between."""
    rng = generator()
    await start_clock(dut)
    for case in range(14):
        start = int(rng.choice([700, 1 << 30, (1 << 51) - 5000, 1 << 50]))
        frame = random_frame(rng, start_clock=start, extreme=case)
        await check(dut, rng, frame, places(rng, frame, 220))


@cocotb.test()
async def full_table(dut: Any) -> None:
    """A table of one entry per pulse that no power of two divides, and all of the table memory's high addresses."""
    rng = generator()
    await start_clock(dut)
    classes = [int(c) for c in SlotClass]
    table = tuple(slot_byte(q, r) for q, r in rng.choice(classes, (32_765, 2)).tolist())
    frame = FrameConfig(
        period_q32=1024 << 32, slot_pulses=1, table=table, frames_per_window=3, windows_per_dwindow=2, start_clock=5000
    )
    await check(dut, rng, frame, places(rng, frame, 400))
