"""The click tracker against its model: every output, bit for bit and in its clock, over random and adversarial events."""

import random

import numpy as np
import pytest
from clicktracker_bench import (
    NAT,
    Entry,
    Run,
    apart,
    brink_entries,
    burst_entries,
    column,
    config,
    crowd_entries,
    fringe_entries,
    judge,
    of,
    play,
    random_entries,
    thrust_entries,
    wild_config,
)

from twinphase_hdl.phase.clickadapt import ClickAdapt
from twinphase_hdl.phase.clickconfig import ClickConfig
from twinphase_hdl.phase.clickevidence import ClickEvidence
from twinphase_hdl.phase.clickgain import ClickGain
from twinphase_hdl.phase.clickqueue import ClickQueue
from twinphase_hdl.phase.clicksense import ClickSense
from twinphase_hdl.phase.clickstart import ColdStart
from twinphase_hdl.phase.clickstate import ClickState
from twinphase_hdl.phase.clicktime import ClickTime
from twinphase_hdl.phase.clicktracker import ClickTracker
from twinphase_hdl.phase.clickword import ChannelWord
from twinphase_hdl.phase.clickwords import ClickWords
from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import variance_word


@pytest.mark.parametrize(("channels", "runs", "epochs", "per_epoch"), [(1, 2, 8, 60), (3, 5, 8, 50), (32, 1, 4, 90)])
def test_equals_model(channels, runs, epochs, per_epoch):
    rng = random.Random(channels)
    played = []
    for number in range(runs):
        bits = (t.EPOCH_BITS, t.EPOCH_LEAST, 11, 14, 12)[number]
        entries = random_entries(rng, channels, epochs, per_epoch, bits)
        adapts = channels == 32 or number % 2 == 1
        if adapts:
            entries = apart(entries, channels)
        played.append(Run([wild_config(rng, adapts=adapts) for _ in range(channels)], entries, epoch_bits=bits))
    for run in played[:-1:2]:
        run.cut = True
    play(channels, played)
    outputs = np.concatenate([judge(run, channels) for run in played])
    if channels == 3:
        assert set(column(outputs, "kind")) == {t.TURN, t.ACQUIRING, t.STARTING, t.IGNORED, t.TRACKING}
        assert t.P_MAX in column(outputs, "p")
        assert {t.V_LEAST, t.V_MOST} <= set(column(outputs, "v"))


def crowd(rng: random.Random, channels: int, epoch_bits: int, *, adapts: bool) -> Run:
    """Clicks that crowd, and thresholds that a few of them reach."""
    configs = [
        config(
            p_min=1 << 24,
            p_start=1 << 28,
            p_lost=rng.choice([1 << 29, t.P_MAX]),
            d=rng.choice([0, 1 << 28]),
            v_gain=rng.choice([0, 1]),
            a_gain=int(adapts),
            k_follows=rng.randrange(2),
            j_alarm=j_alarm,
            w_alarm=w_alarm,
            dark=rng.choice([0, 1 << epoch_bits - 1, 1 << epoch_bits, (3 << epoch_bits) - 1]),
        )
        for j_alarm, w_alarm in rng.sample([(0, 1), (1, 0), (NAT, 2 * NAT), (3 * NAT, NAT), (1, 1)], channels)
    ]
    entries = crowd_entries(rng, channels, epochs=8, epoch_bits=epoch_bits)
    return Run(configs, apart(entries, channels) if adapts else entries, epoch_bits=epoch_bits)


@pytest.mark.parametrize(
    ("channels", "seed", "bits"),
    [(1, 7, (9, 11)), (2, 5, (16, 9)), pytest.param(2, 8, (9, 10, 11, 12, 13, 14, 15, 16) * 8, marks=pytest.mark.long)],
)
def test_equals_model_where_alarms_crowd(channels, seed, bits):
    """Thresholds that a few clicks reach: jumps and losses pending while clicks, starts and turns of the same channel are under way."""
    rng = random.Random(seed)
    played = [crowd(rng, channels, epoch_bits, adapts=number % 2 == 1) for number, epoch_bits in enumerate(bits)]
    play(channels, played)
    outputs = [judge(run, channels) for run in played]
    kinds, broken, losses, halves = set(), 0, 0, 0
    for one in outputs:
        for channel in range(channels):
            mine = of(one, channel)
            kinds |= set(column(mine, "kind"))
            broken += np.count_nonzero(column(mine, "broke"))
            losses += np.count_nonzero(np.diff(column(mine, "locked")) < 0)
            tracking = (column(mine, "kind") == t.TRACKING)[1:]
            halves += np.count_nonzero(tracking & (np.diff(column(mine, "phase")) > 1 << t.A_FRACTION - 2))
    assert kinds == {t.TURN, t.ACQUIRING, t.STARTING, t.IGNORED, t.TRACKING}
    assert broken > 20
    assert losses > 2
    assert halves > 3


