"""The compiled calibrator against one that goes clock by clock in plain Python, and small cases by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from calibration_oracle import ScalarCalibration

from twinphase_sim.model.timetag import calibration_kernel as kernel
from twinphase_sim.model.timetag.calibration import Calibration, kernel_constants
from twinphase_sim.model.timetag.calibration_kernel import bin_centres, is_even, span_end
from twinphase_sim.model.timetag.scale import ScaleConstants
from twinphase_spec import tdc

TAPS = 128
CONSTANTS = kernel_constants(2, TAPS, 22, 25, True, ScaleConstants.of_lanes(2))
LONGER = {"drift": 0.993, "jump": 1.03, "faster": 1.005}
MIXED = [(0.3, "even"), (0.2, "jump"), (0.1, "locked"), (0.02, "silent"), (0.38, "even")]


def stimulus(
    rng: np.random.Generator, clocks: int, lanes: int, density: float, phases: list[tuple[float, str]], bins: int = 100
):
    """Codes of a chain of ``bins`` uneven bins per span, about, and of their echoes, as far as it goes (5/4 spans); a phase (fraction of
    the time, kind) is even, locked, drift, jump, faster or silent."""
    widths = rng.uniform(0.5, 1.5, bins * 5 // 4)
    edges = np.cumsum(widths)[:-1] / widths[:bins].sum()
    hits = []
    kinds = np.repeat([kind for _, kind in phases], np.rint(np.array([f for f, _ in phases]) * clocks).astype(int))
    for kind in kinds:
        row = []
        for _ in range(lanes):
            u = rng.random()
            if kind == "locked":
                u = (u * 0.02 + 0.3) % 1
            u *= LONGER.get(kind, 1)
            code = int(np.searchsorted(edges, u)) + 3 * (u > 1 and kind == "jump")
            hit = (int(rng.random() < 0.6), code, int(np.searchsorted(edges, u + 1)))
            row.append(hit if kind != "silent" and rng.random() < density else None)
        hits.append(row)
    return hits


def with_echoes(hits: list, taps: int) -> list:
    """Hits that the next TDC clock brings another to have no echo, nor have those whose echo would be in the last of the chain's bins."""
    flat = [hit for row in hits for hit in row]
    last = max(hit[2] for hit in flat if hit is not None)
    flat = [
        hit and (*hit[:2], hit[2] if after is None and hit[2] < last else taps - 1)
        for hit, after in zip(flat, [*flat[1:], None], strict=True)
    ]
    return [list(row) for row in zip(flat[::2], flat[1::2], strict=True)]


