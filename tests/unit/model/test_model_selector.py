"""Gates, filter and coincidences against brute force: dictionaries, Python integers, every pair of tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twinphase_sim.model.timetag.coincidence import Coincidence, add_coincidences
from twinphase_sim.model.timetag.selector import SelectorSettings, Verdict, select_tags

MASK = 2**64 - 1
CHANNELS = 4
Tags = list[tuple[int, int]]

steps = st.integers(0, 12) | st.sampled_from([2**27 - 1, 2**27, 2**27 + 1])
stream = st.tuples(
    st.integers(0, MASK), st.lists(st.tuples(steps, st.integers(0, CHANNELS - 1)), min_size=1, max_size=60)
)


def laid_out(drawn: tuple[int, list[tuple[int, int]]]) -> Tags:
    """(distance from the first, channel) in the order of the merge."""
    time, tags = 0, []
    for step, channel in drawn[1]:
        time += step
        tags.append((time, channel))
    return sorted(tags)


def arrays(base: int, tags: Tags) -> tuple[np.ndarray, np.ndarray]:
    times = np.array([(base + t) & MASK for t, _ in tags], dtype=np.uint64)
    return times, np.array([c for _, c in tags], dtype=np.uint8)


def padded(values: list[int]) -> np.ndarray:
    return np.array(values + [0] * (32 - len(values)), dtype=np.int64)


@given(
    drawn=stream,
    gate_table=st.lists(st.sampled_from([0, 0x80, 0x81, 0x82, 0x83, 0x9F, 0x01]), min_size=4, max_size=4),
    gate_from=st.lists(st.integers(0, 8), min_size=4, max_size=4),
    gate_to=st.lists(st.integers(0, 20) | st.sampled_from([2**27, 2**27 - 1, 2**28 - 1]), min_size=4, max_size=4),
    window_enable=st.integers(0, 15),
    window=st.tuples(st.integers(0, 40), st.integers(0, 200)),
    filter_mask=st.lists(st.integers(0, 15), min_size=4, max_size=4),
    filter_window=st.integers(0, 15),
    filter_depth=st.sampled_from([1, 2, 3, 5, 512]),
)
@example(
    drawn=(MASK - 2, [(0, 0), (0, 1), (5, 1), (0, 0)]), gate_table=[0x81, 0x80, 0, 0], gate_from=[0] * 4, gate_to=[5] * 4,
    window_enable=0, window=(0, 0), filter_mask=[0] * 4, filter_window=0, filter_depth=512,
)  # fmt: skip
@example(
    drawn=(9, [(0, 1), (2**27, 0), (0, 1), (2**27 + 1, 0)]), gate_table=[0x81, 0, 0, 0], gate_from=[0] * 4, gate_to=[2**28 - 1] * 4,
    window_enable=0, window=(0, 0), filter_mask=[0] * 4, filter_window=0, filter_depth=512,
)  # fmt: skip
def test_selector(
    drawn: tuple[int, list[tuple[int, int]]],
    gate_table: list[int],
    gate_from: list[int],
    gate_to: list[int],
    window_enable: int,
    window: tuple[int, int],
    filter_mask: list[int],
    filter_window: int,
    filter_depth: int,
) -> None:
    base, tags = drawn[0], laid_out(drawn)
    window_from, window_until = (base + window[0]) & MASK, (base + window[1]) & MASK
    last: dict[int, int] = {}
    gates_passed: list[int] = []
    expected = [Verdict.GATED] * len(tags)
    for n, (t, c) in enumerate(tags):
        ok = True
        if gate_table[c] & 0x80:
            distance = t - last[gate_table[c] & 31] if gate_table[c] & 31 in last else None
            ok = distance is not None and distance <= 2**27 and gate_from[c] <= distance < gate_to[c]
        if window_enable >> c & 1:
            ok = ok and window_from <= (base + t) & MASK < window_until
        last[c] = t
        if ok:
            gates_passed.append(n)
    for place, n in enumerate(gates_passed):
        t, c = tags[n]
        mask = filter_mask[c] & ~(1 << c)
        come = gates_passed[: place + filter_depth]  # the oldest and what else the lookahead holds
        near = [m for m in come if m != n and mask >> tags[m][1] & 1 and abs(tags[m][0] - t) <= filter_window]
        expected[n] = Verdict.SENT if mask == 0 or near else Verdict.FILTERED
    settings = SelectorSettings(
        gate_table=padded(gate_table),
        gate_from=padded(gate_from),
        gate_to=padded(gate_to),
        window_enable=window_enable,
        window_from=window_from,
        window_until=window_until,
        filter_mask=padded(filter_mask),
        filter_window=filter_window,
        filter_depth=filter_depth,
    )
    assert select_tags(*arrays(base, tags), settings).tolist() == [int(v) for v in expected]


@pytest.mark.parametrize(("between", "kept"), [(510, True), (511, False)])
def test_a_full_lookahead_decides_without_the_companion(between: int, kept: bool) -> None:
    """510 tags between two make 512 with both ends; one more, and the companion comes too late."""
    channels = np.array([0] + [2] * between + [1], dtype=np.uint8)
    times = np.arange(channels.size, dtype=np.uint64)
    verdicts = select_tags(times, channels, SelectorSettings(filter_mask=padded([2]), filter_window=5000))
    assert verdicts[0] == (Verdict.SENT if kept else Verdict.FILTERED)
    behind = select_tags(times, channels, SelectorSettings(filter_mask=padded([0, 1]), filter_window=5000))
    assert behind[-1] == Verdict.SENT  # a companion that came before is known however many tags ago


def test_filtered_tags_are_companions_gated_ones_are_not() -> None:
    times, channels = np.array([0, 3], dtype=np.uint64), np.array([0, 1], dtype=np.uint8)
    chain = SelectorSettings(filter_mask=padded([2, 4]), filter_window=5)  # 1 has no companion of channel 2
    assert select_tags(times, channels, chain).tolist() == [Verdict.SENT, Verdict.FILTERED]
    gated = SelectorSettings(gate_table=padded([0, 0x82]), filter_mask=padded([2]), filter_window=5)
    assert select_tags(times, channels, gated).tolist() == [Verdict.FILTERED, Verdict.GATED]


@given(
    drawn=stream,
    masks=st.lists(st.integers(0, 15) | st.just(0x80), min_size=0, max_size=4),
    windows=st.lists(st.sampled_from([0, 1, 5, 9, 30, 2**22 - 1]), min_size=4, max_size=4),
)
@example(drawn=(MASK, [(0, 0), (0, 1), (0, 0), (0, 1), (0, 2)]), masks=[3, 7, 3], windows=[0, 0, 5, 5])
def test_coincidences(drawn: tuple[int, list[tuple[int, int]]], masks: list[int], windows: list[int]) -> None:
    base, tags = drawn[0], laid_out(drawn)
    fresh: list[dict[int, int]] = [{} for _ in masks]
    expected: Tags = []
    for t, c in tags:
        expected.append((t, c))
        for v, mask in enumerate(masks):
            members = [j for j in range(8) if mask >> j & 1]
            if c not in members or len(members) < 2:
                continue
            if all(j in fresh[v] and t - fresh[v][j] <= windows[v] for j in members if j != c):
                expected.append((t, 32 + v))
                fresh[v] = {}
            else:
                fresh[v][c] = t
    coincidences = [Coincidence(mask=m, window=w) for m, w in zip(masks, windows, strict=False)]
    times, channels = add_coincidences(*arrays(base, tags), coincidences)
    found = [((int(t) - base) & MASK, int(c)) for t, c in zip(times, channels, strict=True)]
    assert found == expected


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"coincidence: window is 4194304; allowed: 0 to 4194303 ticks"):
        Coincidence(mask=3, window=1 << 22)
    with pytest.raises(ValueError, match="coincidence: mask is 0x100000000"):
        Coincidence(mask=1 << 32)
    with pytest.raises(ValueError, match="5 virtual channels; allowed: at most 4"):
        add_coincidences(*arrays(0, [(0, 0)]), [Coincidence()] * 5)
    with pytest.raises(ValueError, match=r"selector: filter_mask has shape \(4,\)"):
        SelectorSettings(filter_mask=np.zeros(4, dtype=np.int64))
    with pytest.raises(ValueError, match="filter_window is 4194304"):
        SelectorSettings(filter_window=1 << 22)