def growths(outputs: np.ndarray, channel: int, epoch_bits: int) -> set[int]:
    """What p has grown by in epochs of a channel without a click."""
    mine = of(outputs, channel)
    turns = column(mine, "kind") == t.TURN
    alone = turns[1:] & turns[:-1]
    assert (np.diff(column(mine, "time"))[alone] == 1 << epoch_bits).all()
    return set(np.diff(column(mine, "p"))[alone])


@pytest.mark.parametrize(
    ("channels", "seed", "bits", "epochs"),
    [
        (1, 1, (9,), 40),
        (2, 26, (10, 16), 25),
        (32, 3, (12,), 14),
        pytest.param(1, 4, (9, 10, 11, 12, 13, 14, 15, 16), 40, marks=pytest.mark.long),
        pytest.param(2, 9, (16, 15, 14, 13, 12, 11, 10, 9), 40, marks=pytest.mark.long),
        pytest.param(32, 12, (9, 12, 16), 20, marks=pytest.mark.long),
    ],
)
def test_equals_model_where_gains_adapt(channels, seed, bits, epochs):
    """Turns at their least distance, clicks in every clock around that in which words change, gains thrown from limit to limit."""
    rng = random.Random(seed)
    played = []
    for number, epoch_bits in enumerate(bits):
        configs = [
            config(
                d=(1 << 33 - epoch_bits) + rng.getrandbits(33 - epoch_bits),
                kappa=rng.getrandbits(t.KAPPA_BITS),
                v_start=t.VISIBILITY_MOST,
                p_min=1 << 24,
                p_start=1 << 28,
                p_lost=t.P_MAX,
                a_gain=rng.choice([1, 1, 1, 2]) if channels < 32 else rng.choice([0, 1, 2, 15]),
                k_follows=(number + channel) % 2,
            )
            for channel in range(channels)
        ]
        entries = thrust_entries(rng, channels, epochs, epoch_bits)
        played.append(Run(configs, apart(entries, channels), epoch_bits=epoch_bits))
    play(channels, played)
    moved, least, most = 0, 0, 0
    for run in played:
        outputs = judge(run, channels)
        for channel, words in enumerate(run.configs):
            seen = growths(outputs, channel, run.epoch_bits)

            def grown(g: int, d: int = words.d, run: Run = run) -> int:
                return (d * (g * g >> 12) >> 16) << run.epoch_bits >> t.D_SHIFT

            moved += bool(seen - {grown(1 << t.G_FRACTION), 0})
            least += grown(t.G_LEAST) in seen
            most += grown(t.G_MOST) in seen
    assert moved > 0
    if channels == 2:
        assert least > 0
        assert most > 0


@pytest.mark.parametrize(("channels", "bits"), [(1, 9), (2, 12)])
def test_a_loss_forgets_the_evidence(channels, bits):
    # An odd number, so that each gap comes with one click and with two.
    gaps = 0, 1, 2, 3, 5
    epochs = 2 * channels * len(gaps)
    # One click says 2.9 nat for half a turn more, or 2.3 for no fringe: two reach an alarm.
    words = config(dark=1, j_alarm=4 * NAT, w_alarm=0, p_lost=t.P_MAX), config(dark=1, w_alarm=4 * NAT, p_lost=t.P_MAX)
    run = Run(list(words[:channels]), brink_entries(channels, epochs, bits, gaps), epoch_bits=bits)
    play(channels, [run])
    outputs = judge(run, channels)
    tracking = column(outputs, "kind") == t.TRACKING
    assert np.count_nonzero(tracking) == sum(2 + epoch % 2 for epoch in range(epochs))


def test_slope_saturates():
    rng = random.Random(5)
    channels = 2
    least = 1 << 30
    saturating = config(p_min=least, p_start=least, p_lost=t.P_MAX, kappa=(1 << t.KAPPA_BITS) - 1)
    run = Run([saturating] * channels, burst_entries(rng, channels, epochs=4, per_epoch=6))
    play(channels, [run])
    outputs = judge(run, channels)
    assert {t.B_MAX, -t.B_MAX - 1} <= set(column(outputs, "slope"))
    assert least in column(outputs, "p")


