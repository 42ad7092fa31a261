"""From PHASE records to a trace: counters that wrap, losses, holes, restarts, variance."""

import numpy as np
import pytest
from phase_paths import DT, phase_records

from twinphase.batch import Batch
from twinphase.measure.phase_trace import LONGEST_LOSS, PhaseTracer
from twinphase_spec.packets import PHASE_DTYPE, Stream
from twinphase_spec.units import TICKS_PER_SECOND

WINDOW_TICKS = DT * TICKS_PER_SECOND


def traced(records, ticks=None, cuts=(), start_ticks=0):
    tracer = PhaseTracer(window_ticks=WINDOW_TICKS, start_ticks=start_ticks)
    parts = np.split(records, cuts)
    times = [None] * len(parts) if ticks is None else np.split(np.asarray(ticks, np.int64), cuts)
    for part, time in zip(parts, times, strict=True):
        tracer.update(Batch(records={Stream.PHASE: part}, packet_ticks={} if time is None else {Stream.PHASE: time}))
    return tracer.trace()


def ramp(count, rate=0.3):
    return 1 + rate * np.arange(count)


def test_an_empty_tracer_gives_an_empty_trace():
    trace = PhaseTracer(window_ticks=WINDOW_TICKS).trace()
    assert (len(trace.index), trace.duration_s, trace.segments(), trace.dense(), trace.gaps()) == (0, 0.0, [], [], [])
    assert len(trace.last(1.0).index) == 0


@pytest.mark.parametrize("cuts", [[], [1, 50, 51, 300]])
def test_phase_times_and_variance_do_not_depend_on_batches(cuts):
    """400 windows of N = 400 counts: sigma^2 = 2 / (N V^2) (1 + second order), mean over 400 windows within 5 % (V is estimated)."""
    trace = traced(phase_records(ramp(400)), cuts=cuts)
    assert np.abs(trace.phase_rad - ramp(400)).max() < 5 * np.sqrt(2 / 400) / 0.97
    assert trace.times_s == pytest.approx((np.arange(400) + 0.5) * DT)
    assert trace.noise_rad2 == pytest.approx(2 / 400 / 0.97**2, rel=0.05)
    assert trace.segments() == [slice(0, 400)]
    assert trace.gaps() == []


@pytest.mark.parametrize("cuts", [[], [100], [101, 102]])
def test_window_number_and_unwrapped_phase_may_wrap(cuts):
    """32-bit windows 100 before their wrap, 48-bit phase some turns before its; the packets' time tells the wraps before."""
    first = (3 << 32) - 100
    records = phase_records(ramp(200), counts=4000, first_window=first, first_turns=(1 << 47) - 65536)
    ticks = ((first + np.arange(200) + 1) * WINDOW_TICKS).astype(np.int64)
    trace = traced(records, ticks, cuts)
    assert np.diff(records["window"].astype(np.int64)).min() < -(1 << 31)
    assert np.diff(records["unwrapped_turns"]).min() < -(1 << 46)
    assert trace.segments() == [slice(0, 200)]
    assert np.diff(trace.phase_rad) == pytest.approx(np.full(199, 0.3), abs=0.2)
    assert trace.origin_ticks == pytest.approx(first * WINDOW_TICKS, abs=1)


def test_small_steps_survive_a_large_phase():
    """At 2^46 units (10^9 turns) a step of one unit (1e-4 rad) is still one."""
    records = phase_records(np.zeros(50))
    records["unwrapped_turns"] = (1 << 46) + np.arange(50)
    assert np.diff(traced(records).phase_rad) == pytest.approx(np.full(49, 2 * np.pi / 65536), rel=1e-9)


def test_lost_records_are_a_gap_over_which_the_phase_goes_on():
    records = phase_records(ramp(300), counts=4000)
    trace = traced(np.delete(records, slice(100, 140)), cuts=[90, 100])
    assert trace.segments() == [slice(0, 100), slice(100, 260)]
    assert [(g.kind, g.samples) for g in trace.gaps()] == [("lost", 40)]
    assert trace.gaps()[0].start_s == pytest.approx(100.5 * DT)
    assert len(trace.dense()) == 1
    assert np.isnan(trace.dense()[0]).sum() == 40
    assert trace.phase_rad[100] == pytest.approx(1 + 0.3 * 140, abs=0.2)


