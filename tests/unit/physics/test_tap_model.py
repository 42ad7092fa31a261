"""The tap model: its two views agree, and both show what was put in."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.model.timetag.taps import encode_taps
from twinphase_sim.physics.tap_tables import CELL_PS, TABLES, tap_delays_ps
from twinphase_sim.physics.tap_truth import averaging_bound_ps, bin_borders_ps, bin_centres_ps, joint_bound_ps
from twinphase_sim.physics.taps import Chain, DelayLineModel, TapModel
from twinphase_spec.tdc import sample_order

ONE = (Chain(skew_tap_ps=3, seed=1),)
FOUR = tuple(Chain(skew_tap_ps=4, offset_ps=o, seed=i) for i, o in enumerate((0, 35, -90, 250)))
MODELS = {
    "plain": DelayLineModel(),
    "coins": DelayLineModel(chains=ONE, aperture_ps=40, seed=3),
    "all": DelayLineModel(chains=FOUR, aperture_ps=5, clock_jitter_ps=12, hit_jitter_ps=20, clock_seed=9),
    "fall": DelayLineModel(chains=(Chain(fall_ps=60, fall_scale=1.06, skew_tile_ps=4),), aperture_ps=2),
    "system clock": DelayLineModel(chains=(Chain(taps=512, skew_tap_ps=3),), lanes=1, clock_jitter_ps=5),
    "sdf": DelayLineModel(chains=(Chain(source="sdf", corner="typ", skew_tap_ps=3),), aperture_ps=3),
    "slow part": DelayLineModel(chains=(Chain(part="6", corner="min", taps=272),), lanes=1),
    "drift": DelayLineModel(
        chains=ONE, common=lambda s: 1 + 1e4 * s, differential=lambda s: 1e5 * s, drift_step_s=5e-8, aperture_ps=3
    ),
    "slow part, sdf": DelayLineModel(chains=(Chain(part="6", source="sdf", taps=256),) * 2, lanes=1, clock_jitter_ps=3),
    "twins": DelayLineModel(chains=(Chain(source="twins", corner="typ", taps=512, skew_tap_ps=3),), aperture_ps=3),
    "twins, drift": DelayLineModel(
        chains=(Chain(source="twins", taps=448, seed=4),) * 2,
        clock_jitter_ps=3,
        differential=lambda s: 1e5 * s,
        drift_step_s=5e-8,
    ),
    "no order of groups": DelayLineModel(chains=(Chain(skew_tap_ps=300, seed=2),), aperture_ps=3),
}


def hits_of(rng: np.random.Generator, model: DelayLineModel, count: int, shortest_ps: float):
    """A mixture of bursts and silence, by the model's jitter."""
    gaps = shortest_ps + rng.exponential(rng.choice([50.0, 1500.0, 9000.0], count))
    times = 2 * model.span_ps + np.cumsum(gaps)
    clocks = np.floor(times / model.span_ps).astype(np.int64)
    return clocks, times - clocks * model.span_ps


@settings(max_examples=15, deadline=None)  # the first call compiles
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(MODELS)), st.sampled_from([150.0, 900.0, 4500.0]))
def test_codes_are_what_the_encoder_makes_of_the_vectors(seed: int, name: str, shortest_ps: float) -> None:
    """Bit for bit, in batches, with twins the echoes, too: bursts of several toggles in one clock and in neighbouring clocks, wraps of
    the fraction."""
    rng = np.random.default_rng(seed)
    model = MODELS[name]
    clocks, fractions = hits_of(rng, model, 60, shortest_ps)
    taps = TapModel(model)
    clocks, fractions = taps.jittered(clocks, fractions)
    order = np.lexsort((fractions, clocks))
    clocks, fractions = clocks[order], fractions[order]
    expected = encode_taps(taps.tap_vectors(clocks, fractions, 0, int(clocks[-1]) + 6), chains=len(model.chains))
    found, start = [], 0
    for stop in [*sorted(rng.integers(0, 60, 4).tolist()), 60]:
        found.append(taps.codes(clocks[start:stop], fractions[start:stop], last=stop == 60)[0])
        start = stop
    assert all((hits.echoes is not None) == name.startswith("twins") for hits in found)
    for field in ("clocks", "polarities", "codes", *["echoes"] * name.startswith("twins")):
        assert np.concatenate([getattr(h, field) for h in found]).tolist() == getattr(expected, field).tolist(), field