def test_follows_a_fringe_loses_it_and_starts_again():
    """Silence ends channel 0 by its variance and channel 1 by dark; turns tell of both starts once, and of the loss."""
    rng = random.Random(7)
    channels, bits = 2, 14
    fringe, silence = 8, 30
    entries = fringe_entries(rng, channels, fringe, per_epoch=20, epoch_bits=bits)
    entries += [Entry(epoch << bits, turn=True, idle=t.WRITE) for epoch in range(fringe, fringe + silence)]
    entries += fringe_entries(rng, channels, 5, per_epoch=20, epoch_bits=bits, first=fringe + silence)
    dark = 5 << bits
    run = Run([config(d=1 << 26), config(dark=dark, v_gain=3)], entries, epoch_bits=bits)
    play(channels, [run])
    outputs = judge(run, channels)
    for channel in range(channels):
        mine = of(outputs, channel)
        changes = np.flatnonzero(np.diff(column(mine, "locked")))
        assert [column(mine, "locked")[change + 1] for change in changes] == [1, 0, 1]
        turns = column(mine, "kind") == t.TURN
        starts = [np.flatnonzero(turns & (np.arange(len(mine)) > change))[0] for change in changes[::2]]
        assert list(np.flatnonzero(turns & (column(mine, "locked") == 1) & (column(mine, "broke") == 1))) == starts
        assert column(mine, "broke")[changes[1] + 1] == 1
        if channel == 1:
            clicks = column(mine, "time")[(~turns) & (column(mine, "time") < fringe << bits)]
            assert column(mine, "time")[changes[1] + 1] == (clicks[-1] + dark >> bits) + 1 << bits


@pytest.mark.parametrize(
    "bits", [11, pytest.param(9, marks=pytest.mark.long), pytest.param(16, marks=pytest.mark.long)]
)
def test_finds_a_jump_and_a_fringe_that_is_gone(bits):
    """Half a turn further at an epoch: one jump is made; then light of no visibility: the channel is given up."""
    rng = random.Random(bits + 1)
    alarm = 10 * NAT
    words = config(j_alarm=alarm, w_alarm=alarm, p_min=variance_word(0.02), p_lost=t.P_MAX)
    # Few clicks are under way at a time: those that are when the jump is made speak for another one.
    light = {"channels": 1, "per_epoch": 9, "epoch_bits": bits, "idles": (12,)}
    changes = 8, 14
    entries = fringe_entries(rng, epochs=changes[0], **light)
    entries += fringe_entries(rng, epochs=changes[1] - changes[0], first=changes[0], jump=0.5, **light)
    entries += fringe_entries(rng, epochs=14, first=changes[1], visibility=0.0, **light)
    run = Run([words], entries, epoch_bits=bits)
    play(1, [run])
    outputs = judge(run, 1)
    clock, locked, broke = (column(outputs, name) for name in ("time", "locked", "broke"))
    turns = column(outputs, "kind") == t.TURN
    jumped = (clock > changes[0] << bits) & (clock <= changes[1] << bits)
    assert locked[jumped].all()
    assert np.count_nonzero(broke[turns & jumped]) == 1
    assert np.count_nonzero(np.diff(column(outputs, "phase"))[jumped[1:]] > 1 << t.A_FRACTION - 2) == 1
    gone = clock > changes[1] << bits
    assert not locked[gone].all()
    assert broke[turns & gone].any()


@pytest.mark.parametrize("channels", [1, 2, 32])
def test_latency_is_32_clocks_for_any_number_of_channels(channels):
    """From the transfer of an entry to its first output; `judge` holds every output of the other tests to its clock."""
    assert ClickTracker(channels=channels).latency == 32
    entries = [Entry(0, turn=True), *(Entry(9, channel=k, idle=k % 3) for k in range(min(channels, 4)))]
    run = Run([config()] * channels, entries)
    play(channels, [run])
    judge(run, channels)
    clocks = [output[0] for output in run.outputs]
    assert clocks[0] == run.taken[0] + 32
    assert clocks[channels:] == [taken + 32 for taken in run.taken[1:]]


@pytest.mark.parametrize(
    "part",
    [
        *(ClickTracker, ClickQueue, ClickConfig, ClickTime, ColdStart, ClickState, ClickEvidence),
        *(ClickAdapt, ClickSense, ClickGain, ClickWords),
    ],
)
@pytest.mark.parametrize("channels", [0, 33])
def test_refuses_channels(part, channels):
    with pytest.raises(ValueError, match="allowed: 1 to 32"):
        part(channels=channels)


@pytest.mark.parametrize(("read_low", "read_bits"), [(0, -1), (0, 9), (-1, 3), (6, 3)])
def test_refuses_widths(read_low, read_bits):
    with pytest.raises(ValueError, match="0 to 8"):
        ChannelWord(channels=2, bits=8, read_low=read_low, read_bits=read_bits)
