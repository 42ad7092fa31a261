"""What the tests of this folder share: running a bench, random frames, register values."""

import dataclasses
import random
from collections.abc import Callable

from amaranth.sim import Simulator

from twinphase_spec.frame import MIN_FRAME_PULSES, MIN_PERIOD_TICKS, Anchor, FrameConfig, SlotClass, slot_byte


def simulate(component, bench: Callable) -> None:
    """Runs ``bench`` (an async function of the context) on ``component`` until it ends."""
    simulator = Simulator(component)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()


def random_frame(rng: random.Random, start_clock: int, **fixed: int) -> FrameConfig:
    """A valid frame, extreme periods and slot lengths included."""
    period = fixed.get("period_q32") or rng.choice(
        [
            *(MIN_PERIOD_TICKS << 32, (8192 << 32) // 20, 1024 << 32, 8192 << 32, 131071 << 32, (8192 << 32) // 3),
            rng.randrange(MIN_PERIOD_TICKS << 32, 131071 << 32),
        ]
    )
    slot_pulses = rng.choice([1, 1, 2, 3, 200, rng.randrange(1, 3000)])
    slots = rng.randrange(1, 40)
    while slots * slot_pulses < MIN_FRAME_PULSES or slots * slot_pulses * period < 16384 << 32:
        slots += 1
    classes = list(SlotClass)
    least = -(-(1 << 58) // (slots * slot_pulses * period))
    return FrameConfig(
        period_q32=period,
        slot_pulses=slot_pulses,
        table=tuple(slot_byte(rng.choice(classes), rng.choice(classes)) for _ in range(slots)),
        frames_per_window=least + rng.choice([0, 1, rng.randrange(100)]),
        windows_per_dwindow=rng.choice([2, 3, 128]),
        start_clock=start_clock,
    )


def grid(config: FrameConfig) -> dict[str, int]:
    """The members of GridConfig."""
    names = "start_clock step_pulses step_remainder pulse_reciprocal frame_pulses frame_reciprocal slot_pulses"
    names += " slot_reciprocal frames_per_window windows_per_dwindow"
    return {"period": config.period_q32, **{name: getattr(config, name) for name in names.split()}}


def anchor_fields(anchor: Anchor) -> dict[str, int]:
    return dataclasses.asdict(anchor)
