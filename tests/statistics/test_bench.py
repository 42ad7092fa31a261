"""Drawn edges of benches against their formulas, as tags of the time tagger's model.

Counts are compared at 5 sigma of Poisson (6e-7 each) plus the stated error of the formula. A histogram of N bins is compared by
its chi square, of mean N and variance 2 N: below N + 6 sqrt(2 N) (1e-7 for the N of 30 and more here, with the tail of chi square), and
by weighted sums of its counts (a width or a lifetime that is a few per cent off), at 5 sigma of Poisson.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from run_seeds import run_seed

from twinphase_sim.model.timetag.timetagger import TaggerTags, run_timetagger
from twinphase_sim.physics.bench import BenchPhysics
from twinphase_sim.physics.bench_expect import (
    click_rates,
    coincidence_rates,
    delay_density,
    detector_rates,
    g2,
)
from twinphase_spec.bench import BENCH_FILE, Bench, load_bench
from twinphase_spec.tagger_config import tagger_registers
from twinphase_spec.units import CLOCK_HZ, TICK_PS

PS = TICK_PS


def bench_with(sources: list[dict], detectors: list[dict], **tagger: object) -> Bench:
    """Two channels a and b."""
    channels = [{"number": 0, "name": "a"}, {"number": 1, "name": "b"}]
    base = {"name": "test", "description": "", "channels": channels}
    tables = {"name": "test", "description": "", "tagger": base | tagger, "sources": sources, "detectors": detectors}
    return Bench.model_validate(tables)


def run(bench: Bench, seed: int, seconds: float) -> TaggerTags:
    until = round(seconds * CLOCK_HZ)
    edges = BenchPhysics(bench, seed).edges(until)
    registers, memories = tagger_registers(bench.tagger, 8)
    return run_timetagger(registers, memories, edges.times_ticks, edges.channels, until)


def differences_ps(tags: TaggerTags, a: int, b: int, span_ps: float) -> NDArray[np.float64]:
    """All t_b - t_a within +-span."""
    times = tags.times_ticks.view(np.int64)
    first, second = times[tags.channels == a], times[tags.channels == b]
    low = np.searchsorted(second, first - int(span_ps / PS))
    count = np.searchsorted(second, first + int(span_ps / PS), side="right") - low
    starts = np.repeat(low - np.cumsum(count) + count, count)
    return (second[starts + np.arange(count.sum())] - np.repeat(first, count)) * PS


def assert_histogram(
    found: NDArray[np.intp], expected: NDArray[np.float64], *weights: NDArray[np.float64] | float
) -> None:
    assert expected.min() >= 20
    excess = found - expected
    chi_square = float((excess**2 / expected).sum())
    assert chi_square < expected.size + 6 * np.sqrt(2 * expected.size), (chi_square, expected.size)
    for weight in weights:
        sigma = np.sqrt((weight**2 * expected).sum())
        assert abs((weight * excess).sum()) < 5 * sigma, ((weight * excess).sum(), sigma)


def assert_count(found: float, mean: float, relative: float) -> None:
    assert mean > 100
    assert abs(found - mean) < 5 * np.sqrt(mean) + relative * mean, (found, mean)


@pytest.mark.parametrize("name", BENCH_FILE.preset_names())
@pytest.mark.parametrize("seconds", [0.2, pytest.param(5.0, marks=pytest.mark.long)])
def test_presets_show_their_rates(name: str, seconds: float) -> None:
    """0.2 % for the dead time's form (up to 0.6 % dead) and for after-pulses' excess variance."""
    bench = load_bench(name)
    edges = BenchPhysics(bench, run_seed(1)).edges(round(seconds * CLOCK_HZ))
    rates = click_rates(bench)
    for channel in bench.tagger.channels:
        found = np.count_nonzero(edges.channels == channel.number)
        if bench.detector(channel.number) is None:
            assert abs(found - rates[channel.label] * seconds) <= 1
        else:
            assert_count(found, rates[channel.label] * seconds, 2e-3)


DETECTORS = {
    "dead time": {"dead_time_ns": 100.0},
    "after-pulses": {"dead_time_ns": 30.0, "afterpulse_probability": 0.05, "afterpulse_delay_ns": 20.0},
}
LIGHT = {
    "steady": {"kind": "poisson", "rate_hz": 2e6, "to": {"a": 1.0}},
    "pulsed": {"kind": "pulsed", "rate_hz": 8e7, "photons": 0.03, "to": {"a": 0.8}},
    "slow pulses": {"kind": "pulsed", "rate_hz": 1.1e7, "photons": 0.2, "jitter_ps": 100.0, "to": {"a": 1.0}},
    "thermal": {"kind": "thermal", "rate_hz": 1e6, "coherence_ns": 1000.0, "to": {"a": 1.0}},
    "emitter": {"kind": "emitter", "excitation_hz": 1e7, "lifetime_ns": 5.0, "to": {"a": 0.2}},
}


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("light", LIGHT)
def test_detectors_at_their_limits(light: str, detector: str) -> None:
    """Up to 20 % dead, or 5 % after-pulses. Steady light without after-pulses is exact. 1 % otherwise: an after-pulse is hidden by, and
    hides, light of a train or an emitter more or less often than light at random times, an error of at most p times the dead
    fraction (10 %) either way; light correlated over a time c deviates from a mean rate by about m c (1 %). Thermal light's counts also
    fluctuate with its intensity, by sqrt(coherence / 0.1 s) = 0.3 %, which the 1 % holds with the 5 sigma."""
    bench = bench_with([LIGHT[light]], [{"channel": "a", "efficiency": 0.9, "dark_hz": 1e5, **DETECTORS[detector]}])
    edges = BenchPhysics(bench, run_seed(2)).edges(CLOCK_HZ // 10)
    limit = 0.0 if (light, detector) == ("steady", "dead time") else 0.01
    assert_count(len(edges), detector_rates(bench, 0).total * 0.1, limit)


def test_after_pulses_come_when_they_should() -> None:
    """A dim detector (1e4/s, dead time 40 ns, p = 0.2, 50 ns): intervals below 1 us less the 1 % of chance ones.

    About 2e3 after-pulses; their fraction within 5 sigma of the binomial, their mean delay beyond 40 ns within 5 of 50 ns / sqrt(n).
    """
    detector = {"channel": "a", "dark_hz": 1e4, "dead_time_ns": 40.0, "afterpulse_probability": 0.2}
    bench = bench_with([], [detector | {"afterpulse_delay_ns": 50.0}])
    edges = BenchPhysics(bench, run_seed(3)).edges(CLOCK_HZ)
    intervals_ns = np.diff(edges.times_ticks) * PS / 1000
    assert intervals_ns.min() >= 40 - PS / 1000
    after = intervals_ns[intervals_ns < 1000]
    chance = 1e4 * 1e-6
    sigma = np.sqrt(0.2 * 0.8 / intervals_ns.size)
    assert abs(after.size / intervals_ns.size - 0.2 - 0.8 * chance) < 5 * sigma + 0.2 * chance
    mean = (after.mean() - 40) * (
        1 + 4 * chance
    ) - 500 * 4 * chance  # 4 chance ones in 100 after-pulses, at 500 ns in the mean
    assert abs(mean - 50) < 5 * 60 / np.sqrt(after.size) + 1


@pytest.mark.parametrize("seconds", [0.25, pytest.param(4.0, marks=pytest.mark.long)])
def test_pairs_coincide(seconds: float) -> None:
    """Coincidences: the formula's error is the pairs hidden behind accidentals and its dead-time form, 0.3 %."""
    preset = load_bench("pairs")
    wide = preset.sources[0].model_copy(update={"jitter_ps": 60.0})
    bench = preset.model_copy(update={"sources": (wide, *preset.sources[1:])})
    tags = run(bench, run_seed(4), seconds)
    assert_count(tags.counters["virtual_0"], coincidence_rates(bench)["pairs"] * seconds, 3e-3)
    edges = np.linspace(-120.0, 120.0, 31)
    centres = (edges[:-1] + edges[1:]) / 2
    rates = click_rates(bench)
    shown = g2(bench, "signal", "idler", centres, bin_ps=8.0)
    area = rates["signal"] * rates["idler"] * 8e-12 * seconds
    found = differences_ps(tags, 0, 1, 200.0)
    found += np.random.default_rng(5).uniform(
        -PS / 2, PS / 2, found.size
    )  # ticks do not fit the bins: spread over their tick
    assert_histogram(np.histogram(found, edges)[0], shown * area, 1.0, centres, centres**2 - 4000.0)


