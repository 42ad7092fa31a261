"""Time and phase units against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twinphase_spec import units


def exact_ps(ticks: int) -> int:
    """Round half up of ticks * 125 / 128, in rationals."""
    return int((Fraction(ticks * 125, 128) + Fraction(1, 2)).__floor__())


@given(st.integers(0, 2**63 - 1))
def test_picoseconds_are_exact_for_every_time(ticks: int) -> None:
    assert units.ticks_to_ps(ticks) == exact_ps(ticks)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20))
def test_arrays_agree_with_scalars(ticks: list[int]) -> None:
    array = units.ticks_to_ps(np.array(ticks, dtype=np.int64))
    assert array.dtype == np.int64
    assert array.tolist() == [exact_ps(t) for t in ticks]


def test_one_clock_is_eight_nanoseconds() -> None:
    assert units.ticks_to_ps(units.TICKS_PER_CLOCK) == 8000
    assert units.ps_to_ticks(8000) == units.TICKS_PER_CLOCK
    assert units.seconds_to_ticks(1.0) == units.TICKS_PER_SECOND


@given(st.floats(-50, 50))
def test_turns_round_trip(radians: float) -> None:
    back = float(units.turns_to_radians(units.radians_to_turns(radians)))
    error = (back - radians + np.pi) % (2 * np.pi) - np.pi
    assert abs(error) <= np.pi / units.TURN * 1.001  # half a unit