def test_tables_are_the_toolchain_s() -> None:
    assert np.diff(tap_delays_ps("5G-8", "max", 9)).tolist() == [-62, 16, 27, 105] * 2
    assert np.diff(tap_delays_ps("6", "max", 9)).tolist() == [-59, 31, 40, 130] * 2
    for part, corner, cell in (("5G-8", "min", 39), ("5G-8", "typ", 41), ("6", "min", 62), ("6", "typ", 66)):
        assert tap_delays_ps(part, corner, 101)[100] == 50 * cell
        assert (np.diff(tap_delays_ps(part, corner, 9)) < 0).sum() == 2
    with pytest.raises(ValueError, match="'7'"):
        tap_delays_ps("7", "max", 8)
    with pytest.raises(ValueError, match="source is 'guess'"):
        tap_delays_ps("6", "max", 8, "guess")
    with pytest.raises(ValueError, match="source is 'twins'; allowed on 6: pattern and sdf"):
        tap_delays_ps("6", "max", 512, "twins")


@pytest.mark.parametrize("part", ["5G-8", "6"])
@pytest.mark.parametrize("corner", ["min", "typ", "max"])
def test_sdf_tables_go_on_by_tiles(part: str, corner: str) -> None:
    """The file's 256 delays less the first; beyond them, and within, every tap is four cells after the one a tile before."""
    file = resources.files("twinphase_spec") / "taptables" / f"{TABLES[part]}.json"
    table = json.loads(file.read_text())
    given = np.array(table["taps"][corner])
    delays = tap_delays_ps(part, corner, 512, "sdf")
    assert (delays[:256] == given - given[0]).all()
    assert set((delays[8:] - delays[:-8]).tolist()) == {4 * CELL_PS[part][corner]}
    assert table["carry_of_two_taps"][table["corners"].index(corner)] == CELL_PS[part][corner]
    assert (tap_delays_ps(part, corner, 100, "sdf") == delays[:100]).all()
    assert (np.diff(delays) < 0).any()


@pytest.mark.parametrize("corner", ["min", "typ", "max"])
def test_twins_are_the_table_s(corner: str) -> None:
    """Each tap's own delay as without twins, and once more the twin's, which is later: no way through the fabric is shorter."""
    folder = resources.files("twinphase_spec") / "taptables"
    twins = json.loads((folder / "lfe5um5g-8-twins.json").read_text())["taps"][corner]
    own = tap_delays_ps("5G-8", corner, 256, "sdf")
    first = json.loads((folder / "lfe5um5g-8.json").read_text())["taps"][corner][0]
    delays = dict(zip(sample_order(512, True), tap_delays_ps("5G-8", corner, 512, "twins").tolist(), strict=True))
    assert [delays[tap, False] for tap in range(256)] == own.tolist()
    assert [delays[tap, True] + first for tap in range(256)] == twins
    assert all(delays[tap, True] > delays[tap, False] for tap in range(256))


def test_twins_drift_with_their_taps_and_by_themselves() -> None:
    """The carry's change is that of the tap, the way's that of each flip-flop: without ways both change alike."""
    chain = Chain(source="twins", corner="typ", taps=512, seed=5)
    changed = DelayLineModel(chains=(chain,), differential=np.ones_like)
    still = DelayLineModel(chains=(chain,))
    change = (changed.arrivals(np.zeros(1)) - still.arrivals(np.zeros(1)))[0, 0, 1]
    factors = np.random.default_rng((5, 71))
    factors.normal(0, 0.0, 512)  # the skew's
    relative = factors.normal(0, chain.differential_rms, (2, 512))
    carry = CELL_PS["5G-8"]["typ"] / 2
    along = carry * (np.cumsum(relative[0]) - relative[0, 0])
    delays = tap_delays_ps("5G-8", "typ", 512, "twins")
    order = sample_order(512, True)
    expected = [along[tap] + (delays[k] - carry * tap) * relative[1, k] for k, (tap, _) in enumerate(order)]
    np.testing.assert_allclose(change, np.array(expected) - expected[0], atol=1e-9)


def test_sdf_taps_by_hand() -> None:
    assert np.diff(tap_delays_ps("5G-8", "typ", 9, "sdf")).tolist() == [-2, 43, -2, 43, -76, 117, -2, 43]
    assert np.diff(tap_delays_ps("6", "max", 9, "sdf")).tolist() == [-40, 111, -40, 111, -130, 201, -40, 111]


def test_a_front_by_hand() -> None:
    """A rise 300 ps before an edge of the slowest 5G chain: taps that arrive within 300 ps show it, others do not, nor later."""
    model = DelayLineModel()
    vectors = TapModel(model).tap_vectors(np.array([4]), np.array([3700.0]), 0, 8)
    delays = tap_delays_ps("5G-8", "max", 256)
    assert not vectors[:5].any()
    assert vectors[5, 0].tolist() == (delays <= 300).astype(int).tolist()
    assert vectors[6, 0].tolist() == (delays <= 4300).astype(int).tolist()
    assert vectors[7, 0].all()


