"""Tap encoder, fine time and delay line by hand, and the encoder against a scalar reading of the contract."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinphase_sim.model.timetag.calibration import Calibration
from twinphase_sim.model.timetag.delayline import DelayLine
from twinphase_sim.model.timetag.finetime import elapsed_ticks, fine_ticks, scaled
from twinphase_sim.model.timetag.taps import Hits, TapEncoder, encode_taps
from twinphase_spec import tdc

TAPS = 64


def front(length: int, polarity: int = 1, taps: int = TAPS) -> list[int]:
    """Taps of which the first ``length`` show the polarity."""
    return [polarity if i < length else 1 - polarity for i in range(taps)]


def test_thermometer_bubbles_and_polarity() -> None:
    rows = [front(20), front(64), front(7, 0), front(64, 0), front(1)]
    rows[0][18], rows[0][23] = 0, 1  # a bubble moves nothing
    hits = encode_taps(np.array(rows))
    assert hits.clocks.tolist() == [0, 2, 4]
    assert hits.polarities.tolist() == [1, 0, 1]
    assert hits.codes.ravel().tolist() == [19, 6, 0]
    assert hits.runt_clocks.size == 0


def test_far_taps_of_the_hit_before_do_not_count() -> None:
    """Hits in neighbouring clocks: the second front is at tap 5, the first one at tap 40, and what lies beyond agrees again."""
    first = front(10)
    second = [0] * 5 + [1] * 35 + [0] * 24
    hits = encode_taps(np.array([first, second]))
    assert hits.codes.ravel().tolist() == [9, 4]
    # fronts closer than two groups may leave none empty, and then all agreeing taps count
    assert encode_taps(np.array([first, [0] * 5 + [1] * 26 + [0] * 33])).codes.ravel().tolist() == [9, 4 + 33]
    assert encode_taps(np.array([first, [0] * 17 + [1] * 30 + [0] * 17])).codes.ravel().tolist() == [9, 16 + 17]


def test_runts() -> None:
    """Two toggles in one clock change far taps only; right behind a hit they are not seen."""
    quiet, pair, full = [0] * TAPS, [0] * 5 + [1] * 6 + [0] * 53, front(64)
    hits = encode_taps(np.array([quiet, pair, quiet, pair, pair, front(9), front(50), front(50), full]))
    assert hits.clocks.tolist() == [5]
    assert hits.runt_clocks.tolist() == [1, 3, 4, 7]


def scalar(rows: np.ndarray) -> tuple[list, list]:
    """(hits, runts) of vectors (clocks, chains, taps)."""
    hits, runts, before, hit_before = [], [], 0, False
    for k, chains in enumerate(rows):
        p = int(chains[0][0])
        hit = p != before
        if hit:
            codes = []
            for taps in chains:
                groups = [[i for i in range(max(1, g), g + 16)] for g in range(0, len(taps), 16)]
                counts = [sum(int(taps[i]) == p for i in group) for group in groups]
                codes.append(sum(counts[: counts.index(0)] if 0 in counts else counts))
            hits.append((k, p, codes))
        elif not hit_before and any(int(t) != p for t in chains[0]):
            runts.append(k)
        before, hit_before = p, hit
    return hits, runts


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([0.02, 0.3, 0.5, 0.97]),
    st.lists(st.integers(0, 20), max_size=3),
)
def test_any_taps_in_any_batches(seed: int, chains: int, ones: float, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.random((20, chains, 48)) < ones).astype(np.uint8)
    rows[rng.random(20) < 0.4] = rng.integers(0, 2)
    encoder = TapEncoder(taps=48, chains=chains)
    parts = [encoder.encode(part) for part in np.split(rows, sorted(cuts))]
    found = [
        (k, p, c)
        for h in parts
        for k, p, c in zip(h.clocks.tolist(), h.polarities.tolist(), h.codes.tolist(), strict=True)
    ]
    runts = [k for h in parts for k in h.runt_clocks.tolist()]
    assert (found, runts) == scalar(rows)


def test_fine_time_by_hand() -> None:
    assert (scaled(1000, 0), scaled(1000, 1 << 15), scaled(1000, -1), scaled(0, -5)) == (1000, 1125, 999, 0)
    y4 = np.array([[0], [1], [2], [5], [6], [16384], [16390], [40000]])
    assert elapsed_ticks(y4, lanes=2).tolist() == [1, 1, 1, 1, 2, 4096, 4096, 4096]
    assert elapsed_ticks(np.array([[10, 11], [9, 10]]), lanes=1).tolist() == [3, 2]
    assert elapsed_ticks(np.array([[8, 9, 8, 9]]), lanes=1).tolist() == [2]
    assert elapsed_ticks(np.array([[8, 9] * 4, [10] * 8, [9] * 7 + [16]]), lanes=1).tolist() == [2, 3, 2]
    assert fine_ticks(y4[-1:], np.array([0]), lanes=2).tolist() == [0]
    assert fine_ticks(y4[:1], np.array([1]), lanes=2).tolist() == [8191]
    assert fine_ticks(y4[:1], np.array([0]), lanes=1).tolist() == [8191]


def test_a_channel_needs_all_of_its_chains() -> None:
    """One chain's calibrator is reset: hits give no edge and are counted until it has a table again."""
    rng = np.random.default_rng(5)
    lines = [Calibration(taps=128, lanes=2, step=13, last=14, shared=True) for _ in range(2)]
    line = DelayLine(lines)

    def hits(first: int, count: int) -> Hits:
        codes = rng.integers(0, 112, (count, 2)).astype(np.uint16)
        return Hits(
            clocks=first + np.arange(count),
            polarities=np.zeros(count, np.uint8),
            codes=codes,
            runt_clocks=np.zeros(0, np.int64),
        )

    n = 2 * (1 << 13)
    edges = line.edges(hits(0, n))
    assert (edges.uncalibrated, edges.clocks.size) == (n, 0)
    busy = tdc.busy_clocks(7)
    edges = line.edges(hits(n, 2 * busy + 200))
    assert (edges.uncalibrated, edges.clocks.size) == (2 * busy, 200)
    assert (edges.times_ticks >> 13).tolist() == edges.clocks.tolist()
    assert (edges.fine // 4096 == edges.lanes).all()
    lines[1].reset(int(edges.clocks[-1]) + 1, int(edges.clocks[-1]) + 5)
    edges = line.edges(hits(2 * (int(edges.clocks[-1]) + 1), 50))
    assert (edges.uncalibrated, edges.clocks.size) == (50, 0)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="taps is 40"):
        TapEncoder(taps=40)
    with pytest.raises(ValueError, match="chains is 3"):
        TapEncoder(taps=64, chains=3)
    with pytest.raises(ValueError, match="allowed: \\(clocks, 2, 64\\)"):
        TapEncoder(taps=64, chains=2).encode(np.zeros((4, 1, 64)))
    with pytest.raises(ValueError, match="3 calibrations"):
        DelayLine([Calibration(taps=64, lanes=1)] * 3)
    with pytest.raises(ValueError, match="chains is 3"):
        elapsed_ticks(np.zeros((1, 3), np.int64), lanes=1)
