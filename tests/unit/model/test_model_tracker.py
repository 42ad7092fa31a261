"""Window counts and phase tracker: bit for bit against the contract's steps, and within bounds of the float model."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.phase.cordic import rotation, vectoring
from twinphase_sim.model.phase.counts import WindowCounts, window_counts
from twinphase_sim.model.phase.float_reference import angle_difference, float_track
from twinphase_sim.model.phase.tracker import scale, track, unwrap, wrap_signed_array
from twinphase_spec.fixed import COUNT_MAX, TOTAL_MAX, wrap_signed
from twinphase_spec.frame import SlotClass

EXTREME_RATIOS = [-(2**31), 2**31 - 1, 0, 1, -1, 27_000_000]


def clicks_of(windows: list[int], channels: list[int], classes: list[int], gated: list[bool] | None = None) -> Clicks:
    size = len(windows)
    return Clicks(
        times_ticks=np.arange(size, dtype=np.uint64),
        channel=np.array(channels, dtype=np.uint8),
        framed=np.ones(size, dtype=bool),
        gated=np.ones(size, dtype=bool) if gated is None else np.array(gated, dtype=bool),
        slot_class=np.array(classes, dtype=np.uint8),
        pulse=np.arange(size, dtype=np.uint64),
        position=np.zeros(size, dtype=np.uint32),
        window=np.array(windows, dtype=np.uint32),
        dwindow=np.zeros(size, dtype=np.uint32),
    )


@given(
    events=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=80),
    swap=st.integers(0, 3),
    count_max=st.sampled_from([1, 2, 3, COUNT_MAX]),
    total_max=st.sampled_from([3, TOTAL_MAX]),
    first=st.sampled_from([0, 2**32 - 2]),
)
def test_window_counts(
    events: list[tuple[int, int, int, bool]], swap: int, count_max: int, total_max: int, first: int
) -> None:
    """Small bounds make saturation frequent; windows run across the wrap of their number; window 3 is not asked for."""
    events = sorted(events, key=lambda event: event[0])
    difference = np.zeros((2, 3, 4), dtype=int)
    total = np.zeros((2, 3), dtype=int)
    for window, channel, slot_class, gated in events:
        if window == 3 or not gated or not SlotClass.REF0 <= slot_class <= SlotClass.REF3:
            continue
        band, right = channel >> 1, channel & 1
        cell = (band, window, slot_class - SlotClass.REF0)
        change = -1 if right ^ (swap >> band & 1) else 1
        difference[cell] = max(-count_max, min(count_max, difference[cell] + change))
        total[band, window] = min(total_max, total[band, window] + 1)
    windows, channels, classes, gated_flags = ([event[i] for event in events] for i in range(4))
    windows = [(first + w) % 2**32 for w in windows]
    clicks = clicks_of(windows, channels, classes, gated_flags)
    counts = window_counts(clicks, 3, first_window=first, swap=swap, count_max=count_max, total_max=total_max)
    assert (counts.difference == difference).all()
    assert (counts.total == total).all()
    assert (counts.cosine == difference[..., 0] - difference[..., 2]).all()
    assert (counts.sine == difference[..., 3] - difference[..., 1]).all()


def test_counts_saturate_at_their_real_bounds() -> None:
    size = COUNT_MAX + 1000
    counts = window_counts(clicks_of([0] * size, [0] * size, [SlotClass.REF2] * size), 1)
    assert counts.difference[0, 0].tolist() == [0, 0, COUNT_MAX, 0]
    assert counts.cosine[0, 0] == -COUNT_MAX
    size = TOTAL_MAX + 5
    counts = window_counts(clicks_of([0] * size, [2, 3] * (size // 2), [SlotClass.REF1] * size), 1)
    assert counts.total[1, 0] == TOTAL_MAX
    assert counts.difference[1, 0].tolist() == [0, 0, 0, 0]


def scalar_track(counts: WindowCounts, ratio: int, per_dwindow: int, first: int) -> tuple[list[tuple], list[tuple]]:
    """The contract's five steps, one window at a time."""
    u = psi_r = psi_d = sx = sy = nq = 0
    phase, dphase = [], []
    for i in range(counts.total.shape[1]):
        w = first + i
        (cos_q, cos_r), (sin_q, sin_r) = counts.cosine[:, i].tolist(), counts.sine[:, i].tolist()
        n_q, n_r = counts.total[:, i].tolist()
        r_valid = (cos_r, sin_r) != (0, 0)
        if r_valid:
            psi_r = int(vectoring(cos_r, sin_r))
            u = wrap_signed(u + wrap_signed(psi_r - u, 16), 48)
        psi_rq = (u + ((u * ratio) >> 32)) % 65536
        if r_valid and (cos_q, sin_q) != (0, 0):
            x, y = rotation(cos_q << 6, sin_q << 6, -psi_rq % 65536)
            sx, sy = wrap_signed(sx + int(x), 48), wrap_signed(sy + int(y), 48)
            nq = (nq + n_q) % 2**32
        phase.append((w % 2**32, psi_r, int(r_valid), n_r, n_q, u, cos_r, sin_r))
        if w % per_dwindow == per_dwindow - 1:
            d_valid = (sx, sy) != (0, 0)
            if d_valid:
                psi_d = int(vectoring(sx, sy))
            dphase.append((w // per_dwindow % 2**32, psi_d, 2 * int(d_valid), nq, 0, sx, sy))
            sx = sy = nq = 0
    return phase, dphase


DIFFERENCE = st.sampled_from([0, 0, 0, 1, -1, 7, COUNT_MAX, -COUNT_MAX]) | st.integers(-COUNT_MAX, COUNT_MAX)
BAND = st.just([0, 0, 0, 0]) | st.lists(DIFFERENCE, min_size=4, max_size=4)
WINDOW = st.tuples(BAND, BAND).map(lambda bands: bands[0] + bands[1])


@given(
    differences=st.lists(WINDOW, max_size=24),
    total=st.sampled_from([0, 5, TOTAL_MAX]),
    ratio=st.sampled_from(EXTREME_RATIOS) | st.integers(-(2**31), 2**31 - 1),
    per_dwindow=st.integers(2, 5),
    first_dwindow=st.sampled_from([0, 2**32 - 1]),
)
def test_track_equals_the_steps_of_the_contract(
    differences: list[list[int]], total: int, ratio: int, per_dwindow: int, first_dwindow: int
) -> None:
    """Windows without clicks, d-windows without any, saturated counts, all ratios, numbers that wrap."""
    values = np.array(differences, dtype=np.int64).reshape(-1, 2, 4).transpose(1, 0, 2)
    counts = WindowCounts(difference=values, total=np.full(values.shape[:2], total, dtype=np.int64))
    first = first_dwindow * per_dwindow
    tracked = track(counts, ratio=ratio, windows_per_dwindow=per_dwindow, first_window=first)
    phase, dphase = scalar_track(counts, ratio, per_dwindow, first)
    assert tracked.phase.tolist() == phase
    assert tracked.dphase.tolist() == dphase
    for row, psi_rq, valid in zip(phase, tracked.psi_rq.tolist(), tracked.r_valid.tolist(), strict=True):
        assert psi_rq == (row[5] + ((row[5] * ratio) >> 32)) % 65536
        assert valid == bool(row[2])
    assert tracked.psi_d.tolist() == [row[1] for row in dphase]
    assert tracked.d_valid.tolist() == [bool(row[2]) for row in dphase]


@given(psi=st.lists(st.tuples(st.integers(0, 65535), st.booleans()), max_size=60))
def test_unwrap_equals_the_recurrence(psi: list[tuple[int, bool]]) -> None:
    u, expected = 0, []
    for value, valid in psi:
        u = u + wrap_signed(value - u, 16) if valid else u
        expected.append(u)
    values, valid_flags = np.array(psi, dtype=np.int64).reshape(-1, 2).T
    assert unwrap(values, valid_flags.astype(bool)).tolist() == expected


@given(
    value=st.integers(-(2**62), 2**62),
    ratio=st.sampled_from(EXTREME_RATIOS) | st.integers(-(2**31), 2**31 - 1),
)
def test_48_bits_wrap_and_scale_like_wide_integers(value: int, ratio: int) -> None:
    """U C has 80 bits; the model keeps 64 of them, which hold all that psi_rq needs."""
    u = wrap_signed_array(np.array([value]), 48)
    assert u[0] == wrap_signed(value, 48)
    assert scale(u, ratio)[0] == (int(u[0]) + ((int(u[0]) * ratio) >> 32)) % 65536


def drifting_counts(rng: np.random.Generator, windows: int, clicks: float) -> tuple[WindowCounts, np.ndarray]:
    """Poisson counts of both bands; psi_r drifts by up to 0.3 rad per window, psi_d stands at 1 rad."""
    psi_r = np.cumsum(rng.normal(0.05, 0.1, windows))
    psi = np.array([psi_r * (1 + 27_000_000 / 2**32) + 1.0, psi_r])
    step = psi[..., None] + np.arange(4) * math.pi / 2
    rate = clicks / 8 * np.stack([1 + 0.97 * np.cos(step), 1 - 0.97 * np.cos(step)])
    left, right = rng.poisson(rate * np.array([0.02, 1.0])[None, :, None, None])
    return WindowCounts(difference=left - right, total=(left + right).sum(axis=-1)), psi[0]


@pytest.mark.parametrize("clicks", [300.0, 3e4, 1e6])
def test_rounding_stays_within_the_derived_bounds(clicks: float) -> None:
    counts, _ = drifting_counts(np.random.default_rng(20240), 6000, clicks)
    tracked = track(counts, ratio=27_000_000, windows_per_dwindow=60)
    reference = float_track(counts, ratio=27_000_000, windows_per_dwindow=60)
    assert np.abs(angle_difference(tracked.psi_rq, reference.psi_rq)).max() <= reference.psi_rq_bound
    error_d = np.abs(angle_difference(tracked.psi_d, reference.psi_d))
    assert (error_d <= reference.psi_d_bound).all()
    psi_q = tracked.psi_rq + np.repeat(tracked.psi_d, 60)
    psi_q_float = reference.psi_rq + np.repeat(reference.psi_d, 60)
    bound = reference.psi_rq_bound + np.repeat(reference.psi_d_bound, 60)
    assert (np.abs(angle_difference(psi_q, psi_q_float)) <= bound).all()
    # What really happens stays far below the shot noise of psi_d (the in-band share of the clicks is 2 %).
    shot_noise = math.sqrt(2 / (60 * 0.02 * clicks)) / 0.97 * 65536 / (2 * math.pi)
    assert np.sqrt((error_d**2).mean()) < 0.02 * shot_noise + 0.7


def test_sign_convention_and_shot_noise() -> None:
    """psi_q estimates +psi. 6000 windows, 3e4 clicks: the mean error is below 0.05 rad, a wrong sign would give radians."""
    counts, psi_q = drifting_counts(np.random.default_rng(7), 6000, 3e4)
    tracked = track(counts, ratio=27_000_000, windows_per_dwindow=60)
    estimate = (tracked.psi_rq + np.repeat(tracked.psi_d, 60)) * (2 * math.pi / 65536)
    error = np.angle(np.exp(1j * (estimate - psi_q)))
    assert abs(error.mean()) < 0.01
    # sqrt(2/N)/V of the reference, and of the 60 windows' in-band counts together: 0.0084 and 0.0077 rad.
    expected = math.sqrt(2 / 3e4 + 2 / (60 * 0.02 * 3e4)) / 0.97
    assert 0.8 * expected < error.std() < 1.2 * expected


def test_no_windows() -> None:
    counts = WindowCounts(difference=np.zeros((2, 0, 4), dtype=np.int64), total=np.zeros((2, 0), dtype=np.int64))
    tracked = track(counts, ratio=5, windows_per_dwindow=2)
    assert tracked.phase.size == tracked.dphase.size == tracked.psi_rq.size == 0
