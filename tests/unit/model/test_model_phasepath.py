"""The phase's way through the server's model, bit for bit against the page's steps in plain integers, on any stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phase_compare import compare, model, settings_of
from phase_path_oracle import Tag

from twinphase_sim.model.phase.path import PathInputs

gaps = st.one_of(st.sampled_from([0, 0, 1, 1, 2, 33, 511, 512, 513]), st.integers(0, 120), st.integers(0, 4000))
drawn_tags = st.lists(
    st.tuples(
        gaps,
        st.sampled_from("rrrq"),
        st.integers(0, 1),
        st.one_of(st.none(), st.integers(0, 3)),
        st.one_of(st.just(0), st.integers(0, 65535)),
        st.sampled_from([False] * 12 + [True]),
        st.sampled_from([False] * 12 + [True]),
    ),
    max_size=150,
)
gain_words = st.tuples(
    *[st.one_of(st.integers(-(2**17), 2**17 - 1), st.sampled_from([-(2**17), 0, 2**16, 2**17 - 1]))] * 4
)


@settings(max_examples=60)
@given(
    drawn=drawn_tags,
    start=st.sampled_from([0, 1, 1000, 512 * 16 * 3, 2**51 - 6000]),
    hold=st.sampled_from([0, 96, 300]),
    ratio=st.sampled_from([0, 27_000_000, -(2**31), 2**31 - 1]),
    steps=st.sampled_from([(0, 0), (1, 0), (0, 2)]),
    later=st.tuples(*[st.sampled_from([0, 0, 1, 7, 15, 16, 31])] * 2),
    every=st.integers(0, 3),
    gains=st.tuples(gain_words, gain_words),
    longer=st.sampled_from([0, 700, 512 * 70, 512 * 150]),
    angles=st.one_of(st.just((0, 16384, 32768, 49152)), st.tuples(*[st.integers(0, 65535)] * 4)),
    table=st.one_of(st.none(), st.lists(st.integers(-(2**17), 2**17 - 1), min_size=64, max_size=64)),
)
def test_any_stream(drawn, start, hold, ratio, steps, later, every, gains, longer, angles, table) -> None:
    """Any tags at any time, with any ratio, gains and angles of the steps, also across the wrap of the clock count."""
    times = start + np.cumsum([gap for gap, *_ in drawn], dtype=np.int64)
    tags = [
        Tag(int(at), "q" if step is None else band, port, step, *rest)
        for at, (_, band, port, step, *rest) in zip(times, drawn, strict=True)
    ]
    s = settings_of(
        start=start, hold=hold, c=ratio, steps=steps, later=later, every=every, gains=gains, angles=angles, table=table
    )
    until = (tags[-1].t if tags else start) + longer
    compare(s, tags, until)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": 8}, "allowed: 2\\^9 to 2\\^16"),
        ({"steps": (7, 0)}, "at most 4 apart"),
    ],
)
def test_settings_that_the_node_does_not_have_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model(settings_of(**changes), [Tag(2000, "r", 0, 0)], 4000)


def test_inputs_are_one_per_tag() -> None:
    with pytest.raises(ValueError, match=r"late has the shape \(2,\); allowed: \(3,\)"):
        PathInputs(late=np.zeros(2, dtype=np.bool_)).column("late", 3)