def test_holes_split_segments_and_long_ones_end_the_stretch():
    records = phase_records(ramp(300), counts=4000)
    records["flags"][[50, 100, 101, 102, 103]] = 0
    trace = traced(records)
    assert [(part.start, part.stop) for part in trace.segments()] == [(0, 50), (51, 100), (104, 300)]
    assert [(g.kind, g.samples) for g in trace.gaps()] == [("invalid", 1), ("invalid", 4)]
    assert trace.stretch[[0, 51, 99, 104]].tolist() == [trace.stretch[0]] * 3 + [trace.stretch[0] + 1]
    assert len(trace.dense()) == 2


@pytest.mark.parametrize("visibility", [0.0, 0.97])
def test_lost_light_and_lost_fringe_are_not_valid(visibility):
    """100 windows with 1 count, or with all counts and no fringe; the edges are blurred by 16 windows."""
    records = phase_records(ramp(500))
    dark = phase_records(ramp(100), counts=400 if visibility == 0 else 1, visibility=visibility, seed=2)
    for name in ("clicks_r", "cosine_r", "sine_r"):
        records[name][200:300] = dark[name]
    trace = traced(records)
    assert not trace.valid[216:284].any()
    assert trace.valid[:184].all()
    assert trace.valid[316:].all()


@pytest.mark.parametrize("cuts", [[], [100]])
def test_a_restart_breaks_the_stretch(cuts):
    records = np.concatenate([phase_records(ramp(100), first_window=5000), phase_records(ramp(100), seed=2)])
    ticks = np.concatenate([np.arange(5001, 5101), np.arange(7001, 7101)]) * WINDOW_TICKS
    trace = traced(records, ticks.astype(np.int64), cuts)
    assert [g.kind for g in trace.gaps()] == ["restart"]
    assert trace.index[100] - trace.index[99] == pytest.approx(1901, abs=1)
    assert len(trace.dense()) == 2
    without_times = traced(records, None, cuts)
    assert [g.kind for g in without_times.gaps()] == ["restart"]


def test_a_restart_whose_windows_rise_is_told_by_the_packets_time():
    records = np.concatenate([phase_records(ramp(100)), phase_records(ramp(100), first_window=200)])
    ticks = np.concatenate([np.arange(1, 101), np.arange(90_001, 90_101)]) * WINDOW_TICKS
    assert [g.kind for g in traced(records, ticks.astype(np.int64)).gaps()] == ["restart"]


def test_a_very_long_loss_takes_no_memory():
    records = np.concatenate([phase_records(ramp(50)), phase_records(ramp(50), first_window=10 * LONGEST_LOSS)])
    trace = traced(records)
    assert sum(map(len, trace.dense())) == 100
    assert [g.kind for g in trace.gaps()] == ["lost"]


def test_only_the_last_seconds_are_kept():
    tracer = PhaseTracer(window_ticks=WINDOW_TICKS)
    for part in np.split(phase_records(ramp(10_000)), 100):
        tracer.update(Batch(records={Stream.PHASE: part}))
        tracer.forget_before(0.1)
    assert 1000 <= tracer.windows <= 1200
    last = tracer.trace(0.05)
    assert len(last.index) == 500
    assert last.times_s[-1] == pytest.approx(9999.5 * DT)


@pytest.mark.parametrize("counts", [25, 45, 100])
def test_variance_is_that_of_poisson_counts(counts):
    """20 000 windows of the four-phase estimator with Poisson counts, V = 0.97: relative sigma of the measured variance 1 % (tails
    make it 1.4 % at 25 counts); 5 % is more than 3 sigma and covers the formula's own 2 %."""
    rng = np.random.default_rng(50)
    psi = np.linspace(1, 300, 20_000)
    left, right = (
        rng.poisson([counts / 8 * (1 + sign * 0.97 * np.cos(psi + k * np.pi / 2)) for k in range(4)])
        for sign in (1, -1)
    )
    difference = left - right
    records = np.zeros(len(psi), PHASE_DTYPE)
    records["window"], records["flags"] = np.arange(len(psi)), 1
    records["cosine_r"], records["sine_r"] = difference[0] - difference[2], difference[3] - difference[1]
    records["clicks_r"] = (left + right).sum(axis=0)
    error = np.angle(np.exp(1j * (np.arctan2(records["sine_r"], records["cosine_r"]) - psi)))
    records["unwrapped_turns"] = np.round((psi + error) / (2 * np.pi) * 65536)
    trace = traced(records)
    assert trace.valid.all()
    assert trace.noise_rad2 == pytest.approx(error.var(), rel=0.05)
