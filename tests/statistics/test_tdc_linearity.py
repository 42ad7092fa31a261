"""Calibration by code density: linearity after so many hits, convergence, the test oscillator, and light that must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from run_seeds import run_seed
from tdc_figures import delay_line, inl, row
from tdc_lab import Line, batches

from twinphase_sim.physics.tap_tables import Source

LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("lanes", "hits", "reach", "source"),
    [
        (2, (1 << 21) + (1 << 17), 4.0, "pattern"),
        pytest.param(2, 10_000_000, 2.0, "pattern", marks=LONG),
        pytest.param(1, 40_000_000, 2.0, "pattern", marks=LONG),
        pytest.param(2, 10_000_000, 2.0, "twins", marks=LONG),
    ],
)
def test_inl_after_calibration(lanes: int, hits: int, reach: float, source: Source) -> None:
    """Largest |calibrated - true centre| over the codes, mean removed, one chain with table and scale as they are then.

    The table's error is a Brownian bridge of S / sqrt(n), whose largest deviation from its mean is below 1.2 of that in 99 %;
    n at the last table is 8.4e6 (1.7 ps) or, with the halved histogram, worth 3.5e7 (1.6 ps); the scale adds 0.9e-4 rms of half
    the span at the ends (0.2 or 0.35 ps). Quick: 2.1e6 hits, 3.3 ps.
    """
    seed = run_seed(2)
    got = inl(seed, lanes=lanes, hits=hits, source=source)
    row(
        f"INL after calibration, span {8 // lanes} ns{', with twins' * (source == 'twins')}",
        f"{reach:g} ps",
        f"{got.max_ps:.2f} ps, rms {got.rms_ps:.2f} (raw {got.raw_max_ps:.1f}, rms {got.raw_rms_ps:.1f})",
        f"{hits:.3g} hits",
    )
    assert got.max_ps < reach
    assert got.rms_ps < reach / 2
    assert got.max_ps < got.raw_max_ps


@pytest.mark.parametrize(("steps", "runs"), [((14, 15, 16), 24), pytest.param((14, 16, 18, 20), 40, marks=LONG)])
def test_convergence_follows_the_square_root(steps: tuple[int, ...], runs: int) -> None:
    """Mean square error of the first table, n = 2^step hits, against S^2 / (12 n).

    That is the variance of a Brownian bridge about its own mean. It is 1 +- 0.9 (the variance of the squared error is
    sum 2 / (k pi)^4 over its pairs of modes, 0.4 of the squared mean, at most 0.9 rms with the shape of the bins), so the pooled
    ratio of all runs is known to 0.9 / sqrt(runs * steps), and 5 sigma of that are the tolerance. The rounding down to
    quarter ticks adds 0.07 ps rms.
    """
    seed = run_seed(3)
    rng = np.random.default_rng(seed)
    ratios = []
    for step in steps:
        errors = []
        for run in range(runs):
            line = Line(delay_line(1000 + run), step=step, last=step)
            line.feed_uniform(rng, (1 << step) + 700)
            line.settle()
            assert line.calibrations[0].tables == 1
            errors.append(line.linearity().rms_ps)
        square = np.mean(np.square(errors))
        expected = 4000**2 / 12 / (1 << step)
        ratios.append(square / expected)
        row(
            "calibration error after the first table",
            f"{np.sqrt(expected):.2f} ps",
            f"{np.sqrt(square):.2f} ps rms",
            f"2^{step} hits, {runs} chains",
        )
    tolerance = 5 * 0.9 / np.sqrt(runs * len(steps))
    assert abs(np.mean(ratios) - 1) < tolerance
    # the law holds from the first to the last, a factor of 4 or 64 in hits
    assert abs(ratios[-1] / ratios[0] - 1) < 2 * 5 * 0.9 / np.sqrt(runs)


def oscillator_hits(
    rng: np.random.Generator, hits: int, period_ps: float, jitter_ps: float, span: float, start_ps: float
):
    """(clocks, fractions, next start): a free-running oscillator, each period with its own Gaussian jitter."""
    # kept as whole spans and a rest, so that a second of oscillation keeps its femtoseconds
    rest = start_ps + np.cumsum(np.full(hits, period_ps % span) + rng.normal(0, jitter_ps, hits))
    spans = np.floor(rest / span).astype(np.int64)
    clocks = np.arange(1, hits + 1) * int(period_ps // span) + spans
    return clocks, rest - spans * span, rest[-1] - spans[-1] * span


@pytest.mark.parametrize(("step", "reach"), [(19, 4.0), pytest.param(22, 1.5, marks=LONG)])
def test_the_test_oscillator_calibrates(step: int, reach: float) -> None:
    """A ring oscillator of about 30 MHz, not commensurate with the clock, 2 ps jitter per period: one table after 2^step hits.

    Its phases cover the span more evenly than random hits do, so the rms error stays below twice that of random ones.
    """
    seed = run_seed(4)
    rng = np.random.default_rng(seed)
    line = Line(delay_line(seed), step=step)
    start, clock = 0.0, 10
    for size in batches((1 << step) + 20_000):
        clocks, fractions, start = oscillator_hits(rng, size, 33_371.93, 2.0, line.model.span_ps, start)
        line.feed(clock + clocks, fractions)
        clock += int(clocks[-1])
    got = line.linearity()
    row(
        "INL, initial calibration by the test oscillator",
        f"rms {reach:g} ps",
        f"{got.max_ps:.2f} ps, rms {got.rms_ps:.2f}",
        f"2^{step} hits at 30 MHz, {(1 << step) / 30e6 * 1e3:.0f} ms",
    )
    assert line.calibrations[0].tables == 1
    assert got.rms_ps < reach
    assert got.rms_ps < 2 * 4000 / np.sqrt(12 << step)


def locked(rng: np.random.Generator, hits: int, span: float, phase_ps: float) -> tuple[np.ndarray, np.ndarray]:
    """Clicks of 1 GHz pulses on the TDC's own clock, 40 ps of jitter."""
    clocks = 10 + np.cumsum(3 + rng.geometric(0.05, hits))
    fractions = rng.integers(0, round(span / 1000), hits) * 1000.0 + phase_ps + rng.normal(0, 40, hits)
    return clocks, fractions


