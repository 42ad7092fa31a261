"""The phase's way through the server's model on light as it comes, and as it should not: against the page, and against the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from phase_compare import EPOCH, compare, model, psi_errors, scene, settings_of
from phase_path_oracle import Tag

from twinphase_sim.model.phase.smoothfollow import entries
from twinphase_spec.smooth_follow import GainTable


@pytest.mark.parametrize("epoch", [9, 10])
def test_steady_light(epoch: int) -> None:
    """Both psi are right, with the error that single clicks allow, and the smoothed one is better; flags are set after the cold starts.

    A wrong sign anywhere (ratio, reference of the quantum band, slope) gives errors all over the turn: phase and drift are not symmetric.
    """
    tags = scene(np.random.default_rng(1), clocks=70 << epoch)
    got = compare(settings_of(epoch=epoch), tags, tags[-1].t)
    c = 1 + 27_000_000 / 2**32
    rms = []
    for records in (got.psi_causal, got.psi):
        error = psi_errors(records, tags, lambda t: (1.0 + 2e-5 * t) * c + 2.0)[300:]
        assert not np.isnan(error).any()
        rms.append(np.sqrt(np.mean(error**2)))
    assert rms[1] < rms[0] < 0.6
    assert got.untracked < 100
    assert got.psi.size > 0.5 * got.psi_causal.size


def test_bursts_across_turns() -> None:
    """A click of each detector in every clock for 40 clocks around a turn, again and again: entries wait, turns keep their place."""
    rng = np.random.default_rng(2)
    tags = scene(rng, clocks=40 * EPOCH)
    for turn in range(5, 40, 3):
        base = turn * EPOCH - 20
        tags += [
            Tag(base + i, band, port, (base + i) // 16 % 4) for i in range(40) for band in "rq" for port in range(2)
        ]
    tags.sort(key=lambda tag: tag.t)
    got = compare(settings_of(), tags, tags[-1].t)
    late = got.fed.nodes.released - (got.fed.nodes.epochs * EPOCH + 96)
    assert late.max() > 50
    assert (late == 0).sum() > 20


def test_many_clicks_of_one_clock() -> None:
    """Sixty clicks of one clock before a turn, and as many after it, with every mix of bands, ports and steps."""
    rng = np.random.default_rng(3)
    tags = scene(rng, clocks=20 * EPOCH)
    for at in (9 * EPOCH - 1, 9 * EPOCH, 15 * EPOCH):
        tags += [Tag(at, "rq"[i % 2], i // 2 % 2, i // 4 % 4) for i in range(60)]
    tags.sort(key=lambda tag: tag.t)
    compare(settings_of(), tags, tags[-1].t + 40 * EPOCH)


def test_reference_lost_while_the_other_band_goes_on() -> None:
    """r goes dark: it is given up, q's clicks count untracked, d dies of silence, no herald has a flag; both come back unaided."""
    dark = lambda t: ((t < 20 * EPOCH) | (t > 45 * EPOCH)).astype(float)  # noqa: E731
    tags = scene(np.random.default_rng(4), clocks=90 * EPOCH, light_r=dark)
    got = compare(settings_of(), tags, tags[-1].t)
    epoch = np.array([tag.t - 1000 for tag in tags if tag.step is None]) // EPOCH
    flags = got.psi_causal["flags"]
    assert (flags[(epoch > 10) & (epoch < 20)] == 3).all()
    assert (flags[(epoch > 30) & (epoch < 45)] == 0).all()
    assert (flags[epoch > 60] == 3).all()
    smooth = got.psi["flags"]
    inside = epoch[: smooth.size]
    assert (smooth[(inside > 30) & (inside < 44)] == 0).all()
    assert (smooth[(inside > 11) & (inside < 18)] == 3).all()
    untracked = [
        tag.t - 1000
        for tag, taken in zip([x for x in tags if x.step is not None], got.fed.tracked, strict=True)
        if not taken
    ]
    assert sum(30 * EPOCH < at < 45 * EPOCH for at in untracked) > 100
    assert not any(at > 60 * EPOCH for at in untracked)
    events = got.fed.events.counters()
    assert (events["starts_r"], events["lost_r"], events["locked_r"]) == (2, 1, 1)
    assert events["starts_d"] == events["lost_d"] + events["faded_d"] + events["locked_d"] > 1
    assert 25 < events["unlocked_r"] < 45
    broke = got.track["clock_high_channel"] >> 31 & 1
    assert broke.sum() > 10


