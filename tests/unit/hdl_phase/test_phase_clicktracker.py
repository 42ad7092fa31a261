"""The click tracker against its model: every output, bit for bit and in its clock, over random and adversarial events."""

import random

import numpy as np
import pytest
from clicktracker_stimuli import (
    NAT,
    Entry,
    Run,
    brink_entries,
    burst_entries,
    config,
    crowd,
    fringe_entries,
    random_entries,
    wild_config,
)
from phase_oracle import simulate

from twinphase_hdl.phase.clickconfig import ClickConfig
from twinphase_hdl.phase.clickevidence import ClickEvidence
from twinphase_hdl.phase.clickqueue import ClickQueue
from twinphase_hdl.phase.clickstart import ColdStart
from twinphase_hdl.phase.clickstate import ClickState
from twinphase_hdl.phase.clicktime import ClickTime
from twinphase_hdl.phase.clicktracker import FRONT, ClickTracker
from twinphase_hdl.phase.clickword import ChannelWord
from twinphase_sim.model.phase.clicktracker import Events, track
from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import variance_word

OUTPUTS = ("channel", "time", "kind", "locked", "broke", "phase", "slope", "p", "v")
EARLY = ("d", "kappa", "v_gain", "dark", "a_gain", "k_follows")
LATE = ("p_min", "p_start", "p_lost", "v_start", "j_alarm", "w_alarm")


def play(channels: int, runs: list[Run]) -> None:
    """Drives all runs through one tracker, filling in what was seen."""
    dut = ClickTracker(channels=channels)
    clock = 0
    current = runs[0]

    async def bench(ctx):
        nonlocal clock, current

        async def pass_clocks(count: int = 1) -> None:
            nonlocal clock
            if count:
                await ctx.tick().repeat(count)
            clock += count

        for run in runs:
            ctx.set(dut.i_run, 0)
            ctx.set(dut.i_epoch_bits, run.epoch_bits)
            ctx.set(dut.i_config_valid, 1)
            for channel, words in enumerate(run.configs):
                early = {name: getattr(words, name) for name in EARLY}
                late = {name: getattr(words, name) for name in LATE}
                ctx.set(dut.i_config, {"channel": channel, "early": early, "late": late})
                await pass_clocks()
            ctx.set(dut.i_config_valid, 0)
            current = run
            ctx.set(dut.i_run, 1)
            ran = clock
            while not ctx.get(dut.i.ready):
                await pass_clocks()
            assert clock - ran == dut.start_up
            for entry in run.entries:
                await pass_clocks(entry.idle)
                fields = {"turn": entry.turn, "time": entry.clock, "port": entry.port, "reference": entry.reference}
                ctx.set(dut.i.payload, {"channel": entry.channel, **fields})
                ctx.set(dut.i.valid, 1)
                run.offered.append(clock)
                while not ctx.get(dut.i.ready):
                    await pass_clocks()
                run.taken.append(clock)
                await pass_clocks()
                ctx.set(dut.i.valid, 0)
            if not run.cut:
                await pass_clocks(dut.latency + channels)

    async def watch(ctx):
        now = 0
        async for *_, valid, output in ctx.tick().sample(dut.o_valid, dut.o):
            if valid:
                current.outputs.append((now, *(int(output[name]) for name in OUTPUTS)))
            now += 1

    simulate(dut, bench, watch)


def judge(run: Run, channels: int) -> np.ndarray:
    """Asserts when entries were taken, and every output and its clock; returns the outputs, a column per name in OUTPUTS."""
    rows, free = [], 0
    for entry, offered, taken in zip(run.entries, run.offered, run.taken, strict=True):
        assert taken == max(offered, free)
        of = range(channels) if entry.turn else [entry.channel]
        free = taken + len(of)
        for place, channel in enumerate(of):
            rows.append((taken + FRONT + place, entry.clock, channel, entry.turn, entry.port, entry.reference))
    events = Events(*np.array(rows, dtype=np.int64).T)
    said = track(events, run.configs, epoch_bits=run.epoch_bits)
    columns = {"channel": events.channel, "time": events.clock, **vars(said)}
    expected = np.stack([events.issue + t.OUTPUT, *(columns[name] for name in OUTPUTS)], axis=1)
    seen = np.array(run.outputs, dtype=np.int64).reshape(-1, expected.shape[1])
    if run.cut:
        assert 0 < len(seen) < len(expected)
        expected = expected[: len(seen)]
    assert seen.shape == expected.shape
    different = np.flatnonzero((seen != expected).any(axis=1))
    assert different.size == 0, (
        f"output {different[0]} of {len(seen)}: {seen[different[0]]}, not {expected[different[0]]}"
    )
    return seen[:, 1:]


def column(outputs: np.ndarray, name: str) -> np.ndarray:
    return outputs[:, OUTPUTS.index(name)]


def of(outputs: np.ndarray, channel: int) -> np.ndarray:
    return outputs[column(outputs, "channel") == channel]


@pytest.mark.parametrize(("channels", "runs", "epochs", "per_epoch"), [(1, 2, 8, 60), (3, 5, 8, 50), (32, 1, 4, 90)])
def test_equals_model(channels, runs, epochs, per_epoch):
    rng = random.Random(channels)
    played = []
    for number in range(runs):
        bits = (t.EPOCH_BITS, t.EPOCH_LEAST, 11, 14, 12)[number]
        entries = random_entries(rng, channels, epochs, per_epoch, bits)
        played.append(Run([wild_config(rng) for _ in range(channels)], entries, epoch_bits=bits))
    for run in played[:-1:2]:
        run.cut = True
    play(channels, played)
    outputs = np.concatenate([judge(run, channels) for run in played])
    if channels == 3:
        assert set(column(outputs, "kind")) == {t.TURN, t.ACQUIRING, t.STARTING, t.IGNORED, t.TRACKING}
        assert t.P_MAX in column(outputs, "p")
        assert {t.V_LEAST, t.V_MOST} <= set(column(outputs, "v"))


@pytest.mark.parametrize(
    ("channels", "seed", "bits"),
    [(1, 7, (9, 11)), (2, 3, (16, 9)), pytest.param(2, 8, (9, 10, 11, 12, 13, 14, 15, 16) * 8, marks=pytest.mark.long)],
)
def test_equals_model_where_alarms_crowd(channels, seed, bits):
    """Thresholds that a few clicks reach: jumps and losses pending while clicks, starts and turns of the same channel are under way."""
    rng = random.Random(seed)
    played = [crowd(rng, channels, epoch_bits) for epoch_bits in bits]
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
    assert {t.B_MAX, -t.B_MAX} <= set(column(outputs, "slope"))
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


@pytest.mark.parametrize(
    "part", [ClickTracker, ClickQueue, ClickConfig, ClickTime, ColdStart, ClickState, ClickEvidence]
)
@pytest.mark.parametrize("channels", [0, 33])
def test_refuses_channels(part, channels):
    with pytest.raises(ValueError, match="allowed: 1 to 32"):
        part(channels=channels)


@pytest.mark.parametrize("bits", [-1, 9])
@pytest.mark.parametrize("which", ["read_bits", "clear_bits"])
def test_refuses_widths(which, bits):
    with pytest.raises(ValueError, match="0 to 8"):
        ChannelWord(channels=2, bits=8, **{which: bits})
