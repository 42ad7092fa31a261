"""From TRACK records to traces: the loop taken out of the samples, losses, breaks, jumps, wrap-arounds."""

import numpy as np
import pytest
from phase_paths import walk_path
from track_paths import STEP_CLOCKS, STEP_S, flag, follow, track_records

from twinphase.batch import Batch
from twinphase.measure.phase_analysis import analysis_of, live_table
from twinphase.measure.track_trace import TrackTracer
from twinphase.measure.walk_fit import walk_fit
from twinphase_spec.packets import Stream

SUBSTEPS = 16


def traced(records, cuts=(), channel=0):
    tracer = TrackTracer(step_clocks=STEP_CLOCKS, channel=channel)
    for part in np.split(records, cuts):
        tracer.update(Batch(records={Stream.TRACK: part}))
    return tracer


def ramp(count, rate=0.3, **more):
    """A phase that is followed without noise: the state moves with its slope."""
    states = np.zeros((count, 4))
    states[:, 0] = 1 + rate * np.arange(count)
    states[:, 1] = rate / STEP_S
    states[:, 2], states[:, 3] = 0.03, 30
    return track_records(states, **more)


def test_an_empty_tracer_gives_empty_traces():
    tracer = TrackTracer(step_clocks=STEP_CLOCKS)
    for trace in (tracer.tracked(), tracer.samples(), tracer.tracked(1.0)):
        assert (len(trace.index), trace.duration_s, trace.segments(), trace.gaps()) == (0, 0.0, [], [])
    assert tracer.events() == []
    assert tracer.figures()["locked_fraction"] is None
    assert live_table(tracer.tracked(), "", tracer.figures()).row_count == 6
    assert not tracer.locked


@pytest.mark.parametrize("cuts", [[], [1, 50, 51, 300]])
@pytest.mark.parametrize("first_turns", [0, -3, (1 << 31) - 5])
def test_a_steady_rate_is_both_traces_and_batches_do_not_matter(cuts, first_turns):
    """The 64-bit phase wraps 5 turns after the start of the last case."""
    tracer = traced(ramp(400, first_turns=first_turns), cuts)
    tracked, samples = tracer.tracked(), tracer.samples()
    expected = 1 + 0.3 * np.arange(400)
    if first_turns < 1 << 20:
        assert tracked.phase_rad == pytest.approx(expected, abs=1e-6)
    assert np.diff(tracked.phase_rad[:90]) == pytest.approx(np.full(89, 0.3), abs=1e-6)
    assert samples.phase_rad[:90] == pytest.approx(1 + 0.3 * (np.arange(90) + 0.5), abs=1e-3)
    # an estimate is of its instant, a sample of the interval after it
    first_clock = 1 << 33
    assert tracked.origin_ticks / 8192 + tracked.times_s[7] * 125e6 == pytest.approx(first_clock + 7 * STEP_CLOCKS)
    assert samples.origin_ticks / 8192 + samples.times_s[7] * 125e6 == pytest.approx(first_clock + 7.5 * STEP_CLOCKS)
    assert tracked.noise_rad2 == pytest.approx(0.03, rel=1e-6)
    assert (tracked.averaging_s, samples.averaging_s) == (0.0, STEP_S)
    assert tracer.events() == []
    figures = tracer.figures()
    assert figures["locked_fraction"] == 1
    assert figures["visibility"] == pytest.approx(0.98, abs=1e-4)
    assert figures["clicks_per_s"] == pytest.approx(30 / STEP_S)


