"""The frame's closed form: anchors, reciprocals, closing clocks, refusals."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinphase_spec.frame import LAG_CLOCKS, MIN_PERIOD_TICKS, FrameConfig, SlotClass, slot_byte

SIG = slot_byte(SlotClass.SIG, SlotClass.REF0)


def make(**changes: object) -> FrameConfig:
    values: dict[str, object] = {
        "period_q32": 1024 << 32,
        "slot_pulses": 8,
        "table": (SIG,) * 125,
        "frames_per_window": 150,
        "windows_per_dwindow": 40,
    }
    return FrameConfig(**{**values, **changes})  # type: ignore[arg-type]


def of_slots(slots: int, **changes: int) -> FrameConfig:
    """So many slots, or as many more as two clocks take."""
    least = -(-(16384 << 32) // (changes["period_q32"] * changes["slot_pulses"]))
    return make(table=(SIG,) * max(slots, least), **changes)


frames = st.builds(
    of_slots,
    slots=st.integers(16, 300),
    period_q32=st.integers(MIN_PERIOD_TICKS << 32, 131071 << 32),
    slot_pulses=st.integers(1, 500),
    frames_per_window=st.integers(5000, 1 << 23),
    windows_per_dwindow=st.integers(2, 128),
    start_clock=st.integers(0, 1 << 40),
)


@given(frames, st.integers(0, 1 << 45))
def test_anchor_is_the_exact_position(frame: FrameConfig, clocks: int) -> None:
    anchor = frame.anchor_at(frame.start_clock + LAG_CLOCKS + clocks)
    ticks = anchor.pulse * Fraction(frame.period_q32, 1 << 32) + Fraction(anchor.remainder, 1 << 32)
    if clocks * 8192 << 32 < frame.period_q32 << 56:  # before the pulse counter wraps
        assert ticks == clocks * 8192
    assert 0 <= anchor.remainder < frame.period_q32
    assert anchor.frame_pulse < frame.frame_pulses


@given(frames, st.integers(0, 1 << 20))
def test_close_clock_is_the_first_clock_of_the_next_window(frame: FrameConfig, window: int) -> None:
    clock = frame.close_clock(window)
    assert frame.anchor_at(clock).window == (window + 1) % 2**32
    assert frame.anchor_at(clock - 1).window == window


@given(frames, st.data())
def test_reciprocals_give_the_quotient_or_one_less(frame: FrameConfig, data: st.DataObject) -> None:
    for divisor, reciprocal, bits in (
        (frame.period_q32, frame.pulse_reciprocal, 58),
        (frame.frame_pulses, frame.frame_reciprocal, 25),
        (frame.slot_pulses, frame.slot_reciprocal, 24),
    ):
        x = data.draw(st.integers(0, (1 << bits) - 1))
        assert x // divisor - (x * reciprocal >> bits) in (0, 1)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"period_q32": (MIN_PERIOD_TICKS << 32) - 1}, "period_q32"),
        ({"period_q32": 1024 << 31, "table": (SIG,), "slot_pulses": 31}, "slots times slot_pulses"),
        ({"slot_pulses": 0}, "slot_pulses"),
        ({"table": ()}, "table length"),
        ({"table": (9,)}, r"table\[0\]"),
        ({"table": (SIG,), "slot_pulses": 15}, "slots times slot_pulses"),
        ({"frames_per_window": 0}, "frames_per_window"),
        ({"frames_per_window": 10}, "window length in ticks"),
        ({"windows_per_dwindow": 1}, "windows_per_dwindow"),
        ({"start_clock": -1}, "start_clock"),
    ],
)
def test_bad_frames_are_refused_by_name(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ValueError, match=f"frame: {key} is .*; allowed: "):
        make(**changes)
