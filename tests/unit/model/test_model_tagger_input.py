"""Input channel against a scalar statement of the contract, with Python integers and one edge at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twinphase_sim.model.timetag.input import Fate, InputSettings, check_edges, pulser_edges, tag_inputs

MASK = 2**64 - 1


def scalar(
    edges: list[int], settings: dict[str, Any], overrun: list[bool], room: list[bool]
) -> tuple[list[Fate], list[int]]:
    """Times do not wrap in here. ``room`` is consumed edge by edge as edges reach the queue."""
    fates: list[Fate] = []
    times: list[int] = []
    last: int | None = None
    accepted = 0
    queue = iter(room)
    for t0, full in zip(edges, overrun, strict=True):
        if full:
            fates.append(Fate.OVERRUN)
            continue
        distance = None if last is None else t0 - last
        if distance is not None and distance < settings["dead_time"]:
            fates.append(Fate.DEAD)
            continue
        if distance is not None and settings["veto_from"] <= distance < settings["veto_to"]:
            fates.append(Fate.VETOED)
            continue
        last = t0
        accepted += 1
        if settings["divider"] > 1 and (accepted - 1) % settings["divider"]:
            fates.append(Fate.DIVIDED)
            continue
        far = distance is None or distance >= 2**26
        i = 63 if far or distance is None else min(distance >> settings["walk_shift"], 63)
        t2 = t0 + settings["walk"][i] + settings["delay"]
        if not next(queue):
            fates.append(Fate.DROPPED)
            continue
        times.append(max([t2, *times[-1:]]))
        fates.append(Fate.QUEUED)
    return fates, [t & MASK for t in times]


settings_strategy = st.fixed_dictionaries(
    {
        "dead_time": st.sampled_from([0, 1, 7, 40, 2**26 - 1]) | st.integers(0, 9),
        "veto_from": st.integers(0, 9) | st.integers(0, 60),
        "veto_to": st.sampled_from([0, 2**26 - 1]) | st.integers(5, 12) | st.integers(0, 90),
        "divider": st.sampled_from([0, 1, 2, 3, 65535]),
        "walk_shift": st.sampled_from([0, 1, 3, 20, 21, 31]),
        "walk": st.lists(st.integers(-(2**11), 2**11 - 1), min_size=64, max_size=64),
        "delay": st.sampled_from([-(2**21), 0, 2**21 - 1]) | st.integers(-50, 50),
    }
)
PLAIN = {
    "dead_time": 0, "veto_from": 0, "veto_to": 0, "divider": 1, "walk_shift": 0, "walk": [0] * 64, "delay": 0,
}  # fmt: skip


@given(
    first=st.integers(0, MASK),
    steps=st.lists(
        st.integers(1, 9)
        | st.integers(1, 80)
        | st.sampled_from([2**26 - 1, 2**26, 2**26 + 1, 2**36 - 5, 2**36 + 3, 2**40]),
        max_size=40,
    ),
    settings=settings_strategy,
    flags=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=41, max_size=41),
)
@example(first=MASK - 5, steps=[3, 3, 3, 2**26], settings=PLAIN | {"dead_time": 6}, flags=[(False, True)] * 41)
@example(first=5, steps=[20, 20], settings=PLAIN | {"walk": [9] * 20 + [-900] * 44}, flags=[(False, True)] * 41)
def test_every_edge_has_one_fate(
    first: int, steps: list[int], settings: dict[str, Any], flags: list[tuple[bool, bool]]
) -> None:
    edges = [first]
    for step in steps:
        edges.append(edges[-1] + step)
    overrun = [a and b for a, b in flags[: len(edges)]]
    room = [b for _, b in flags]
    fates, times = scalar(edges, settings, overrun, room)
    reaching = sum(fate in (Fate.QUEUED, Fate.DROPPED) for fate in fates)
    made = tag_inputs(
        np.array([t & MASK for t in edges], dtype=np.uint64),
        InputSettings(**settings | {"walk": np.array(settings["walk"])}),
        overrun=np.array(overrun),
        room=np.array(room[:reaching], dtype=bool),
    )
    assert made.fates.tolist() == [int(fate) for fate in fates]
    assert made.times_ticks.tolist() == times
    assert sum(made.count(fate) for fate in Fate) == len(edges)


def test_limits_of_dead_time_and_veto() -> None:
    """Below the dead time: dead; from VETO_FROM to before VETO_TO: vetoed; each pair of edges is far from the others."""
    settings = InputSettings(dead_time=10, veto_from=20, veto_to=30)
    distances = {9: Fate.DEAD, 10: Fate.QUEUED, 19: Fate.QUEUED, 20: Fate.VETOED, 29: Fate.VETOED, 30: Fate.QUEUED}
    edges = [(k << 20) + extra for k, distance in enumerate(distances) for extra in (0, distance)]
    fates = tag_inputs(np.array(edges, dtype=np.uint64), settings).fates
    assert fates[::2].tolist() == [Fate.QUEUED] * len(distances)
    assert fates[1::2].tolist() == list(distances.values())


def test_silence_of_any_length_keeps_times() -> None:
    """40 ms are more than half of 2^36 ticks: a time compared on 36 bits would seem to go back."""
    edges = np.array([1 << 20, (1 << 20) + 41_000_000_000, (1 << 20) + 3 * 10**12], dtype=np.uint64)
    assert tag_inputs(edges, InputSettings()).times_ticks.tolist() == edges.tolist()


def test_a_dropped_edge_does_not_hold_later_ones_back() -> None:
    walk = np.zeros(64, dtype=np.int64)
    walk[1] = 2000
    edges = np.array([0, 9_000, 9_500 + 8192], dtype=np.uint64)
    settings = InputSettings(walk=walk, walk_shift=13, delay=0)
    # distances 9000 and 8692: both walk by 2000; without the drop the third is behind the second anyway
    assert tag_inputs(edges, settings).times_ticks.tolist() == [0, 11_000, 19_692]
    steep = InputSettings(walk=np.where(np.arange(64) == 0, 2000, walk * 0), walk_shift=9)
    close = np.array([1 << 40, (1 << 40) + 500, (1 << 40) + 1_100], dtype=np.uint64)
    assert (tag_inputs(close, steep).times_ticks - close[0]).tolist() == [0, 2_500, 2_500]
    room = np.array([True, False, True])
    assert (tag_inputs(close, steep, room=room).times_ticks - close[0]).tolist() == [0, 1_100]


def test_nothing_gives_nothing() -> None:
    made = tag_inputs(np.empty(0, dtype=np.uint64), InputSettings())
    assert (made.fates.size, made.times_ticks.size) == (0, 0)
    lost = tag_inputs(np.arange(3, dtype=np.uint64), InputSettings(), overrun=np.ones(3, dtype=bool))
    assert lost.count(Fate.OVERRUN) == 3


def test_pulser_edges() -> None:
    assert pulser_edges(10, 7, 4, 25).tolist() == [4 * 8192 + 7, 14 * 8192 + 7, 24 * 8192 + 7]
    assert pulser_edges(10, 7, 4, 24).size == 2
    assert pulser_edges(2, 0, 9, 3).size == 0
    for period, fine in ((1, 0), (2, 8192), (2, -1)):
        with pytest.raises(ValueError, match=r"^test pulser: period .* allowed: at least 2, and 0 to 8191$"):
            pulser_edges(period, fine, 0, 10)


def test_edges_keep_to_the_lanes() -> None:
    close = np.array([0, 4096, 8192], dtype=np.uint64)
    check_edges(close, 2, 0)
    with pytest.raises(ValueError, match=r"edge 1 of channel 3 .* one edge per 8192 ticks \(lanes = 1\)"):
        check_edges(close, 1, 3)
    check_edges(np.array([MASK - 10_000, MASK, 0, 9000], dtype=np.uint64), 1, 0)  # the time wraps
    with pytest.raises(ValueError, match="one edge per 4096"):
        check_edges(close[::-1].copy(), 2, 0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dead_time": 2**26}, "dead_time is 67108864; allowed: 0 to 67108863"),
        ({"delay": -(2**21) - 1}, "delay is -2097153; allowed: -2097152 to 2097151"),
        ({"divider": 65536}, "divider is 65536"),
        ({"walk": np.full(64, 2048)}, "walk has shape"),
        ({"walk": np.zeros(63, dtype=np.int64)}, "walk has shape"),
    ],
)
def test_settings_that_no_register_holds_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^input channel: {says}"):
        InputSettings(**changes)


def test_flags_must_fit() -> None:
    edges = np.array([0, 9000], dtype=np.uint64)
    with pytest.raises(ValueError, match="overrun has 3 flags; allowed: 2"):
        tag_inputs(edges, InputSettings(), overrun=np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="room has 2 flags; allowed: 1"):
        tag_inputs(edges, InputSettings(divider=2), room=np.ones(2, dtype=bool))
