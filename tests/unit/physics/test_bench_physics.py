"""Edges of a bench: the same however a run is cut, never two in one clock, detectors as a scalar statement has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.physics.bench import BenchEdges, BenchPhysics, _detect
from twinphase_sim.physics.bench_expect import delay_density, detector_rates, g2
from twinphase_sim.physics.bench_sources import BLOCK_TICKS, pulses_between
from twinphase_sim.physics.detectors import NEVER
from twinphase_spec.bench import Bench, Periodic, load_bench

MILLISECOND = 125_000


def hostile() -> Bench:
    """Everything at once and too bright: jitter beyond the dead time, after-pulses, long lifetimes, 50 MHz on a pin."""
    channels = [{"number": number} for number in (0, 3, 5)]
    sources = [
        {"kind": "poisson", "rate_hz": 2e7, "to": {"ch0": 0.5, "ch3": 0.5}},
        {
            "kind": "pulsed",
            "rate_hz": 7.77e7,
            "photons": 0.2,
            "jitter_ps": 1e5,
            "lifetime_ns": 5000.0,
            "to": {"ch0": 1.0},
        },
        {"kind": "emitter", "excitation_hz": 3e6, "lifetime_ns": 400.0, "to": {"ch0": 0.5, "ch3": 0.5}},
        {"kind": "emitter", "excitation_hz": 100.0, "lifetime_ns": 4.0, "to": {"ch3": 1.0}},
        {"kind": "thermal", "rate_hz": 1e6, "coherence_ns": 1e6, "to": {"ch0": 0.5, "ch3": 0.5}},
        {"kind": "pairs", "rate_hz": 1e6, "to": ["ch3", "ch0"], "jitter_ps": 1e5},
        {"kind": "periodic", "rate_hz": 5e7, "channel": "ch5", "offset_ps": -1e6, "jitter_ps": 700.0},
    ]
    detectors = [
        {"channel": 0, "dead_time_ns": 16.0, "jitter_ps": 1e5, "offset_ps": 1e6, "afterpulse_probability": 0.5},
        {"channel": 3, "dead_time_ns": 20.0, "offset_ps": -1e6, "afterpulse_probability": 0.5, "afterpulse_delay_ns": 9e5},
    ]  # fmt: skip
    tagger = {"name": "hostile", "description": "", "channels": channels}
    tables = {"name": "hostile", "description": "", "tagger": tagger, "sources": sources, "detectors": detectors}
    return Bench.model_validate(tables)


def joined(parts: list[BenchEdges]) -> list[tuple[int, int]]:
    return [pair for part in parts for pair in zip(part.times_ticks.tolist(), part.channels.tolist(), strict=True)]


@given(cuts=st.lists(st.integers(0, 4 * MILLISECOND), max_size=6), seed=st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_edges_do_not_depend_on_the_cuts(cuts: list[int], seed: int) -> None:
    bench = hostile()
    whole = joined([BenchPhysics(bench, seed).edges(4 * MILLISECOND)])
    cut = BenchPhysics(bench, seed)
    parts = [cut.edges(until) for until in [*sorted(cuts), 4 * MILLISECOND]]
    assert joined(parts) == whole
    for until, part in zip(sorted(cuts), parts, strict=False):
        assert part.times_ticks.size == 0 or part.times_ticks.max() < until * 8192


def test_order_distance_and_start() -> None:
    bench = hostile()
    edges = BenchPhysics(bench, 3).edges(4 * MILLISECOND)
    pairs = joined([edges])
    assert pairs == sorted(pairs)
    assert pairs[0][0] >= 0
    for channel in (0, 3, 5):
        own = edges.times_ticks[edges.channels == channel]
        assert own.size > 10_000
        assert np.diff(own).min() >= 8192
        assert (np.diff(own >> 13) > 0).all()
    later = BenchPhysics(bench, 3, start_clock=77).edges(4 * MILLISECOND + 77)
    assert joined([later]) == [(time + 77 * 8192, channel) for time, channel in pairs]
    assert joined([BenchPhysics(bench, 4).edges(MILLISECOND)]) != joined([BenchPhysics(bench, 3).edges(MILLISECOND)])


@pytest.mark.parametrize("ppm", [-100.0, 37.5, 100.0])
def test_a_node_counts_with_its_own_oscillator(ppm: float) -> None:
    """Edges of the lab at ``t + round(e t)``, cut anywhere, none lost, and still a clock apart."""
    bench = hostile().model_copy(update={"clock_ppm": ppm})
    sources = [source.model_copy(update={"jitter_ps": 0.0}) for source in bench.sources if source.kind == "periodic"]
    bench = bench.model_copy(update={"sources": (*bench.sources[:-1], *sources)})
    true = BenchPhysics(bench.model_copy(update={"clock_ppm": 0.0}), 2, start_clock=9).edges(5 * MILLISECOND)
    lab = true.times_ticks - 9 * 8192
    expected = sorted(
        zip(
            (lab + np.rint(lab * (ppm * 1e-6)).astype(np.int64) + 9 * 8192).tolist(),
            true.channels.tolist(),
            strict=True,
        )
    )
    physics = BenchPhysics(bench, 2, start_clock=9)
    parts = [physics.edges(until) for until in (1, 70_000, 70_001, 4 * MILLISECOND)]
    found = joined(parts)
    assert found == [edge for edge in expected if edge[0] < 4 * MILLISECOND << 13]
    for channel in (0, 3, 5):
        own = np.array([time for time, number in found if number == channel])
        assert (np.diff(own >> 13) > 0).all()


def test_a_signal_that_is_switched_off() -> None:
    """Its edges are those that it would have had, as long as it was on."""
    bench = load_bench("pairs")
    sources = [
        source.model_copy(update={"until_s": 0.0123}) if isinstance(source, Periodic) and source.rate_hz > 1 else source
        for source in bench.sources
    ]
    whole = BenchPhysics(bench, 1).edges(20 * MILLISECOND)
    cut = BenchPhysics(bench.model_copy(update={"sources": tuple(sources)}), 1).edges(20 * MILLISECOND)
    kept = (whole.channels != 2) | (whole.times_ticks < 12.3e9 * 1.024)
    assert np.count_nonzero(~kept) == 77
    np.testing.assert_array_equal(cut.channels, whole.channels[kept])
    same = cut.channels != 2  # the jitter of the last block's pulses is drawn for fewer
    np.testing.assert_array_equal(cut.times_ticks[same], whole.times_ticks[kept][same])
    np.testing.assert_allclose(cut.times_ticks[~same], whole.times_ticks[kept][~same], atol=16 * 21)


def test_silence_and_bad_arguments() -> None:
    bench = load_bench("pairs")
    physics = BenchPhysics(bench.model_copy(update={"sources": (), "detectors": ()}), 1)
    assert len(physics.edges(MILLISECOND)) == 0
    assert len(BenchPhysics(bench, 1).edges(0)) == 0
    with pytest.raises(ValueError, match="seed -1 and start_clock 0 must not be negative"):
        BenchPhysics(bench, -1)
    with pytest.raises(ValueError, match=r"until_clock is 1125899906842624; allowed: below 2\^50"):
        physics.edges(1 << 50)


@given(block=st.integers(0, 1 << 24), rate=st.floats(0.01, 5e7), offset=st.floats(-1e6, 1e6))
def test_pulses_are_exact_at_any_time(block: int, rate: float, offset: float) -> None:
    """Up to five hours: pulse n is at offset + n periods to a thousandth of a tick, and blocks share all pulses out."""
    source = Periodic(kind="periodic", rate_hz=rate, channel=0, offset_ps=offset)
    start = block * BLOCK_TICKS
    first, count, at, period = pulses_between(source, start, start + BLOCK_TICKS)
    after, _, _, _ = pulses_between(source, start + BLOCK_TICKS, start + 2 * BLOCK_TICKS)
    assert after == first + count
    if count:
        numerator, denominator = rate.as_integer_ratio()
        exact = first * 1_024_000_000_000 * denominator / numerator  # one rounding
        assert at == pytest.approx(exact + offset * 1.024 - start, abs=max(1e-3, exact * 2**-51))
        assert -1e-3 <= at < BLOCK_TICKS
        assert at + (count - 1) * period < BLOCK_TICKS + 1


@given(
    gaps=st.lists(st.integers(0, 40), max_size=50),
    dead=st.integers(1, 60),
    after=st.lists(st.integers(0, 900), max_size=20),
    before=st.integers(0, 1000),
)
@settings(deadline=None)
def test_a_detector_is_blind_after_each_click(gaps: list[int], dead: int, after: list[int], before: int) -> None:
    """With after-pulses that wait already: those before ``before`` take part, the others go on waiting."""
    times = np.cumsum(np.array(gaps, dtype=np.int64))
    before = max(before, int(times[-1]) + 1 if times.size else 0)
    pending = np.array(after, dtype=np.int64)
    clicks, last, left = _detect(times, before, dead, 0.0, 1.0, np.random.default_rng(1), NEVER, pending)
    expected: list[int] = []
    for time in sorted([*times.tolist(), *[time for time in after if time < before]]):
        if not expected or time - expected[-1] >= dead:
            expected.append(time)
    assert clicks.tolist() == expected
    assert last == (expected[-1] if expected else NEVER)
    assert sorted(left.tolist()) == sorted(time for time in after if time >= before)


def test_formulas_are_normalised() -> None:
    """A density integrates to 1, g2 goes to 1 far away, and what has no formula says so."""
    bench = load_bench("startstop")
    tau = np.arange(110_000.0, 400_000.0, 5.0)
    assert delay_density(bench, "photon", tau).sum() * 5.0 == pytest.approx(1, abs=1e-4)
    assert np.isfinite(delay_density(bench, "photon", np.array([-1e9, 0.0, 1e9]))).all()
    hbt = load_bench("hbt")
    assert g2(hbt, "start", "stop", np.array([-1e6, 1e6])) == pytest.approx(1, abs=1e-9)
    dip = g2(hbt, "start", "stop", np.linspace(-100, 100, 3))
    assert dip == pytest.approx(dip[::-1], abs=1e-9)  # cable and delay cancel
    assert 0.1 < dip[1] < 0.3
    assert detector_rates(load_bench("pairs"), 3).total == 0
    with pytest.raises(ValueError, match="0 pulsed sources reach start; allowed: 1"):
        delay_density(hbt, "start", tau)
    with pytest.raises(ValueError, match="g2 of channel 0 with itself; allowed: two channels"):
        g2(hbt, "start", 0, tau)
