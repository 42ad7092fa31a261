"""Framer: exact arithmetic of 96 bits by wrapping 64-bit numbers, against Python's integers."""

import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twinphase_sim.model.core.framer import closed_windows, divide_period, frame_clicks
from twinphase_spec.frame import (
    FRAME_RECIPROCAL_SHIFT,
    MAX_PERIOD_TICKS,
    MIN_PERIOD_TICKS,
    PULSE_RECIPROCAL_SHIFT,
    SLOT_RECIPROCAL_SHIFT,
    FrameConfig,
    SlotClass,
    slot_byte,
)

PERIODS = st.integers(MIN_PERIOD_TICKS << 32, MAX_PERIOD_TICKS << 32)
GATES = ((100, 900), (0, 500))
TABLE = tuple(slot_byte(q, r) for q in SlotClass for r in SlotClass)


def frame_of(period_q32: int, start_clock: int = 0) -> FrameConfig:
    return FrameConfig(
        period_q32=period_q32,
        slot_pulses=7,
        table=TABLE,
        frames_per_window=400,
        windows_per_dwindow=5,
        start_clock=start_clock,
    )


@given(ticks=st.lists(st.integers(0, 2**63 - 1), max_size=30), period=PERIODS)
@example(ticks=[2**63 - 1, 2**63 - 2, 2**53 + 1, 0], period=MIN_PERIOD_TICKS << 32)
@example(ticks=[2**63 - 1], period=(MIN_PERIOD_TICKS << 32) + 1)
def test_divide_period_is_exact(ticks: list[int], period: int) -> None:
    pulse, position = divide_period(np.array(ticks, dtype=np.uint64), period)
    assert pulse.tolist() == [(t << 32) // period for t in ticks]
    assert position.tolist() == [((t << 32) % period) >> 32 for t in ticks]


@given(pulses=st.lists(st.integers(0, 2**43), min_size=1, max_size=20), period=PERIODS)
def test_divide_period_at_pulse_boundaries(pulses: list[int], period: int) -> None:
    """The tick that begins a pulse (first tick at or after n P), and the one before it."""
    ticks = [-(-n * period >> 32) + d for n in pulses for d in (0, -1) if n or not d]
    pulse, _ = divide_period(np.array(ticks, dtype=np.uint64), period)
    assert pulse.tolist() == [(t << 32) // period for t in ticks]


@given(
    start=st.integers(0, 2**51 - 1),
    since=st.lists(st.integers(-(2**62), 2**62), max_size=20),
    period=PERIODS,
    channel=st.integers(0, 3),
)
def test_fields(start: int, since: list[int], period: int, channel: int) -> None:
    """Start anywhere on the clock count, so that times wrap at 2^64 within the frame."""
    frame = frame_of(period, start)
    times = np.array([(start * 8192 + s) % 2**64 for s in since], dtype=np.uint64)
    clicks = frame_clicks(frame, GATES, times, np.full(len(since), channel, dtype=np.uint8))
    for i, s in enumerate(since):
        assert clicks.framed[i] == (s >= 0)
        if s < 0:
            assert not clicks.gated[i]
            continue
        n, remainder = divmod(s << 32, period)
        frame_number, l = divmod(n, frame.frame_pulses)  # noqa: E741
        window = frame_number // 400
        entry = TABLE[l // 7]
        slot_class = entry & 15 if channel < 2 else entry >> 4
        low, high = GATES[channel >> 1]
        assert (clicks.pulse[i], clicks.position[i]) == (n, remainder >> 32)
        assert (clicks.window[i], clicks.dwindow[i]) == (window % 2**32, window // 5 % 2**32)
        assert clicks.slot_class[i] == slot_class
        assert clicks.gated[i] == (low <= remainder >> 32 < high and slot_class != SlotClass.GUARD)
    counters = clicks.counters()
    assert sum(counters.values()) == len(since)


def test_gate_holds_its_start_and_not_its_stop() -> None:
    times = np.array([99, 100, 899, 900], dtype=np.uint64) + np.uint64(7 * 9 * 8192)  # a SIG slot of the quantum band
    clicks = frame_clicks(frame_of(8192 << 32), GATES, times, np.zeros(4, dtype=np.uint8))
    assert clicks.gated.tolist() == [False, True, True, False]
    assert clicks.signal.tolist() == clicks.gated.tolist()


def test_classes_are_counted_once() -> None:
    frame = frame_of(8192 << 32)
    pulses = np.arange(len(TABLE), dtype=np.uint64) * 7
    for channel in range(4):
        clicks = frame_clicks(
            frame, ((0, 8192), (0, 8192)), pulses * 8192 + 4000, np.full(len(TABLE), channel, dtype=np.uint8)
        )
        counters = clicks.counters()
        reference = "reference_q" if channel < 2 else "reference_r"
        assert counters[reference] == 4 * 9
        assert counters["background"] == 9
        assert counters["signal"] == (9 if channel < 2 else 0)
        assert counters["other"] == (3 * 9 if channel < 2 else 4 * 9)
        assert counters["unframed"] == 0


@given(period=PERIODS, start=st.integers(0, 2**40), window=st.integers(0, 10**6), before=st.integers(0, 3))
def test_closed_windows_is_close_clock(period: int, start: int, window: int, before: int) -> None:
    frame = frame_of(period, start)
    clock = frame.close_clock(window)
    assert closed_windows(frame, clock) == window + 1
    assert closed_windows(frame, clock - 1) == window
    assert closed_windows(frame, clock) == frame.anchor_at(clock).window
    assert closed_windows(frame, before) == 0


@given(x=st.integers(0, 2**58 - 1), period=PERIODS, short=st.integers(0, 2**24 - 1), divisor=st.integers(1, 65535))
def test_reciprocals_of_the_spec_are_one_less_at_most(x: int, period: int, short: int, divisor: int) -> None:
    assert x // period - (x * (2**PULSE_RECIPROCAL_SHIFT // period) >> PULSE_RECIPROCAL_SHIFT) in (0, 1)
    assert short // divisor - (short * (2**SLOT_RECIPROCAL_SHIFT // divisor) >> SLOT_RECIPROCAL_SHIFT) in (0, 1)
    length = max(16, divisor * 256 % 2**24)
    assert 2 * short // length - (2 * short * (2**FRAME_RECIPROCAL_SHIFT // length) >> FRAME_RECIPROCAL_SHIFT) in (0, 1)


def test_empty_and_bad_shapes() -> None:
    frame = frame_of(8192 << 32)
    clicks = frame_clicks(frame, GATES, np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint8))
    assert clicks.pulse.size == 0
    assert set(clicks.counters().values()) == {0}
    with pytest.raises(ValueError, match="equal length"):
        frame_clicks(frame, GATES, np.zeros(2, dtype=np.uint64), np.zeros(1, dtype=np.uint8))


def test_a_million_clicks_take_well_under_two_seconds() -> None:
    times = np.sort(np.random.default_rng(1).integers(2**62, 2**63, 1_000_000, dtype=np.uint64))
    began = time.process_time()
    frame_clicks(frame_of((MIN_PERIOD_TICKS << 32) + 12345), GATES, times, np.zeros(times.size, dtype=np.uint8))
    assert time.process_time() - began < 2
