"""Delays on the host against a plain sort, with cuts, gaps and restarts anywhere."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.batch import TAG_DTYPE, Batch, Gap
from twinphase.measure.channel_rates import ChannelRates
from twinphase.measure.coincidences import Coincidences
from twinphase.measure.delays import HostDelays
from twinphase.measure.tag_stream import TagStream
from twinphase_spec.packets import Stream
from twinphase_spec.units import TICKS_PER_SECOND


def tags_of(pairs):
    tags = np.zeros(len(pairs), TAG_DTYPE)
    tags["time_ticks"], tags["channel"] = [t for t, _ in pairs], [c for _, c in pairs]
    return tags


def run(delays, batches):
    """``(stretches that come out, stage)``: lists of (time, channel) between gaps."""
    stage, stream, stretches = HostDelays(delays), TagStream(), []
    for batch in [*map(stage.update, batches), stage.finish()]:
        for piece in stream.split(batch):
            if piece.fresh:
                stretches.append([])
            stretches[-1] += zip(piece.times.tolist(), piece.channels.tolist(), strict=True)
    return stretches, stage


def expected(stretch, delays):
    """All tags of the stretch delayed and sorted, as far as every channel is known."""
    low, high = min(0, *delays.values(), 0), max(0, *delays.values(), 0)
    moved = sorted((t + delays.get(c, 0), c) for t, c in stretch)
    return [(t, c) for t, c in moved if stretch[0][0] + high <= t <= stretch[-1][0] + low]


@settings(max_examples=200)
@given(data=st.data())
def test_delayed_tags_are_the_sorted_ones(data):
    """Equal times, bursts and silence; gaps (a restart to an earlier time is one, too) at borders of batches and inside."""
    draw = data.draw
    delays = draw(st.dictionaries(st.integers(0, 3), st.integers(-300, 300), max_size=4))
    stretches = []
    for _ in range(draw(st.integers(1, 3))):
        steps = draw(st.lists(st.sampled_from([0, 0, 1, 7, 90, 1000]), min_size=1, max_size=40))
        start = draw(st.integers(0, 2000))
        channels = [draw(st.integers(0, 3)) for _ in steps]
        stretches.append(sorted(zip((start + np.cumsum(steps)).tolist(), channels, strict=True)))
    borders = np.cumsum([len(stretch) for stretch in stretches])[:-1].tolist()
    tags = tags_of([tag for stretch in stretches for tag in stretch])
    cuts = sorted(draw(st.lists(st.integers(0, len(tags)), max_size=6)))
    bounds = [0, *cuts, len(tags)]
    batches, told = [], set()
    for begin, end in itertools.pairwise(bounds):
        here = [
            h
            for h in borders
            if h not in told and begin <= h <= end and (h < end or draw(st.booleans()) or end == len(tags))
        ]
        told.update(here)
        batches.append(Batch({Stream.TAG: tags[begin:end]}, gaps={Stream.TAG: [Gap(h - begin, 3, 1, 0) for h in here]}))
    found, stage = run(delays, batches)
    assert found == [kept for stretch in stretches if (kept := expected(stretch, delays))]
    assert stage.cut == len(tags) - sum(map(len, found))
    assert stage.held == 0


def test_a_second_of_delay_restores_the_partners():
    """Pairs of which one photon comes 1 s (and 40 ns the other way) late: all coincidences are back, live time and rates are right."""
    rng = np.random.default_rng(3)
    pairs = np.sort(rng.integers(0, 4 * TICKS_PER_SECOND, 4000))
    late = TICKS_PER_SECOND - 40_960
    tags = tags_of(sorted([(int(t), 0) for t in pairs] + [(int(t) + late, 1) for t in pairs]))
    stage, counted, rates = (
        HostDelays({0: TICKS_PER_SECOND, 1: 40_960}),
        Coincidences(channels=(0, 1), window_ticks=0),
        ChannelRates(),
    )
    most = 0
    for part in np.array_split(tags, 97):
        batch = stage.update(Batch({Stream.TAG: part}, time_ticks=int(part["time_ticks"][-1])))
        most = max(most, stage.held)
        counted.update(batch)
        rates.update(batch)
    for batch in (stage.finish(),):
        counted.update(batch)
        rates.update(batch)
    complete = np.count_nonzero((pairs >= tags["time_ticks"][0]) & (pairs + TICKS_PER_SECOND <= tags["time_ticks"][-1]))
    assert counted.count == complete > 3900
    assert most < 1200, "what waits comes within the longest delay"
    assert rates.stream.live_s == pytest.approx(4, abs=0.01)
    assert rates.counts[0] / rates.stream.live_s == pytest.approx(1000, rel=0.03)
    assert stage.cut + rates.counts.sum() == len(tags)


def test_live_time_does_not_begin_before_the_first_complete_tag():
    stage, rates = HostDelays({1: 100_000}), ChannelRates()
    for tags, now in (
        ([(0, 0)], 50_000),
        ([(90_000, 1)], 95_000),
        ([(150_000, 0)], 180_000),
        ([(190_000, 1)], 190_000),
    ):
        rates.update(stage.update(Batch({Stream.TAG: tags_of(tags)}, time_ticks=now)))
    rates.update(stage.finish())
    assert rates.stream.live_ticks == 190_000 - 150_000  # first tag known of all channels to the last
    assert stage.as_dict() == {"delays_ns": {"1": 97.65625}, "cut": 2, "held": 0}
    assert rates.counts[:2].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("delays", "says"),
    [
        ({64: 1}, "channel 64; allowed: 0 to 63"),
        ({0: TICKS_PER_SECOND + 1}, r"1e\+09 ns at channel 0; allowed: \+-1e\+09 ns"),
    ],
)
def test_impossible_delays_are_refused(delays, says):
    with pytest.raises(ValueError, match=says):
        HostDelays(delays)