@pytest.mark.parametrize(
    ("lanes", "step", "last", "shared", "phases", "taps"),
    [
        (1, 13, 14, False, MIXED, TAPS),
        (2, 14, 15, True, MIXED, TAPS),
        (2, 13, 13, False, MIXED, TAPS),
        (1, 14, 25, True, MIXED, TAPS),
        (2, 16, 25, True, [(0.3, "even"), (0.7, "drift")], TAPS),
        (1, 16, 16, False, [(0.5, "even"), (0.25, "jump"), (0.15, "locked"), (0.1, "even")], TAPS),
        (2, 13, 14, False, [(0.4, "even"), (0.35, "locked"), (0.25, "even")], 512),
        (2, 16, 17, True, [(0.3, "even"), (0.7, "faster")], 512),
        (2, 14, 14, False, [(0.6, "even"), (0.4, "faster")], 480),
    ],
)
def test_equals_the_clockwise_oracle(lanes: int, step: int, last: int, shared: bool, phases: list, taps: int) -> None:
    """Every y4, flag, histogram, table, sigma and dump; holds, resets, dumps, locked, drifting and jumping hits within. Taps from 448 on
    at 2 lanes have twins, with echoes and larger groups."""
    rng = np.random.default_rng(100 * lanes + step + last)
    clocks = 240_000 * (3 if taps > 256 else 1)  # of 512 codes busy times are longer
    hits = stimulus(rng, clocks, lanes, 0.8, phases, bins=taps * 25 // 32)
    twins = tdc.has_twins(taps, lanes)
    hits = with_echoes(hits, taps) if twins else [[hit and hit[:2] for hit in row] for row in hits]
    clocks = len(hits)
    events = {int(c): "dump" for c in rng.integers(0, clocks, 6)}
    events |= {20_000: "hold", 21_500: "go", clocks * 3 // 4: "reset", clocks * 3 // 4 + 3: "dump"}
    oracle = ScalarCalibration(taps, lanes, step, last, shared)
    expected, hold = [], False
    for clock, row in enumerate(hits):
        event = events.get(clock)
        hold = event == "hold" or (hold and event != "go")
        second = row[1] if lanes == 2 else None
        expected += oracle.clock(row[0], second, hold=hold, dump=event == "dump", reset=event == "reset")
    flat = np.array([(c, k, *hit) for c, row in enumerate(hits) for k, hit in enumerate(row) if hit is not None])

    model = Calibration(taps=taps, lanes=lanes, step=step, last=last, shared=shared)
    y4, calibrated = [], []

    def run_until(done: int, clock: int) -> int:
        stop = int(np.searchsorted(flat[:, 0], clock))
        answer = model.run(*flat[done:stop].T)
        y4.append(answer[0])
        calibrated.append(answer[1])
        return stop

    done = 0
    for clock in sorted(events):
        event = events[clock]
        done = run_until(done, clock + 1 if event == "dump" else clock)
        if event == "dump":
            model.request_dump(clock)
        elif event == "reset":
            model.reset(clock, clock)
        else:
            model.hold(clock, event == "hold")
    run_until(done, clocks)
    model.advance(clocks)
    assert np.concatenate(calibrated).tolist() == [answer[1] for answer in expected]
    assert np.concatenate(y4).tolist() == [answer[0] for answer in expected]
    assert model.histogram[:, :taps].tolist() == oracle.h
    assert model.echoes[:, :taps].tolist() == oracle.e
    assert model.hits == oracle.n
    print(oracle.tables, oracle.refusals, oracle.restarts, oracle.uneven_windows)
    assert (model.sigma, model.extended, model.rate) == (oracle.sigma, oracle.ext, oracle.rate)
    assert (model.calibrated, model.nonuniform, model.scale_limit) == (
        oracle.calibrated,
        oracle.nonuniform,
        oracle.limit,
    )
    assert (model.tables, model.restarts) == (oracle.tables, oracle.restarts)
    used = slice(0, 1) if shared else slice(0, 2)
    assert model.table[used, :taps].tolist() == oracle.x[used]
    dumps = model.take_dumps()
    assert [d.histogram[:, :taps].tolist() for d in dumps] == [h for h, _ in oracle.dumps]
    assert [d.table[used, :taps].tolist() for d in dumps] == [x[used] for _, x in oracle.dumps]
    assert oracle.tables > (step < 16)
    assert oracle.refusals > 0 or step > 13
    # no window ends before a table does where step is 13 or 14
    assert oracle.restarts > 0 or step < 16
    assert oracle.uneven_windows > 0 or step < 16 or phases[-1][1] in ("drift", "faster")
    assert oracle.opened_hits > 10 or phases[-1][1] != "faster" or step < 16
    assert len(dumps) > 3


def table_of(histogram: list[int]) -> np.ndarray:
    table = np.zeros(len(histogram), dtype=np.int64)
    bin_centres(np.array([histogram, [0] * len(histogram)], dtype=np.int64), sum(histogram), CONSTANTS, table)
    return table


def test_echoes_by_hand() -> None:
    """100 hits, bins of 10 in which the span ends in the middle of one: it has the centre of its hits, all of it when it is opened."""
    constants = kernel_constants(2, 512, 22, 25, True, ScaleConstants.of_lanes(2))
    counts, table = np.zeros((2, 512), dtype=np.int64), np.zeros(512, dtype=np.int64)
    histogram, echoes = counts
    histogram[:9], histogram[9], echoes[9], echoes[10:15] = 10, 10, 5, 15
    histogram[10], echoes[10] = 1, 9  # clock jitter
    histogram[0] = 9
    full = tdc.full_scale(2)
    bin_centres(counts, 100, constants, table)
    assert table[:9].tolist() == [(2 * (10 * i - (i > 0)) + 10 - (i == 0)) * full // 200 for i in range(9)]
    assert table[9] == (2 * 89 + 10) * full // 200
    assert table[10] == (2 * 104 + 10) * full // 200  # nine echoes per hit: beyond the span
    assert table[11] == (2 * 114 + 15) * full // 200
    assert table[14:].tolist() == [(2 * 159 + 15) * full // 200] + [2 * 174 * full // 200] * 497
    assert span_end(counts, 100, constants) == (9, (2 * 89 + 15) * full // 200)
    echoes[10] = 8  # not yet
    bin_centres(counts, 100, constants, table)
    assert table[10] == (2 * 104 + 1) * full // 200
    assert span_end(np.array([[1] * 512, [0] * 512]), 512, constants)[0] == kernel.NONE
    # more than another span of echoes ends at XMAX
    echoes[20] = 1000
    bin_centres(counts, 100, constants, table)
    assert table[-1] == tdc.x_max(2)


def test_bin_centres_by_hand() -> None:
    """128 equal bins over the span: 128 quarter ticks each at 4 ns; an empty one in between stands at its neighbours' border."""
    histogram = [10] * 128
    assert table_of(histogram).tolist() == [64 + 128 * i for i in range(128)]
    histogram[5] = 0
    histogram[6] = 20
    table = table_of(histogram)
    assert table[4:8].tolist() == [64 + 128 * 4, 128 * 5, 128 * 6, 64 + 128 * 7]


def test_codes_beyond_the_last_go_on_as_the_period_before() -> None:
    """Bins of 96, 160, 96, 160 .. quarter ticks, 96 of which all are seen: the others follow in the same rhythm, up to XMAX."""
    histogram = [6, 10] * 64 + [0] * 256
    table = table_of(histogram)
    assert table[:4].tolist() == [48, 176, 304, 432]
    assert table[128:384].tolist() == [
        min(tdc.x_max(2), 256 * (i // 2) + (176 if i % 2 else 48)) for i in range(128, 384)
    ]
    assert table[-1] == tdc.x_max(2)


@pytest.mark.parametrize(("seen", "whole"), [(50, False), (17, False), (16, True), (1, True)])
def test_a_last_code_that_is_hardly_reached_counts_as_full(seen: int, whole: bool) -> None:
    """16 384 hits, one per quarter tick: with 16 or less the last code's centre is 2 ps (8 quarter ticks) from the end or closer."""
    histogram = [128] * 127
    histogram[0] += (1 << 14) - sum(histogram) - seen
    table = table_of([*histogram, seen, *[0] * 128])
    end = tdc.full_scale(2)
    assert table[127] == ((5 * table[111] - table[47]) // 4 if whole else (2 * end - seen) // 2)
    assert whole == (table[127] > end)
    assert table[128] == (5 * table[112] - table[48]) // 4


def test_a_line_needs_five_periods() -> None:
    """Below code 80 nothing is continued (of such counts no table is accepted)."""
    full = tdc.full_scale(2)
    table = table_of([1, 1] + [0] * 94)
    assert table[:80].tolist() == [full // 4, 3 * full // 4] + [full] * 78
    assert table[80] == (5 * full - full // 4) // 4


@pytest.mark.parametrize(
    ("groups", "even"),
    [
        ([1, 8, 8, 8, 8, 1, 0, 0], True),
        ([1, 8, 8, 8, 1, 0, 0, 0], False),
        ([1, 8, 8, 12, 8, 1, 0, 0], True),
        ([1, 8, 8, 13, 8, 1, 0, 0], False),
        ([0, 1, 8, 8, 8, 8, 90, 0], True),
        ([1, 8, 8, 0, 8, 8, 8, 1], False),
        ([0] * 8, False),
        ([0, 0, 9, 0, 0, 0, 0, 0], False),
    ],
)
def test_even_by_hand(groups: list[int], even: bool) -> None:
    """Three halves is the largest ratio; first and last group do not count."""
    histogram = np.zeros(128, dtype=np.int64)
    histogram[3::16] = groups
    assert is_even(histogram, CONSTANTS) == even


@pytest.mark.long
def test_a_full_bin_wraps_as_its_memory_does() -> None:
    """2^25 hits on one code: the 25 bits of its bin are 0 again, and the table is refused."""
    model = Calibration(taps=TAPS, lanes=1, step=25, last=25, shared=True)
    n = 1 << 21
    zeros = np.zeros(n, dtype=np.int64)
    for batch in range(16):
        model.run(np.arange(batch * n, (batch + 1) * n), zeros, zeros, zeros + 9)
    assert model.hits == 1 << 25
    assert model.busy
    model.advance((1 << 25) + tdc.busy_clocks(7))
    assert (model.hits, model.nonuniform, model.calibrated) == (0, True, False)


def calibrated_line(scale: ScaleConstants) -> tuple[Calibration, np.random.Generator]:
    """One table of 2^16 hits on 100 bins, then free for hits."""
    model = Calibration(taps=TAPS, lanes=2, step=16, last=25, shared=True, scale=scale)
    rng = np.random.default_rng(11)
    feed(model, rng.integers(0, 100, 1 << 16))
    model.advance(model.now + model.busy_clocks + 1)
    assert model.calibrated
    return model, rng


def feed(model: Calibration, codes: np.ndarray) -> None:
    zeros = np.zeros(codes.size, dtype=np.int64)
    model.run(max(model.now, 0) + 1 + np.arange(codes.size), zeros, zeros, codes)


def loop_of(model: Calibration) -> list[int]:
    return [int(model._state[i]) for i in (kernel.MEAN, kernel.FAST, kernel.RATE, kernel.EXT, kernel.SIGMA)]


WINDOW = 1 << tdc.WINDOW_LOG


@pytest.mark.parametrize("dark_end", [True, False], ids=["above", "below"])
def test_the_bound_of_an_uneven_window_is_exact(dark_end: bool) -> None:
    """-U <= err < U is even: the same window with U at its |err| and one off; an uneven one leaves the loop as it is."""
    window = np.random.default_rng(12).integers(0, 99 if dark_end else 100, WINDOW)
    if not dark_end:
        window[:40] = 99
    exact = ScaleConstants.of_lanes(2)
    model, _ = calibrated_line(exact)
    y4, _ = model.run(np.arange(WINDOW) + model.now + 1, *np.zeros((2, WINDOW), int), window)
    err = exact.target - int(np.maximum(0, y4 - exact.theta).sum())
    assert (err > 0) == dark_end
    for bound, uneven in ((abs(err) - 1, True), (abs(err), dark_end), (abs(err) + 1, False)):
        model, _ = calibrated_line(dataclasses.replace(exact, uneven_err=bound))
        before = loop_of(model)
        feed(model, window)
        assert not model.nonuniform
        model.advance(model.now + tdc.SCALE_CLOCKS)
        assert model.nonuniform == uneven
        assert (loop_of(model) == before) == uneven


def test_uneven_windows_and_tables_by_hand() -> None:
    """The histogram starts again where light becomes uneven and where it becomes even; its flag waits for an accepted table."""
    model, rng = calibrated_line(ScaleConstants.of_lanes(2))
    after = tdc.SCALE_CLOCKS
    before = loop_of(model)

    def window(codes: np.ndarray, restarts: int) -> None:
        feed(model, codes)
        model.advance(model.now + after)
        assert model.restarts == restarts
        model.advance(model.now + model.busy_clocks)

    window(rng.integers(20, 30, WINDOW), 1)
    assert (model.hits, model.nonuniform, loop_of(model)) == (0, True, before)
    window(rng.integers(20, 30, WINDOW), 1)
    assert (model.hits, loop_of(model)) == (WINDOW, before)
    window(rng.integers(0, 100, WINDOW), 2)
    assert (model.hits, model.nonuniform) == (0, True)
    assert loop_of(model) != before
    feed(model, rng.integers(0, 100, 1 << 16))
    model.advance(model.now + model.busy_clocks + 1)
    assert (model.tables, model.nonuniform, model.restarts) == (2, False, 2)


def test_a_jump_of_the_scale_is_put_right_by_the_next_table() -> None:
    """5 % longer from one hit to the next: uneven until the next table, which is of new hits only, then even again."""
    model, rng = calibrated_line(ScaleConstants.of_lanes(2))
    feed(model, rng.integers(0, 105, WINDOW))
    model.advance(model.now + tdc.SCALE_CLOCKS)
    assert model.nonuniform
    model.advance(model.now + model.busy_clocks)
    feed(model, rng.integers(0, 105, 1 << 16))
    model.advance(model.now + model.busy_clocks + 1)
    assert (model.tables, model.nonuniform) == (2, False)
    true = (np.arange(105) + 0.5) / 105 * tdc.full_scale(2)
    # Brownian bridge of 4 S / sqrt(n), 5 sigma of its largest spread
    assert np.abs(model.table[0, :105] - true).max() < 5 * tdc.full_scale(2) / 2 / np.sqrt(1 << 16)
    feed(model, rng.integers(0, 105, 2 * WINDOW))
    model.advance(model.now + tdc.SCALE_CLOCKS)
    assert (model.nonuniform, model.restarts) == (False, 1)


@pytest.mark.parametrize(
    ("taps", "echoes"), [(512, None), (256, np.array([3]))], ids=["missing", "not of such a chain"]
)
def test_echoes_where_they_belong(taps: int, echoes: np.ndarray | None) -> None:
    one = np.array([1])
    with pytest.raises(ValueError, match=r"echoes are (None; allowed: one per hit|given; allowed: None)"):
        Calibration(taps=taps, lanes=2).run(one, one, one, one, echoes)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="step is 5 and last 4"):
        Calibration(taps=TAPS, lanes=1, step=5, last=4)
    model = Calibration(taps=TAPS, lanes=1)
    with pytest.raises(ValueError, match="a lane is 0 or 1"):
        model.run(np.array([0, 1]), np.array([0, 1]), np.array([0, 0]), np.array([0, 0]))
    with pytest.raises(ValueError, match="order of"):
        model.run(np.array([1, 1]), np.zeros(2, int), np.zeros(2, int), np.zeros(2, int))
    model.advance(10)
    with pytest.raises(ValueError, match="clock 9 after clock 10"):
        model.advance(9)