@pytest.mark.parametrize("lanes", [2, 1])
@pytest.mark.parametrize("phase_ps", [0.0, 130.0, 410.0, 777.0])
def test_pulses_on_the_clock_are_refused(lanes: int, phase_ps: float) -> None:
    """No table, no edge, and the flag says why; 2^17 hits, whose groups have 1 % noise where 50 % are allowed."""
    rng = np.random.default_rng(run_seed(5))
    line = Line(delay_line(7, lanes=lanes), step=16)
    line.feed(*line.taps.jittered(*locked(rng, (1 << 17) + 2000, line.model.span_ps, phase_ps)))
    calibration = line.calibrations[0]
    assert calibration.nonuniform
    assert not calibration.calibrated
    assert line.edges == 0
    assert line.uncalibrated == line.hits > 1 << 17


def test_hold_keeps_a_calibration_from_pulses_on_the_clock() -> None:
    """A calibrated line: with HOLD nothing moves, and no flag comes."""
    rng = np.random.default_rng(run_seed(6))
    line = Line(delay_line(8), step=16)
    line.feed_uniform(rng, (1 << 16) + 3000)
    line.settle()
    calibration = line.calibrations[0]
    table, sigma, extended = calibration.table, calibration.sigma, calibration.extended
    calibration.hold(calibration.now + 1, True)
    clocks, fractions = line.taps.jittered(*locked(rng, 200_000, line.model.span_ps, 333.0))
    line.feed(line.clock + clocks, fractions)
    line.settle()
    assert (calibration.table == table).all()
    assert not calibration.nonuniform
    assert calibration.tables == 1
    assert (calibration.sigma, calibration.extended) == (sigma, extended)


@pytest.mark.parametrize("lanes", [2, 1])
@pytest.mark.parametrize(
    "phase_ps", [0.0, 150.0, 333.0, 930.0, 950.0, *(pytest.param(p, marks=LONG) for p in np.arange(10.0, 1000.0, 20.0))]
)
def test_pulses_on_the_clock_do_not_pull_a_calibration(lanes: int, phase_ps: float) -> None:
    """Without HOLD, 1 GHz pulses with 40 ps of jitter from one hit to the next, at any phase, over 24 windows.

    The flag comes with the second window at the latest (the first has hits of before), where 150 and 940 ps are phases whose
    sum above THETA is that of uniform hits, so that only the tent's tells. Before it an even-looking window may have moved the
    scale by a quarter of 0.8 %, an error of 1/sqrt(12) of that over the span in rms (2.3 or 4.6 ps); later nothing moves.
    """
    rng = np.random.default_rng(run_seed(9))
    line = Line(delay_line(8, lanes=lanes), step=17)
    line.feed_uniform(rng, (1 << 17) + 3000)
    line.settle()
    calibration = line.calibrations[0]
    before = line.linearity().rms_ps
    flagged, worst, sigma = None, 0.0, 0
    for part in range(2 * 24):
        clocks, fractions = line.taps.jittered(*locked(rng, 1 << 13, line.model.span_ps, phase_ps))
        line.feed(line.clock + clocks, fractions)
        line.clock += int(clocks[-1])
        worst = max(worst, line.linearity().rms_ps)
        if calibration.nonuniform and flagged is None:
            flagged, sigma = (part + 1) / 2, calibration.sigma
    print(f"phase {phase_ps:g} ps: {before:.2f} ps rms before, at most {worst:.2f}, flag after {flagged} windows")
    assert flagged is not None
    assert flagged <= 2.5
    assert calibration.nonuniform
    assert calibration.tables == 1
    assert calibration.sigma == sigma
    assert worst < before + 0.002 / np.sqrt(12) * line.model.span_ps