def test_jump_unlinks_what_lies_around_it() -> None:
    """psi_r jumps by half a turn: the interval of the jump is not valid, those before and after are, and psi is right on both sides."""
    jump = 30 * EPOCH + 200
    psi_r = lambda t: 1.0 + math.pi * (t > jump)  # noqa: E731
    tags = scene(np.random.default_rng(5), clocks=90 * EPOCH, psi_r=psi_r, rate=0.1)
    got = compare(settings_of(), tags, tags[-1].t)
    broken = np.flatnonzero(got.fed.nodes.broke[0])
    broken = broken[broken > 15]
    assert 1 <= broken.size <= 3
    assert got.fed.events.counters()["jumps_r"] == 1
    valid = got.intervals[0].valid[20:50]
    assert 1 <= (~valid).sum() <= 3
    c = 1 + 27_000_000 / 2**32
    error = psi_errors(got.psi, tags, lambda t: psi_r(t) * c + 2.0)
    epoch = (np.array([tag.t for tag in tags if tag.step is None]) // EPOCH)[: error.size]
    good = ~np.isnan(error) & (np.abs(epoch - 32) > 5) & (epoch > 15)
    assert good.sum() > 500
    assert np.sqrt(np.mean(error[good] ** 2)) < 0.5


def test_an_actuator_takes_the_phase_off_once() -> None:
    """With A in the light the total phase is the same, psi is what is left; blank clicks are not tracked, blank heralds have no flag."""
    rng = np.random.default_rng(6)
    plain = scene(rng, clocks=60 * EPOCH, ratio=0.0)
    # the photons of a light from which a quarter of a turn is taken off: what was step k is step k + 1
    turned = [tag._replace(applied=1 << 14, step=None if tag.step is None else (tag.step + 1) % 4) for tag in plain]
    s = settings_of(c=0)
    first, second = (compare(s, tags, plain[-1].t) for tags in (plain, turned))
    np.testing.assert_array_equal(first.fed.nodes.table, second.fed.nodes.table)
    np.testing.assert_array_equal(
        second.psi["psi_turns"], (first.psi["psi_turns"] - np.uint16(1 << 14)) & np.uint16(65535)
    )
    blanked = [tag._replace(blank=20 * EPOCH < tag.t - 1000 < 20 * EPOCH + 300) for tag in plain]
    third = compare(s, blanked, plain[-1].t)
    count = sum(tag.blank and tag.step is not None for tag in blanked)
    assert third.untracked == first.untracked + count
    of_heralds = np.array([tag.blank for tag in blanked if tag.step is None])
    assert not third.psi_causal["flags"][of_heralds].any()
    assert not third.psi_causal["psi_turns"][of_heralds].any()


def test_restart_knows_nothing_of_the_run_before() -> None:
    """The same photons, later by a multiple of the wrap of all that counts clocks: the same nodes and psi but for the time."""
    tags = scene(np.random.default_rng(7), clocks=60 * EPOCH)
    far = 1 << 44
    moved = [tag._replace(t=tag.t + far) for tag in tags]
    here, there = compare(settings_of(), tags, tags[-1].t), compare(settings_of(start=1000 + far), moved, moved[-1].t)
    np.testing.assert_array_equal(here.fed.nodes.table, there.fed.nodes.table)
    np.testing.assert_array_equal(here.psi, there.psi)


def test_no_light() -> None:
    """Silence never looks like a good phase: records go on, none locked, and heralds (of dark counts) have no flag."""
    tags = [Tag(2000 + 700 * i, "q", 0, None) for i in range(60)]
    got = compare(settings_of(), tags, 60 * EPOCH)
    assert not (got.track["clock_high_channel"] >> 30 & 1).any()
    assert not got.psi["flags"].any()
    assert not got.psi_causal["flags"].any()
    assert got.psi.size > 10
    events = got.fed.events.counters()
    assert {name for name, count in events.items() if count} == {"unlocked_r", "unlocked_d"}


@pytest.mark.parametrize(
    ("steps", "weaker", "follows"),
    [((0, 0), "r", (0, 1)), ((1, 0), "r", (0,)), ((0, 1), "q", (0, 1)), ((1, 0), "q", (1,))],
)
def test_gains_follow_the_light(steps: tuple[int, int], weaker: str, follows: tuple[int, ...]) -> None:
    """Light of a band ten times weaker from the middle on: its entries fall by more than one, the other's do not; the smoothed phase is
    the page's whichever channels follow, each by its own node step and its own half of the table."""
    weak = lambda t: np.where(t < 200 * EPOCH, 1.0, 0.1)  # noqa: E731
    tags = scene(np.random.default_rng(11), clocks=400 * EPOCH, rate=0.1, **{f"light_{weaker}": weak})
    walk = {"diffusion_rad2_per_s": 3e3, "slope_noise_rad2_per_s3": 1e10, "slope_follows": False}
    made = [
        GainTable.design(**walk, click_rate_hz=rate, information=0.8, node_clocks=EPOCH << step)
        for rate, step in zip((5e6, 2.5e6), steps, strict=True)
    ]
    starts = (made[0].start, made[1].start)
    s = settings_of(steps=steps, table=made[0].words + made[1].words, table_from=starts, follows=follows)
    got = compare(s, tags, tags[-1].t)
    for channel, band in enumerate("rq"):
        count = got.fed.nodes.released.size // (64 << steps[channel])
        used = entries(
            got.fed.nodes, channel, step_log=steps[channel], first_block=0, blocks=count, start=starts[channel]
        )
        fallen = int(used.max() - used[-1])
        assert fallen > 1 if band == weaker else fallen <= 1
        assert got.intervals[channel].valid[20 >> steps[channel] :].mean() > 0.9


def test_a_table_of_one_channel_is_refused() -> None:
    tags = scene(np.random.default_rng(12), clocks=4 * EPOCH)
    with pytest.raises(ValueError, match="SMOOTH_TABLE has 64 words; allowed: 128"):
        model(settings_of(table=[0] * 64, follows=(1,)), tags, tags[-1].t)


def test_a_fringe_that_fades_and_comes_back() -> None:
    """Clicks without a fringe: given up for the evidence, found again and given up again, until there is one."""
    fades = lambda t: np.where((t > 30 * EPOCH) & (t < 60 * EPOCH), 0.0, 0.98)  # noqa: E731
    tags = scene(np.random.default_rng(10), clocks=110 * EPOCH, rate=0.1, visibility_r=fades)
    events = compare(settings_of(), tags, tags[-1].t).fed.events.counters()
    assert events["faded_r"] > 1
    assert events["locked_r"] == 1
    assert events["starts_r"] == events["faded_r"] + events["lost_r"] + 1


def test_backlog_of_more_than_an_epoch() -> None:
    """1000 clicks of one clock: the turns after them are late, and clicks that come before a node is there have no phase of r."""
    tags = scene(np.random.default_rng(8), clocks=30 * EPOCH, rate=0.03)
    at = 15 * EPOCH - 1
    tags += [Tag(at, "r", i % 2, at // 16 % 4) for i in range(1000)]
    tags.sort(key=lambda tag: tag.t)
    got = compare(settings_of(), tags, tags[-1].t)
    references = [tag for tag in tags if tag.step is not None]
    lost = [tag.t // EPOCH for tag, taken in zip(references, got.fed.tracked, strict=True) if not taken]
    assert 17 in lost


@pytest.mark.parametrize(("band", "swap"), [("q", 1), ("r", 2)])
def test_swap_exchanges_the_ports_of_its_band(band: str, swap: int) -> None:
    tags = scene(np.random.default_rng(9), clocks=40 * EPOCH)
    turned = [tag._replace(port=1 - tag.port) if tag.band == band else tag for tag in tags]
    expected, got = model(settings_of(), tags, tags[-1].t), model(settings_of(), turned, tags[-1].t, swap)
    np.testing.assert_array_equal(expected.fed.nodes.table, got.fed.nodes.table)
    other = model(settings_of(), turned, tags[-1].t, 3 - swap)
    assert (other.fed.nodes.table != got.fed.nodes.table).any()