@pytest.mark.parametrize(("clicks_per_s", "walk", "rate_walk"), [(4e5, 150.0, 7e9), (3e6, 700.0, 0.0), (5e4, 4.0, 1e6)])
def test_d_and_q_come_out_of_tracked_records_and_the_noise_is_what_the_clicks_leave(clicks_per_s, walk, rate_walk):
    """12 000 records whose loop is slower, as fast as and faster than them (K h from 0.04 to 2.6). The fit's noise is the samples' own
    within 5 %, and up to 15 % more where the error is 0.2 rad and the score no longer linear; D and Q within 4 of the fit's errors."""
    rng = np.random.default_rng(7)
    path = walk_path(rng, 12_000 * SUBSTEPS, walk=walk, rate_walk=rate_walk, dt=STEP_S / SUBSTEPS)
    states = follow(path, SUBSTEPS, clicks_per_s=clicks_per_s, diffusion=walk, slope_noise=rate_walk)
    tracer = traced(track_records(states))
    error = tracer.tracked().phase_rad - (path[::SUBSTEPS] - path[0] // (2 * np.pi) * 2 * np.pi)
    error -= 2 * np.pi * np.round(error.mean() / (2 * np.pi))
    assert np.mean(error[100:] ** 2) == pytest.approx(tracer.tracked().noise_rad2, rel=0.15)
    samples = tracer.samples()
    fit = walk_fit(samples)
    assert 0.95 < fit.noise_rad2 / samples.noise_rad2 < (1.05 if clicks_per_s < 1e5 else 1.2)
    assert abs(fit.walk_rad2_per_s - walk) < 4 * fit.walk_error + 0.03 * walk
    if rate_walk:
        assert abs(fit.rate_walk_rad2_per_s3 - rate_walk) < 4 * fit.rate_walk_error + 0.05 * rate_walk
    assert fit.probability > 1e-3
    spectrum = analysis_of(tracer)
    list(spectrum.run())
    assert spectrum.spectrum is not None
    assert spectrum.spectrum.floor is not None
    top = spectrum.spectrum.density[-spectrum.spectrum.density.size // 8 :].mean()
    folded = (
        walk * STEP_S**2 / 2 + rate_walk * STEP_S**4 / 10
    )  # what motion leaves near half the sampling frequency, at most
    assert spectrum.spectrum.floor * 0.9 < top < spectrum.spectrum.floor * 1.2 + folded


def test_channels_are_told_apart():
    both = np.empty(400, ramp(1).dtype)
    both[::2], both[1::2] = ramp(200), ramp(200, rate=-0.1, channel=1)
    r, d = traced(both, [33, 200]), traced(both, [33, 200], channel=1)
    assert (r.name, d.name) == ("r", "d")
    assert np.diff(r.tracked().phase_rad) == pytest.approx(np.full(199, 0.3), abs=1e-6)
    assert np.diff(d.tracked().phase_rad) == pytest.approx(np.full(199, -0.1), abs=1e-6)


def test_lost_records_end_the_stretch_as_they_may_hide_a_jump():
    tracer = traced(np.delete(ramp(300), slice(100, 140)), [90, 100])
    for trace in (tracer.tracked(), tracer.samples()):
        assert [(g.kind, g.samples) for g in trace.gaps() if g.kind == "lost"] == [("lost", 40)]
        assert len(trace.dense()) == 2
    assert tracer.tracked().segments() == [slice(0, 100), slice(100, 260)]
    assert tracer.samples().segments() == [slice(0, 99), slice(100, 259)]
    assert tracer.events() == []


def test_a_loss_is_a_hole_and_two_events():
    records = flag(ramp(300), slice(100, 120), locked=False)
    flag(records, [100, 120], broke=True)
    tracer = traced(records, [110])
    assert [(g.kind, g.samples) for g in tracer.tracked().gaps()] == [("invalid", 20)]
    assert [(event.kind, round(event.time_s / STEP_S)) for event in tracer.events()] == [("lost", 100), ("found", 120)]
    assert not tracer.samples().valid[99:120].any()
    assert tracer.samples().valid[[98, 120]].all()
    figures = tracer.figures()
    assert figures["locked_fraction"] == pytest.approx(280 / 300)
    assert (figures["losses"], figures["jumps"], figures["found_again"]) == (1, 0, 1)


def test_a_jump_by_half_a_turn_and_a_break_of_another_size():
    records = ramp(300)
    records["phase_turns"][100:] += 1 << 31
    records["phase_turns"][200:] += 1 << 30
    flag(records, [100, 200], broke=True)
    tracer = traced(records)
    kinds = [(event.kind, round(event.time_s / STEP_S)) for event in tracer.events()]
    assert kinds == [("jump", 100), ("lost", 200), ("found", 200)]
    assert len(tracer.tracked().dense()) == 3
    # the sample over the break is none
    assert np.flatnonzero(~tracer.samples().valid).tolist() == [99, 199]


@pytest.mark.parametrize("cuts", [[], [100], [99, 101]])
def test_a_node_that_counts_anew_breaks_the_stretch(cuts):
    records = np.concatenate([ramp(100), ramp(100, first_clock=1 << 20)])
    tracer = traced(records, cuts)
    assert [g.kind for g in tracer.tracked().gaps()] == ["restart"]
    assert len(tracer.tracked().dense()) == 2


def test_only_the_last_seconds_are_kept():
    tracer = TrackTracer(step_clocks=STEP_CLOCKS)
    for part in np.split(ramp(10_000), 100):
        tracer.update(Batch(records={Stream.TRACK: part}))
        tracer.forget_before(1000 * STEP_S)
    assert 1000 <= tracer.records <= 1200
    last = tracer.tracked(500.5 * STEP_S)
    assert len(last.index) == 500
    assert last.index[-1] == 9999


def test_without_clicks_nothing_pretends_to_be_a_sample():
    """No light: variance at its most, visibility at its least, no clicks, not locked."""
    states = np.zeros((300, 4))
    states[:, 2] = 1.5
    tracer = traced(track_records(states, visibility=0.25, locked=False))
    assert not tracer.locked
    assert not tracer.samples().valid.any()
    assert np.isfinite(tracer.samples().variance_rad2).all()
    assert tracer.figures()["locked_fraction"] == 0
