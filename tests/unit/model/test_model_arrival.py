"""ARRIVAL records of the model against a click-by-click statement of docs/alignment.md."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.sift.arrival import arrival_records, position_bins
from twinphase_spec.arrival import interval_windows
from twinphase_spec.frame import SlotClass
from twinphase_spec.packets import ARRIVAL_DTYPE, RECORD_WORDS, Stream

rows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 8), st.booleans(), st.integers(0, 1031)), max_size=80
)


def clicks_of(values: list[tuple[int, int, int, bool, int]]) -> Clicks:
    """Clicks (window, channel, class, framed, position), none of them gated."""
    columns = np.array(values, np.int64).reshape(-1, 5).T
    zeros = np.zeros(len(values), np.uint64)
    return Clicks(
        times_ticks=zeros,
        channel=columns[1].astype(np.uint8),
        framed=columns[3].astype(bool),
        gated=np.zeros(len(values), bool),
        slot_class=columns[2].astype(np.uint8),
        pulse=zeros,
        position=columns[4].astype(np.uint32),
        window=columns[0].astype(np.uint32),
        dwindow=zeros.astype(np.uint32),
    )


@settings(max_examples=60, deadline=None)
@given(values=rows, windows=st.integers(0, 3), closed=st.integers(0, 7), period=st.sampled_from([1024, 1031, 1050]))
def test_records(values: list[tuple[int, int, int, bool, int]], windows: int, closed: int, period: int) -> None:
    records = arrival_records(clicks_of(values), (period << 32) + 77, windows, closed)
    expected = []
    for interval in range(closed // windows if windows else 0):
        for place in range(4):
            total, bins = 0, [0] * 8
            for window, channel, slot_class, framed, position in values:
                arm = {SlotClass.REF_A: 0, SlotClass.REF_B: 1}.get(slot_class)
                if framed and arm is not None and window // windows == interval and 2 * (channel // 2) + arm == place:
                    total += position
                    left, number = position, 0
                    for half in (period // 2, period // 4, period // 8):
                        number *= 2
                        if left >= half:
                            left, number = left - half, number + 1
                    bins[number] += 1
            expected.append((interval * windows + windows - 1, place, total, *bins))
    assert [tuple(record) for record in records.tolist()] == expected


@pytest.mark.parametrize("period", [1024, 8192, (1 << 17) - 1])
def test_bins_are_eighths(period: int) -> None:
    """All eight, none wider or narrower than an eighth by more than the rounding of three halves and the last tick."""
    positions = np.arange(period + 1)
    bins = position_bins(positions, period << 32)
    assert (np.diff(bins) >= 0).all()
    sizes = np.bincount(bins)
    assert sizes.size == 8
    assert abs(sizes - period / 8).max() < 9


def test_record_fits_its_stream_and_intervals_do_not_wrap() -> None:
    assert ARRIVAL_DTYPE.itemsize == 4 * RECORD_WORDS[Stream.ARRIVAL]
    assert interval_windows(102_400_000, 1_024_000_000_000) == 200
    assert interval_windows(1 << 40, 1_024_000_000_000) == 1
    assert interval_windows(1, 1_024_000_000_000) == 65_535
