"""Dead time, delay, queue replay and merge against scalar references."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twinphase_sim.model.timetag.channel import tag_edges
from twinphase_sim.model.timetag.merge import merge_tags

MASK = 2**64 - 1


def scalar_accept(edges: list[int], dead_time: int) -> list[bool]:
    accepted, last = [], None
    for t in edges:
        alive = last is None or (t - last) & MASK >= dead_time
        accepted.append(alive)
        if alive:
            last = t
    return accepted


@given(
    first=st.integers(0, MASK),
    steps=st.lists(st.integers(1, 40), max_size=40),
    dead_time=st.integers(0, 60),
    delay=st.integers(-(2**21), 2**21 - 1),
)
@example(first=MASK - 5, steps=[3, 3, 3], dead_time=6, delay=-10)
@example(first=0, steps=[10, 10], dead_time=10, delay=0)
@example(first=0, steps=[10, 9, 1], dead_time=11, delay=-(2**21))
def test_dead_time_and_delay(first: int, steps: list[int], dead_time: int, delay: int) -> None:
    edges = [first]
    for step in steps:
        edges.append((edges[-1] + step) & MASK)
    tagged = tag_edges(np.array(edges, dtype=np.uint64), dead_time, delay)
    accepted = scalar_accept(edges, dead_time)
    assert tagged.accepted.tolist() == accepted
    assert tagged.times_ticks.tolist() == [(t + delay) & MASK for t, ok in zip(edges, accepted, strict=True) if ok]
    assert (tagged.seen, tagged.dead, tagged.dropped) == (len(edges), accepted.count(False), 0)


def test_no_edges() -> None:
    tagged = tag_edges(np.zeros(0, dtype=np.uint64), 100, 5)
    assert (tagged.seen, tagged.dead, tagged.dropped, tagged.times_ticks.size) == (0, 0, 0, 0)


def test_a_dropped_edge_starts_the_dead_time() -> None:
    edges = np.array([0, 100, 150, 200], dtype=np.uint64)
    tagged = tag_edges(edges, 100, 0, room=np.array([True, False, True]))
    assert tagged.accepted.tolist() == [True, True, False, True]
    assert tagged.times_ticks.tolist() == [0, 200]
    assert (tagged.dead, tagged.dropped) == (1, 1)
    with pytest.raises(ValueError, match="room has 4 flags"):
        tag_edges(edges, 100, 0, room=np.ones(4, dtype=bool))


@given(
    base=st.integers(0, MASK),
    tags=st.lists(st.lists(st.integers(0, 30), max_size=20, unique=True).map(sorted), min_size=4, max_size=4),
)
@example(base=MASK - 3, tags=[[3, 4, 9], [3, 4, 9], [0, 9], []])
def test_merge_order(base: int, tags: list[list[int]]) -> None:
    """Close together, so that equal times abound, and across the wrap of the time."""
    times, channels = merge_tags([np.array([(base + t) & MASK for t in own], dtype=np.uint64) for own in tags])
    expected = sorted((t, c) for c, own in enumerate(tags) for t in own)
    assert [((int(t) - base) & MASK, int(c)) for t, c in zip(times, channels, strict=True)] == expected
