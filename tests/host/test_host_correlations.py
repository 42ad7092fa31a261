"""Histograms, g2, coincidences and rates against slow, plain references, with borders and gaps anywhere."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.batch import TAG_DTYPE, Batch, Gap
from twinphase.measure.channel_rates import ChannelRates
from twinphase.measure.coincidences import Coincidences, window_ticks_of
from twinphase.measure.correlate import Bins
from twinphase.measure.g2 import G2, symmetric_bins
from twinphase.measure.histogram import Histogram
from twinphase.measure.tag_stream import TagStream
from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICKS_PER_SECOND

CHANNELS = 4


@st.composite
def streams(draw):
    """``(stretches, batches)``: gapless lists of (time, channel), and the same as batches that are cut anywhere."""
    count = draw(st.integers(0, 60))
    step = draw(st.sampled_from([0, 1, 5, 60]))
    steps = draw(st.lists(st.integers(0, step), min_size=count, max_size=count))
    channels = draw(st.lists(st.integers(0, CHANNELS - 1), min_size=count, max_size=count))
    tags = np.zeros(count, TAG_DTYPE)
    tags["time_ticks"] = draw(st.sampled_from([0, 1 << 40, (1 << 62) - 10_000])) + np.cumsum(np.array(steps, np.int64))
    tags["channel"] = channels
    holes = sorted(draw(st.sets(st.integers(0, count), max_size=3)))
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=6)))
    late = draw(st.booleans())  # a gap at a border may be at the end of a batch or at the beginning of the next
    stretches = [part.tolist() for part in np.split(tags, holes)]
    batches = []
    bounds = [0, *cuts, count]
    told = set()
    for begin, end in itertools.pairwise(bounds):
        here = [h for h in holes if h not in told and begin <= h and (h <= end if late else h < end)]
        if end == count:
            here = [h for h in holes if h not in told and h >= begin]
        told.update(here)
        gaps = [Gap(h - begin, 3, 1, 0) for h in here]
        records = {Stream.TAG: tags[begin:end]} if end > begin else {}
        batches.append(Batch(records=records, gaps={Stream.TAG: gaps} if gaps else {}))
    return stretches, batches


def pairs(stretches, start, stop):
    """All differences within a stretch, of different tags."""
    for stretch in stretches:
        for (i, (t0, c0)), (j, (t1, c1)) in itertools.product(enumerate(stretch), repeat=2):
            if i != j and c0 == start and c1 == stop:
                yield t1 - t0


def binned(differences, bins):
    counts = np.zeros(bins.count, np.int64)
    for difference in differences:
        place = (difference - bins.low_ticks) // bins.width_ticks
        if 0 <= place < bins.count:
            counts[place] += 1
    return counts


@settings(max_examples=150, deadline=None)
@given(
    stream=streams(),
    start=st.integers(0, CHANNELS - 1),
    low=st.integers(-100, 60),
    width=st.integers(1, 20),
    count=st.integers(1, 12),
)
def test_correlation_histogram_counts_every_pair_once(stream, start, low, width, count):
    stretches, batches = stream
    bins = Bins(low_ticks=low, width_ticks=width, count=count)
    histogram = Histogram(start=start, stops=range(CHANNELS), bins=bins)
    for batch in batches:
        histogram.update(batch)
    for stop in range(CHANNELS):
        assert histogram.counts[stop].tolist() == binned(pairs(stretches, start, stop), bins).tolist()
    tags = [tag for stretch in stretches for tag in stretch]
    assert histogram.starts == sum(channel == start for _, channel in tags)
    assert histogram.stop_counts == [sum(channel == stop for _, channel in tags) for stop in range(CHANNELS)]


def single(stretch, start, stop):
    armed = None
    for time, channel in stretch:
        if channel == stop and armed is not None:
            yield time - armed
        if channel == start:
            armed = time
        elif channel == stop:
            armed = None


@settings(max_examples=100, deadline=None)
@given(
    stream=streams(),
    start=st.integers(0, CHANNELS - 1),
    low=st.integers(-5, 60),
    width=st.integers(1, 20),
    count=st.integers(1, 12),
)
def test_start_stop_takes_the_next_stop_of_the_last_start(stream, start, low, width, count):
    stretches, batches = stream
    bins = Bins(low_ticks=low, width_ticks=width, count=count)
    histogram = Histogram(start=start, stops=range(CHANNELS), bins=bins, mode="single")
    for batch in batches:
        histogram.update(batch)
    for stop in range(CHANNELS):
        expected = binned((d for stretch in stretches for d in single(stretch, start, stop)), bins)
        assert histogram.counts[stop].tolist() == expected.tolist()


@settings(max_examples=100, deadline=None)
@given(
    stream=streams(),
    first=st.integers(0, CHANNELS - 1),
    second=st.integers(0, CHANNELS - 1),
    width=st.integers(1, 20),
    span=st.integers(0, 150),
)
def test_g2_is_its_formula(stream, first, second, width, span):
    stretches, batches = stream
    bins = symmetric_bins(width, span)
    assert bins.low_ticks <= -span + width
    assert bins.low_ticks + bins.high_ticks in (0, 1)
    measured = G2(channels=(first, second), bins=bins)
    for batch in batches:
        measured.update(batch)
    counts = binned(pairs(stretches, first, second), bins)
    assert measured.counts.tolist() == counts.tolist()
    spans = [stretch[-1][0] - stretch[0][0] for stretch in stretches if stretch]
    number = [sum(tag[1] == c for stretch in stretches for tag in stretch) for c in (first, second)]
    total = measured.stream.live_ticks
    assert total == pytest.approx(sum(spans))
    value, error = measured.values()
    for k in range(bins.count):
        exposure = sum(max(0, s - abs(bins.centres_ticks[k])) for s in spans)
        if not exposure or not all(number):
            assert np.isnan(value[k])
            assert np.isnan(error[k])
            continue
        scale = total**2 / (number[0] * number[1] * width * exposure)
        assert value[k] == pytest.approx(counts[k] * scale)
        assert error[k] == pytest.approx(max(counts[k], 1) ** 0.5 * scale)
    measured.as_dict()


def coincidences(stretch, channels, window):
    fresh = {}
    for time, channel in stretch:
        if channel not in channels:
            continue
        others = [c for c in channels if c != channel]
        if all(c in fresh and time - fresh[c] <= window for c in others):
            yield time
            fresh = {}
        else:
            fresh[channel] = time


@settings(max_examples=200, deadline=None)
@given(stream=streams(), channels=st.permutations(range(CHANNELS)), n=st.integers(2, 4), window=st.integers(0, 80))
def test_coincidences_follow_the_rule_tag_by_tag(stream, channels, n, window):
    stretches, batches = stream
    measured = Coincidences(channels=channels[:n], window_ticks=window)
    times = [time for batch in batches for time in measured.update(batch).tolist()]
    assert times == [time for stretch in stretches for time in coincidences(stretch, channels[:n], window)]
    assert measured.count == len(times)
    measured.as_dict()


@settings(max_examples=100, deadline=None)
@given(stream=streams())
def test_rates_leave_out_gaps(stream):
    stretches, batches = stream
    rates = ChannelRates()
    for batch in batches:
        rates.update(batch)
    spans = sum(stretch[-1][0] - stretch[0][0] for stretch in stretches if stretch)
    assert rates.stream.live_ticks == spans
    for channel in range(CHANNELS):
        assert rates.counts[channel] == sum(tag[1] == channel for stretch in stretches for tag in stretch)
    for row in rates.as_dict()["channels"]:
        assert row["rate_hz"] is None or row["rate_hz"] == pytest.approx(row["tags"] * TICKS_PER_SECOND / spans)


def poisson(rates_hz, seconds, seed):
    rng = np.random.default_rng(seed)
    parts = []
    for channel, rate in enumerate(rates_hz):
        part = np.zeros(rng.poisson(rate * seconds), TAG_DTYPE)
        part["time_ticks"] = rng.integers(0, round(seconds * TICKS_PER_SECOND), len(part))
        part["channel"] = channel
        parts.append(part)
    tags = np.concatenate(parts)
    return tags[np.argsort(tags["time_ticks"], kind="stable")]


def fed(measurement, tags, size=7_000):
    for at in range(0, len(tags), size):
        part = tags[at : at + size]
        measurement.update(Batch(records={Stream.TAG: part}, time_ticks=int(part["time_ticks"][-1])))
    return measurement


def test_independent_channels_have_g2_of_one_and_formula_accidentals():
    """5e5 tags per channel: chi^2 of 81 bins of about 5000 pairs within 6 sigma of its mean; true
    coincidences 0 within 4 sigma and the 3 % that the formula may be wrong by at 0.01 tags per window."""
    tags = poisson([250_000, 250_000, 200_000], 2.0, 11)
    value, error = fed(G2(channels=(0, 1), bins=symmetric_bins(40_000, 1_600_000)), tags).values()
    chi2 = float(np.sum(((value - 1) / error) ** 2))
    assert abs(chi2 - len(value)) < 6 * (2 * len(value)) ** 0.5
    for channels, window in (((0, 1), 20_000), ((0, 1, 2), 40_000)):
        result = fed(Coincidences(channels=channels, window_ticks=window), tags).as_dict()
        assert result["coincidences"] > 80
        assert abs(result["true"]) < 0.03 * result["coincidences"] + 4 * result["coincidences"] ** 0.5


def test_pairs_are_found_above_accidentals():
    tags = poisson([50_000, 50_000], 1.0, 3)
    twins = poisson([10_000], 1.0, 4)
    late = twins.copy()
    late["channel"] = 1
    late["time_ticks"] += np.random.default_rng(5).integers(80, 121, len(late))
    tags = np.concatenate((tags, twins, late))
    tags = tags[np.argsort(tags["time_ticks"], kind="stable")]
    result = fed(Coincidences(channels=(0, 1), window_ticks=200), tags).as_dict()
    low, high = result["true_ci95"]
    assert low < len(twins) < high
    histogram = fed(Histogram(start=0, stops=[1], bins=Bins(low_ticks=60, width_ticks=1, count=80)), tags).as_dict()
    assert histogram["mean_ps"][0] == pytest.approx(100 * 125 / 128, abs=1)


def test_live_time_of_a_silent_stream_goes_on_and_ends_at_a_gap():
    stream = TagStream()
    tags = np.zeros(2, TAG_DTYPE)
    tags["time_ticks"] = [100, 200]
    stream.split(Batch(records={Stream.TAG: tags}, time_ticks=90))
    stream.split(Batch(time_ticks=1000))
    assert stream.live_ticks == 900
    stream.split(Batch(gaps={Stream.TAG: [Gap(0, 5, 1, 900)]}, time_ticks=1500))  # what came after 200 is not known
    assert (stream.live_ticks, stream.gaps, stream.lost_tags) == (100, 1, 5)
    tags["time_ticks"] = [2000, 2500]
    assert [piece.fresh for piece in stream.split(Batch(records={Stream.TAG: tags}, time_ticks=2400))] == [True]
    assert stream.live_ticks == 100 + 1000


def test_time_that_goes_back_is_a_gap():
    stream = TagStream()
    tags = np.zeros(4, TAG_DTYPE)
    tags["time_ticks"] = [5000, 6000, 100, 300]
    pieces = stream.split(Batch(records={Stream.TAG: tags}, time_ticks=6000))
    assert [(piece.times.tolist(), piece.fresh) for piece in pieces] == [([5000, 6000], True), ([100, 300], True)]
    tags["time_ticks"] = [50, 60, 61, 62]
    assert stream.split(Batch(records={Stream.TAG: tags}, time_ticks=6000))[0].fresh
    assert (stream.live_ticks, stream.gaps) == (1000 + 200 + 12, 2)


def test_long_ranges_are_counted_in_chunks(monkeypatch):
    monkeypatch.setattr("twinphase.measure.correlate.CHUNK_PAIRS", 100)
    tags = poisson([300, 300], 1.0, 7)
    bins = Bins(low_ticks=-(1 << 38), width_ticks=1 << 30, count=512)
    expected = binned(pairs([tags.tolist()], 0, 1), bins)
    assert fed(Histogram(start=0, stops=[1], bins=bins), tags, 50).counts[0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bins(low_ticks=0, width_ticks=0, count=1),
        lambda: Bins(low_ticks=0, width_ticks=1, count=0),
        lambda: Bins(low_ticks=0, width_ticks=1, count=1 << 30),
        lambda: Bins(low_ticks=1 << 61, width_ticks=1, count=1),
        lambda: Histogram(start=0, stops=[], bins=symmetric_bins(1, 1)),
        lambda: Histogram(start=0, stops=[1], bins=symmetric_bins(1, 1), mode="both"),
        lambda: symmetric_bins(0, 1),
        lambda: symmetric_bins(1, -1),
        lambda: Coincidences(channels=[0], window_ticks=1),
        lambda: Coincidences(channels=[0, 0], window_ticks=1),
        lambda: Coincidences(channels=[0, 64], window_ticks=1),
        lambda: Coincidences(channels=[0, 1], window_ticks=-1),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(make):
    with pytest.raises(ValueError, match="allowed"):
        make()


def test_windows_and_names():
    assert window_ticks_of(125) == 128
    assert window_ticks_of(124.9) == 127
    rates = ChannelRates(node=NodeType.TIMETAGGER)
    tags = np.zeros(3, TAG_DTYPE)
    tags["time_ticks"], tags["channel"] = [0, 1, TICKS_PER_SECOND], [0, 33, 33]
    rates.update(Batch(records={Stream.TAG: tags}, time_ticks=5))
    rows = rates.as_dict()["channels"]
    assert [(row["name"], row["rate_hz"]) for row in rows] == [("ch0", 1.0), ("v1", 2.0)]