def test_two_toggles_in_one_clock_vanish_and_are_runts() -> None:
    taps = TapModel(DelayLineModel())
    clocks, fractions = np.array([10, 10, 20]), np.array([1000.0, 2500.0, 5.0])
    vectors = taps.tap_vectors(clocks, fractions, 0, 25)
    seen = encode_taps(vectors)
    assert (seen.clocks.tolist(), seen.polarities.tolist()) == ([21], [1])
    assert 11 in seen.runt_clocks
    hits, numbers = taps.codes(clocks, fractions, last=True)
    assert (hits.clocks.tolist(), numbers.tolist()) == ([21], [2])


def test_metastable_taps_are_fair_and_local() -> None:
    """Hits at one time: taps further than half the aperture never change; the one in its middle is 1 half of the time."""
    model = DelayLineModel(aperture_ps=20)
    delays = tap_delays_ps("5G-8", "max", 256)
    elapsed = float(delays[100])
    n = 4000
    hits, _ = TapModel(model).codes(10 * np.arange(1, n + 1), np.full(n, 4000 - elapsed), last=True)
    borders = np.sort(delays[1:])
    low = np.count_nonzero(borders <= elapsed - 10)
    high = np.count_nonzero(borders < elapsed + 10)
    assert set(hits.codes.ravel().tolist()) == set(range(low, high + 1))
    # 4000 fair coins per uncertain tap: 5 sigma of the mean
    assert abs(hits.codes.mean() - (low + high) / 2) < 5 * 0.5 * np.sqrt((high - low) / n)


def test_clock_jitter_is_common_to_channels_that_share_the_clock() -> None:
    """rms and mean from 40 000 edges (5 sigma of their errors), equal for equal clock seeds."""
    n = 40_000
    clocks, middle = 10 * np.arange(1, n + 1), np.full(n, 2000.0)
    found = []
    for seed, clock_seed in ((1, 5), (2, 5), (2, 6)):
        model = DelayLineModel(seed=seed, clock_jitter_ps=60, clock_seed=clock_seed)
        hits, _ = TapModel(model).codes(clocks, middle, last=True)
        centres = bin_centres_ps(bin_borders_ps(model.arrivals(np.zeros(1))[0, 0, 1], 4000))
        found.append(centres[hits.codes[:, 0]])
    assert (found[0] == found[1]).all()
    assert abs(found[0].std() - np.hypot(60, 6.6)) < 5 * 60 / np.sqrt(2 * n) + 0.5
    assert abs(np.corrcoef(found[1], found[2])[0, 1]) < 5 / np.sqrt(n)


def test_bounds_by_hand() -> None:
    borders = bin_borders_ps(np.array([0.0, 30.0, 10.0, 60.0]), 40)
    assert borders.tolist() == [0, 10, 30, 40, 40]
    one = averaging_bound_ps([borders], 40)
    assert one == pytest.approx(np.sqrt((10**3 + 20**3 + 10**3) / (12 * 40)))
    assert joint_bound_ps([borders], 40) == pytest.approx(one)
    other = np.array([0.0, 20, 40, 40, 40])
    assert joint_bound_ps([borders, other], 40) == pytest.approx(10 / np.sqrt(12))
    # quarters: (5 + 10) / 2 for 0 .. 10, (20 + 10) / 2 for 10 .. 20, and mirrored
    errors = (10**3 / 12 + 10 * 2.5**2) + 10**3 / 12
    assert averaging_bound_ps([borders, other], 40) == pytest.approx(np.sqrt(2 * errors / 40))


def test_drift_moves_the_taps() -> None:
    model = DelayLineModel(
        chains=(Chain(differential_rms=0.01),),
        common=lambda s: 1 + 0.02 * s,
        differential=lambda s: s,
        drift_step_s=1e-3,
    )
    delays = tap_delays_ps("5G-8", "max", 256)
    start, end = model.arrivals(np.array([0.0, 1.0]))[:, 0, 1]
    assert start.tolist() == delays.tolist()
    local = end / 1.02 - delays
    # a random walk of 0.215 ps a tap and local parts of at most 1 % of 60 ps; 5 sigma
    assert np.abs(np.diff(local)).max() < 5 * (0.215 + 2 * 0.6)
    assert 0.3 < local.std() < 5 * 0.215 * 16


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="the chains cover"):
        DelayLineModel(chains=(Chain(taps=128),))
    with pytest.raises(ValueError, match="3 chains"):
        DelayLineModel(chains=(Chain(),) * 3)
    with pytest.raises(ValueError, match="aperture_ps is 500"):
        DelayLineModel(aperture_ps=500)
    taps = TapModel(DelayLineModel())
    with pytest.raises(ValueError, match="go back"):
        taps.codes(np.array([5, 5]), np.array([30.0, 20.0]))
    with pytest.raises(ValueError, match="within the span"):
        taps.codes(np.array([5]), np.array([4000.0]))
    taps.codes(np.array([5]), np.array([40.0]))
    with pytest.raises(ValueError, match="clock 4 after 5"):
        taps.codes(np.array([4]), np.array([40.0]))
