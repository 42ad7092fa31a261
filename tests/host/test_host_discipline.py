"""Tags in the time of a reference: two boards agree, differences are SI, nothing is lost, and without a lock nothing comes out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oscillators import CLOCK, PPS, START, Truth, pps_pulses, pulses

from twinphase.batch import TAG_DTYPE, Batch, Gap
from twinphase.measure.channel_rates import ChannelRates
from twinphase.measure.correlate import Bins
from twinphase.measure.discipline import DisciplinedTags
from twinphase.measure.histogram import Histogram
from twinphase.measure.reference import ReferenceClock, ReferenceError
from twinphase.measure.tag_stream import TagStream
from twinphase_spec.packets import Stream
from twinphase_spec.units import TICK_PS, TICKS_PER_SECOND

RATE = 10_000
LIGHT = 0


def discipline(*, epoch_second=0, wait_s=3.0, **more):
    settings = {"clock_channel": CLOCK, "divider": 1000, "pps_channel": PPS, "fit_s": 4.0} | more
    return DisciplinedTags(ReferenceClock(**settings), epoch_second=epoch_second, wait_s=wait_s)


def stream_of(**channels):
    """Tags of ``c0=times, c3=times``, in order."""
    tags = np.zeros(sum(map(len, channels.values())), TAG_DTYPE)
    tags["time_ticks"] = np.concatenate(list(channels.values()))
    tags["channel"] = np.repeat([int(name[1:]) for name in channels], [len(times) for times in channels.values()])
    return tags[np.lexsort((tags["channel"], tags["time_ticks"]))]


def cut(tags, batch_s=0.02):
    span = round(batch_s * TICKS_PER_SECOND)
    times = tags["time_ticks"]
    edges = np.flatnonzero(np.diff((times - times[0]) // span)) + 1
    return [Batch({Stream.TAG: part}, time_ticks=int(part["time_ticks"][-1])) for part in np.split(tags, edges)]


def collect(stage, batches):
    """All that comes out: (times, channels, batches)."""
    out = [*map(stage.update, batches), stage.finish()]
    tags = np.concatenate([np.empty(0, TAG_DTYPE), *(b[Stream.TAG] for b in out if Stream.TAG in b.records)])
    return tags["time_ticks"].astype(np.int64), tags["channel"], out


def light(truth, seconds, rate, seed, first=0.0, jitter_ticks=0.0):
    """Random SI times from ``first`` on as (SI seconds, node ticks)."""
    rng = np.random.default_rng(seed)
    si = np.sort(rng.uniform(first, seconds, round(rate * (seconds - first))))
    whole = np.floor(si).astype(np.int64)
    return si, truth.rounded(whole, si - whole, rng.normal(0, jitter_ticks, len(si)))


def test_times_are_those_of_the_reference_and_nothing_is_lost():
    """20 ppm off and drifting by 1e-8 per s, pulses with 200 ps rms: all times from the first pulse on, within 5 sigma and a tick."""
    truth = Truth(2e-5, 1e-8)
    si, node = light(truth, 6, 2000, 1)
    tags = stream_of(c0=node, c3=pulses(truth, 6, RATE, 205), c4=pps_pulses(truth, 6))
    stage = discipline(first_second=1_700_000_000, epoch_second=1_700_000_000)
    times, channels, out = collect(stage, cut(tags))
    assert stage.labelled + stage.refused == len(tags)
    assert stage.refused <= 0.06 * (2000 + RATE), "only before the first point of the fit"
    np.testing.assert_array_equal(channels, tags["channel"][stage.refused :])
    assert np.all(np.diff(times) >= 0)
    assert not any(batch.gaps for batch in out)
    mine = times[channels == LIGHT]
    error = mine - si[len(si) - len(mine) :] * TICKS_PER_SECOND
    assert np.abs(error - error.mean()).max() * TICK_PS < 5e12 * stage.worst_sigma_s + 1.5
    assert abs(error.mean()) * TICK_PS < 5e12 * stage.origin_sigma_s + 1.5
    assert stage.worst_sigma_s < 5e-11
    second, fraction = stage.labels(mine[-1])
    assert second[0] == 1_700_000_005
    assert fraction[0] == pytest.approx(si[-1] - 5, abs=1e-9)
    assert stage.as_dict()["tags"] == {"labelled": stage.labelled, "refused": stage.refused, "held": 0}
    assert stage.sentence().startswith("times are those of the reference: the reference on channel 3 is locked")


@pytest.mark.parametrize("delay_ps", [-750.0, 125_000.0])
def test_two_boards_with_one_reference_agree(delay_ps):
    """Photon pairs seen by two boards, +20 and -20 ppm, drifting, switched on at different times, with the same 10 MHz and PPS: the delay
    comes out within 5 sigma of both origins and of 2000 pairs; undisciplined the pairs are 100 us apart."""
    rng = np.random.default_rng(11)
    si = np.sort(rng.uniform(2.2, 7, 2000))
    found, sigma = {}, 0.0
    for name, truth, seed, late_ps in (("a", Truth(2e-5, 1e-8), 1, 0.0), ("b", Truth(-2e-5, -2e-8), 2, delay_ps)):
        on = START + (
            0 if name == "a" else round(0.6 * TICKS_PER_SECOND)
        )  # so that the boards count from different cycles
        shifted = Truth(truth.offset, truth.drift)
        whole = np.floor(si).astype(np.int64)
        jitter = np.random.default_rng(seed).normal(late_ps / TICK_PS, 30, len(si))
        tags = stream_of(
            c0=shifted.rounded(whole, si - whole, jitter),
            c3=pulses(truth, 7.5, RATE, 100, seed),
            c4=pps_pulses(truth, 7.5) + np.rint(np.random.default_rng(seed + 5).normal(0, 100, 8)).astype(np.int64),
        )
        tags = tags[tags["time_ticks"] >= on]
        tags["time_ticks"] -= on - 5000  # each node counts from its own beginning
        stage = discipline(first_second=100 if name == "a" else 101, epoch_second=90)
        times, channels, _ = collect(stage, cut(tags, 0.013))
        found[name] = times[channels == LIGHT] + stage.origin_correction_s * TICKS_PER_SECOND
        sigma = np.hypot(sigma, stage.origin_sigma_s)
        assert stage.origin_sigma_s < 2e-10
    assert len(found["a"]) == len(found["b"]) == 2000
    difference = (found["b"] - found["a"]) * TICK_PS
    # 5 sigma: origins, 42 ticks rms per pair, and the fit (20 ps at its end)
    assert abs(difference.mean() - delay_ps) < 5 * np.hypot(sigma * 1e12, 42 / np.sqrt(2000)) + 20
    assert np.std(difference) < 60
    assert found["a"][0] // TICKS_PER_SECOND + 90 == 102


def test_a_histogram_has_bins_of_si_time():
    """Start and stop 0.9 ms apart: a node 80 ppm fast puts them 72 ns too late, disciplined they are in their picoseconds."""
    truth = Truth(8e-5)
    start, stop = (
        pulses(truth, 2, 100, seed=s) + off
        for s, off in ((1, 5000), (1, round(9e-4 * (1 + 8e-5) * TICKS_PER_SECOND) + 5000))
    )
    tags = stream_of(c1=start, c2=stop, c3=pulses(truth, 2, RATE))
    bins = Bins(low_ticks=round(9e-4 * TICKS_PER_SECOND) - 50, width_ticks=1, count=101)
    raw, si = (Histogram(start=1, stops=[2], bins=bins) for _ in range(2))
    stage = discipline(pps_channel=None)
    for batch in cut(tags):
        raw.update(batch)
        si.update(stage.update(batch))
    si.update(stage.finish())
    assert raw.counts.sum() == 0
    assert si.counts[0].sum() >= 190
    assert set(np.flatnonzero(si.counts[0])) <= {48, 49, 50, 51, 52}


def test_without_a_reference_nothing_comes_out():
    truth = Truth()
    stage = discipline(wait_s=0.5)
    _, node = light(truth, 3, 1000, 2)
    times, _, _ = collect(stage, cut(stream_of(c0=node)))
    assert len(times) == 0
    assert stage.refused == len(node)
    said = stage.sentence()
    assert said.startswith(
        "nothing is measured yet: the reference on channel 3 is absent: it has no pulse of 10000 per"
    )
    with pytest.raises(ReferenceError, match="absent"):
        stage.labels(0)


def test_what_waits_is_bounded():
    truth = Truth()
    stage = discipline(wait_s=0.25)
    _, node = light(truth, 3, 4000, 2)
    for batch in cut(stream_of(c0=node)):
        stage.update(batch)
        assert stage.held <= 4000 * 0.3 * 1.2


def test_holdover_ends_and_what_was_measured_is_kept():
    """The reference stops for 2 s, holdover is 0.5 s: tags up to there have times, then none until it is back, and then the same as if it
    had never stopped. The gap is not live time."""
    truth = Truth(1.3e-5)
    si, node = light(truth, 8, 3000, 4)
    clock, pps = pulses(truth, 8, RATE, 50), pps_pulses(truth, 8)
    here = lambda t: (t < START + 4 * TICKS_PER_SECOND) | (t > START + 6 * TICKS_PER_SECOND)  # noqa: E731
    stage, rates = discipline(holdover_s=0.5), ChannelRates()
    times, channels, states = [], [], []
    for batch in cut(stream_of(c0=node, c3=clock[here(clock)], c4=pps[here(pps)])):
        out = stage.update(batch)
        rates.update(out)
        states.append(stage.reference.status)
        if (tags := out.get(Stream.TAG)) is not None:
            times += tags["time_ticks"].tolist()
            channels += tags["channel"].tolist()
    found = np.array(times)[np.array(channels) == LIGHT] / TICKS_PER_SECOND
    order = [state for state, before in zip(states, ["", *states[:-1]], strict=True) if state != before]
    assert order == ["acquiring", "locked", "holdover", "absent", "locked"]
    assert np.all(np.diff(times) >= 0)
    inside = found[(found > 4) & (found < 6)]
    assert inside.max() == pytest.approx(4.5, abs=0.005)
    begin = np.searchsorted(si, found[0] - 1e-7)
    wanted = si[begin:][(si[begin:] <= inside.max() + 1e-9) | (si[begin:] > found[found > 5][0] - 1e-9)][: len(found)]
    np.testing.assert_allclose(found, wanted, atol=2e-9)
    assert rates.stream.gaps == 1
    assert rates.stream.live_s == pytest.approx(8 - 1.5, abs=0.25)
    assert rates.counts[LIGHT] / rates.stream.live_s == pytest.approx(3000, rel=0.03)


def test_a_jump_of_the_phase_is_a_gap_and_labels_come_back():
    truth = Truth(-1e-5)
    jump = round(0.4 * TICKS_PER_SECOND / RATE)
    si, node = light(truth, 9, 1000, 5)
    clock, pps = pulses(truth, 9, RATE), pps_pulses(truth, 9)
    clock[40_000:] += jump
    pps[4:] += jump
    stage = discipline(first_second=10)
    times, channels, out = collect(stage, cut(stream_of(c0=node, c3=clock, c4=pps)))
    assert sum(len(batch.gaps.get(Stream.TAG, [])) for batch in out) == 1
    assert stage.reference.counter.counts.restarts == 1
    mine = times[channels == LIGHT] / TICKS_PER_SECOND - 10
    after = mine[mine > 4.2]
    np.testing.assert_allclose(after, si[-len(after) :] - 0.4 / RATE, atol=1e-9)  # the reference's own time has jumped
    before = mine[mine < 3.9]
    np.testing.assert_allclose(before, si[(si > before[0] - 1e-6) & (si < 3.9)], atol=1e-9)
    assert stage.labelled + stage.refused == len(node) + len(clock) + len(pps)


def test_without_a_pps_time_goes_on_over_a_jump_and_begins_anew_with_the_node():
    truth = Truth(-4e-5)
    clock = pulses(truth, 4, RATE)
    clock[20_000:] += round(0.4 * TICKS_PER_SECOND / RATE)
    stage = discipline(pps_channel=None)
    first, _, _ = collect(stage, cut(stream_of(c3=clock)))
    assert np.all(np.diff(first) >= 0)
    assert first[0] >= START
    # begins at the node's time; over the 0.2 s around the jump goes on by the node's clock
    assert first[-1] - first[0] == pytest.approx((clock[-1] - first[0]) * (1 + 4e-5), abs=1e-5 * TICKS_PER_SECOND)
    again, _, out = collect(stage, cut(stream_of(c3=pulses(truth, 1, RATE) - START + 70_000)))
    assert 0 < again[0] < TICKS_PER_SECOND
    assert any(batch.gaps for batch in out)


def test_a_wrong_divider_measures_nothing():
    truth = Truth(1e-6)
    stage = discipline(divider=1001)
    times, _, _ = collect(stage, cut(stream_of(c3=pulses(truth, 3, RATE), c4=pps_pulses(truth, 3))))
    assert len(times) == 0
    assert "were expected: its frequency or divider is not as was said" in stage.sentence()


def test_pps_alone_may_discipline():
    truth = Truth(6e-6)
    si, node = light(truth, 14, 200, 6)
    stage = discipline(clock_channel=PPS, clock_hz=1, divider=1, first_second=3, fit_s=10.0)
    times, channels, _ = collect(stage, cut(stream_of(c0=node, c4=pps_pulses(truth, 14)), 0.1))
    mine = times[channels == LIGHT] / TICKS_PER_SECOND - 3
    assert len(mine) > 0.95 * len(node)
    np.testing.assert_allclose(mine, si[-len(mine) :], atol=2e-11)


@settings(max_examples=25)
@given(
    offset=st.floats(-9e-5, 9e-5),
    jitter=st.sampled_from([0.0, 100.0, 3000.0]),
    cuts=st.lists(st.integers(0, 5000), max_size=12),
    gaps=st.lists(st.integers(0, 4000), max_size=3, unique=True),
    seed=st.integers(0, 1 << 30),
)
def test_no_tag_is_lost_or_moved_past_another(offset, jitter, cuts, gaps, seed):
    """However the stream is cut, and wherever tags are missing: the tags that come out are those that went in but for the first, in
    order, rising, with the gaps in their places; steps are SI steps within the fits' own errors."""
    truth = Truth(offset)
    _, node = light(truth, 1, 3000, seed)
    tags = stream_of(c0=node, c3=pulses(truth, 1, 1000, jitter, seed))
    bounds = [0, *sorted(min(at, len(tags)) for at in cuts), len(tags)]
    batches, told = [], set()
    for begin, end in itertools.pairwise(bounds):
        here = sorted(g for g in gaps if g not in told and begin <= g < end)
        told.update(here)
        batches.append(Batch({Stream.TAG: tags[begin:end]}, gaps={Stream.TAG: [Gap(g - begin, 5, 1, 0) for g in here]}))
    stage = discipline(divider=10_000, pps_channel=None)
    times, channels, out = collect(stage, batches)
    assert len(times) + stage.refused == len(tags)
    np.testing.assert_array_equal(channels, tags["channel"][stage.refused :])
    stream = TagStream()
    pieces = [piece for batch in out for piece in stream.split(batch)]
    assert all(np.all(np.diff(piece.times) >= 0) for piece in pieces)
    assert np.all(np.diff(times) >= 0)
    begins = np.cumsum([0, *(len(piece.times) for piece in pieces)])[:-1] + stage.refused
    fresh = {int(at) for at, piece in zip(begins, pieces, strict=True) if piece.fresh}
    assert fresh - {stage.refused} == {g for g in told if g > stage.refused}
    steps, raw = np.diff(times), np.diff(tags["time_ticks"][stage.refused :])
    # the error of neighbouring times: slopes of fits that are renewed, at most STEEPEST, and rounding
    assert np.all(np.abs(steps - raw / (1 + offset)) <= 2e-6 * raw + 2)


@pytest.mark.parametrize("more", [{"epoch_second": 5_000_000}, {"wait_s": -1}, {"wait_s": float("nan")}])
def test_impossible_settings_are_refused(more):
    with pytest.raises(ValueError, match="allowed"):
        discipline(**more)
