"""Whole pulses of both arms from clicks alone: found where they tell, refused where they do not."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.batch import TAG_DTYPE, Batch
from twinphase.errors import TwinphaseError
from twinphase.measure.pulse_index import PulseIndex
from twinphase_spec.configure import frame_config
from twinphase_spec.frame import FrameConfig, SlotClass, slot_byte
from twinphase_spec.lab import load_lab
from twinphase_spec.packets import Stream

SEED = frame_config(load_lab("seed-370km"), start_clock=1 << 20)
TICKS_PER_PS = 1.024


def frame_of(classes: list[SlotClass], slot_pulses: int = 2, period_q32: int = 1024 << 32) -> FrameConfig:
    table = tuple(slot_byte(SlotClass.SIG, c) for c in classes)
    frames = -(-(1 << 27) // (len(table) * slot_pulses * 1024))
    return FrameConfig(
        period_q32=period_q32, slot_pulses=slot_pulses, table=table, frames_per_window=frames, windows_per_dwindow=2
    )


def clicks(
    rng: np.random.Generator,
    frame: FrameConfig,
    offsets: tuple[float, float],
    means: tuple[float, float, float],
    sigma: float,
) -> np.ndarray:
    """Tag times: both arms ``offsets`` periods late, ``means`` clicks per place of A, B and darkness over all frames."""
    period, length = frame.period_q32 / 2**32, frame.frame_pulses
    classes = np.repeat(np.array(frame.table) >> 4, frame.slot_pulses)
    parts = []
    for own, offset, mean in zip((SlotClass.REF_A, SlotClass.REF_B), offsets, means, strict=False):
        on = np.flatnonzero((classes == own) | (classes >= SlotClass.REF0) & (classes <= SlotClass.REF3))
        pulses = np.repeat(on, rng.poisson(mean, on.size))
        parts.append((pulses + 0.5 + offset) * period + rng.normal(0, sigma, pulses.size))
    parts.append(rng.uniform(0, length * period, rng.poisson(means[2] * length)))
    times = np.concatenate(parts)
    times += rng.integers(1, 1 << 20, times.size) * length * period
    return np.floor(times).astype(np.int64) + frame.start_clock * 8192


@settings(max_examples=25, deadline=None)
@given(a=st.floats(-60, 60), b=st.floats(-60, 60), seed=st.integers(0, 1 << 30))
def test_offsets_are_found(a: float, b: float, seed: int) -> None:
    """Any pulses and fractions, half a period too, on the seed experiment's frame; 1.3 s of its light."""
    rng = np.random.default_rng(seed)
    index = PulseIndex(SEED)
    times = clicks(rng, SEED, (a, b), (280.0, 240.0, 0.1), 70.0)
    tags = np.zeros(times.size, TAG_DTYPE)
    tags["time_ticks"], tags["channel"] = times, rng.integers(2, 4, times.size)
    index.update(Batch(records={Stream.TAG: tags}))
    for found, true in zip(index.find(), (a, b), strict=True):
        error_ps = (found.pulses - true) * 1000 + found.fraction_ps
        # Sixteenths of the period and a Gaussian of 70 ticks: 5 sigma of the standard error given.
        assert abs(error_ps) < 5 * found.error_ps + 1
        assert abs(found.fraction_ps) <= 500.001


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 30), mean=st.floats(0.5, 30))
def test_few_clicks_tell_or_are_refused(seed: int, mean: float) -> None:
    """Nothing wrong is ever said, whatever the light: e^-12 of what is said would be."""
    rng = np.random.default_rng(seed)
    index = PulseIndex(SEED)
    index.add(clicks(rng, SEED, (3.1, -7.2), (mean, mean / 2, mean / 20), 70.0))
    with suppress(TwinphaseError):
        assert [offset.pulses for offset in index.find()] == [3, -7]


def test_a_period_with_a_fraction_and_odd_frames() -> None:
    rng = np.random.default_rng(8)
    kinds = [
        SlotClass.REF0,
        SlotClass.REF_A,
        SlotClass.VAC,
        SlotClass.REF_B,
        SlotClass.REF2,
        SlotClass.GUARD,
        SlotClass.VAC,
    ]
    frame = frame_of([*kinds, SlotClass.REF_A, SlotClass.REF1, SlotClass.GUARD], period_q32=(1037 << 32) + 987_654_321)
    index = PulseIndex(frame, reach=9)
    index.add(clicks(rng, frame, (8.3, -8.4), (400.0, 400.0, 20.0), 60.0))
    assert [offset.pulses for offset in index.find()] == [8, -8]


def test_light_beyond_reach_or_of_one_arm_is_refused() -> None:
    rng = np.random.default_rng(9)
    index = PulseIndex(SEED)
    index.add(clicks(rng, SEED, (0.0, 0.0), (0.0, 0.0, 200.0), 1.0))
    with pytest.raises(TwinphaseError, match="measure longer"):
        index.find()


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ([SlotClass.REF0] * 6 + [SlotClass.REF_A] + [SlotClass.VAC] * 3, "only arm B"),
        ([SlotClass.REF_B, SlotClass.VAC] * 5, "only arm A"),
        ([SlotClass.REF_A, SlotClass.REF_B, SlotClass.VAC, SlotClass.REF0] * 4, "look the same"),
        ([SlotClass.REF_A, SlotClass.REF_B] * 6, "look the same"),
    ],
)
def test_frames_that_cannot_tell(classes: list[SlotClass], text: str) -> None:
    with pytest.raises(TwinphaseError, match=text):
        PulseIndex(frame_of(classes), reach=9)


def test_reach_fits_the_frame() -> None:
    with pytest.raises(TwinphaseError, match="allowed: 1 to 499"):
        PulseIndex(SEED, reach=500)