def test_accidentals() -> None:
    """Two independent beams of 1e6/s within +-2 ns: ``2 w r^2``. Each completion uses up its tags: less by r w, 0.2 %."""
    light = [{"kind": "poisson", "rate_hz": 1e6, "to": {name: 1.0}} for name in "ab"]
    detectors = [{"channel": name, "dead_time_ns": 16.0} for name in "ab"]
    coincidences = [{"name": "both", "channels": ["a", "b"], "window_ps": 2000.0}]
    bench = bench_with(light, detectors, coincidences=coincidences)
    tags = run(bench, run_seed(6), 0.5)
    expected = coincidence_rates(bench)["both"]
    assert expected == pytest.approx(4e-9 * click_rates(bench)["a"] ** 2, rel=1e-6)
    assert_count(tags.counters["virtual_0"], expected * 0.5, 4e-3)


def hbt(excitation_hz: float, share: float) -> Bench:
    sources = [
        {"kind": "emitter", "excitation_hz": excitation_hz, "lifetime_ns": 12.0, "to": {"a": share, "b": share}},
        {"kind": "poisson", "rate_hz": 4e5, "to": {"a": 0.5, "b": 0.5}},
    ]
    detectors = [
        {"channel": name, "dead_time_ns": 16.0, "jitter_ps": 500.0, "offset_ps": 3000.0 * (name == "b")}
        for name in "ab"
    ]
    return bench_with(sources, detectors)  # fmt: skip


