"""A reference of known frequency, with drift, jitter, missing, doubled and spurious pulses, and its absence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oscillators import CLOCK, PPS, START, Truth, pps_pulses, pulses

from twinphase.batch import TAG_DTYPE, Batch
from twinphase.measure.cycles import RELOCK_PULSES, CycleCounter
from twinphase.measure.reference import ReferenceClock, ReferenceError
from twinphase_spec.packets import Stream
from twinphase_spec.units import TICKS_PER_SECOND


def feed(reference, clock, pps=(), batch_s=0.02, until=None):
    tags = np.zeros(len(clock) + len(pps), TAG_DTYPE)
    tags["time_ticks"] = np.concatenate((clock, np.array(pps, np.int64)))
    tags["channel"][: len(clock)], tags["channel"][len(clock) :] = CLOCK, PPS
    tags = tags[np.argsort(tags["time_ticks"], kind="stable")]
    first, last = int(tags["time_ticks"][0]), int(tags["time_ticks"][-1])
    edges = np.arange(first, last + round(batch_s * TICKS_PER_SECOND), round(batch_s * TICKS_PER_SECOND))
    for part in np.split(tags, np.searchsorted(tags["time_ticks"], edges)):
        if len(part):
            reference.update(Batch(records={Stream.TAG: part}, time_ticks=int(part["time_ticks"][-1])))
    if until is not None:
        reference.update(Batch(time_ticks=until))
    return reference


def clock(**more):
    return ReferenceClock(**{"clock_channel": CLOCK, "divider": 1000, "pps_channel": PPS, "fit_s": 4.0} | more)


@pytest.mark.parametrize("offset", [0.0, 3.7e-6, -8e-5])
def test_frequency_offset_and_seconds_of_a_steady_clock(offset):
    """10 kHz with 200 ps rms of jitter for 5 s: the truth lies within 5 sigma, sigma of times is below 20 ps."""
    truth = Truth(offset)
    reference = feed(
        clock(first_second=1_700_000_000), pulses(truth, 5, 10_000, 205), pps_pulses(truth, 5, phase=0.25), 0.003
    )
    assert reference.status == "locked"
    assert abs(reference.fit.offset - offset) < 5 * reference.fit.offset_sigma
    assert reference.fit.offset_sigma < 1e-11
    assert reference.fit.pulse_rms_ticks == pytest.approx(205, rel=0.05)
    wanted = [(3, 0.25), (4, 0.7), (4, 0.9999), (5, 0.5)]
    times = np.array([truth.rounded(s, np.float64(f)) for s, f in wanted])
    second, fraction = reference.seconds(times)
    since = (second - 1_700_000_000) + fraction
    error = since - np.array([s + f - 0.25 for s, f in wanted])
    sigma = reference.seconds_sigma(times)
    assert np.all(np.abs(error) < 5 * sigma + 1.5e-12)
    assert np.all(sigma[:3] < 2e-11)
    assert second.tolist() == [1_700_000_002 + k for k in (1, 2, 2, 3)]
    assert reference.as_dict()["missing"] == reference.as_dict()["rejected"] == 0


def test_drift_is_followed():
    truth = Truth(1e-6, 2e-8)
    reference = feed(clock(), pulses(truth, 8, 10_000, 50), pps_pulses(truth, 8))
    now_s = (reference.fit.ticks - START) / TICKS_PER_SECOND
    assert reference.fit.offset == pytest.approx(1e-6 + 2e-8 * now_s, abs=5 * reference.fit.offset_sigma + 1e-12)
    assert reference.fit.drift_per_s == pytest.approx(2e-8, rel=1e-3)


def test_missing_doubled_and_spurious_pulses_are_counted_and_do_no_harm():
    truth = Truth(-2e-5)
    times = pulses(truth, 5, 10_000, 100)
    rng = np.random.default_rng(7)
    missing = rng.choice(np.arange(1, len(times) - 1), 500, replace=False)
    kept = np.delete(times, missing)
    kept = np.delete(kept, slice(20_000, 21_500))  # and 0.15 s at once
    doubled = kept[rng.choice(len(kept) - 2, 300, replace=False) + 1] + rng.integers(100, 20_000, 300)
    spurious = np.sort(rng.integers(kept[10], kept[-10], 50))
    period = TICKS_PER_SECOND / 10_000
    after = spurious[:, None] - kept[np.searchsorted(kept, spurious) - 1][:, None]
    spurious = spurious[np.all((after > 0.3 * period) & (after < 0.7 * period), axis=1)]
    dirty = np.sort(np.concatenate((kept, doubled, spurious)))
    pps = np.sort(np.concatenate((np.delete(pps_pulses(truth, 5), 2), pps_pulses(truth, 5)[3:4] + 300)))
    pps = np.sort(np.append(pps, pps[1] + TICKS_PER_SECOND // 3))
    reference = feed(clock(), dirty, pps)
    counts = reference.as_dict()
    assert counts["rejected"] == 300 + len(spurious)
    assert counts["missing"] == 500 + 1500
    assert counts["restarts"] == 0
    assert counts["pps"] | {"rms_s": None} == {
        "labelled": True,
        "last_second": 5,
        "pulses": 5,
        "missing": 1,
        "doubled": 1,
        "rejected": 1,
        "rms_s": None,
    }
    assert abs(reference.fit.offset + 2e-5) < 5 * reference.fit.offset_sigma
    second, fraction = reference.seconds(truth.rounded(4, np.float64(0.5)))
    assert second[0] == 4
    assert fraction[0] == pytest.approx(0.5, abs=3e-10)


def test_a_spurious_first_pps_pulse_labels_nothing():
    truth = Truth()
    pps = np.sort(np.append(pps_pulses(truth, 4)[1:], truth.rounded(0, np.float64(0.6))))
    reference = feed(clock(first_second=10), pulses(truth, 4.5, 10_000), pps)
    assert reference.labels.rejected == 1
    assert reference.seconds(truth.rounded(4, np.float64(0.1)))[0][0] == 13  # 10 is the pulse at second 1


def test_absence_is_said_and_nothing_is_extrapolated_beyond_the_limit():
    truth = Truth(5e-6)
    reference = clock(holdover_s=0.5)
    assert reference.status == "absent"
    with pytest.raises(
        ReferenceError, match=r"^the reference on channel 3 is absent: it has no pulse of 10000 per second$"
    ):
        reference.seconds(0)
    feed(reference, pulses(truth, 3, 10_000), pps_pulses(truth, 3))
    last = reference.last_ticks
    reference.update(Batch(time_ticks=last + TICKS_PER_SECOND // 4))
    assert reference.status == "holdover"
    assert "holdover for 0.25 s" in reference.sentence()
    reference.seconds(last + TICKS_PER_SECOND // 4)
    for wrong in (last + TICKS_PER_SECOND, reference.fit.first_ticks - TICKS_PER_SECOND):
        with pytest.raises(ReferenceError, match=r"more than 0\.5 s away"):
            reference.seconds(wrong)
    reference.update(Batch(time_ticks=last + TICKS_PER_SECOND))
    assert reference.status == "absent"
    with pytest.raises(ReferenceError, match=r"its last pulse came 1 s ago, allowed are 0\.5 s"):
        reference.seconds(last)


@pytest.mark.parametrize("divider", [999, 1001, 900])
def test_a_divider_that_is_not_what_was_said_gives_no_times(divider):
    """Pulses keep coming in step, only the frequency tells: beyond 1e-4 nothing is labelled."""
    truth = Truth(1e-6)
    reference = clock(divider=divider, pps_channel=PPS)
    feed(reference, pulses(truth, 3, 10_000), pps_pulses(truth, 3))
    assert reference.status == "wrong"
    with pytest.raises(ReferenceError, match=r"9999\.99 pulses per second .* (10010|9990|11111)\.?\d* were expected"):
        reference.seconds(reference.last_ticks)


def test_without_pps_seconds_have_no_names():
    truth = Truth()
    reference = feed(clock(pps_channel=None), pulses(truth, 2, 10_000))
    assert reference.status == "locked"
    with pytest.raises(ReferenceError, match="seconds are not labelled, for there is no PPS channel"):
        reference.seconds(reference.last_ticks)


def test_a_jump_of_the_phase_restarts_the_count_and_keeps_the_seconds():
    truth = Truth(1e-6)
    times = pulses(truth, 8, 10_000)
    times[40_000:] += round(0.4 * TICKS_PER_SECOND / 10_000)
    pps = pps_pulses(truth, 8)
    pps[4:] += round(0.4 * TICKS_PER_SECOND / 10_000)
    reference = feed(clock(first_second=100), times, pps)
    assert reference.counter.counts.restarts == 1
    assert reference.counter.counts.rejected == RELOCK_PULSES
    assert reference.labels.labelled
    moved = truth.rounded(6, np.float64(0.5)) + round(0.4 * TICKS_PER_SECOND / 10_000)
    second, fraction = reference.seconds(moved)
    assert (second[0], fraction[0]) == (106, pytest.approx(0.5, abs=1e-10))


def test_a_long_pause_is_an_absence_and_labels_come_back():
    truth = Truth(1e-6)
    times, pps = pulses(truth, 30, 10_000), pps_pulses(truth, 30)
    away = lambda t: (t > START + 3 * TICKS_PER_SECOND) & (t < START + 25.5 * TICKS_PER_SECOND)  # noqa: E731
    reference = feed(clock(first_second=0), times[~away(times)], pps[~away(pps)])
    assert reference.status == "locked"
    assert reference.labels.labelled
    second, fraction = reference.seconds(truth.rounded(29, np.float64(0.25)))
    assert (second[0], fraction[0]) == (29, pytest.approx(0.25, abs=1e-10))


def test_a_node_that_starts_anew_is_labelled_anew():
    truth = Truth()
    reference = feed(clock(), pulses(truth, 2.5, 10_000), pps_pulses(truth, 2.5))
    feed(reference, pulses(truth, 3.5, 10_000) - START + 5000, pps_pulses(truth, 3.5) - START + 5000)
    assert reference.status == "locked"
    assert reference.seconds(5000 + 3 * TICKS_PER_SECOND + TICKS_PER_SECOND // 4)[0][0] == 3


def test_an_undivided_10_mhz_reference():
    truth = Truth(2.5e-5)
    reference = clock(divider=1, fit_s=1.0, pps_channel=None)
    feed(reference, pulses(truth, 0.5, 10_000_000, 60), batch_s=0.05)
    assert reference.counter.counts.pulses == 5_000_000
    assert abs(reference.fit.offset - 2.5e-5) < 5 * reference.fit.offset_sigma
    assert reference.fit.offset_sigma < 1e-12


def test_pps_alone_may_be_the_reference():
    truth = Truth(3e-6)
    pps = pps_pulses(truth, 12)
    reference = ReferenceClock(clock_channel=PPS, clock_hz=1, pps_channel=PPS, first_second=50)
    feed(reference, np.empty(0, np.int64), pps)
    assert reference.fit.offset == pytest.approx(3e-6, abs=1e-11)
    second, fraction = reference.seconds(truth.rounded(11, np.float64(0.5)))
    assert (second[0], fraction[0]) == (61, pytest.approx(0.5, abs=1e-10))


@settings(max_examples=100, deadline=None)
@given(
    offset=st.floats(-9e-5, 9e-5),
    keep=st.lists(st.booleans(), min_size=1, max_size=300),
    doubles=st.lists(st.booleans(), min_size=300, max_size=300),
    cuts=st.lists(st.integers(0, 600), max_size=5),
)
def test_cycle_numbers_are_the_truth(offset, keep, doubles, cuts):
    """Any pulses missing, any doubled, cut anywhere: all numbers right relative to the first."""
    numbers = np.flatnonzero(np.array(keep))
    times = np.rint(100_000 * (1 + offset) * numbers).astype(np.int64)
    true = {int(t): int(n - numbers[0]) for t, n in zip(times, numbers, strict=True)}
    dirty = np.sort(np.concatenate((times, times[np.array(doubles)[: len(times)]] + 9_000)))
    counter = CycleCounter(100_000.0)
    found = {}
    for part in np.split(dirty, sorted(cuts)):
        runs = counter.number(part)
        assert len(runs) == 1
        for kept, cycles in runs:
            found |= dict(zip(kept.tolist(), cycles.tolist(), strict=True))
    assert found == true
    assert counter.counts.pulses == len(times)
    assert counter.counts.rejected == len(dirty) - len(times)


@pytest.mark.parametrize(
    "settings",
    [{"clock_hz": 0}, {"divider": 0}, {"pps_channel": CLOCK}, {"holdover_s": 0}, {"fit_s": float("nan")}],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match="allowed"):
        clock(**settings)


def test_a_period_that_ticks_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="at least 4"):
        CycleCounter(2.0)
