"""Frames, register words and click arrays for the benches."""

from __future__ import annotations

import numpy as np

from twinphase_hdl.types import GridConfig
from twinphase_spec.frame import MAX_PERIOD_TICKS, MIN_FRAME_PULSES, MIN_PERIOD_TICKS, FrameConfig, SlotClass, slot_byte
from twinphase_spec.units import TICKS_PER_CLOCK
from vectors import pack

PERIODS_Q32 = (
    MIN_PERIOD_TICKS << 32,
    MAX_PERIOD_TICKS << 32,
    8192 << 32,
    (8192 << 32) // 3,
    (MAX_PERIOD_TICKS << 32) - 1,
    (MIN_PERIOD_TICKS << 32) + 1,
)
WINDOW_TICKS = 1 << 26


def random_frame(rng: np.random.Generator, *, start_clock: int = 0, extreme: int | None = None) -> FrameConfig:
    """A valid frame; ``extreme`` picks among the extreme periods, slot lengths and table lengths (None: random)."""
    if extreme is not None and extreme < len(PERIODS_Q32):
        period = PERIODS_Q32[extreme]
    else:
        period = int(rng.integers(MIN_PERIOD_TICKS << 32, MAX_PERIOD_TICKS << 32))
    slot_pulses = int(rng.choice([1, 1, 2, 3, 200, int(rng.integers(1, 3000)), 65535]))
    two_clocks = -(-(2 * TICKS_PER_CLOCK << 32) // period)
    slots = max(int(rng.integers(1, 40)), -(-max(MIN_FRAME_PULSES, two_clocks) // slot_pulses))
    classes = [int(c) for c in SlotClass]
    window_frames = -(-(WINDOW_TICKS << 32) // (slots * slot_pulses * period))
    return FrameConfig(
        period_q32=period,
        slot_pulses=slot_pulses,
        table=tuple(
            slot_byte(SlotClass(int(rng.choice(classes))), SlotClass(int(rng.choice(classes)))) for _ in range(slots)
        ),
        frames_per_window=window_frames + int(rng.choice([0, 1, int(rng.integers(100))])),
        windows_per_dwindow=int(rng.choice([2, 3, 128])),
        start_clock=start_clock,
    )


def grid_word(frame: FrameConfig) -> int:
    """The packed GridConfig of a frame."""
    names = "start_clock step_pulses step_remainder pulse_reciprocal frame_pulses frame_reciprocal slot_pulses"
    names += " slot_reciprocal frames_per_window windows_per_dwindow"
    return pack(GridConfig, {"period": frame.period_q32, **{name: getattr(frame, name) for name in names.split()}})