@pytest.mark.parametrize("seconds", [0.3, pytest.param(5.0, marks=pytest.mark.long)])
def test_g2_dips_at_zero(seconds: float) -> None:
    """A bright emitter, g2 in bins of 1 ns over +-50 ns; mean counts per bin 200 and more. Dead time (16 ns, 2 % of the time)
    hardly shapes it; the area is taken from the counts found."""
    bench = hbt(1e7, 0.2)
    tags = run(bench, run_seed(7), seconds)
    edges = np.linspace(-50_000.0, 50_000.0, 101)
    fine = np.linspace(-50_000.0, 50_000.0, 2001)[:-1] + 25.0  # twenty points in every bin
    shown = g2(bench, "a", "b", fine).reshape(-1, 20).mean(axis=1)
    assert 0.2 < shown.min() < 0.45  # background at either side, and jitter
    assert edges[np.argmin(shown)] == pytest.approx(3000, abs=1000)
    area = tags.counters["tags_0"] * tags.counters["tags_1"] / seconds * 1e-9
    found = np.histogram(differences_ps(tags, 0, 1, 60_000.0), edges)[0]
    depth = np.exp(-np.abs(edges[:-1] - 2500.0) / 10_000.0)
    assert_histogram(found, shown * area, depth, 1.0)


@pytest.mark.parametrize("seconds", [0.5, pytest.param(4.0, marks=pytest.mark.long)])
def test_thermal_light_bunches(seconds: float) -> None:
    """Two detectors on one mode, coherence 2 us: g2 from 1 far away to 1.8 (a part is coherent). Counts of 100 ns bins over +-6 us are
    about 500, so that Poisson noise is well above that of the intensity (0.4 %)."""
    light = [
        {"kind": "thermal", "rate_hz": 2e5, "coherence_ns": 2000.0, "to": {"a": 0.5, "b": 0.5}},
        {"kind": "poisson", "rate_hz": 2.4e4, "to": {"a": 0.5, "b": 0.5}},
    ]
    bench = bench_with(light, [{"channel": name, "dead_time_ns": 16.0, "jitter_ps": 300.0} for name in "ab"])
    tags = run(bench, run_seed(9), seconds)
    edges = np.linspace(-6e6, 6e6, 121)
    centres = (edges[:-1] + edges[1:]) / 2
    shown = g2(bench, "a", "b", centres)
    assert shown.max() == pytest.approx(1 + np.exp(-0.05) / 1.12**2, abs=1e-3)
    area = tags.counters["tags_0"] * tags.counters["tags_1"] / seconds * 1e-7
    found = np.histogram(differences_ps(tags, 0, 1, 7e6), edges)[0]
    assert_histogram(found, shown * area, np.exp(-np.abs(centres) / 1e6))


@pytest.mark.parametrize("seconds", [1.0, pytest.param(5.0, marks=pytest.mark.long)])
def test_fluorescence_decays_after_the_laser(seconds: float) -> None:
    """Delays of photon tags behind the laser's, 20 to 36 ns, against the density and the steady background; by shape: a lifetime
    4 % off would show, in the long run 2 %."""
    bench = load_bench("startstop")
    tags = run(bench, run_seed(8), seconds)
    assert tags.counters["filtered_0"] > 0.8 * tags.counters["seen_0"]
    delays = differences_ps(tags, 0, 1, 50_000.0)
    edges = np.arange(19_900.0, 36_000.0, 200.0)
    centres = (edges[:-1] + edges[1:]) / 2
    offset = 100_000.0  # of the trigger
    density = delay_density(bench, "photon", centres + offset)
    mean = 0.2 * 0.5 * 0.7
    steady = (2e3 * 0.7 + 300.0) * 1e-12
    expected = (-np.expm1(-mean) * 1e6 * density + steady * 1.0) * 200.0
    found = np.histogram(delays, edges)[0]
    assert_count(found.sum(), float(expected.sum()) * seconds, 5e-3)
    expected *= found.sum() / expected.sum()
    assert_histogram(found, expected, centres - float((centres * expected).sum() / expected.sum()))
