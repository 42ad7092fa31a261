"""The click tracker against its model: every output, bit for bit and in its clock, over random and adversarial events."""

import random
from dataclasses import dataclass, field, replace
from itertools import cycle

import numpy as np
import pytest
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
from twinphase_spec.tracking_config import ChannelConfig, channel_config, variance_word

OUTPUTS = ("channel", "time", "kind", "locked", "broke", "phase", "slope", "p", "v")
EARLY = ("d", "kappa", "v_gain", "dark")
LATE = ("p_min", "p_start", "p_lost", "v_start", "j_alarm", "w_alarm")
NAT = 1 << t.EVIDENCE_FRACTION


@dataclass(frozen=True)
class Entry:
    """A click, or with ``turn`` the turn to the epoch of ``clock``, offered ``idle`` clocks after the one before it was taken."""

    clock: int
    turn: bool = False
    channel: int = 0
    port: int = 0
    reference: int = 0
    idle: int = 0


@dataclass
class Run:
    """Entries of one run, and what was seen of them: clocks of offers and transfers, clock and fields of each output."""

    configs: list[ChannelConfig]
    entries: list[Entry]
    epoch_bits: int = t.EPOCH_BITS
    cut: bool = False
    """i_run falls while the last entries are under way: their outputs never come."""
    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    outputs: list[tuple[int, ...]] = field(default_factory=list)


def config(**words: int) -> ChannelConfig:
    """A channel that locks and stays, but for ``words``."""
    usual = channel_config(diffusion_rad2_per_s=300.0, click_rate_hz=3e5, visibility=0.9, slope_noise_rad2_per_s3=1e9)
    return ChannelConfig(**{**usual.__dict__, **words})


def wild_config(rng: random.Random) -> ChannelConfig:
    """Words of any size, the extremes among them."""
    words = {name: min(rng.getrandbits(bits), rng.getrandbits(bits)) for name, bits in (("p_min", 30), ("p_start", 32))}
    return ChannelConfig(
        d=rng.choice([0, 1 << 20, rng.getrandbits(t.D_BITS), (1 << t.D_BITS) - 1]),
        kappa=rng.choice([0, rng.getrandbits(t.KAPPA_BITS), (1 << t.KAPPA_BITS) - 1]),
        p_lost=rng.choice([rng.getrandbits(t.P_BITS), t.P_MAX - 1, t.P_MAX, t.P_MAX]),
        v_start=rng.choice([t.V_LEAST >> 16, rng.randrange(t.V_LEAST >> 16, t.V_MOST >> 16), t.V_MOST >> 16]),
        v_gain=rng.choice([0, 1, 1, rng.randrange(16)]),
        j_alarm=rng.choice([0, 1, NAT, rng.randrange(12 * NAT), (1 << t.EVIDENCE_BITS) - 1]),
        w_alarm=rng.choice([0, 1, NAT, rng.randrange(12 * NAT), (1 << t.EVIDENCE_BITS) - 1]),
        dark=rng.choice([0, 0, rng.randrange(1 << 18), 1 << t.EPOCH_BITS, (1 << t.QUIET_BITS) - 1]),
        **words,
    )


def random_entries(rng: random.Random, channels: int, epochs: int, per_epoch: int, epoch_bits: int) -> list[Entry]:
    """Epochs whose clicks lie in bursts and alone, at their edges, several in a clock; port and reference stay for a while."""
    length = 1 << epoch_bits
    epoch = rng.randrange(1 << 20)
    entries = []
    for _ in range(epochs):
        entries.append(Entry(epoch * length, turn=True, idle=rng.choice([0, 0, t.WRITE])))
        near = rng.choice([1, 40, length, length])
        start = rng.choice([0, length - near, rng.randrange(length - near + 1)])
        xs = sorted(start + rng.randrange(near) for _ in range(rng.randrange(per_epoch + 1)))
        channel, port, reference, one, idle = 0, 0, 0, False, 0
        for x in xs:
            if rng.random() < 0.08:
                channel, port = rng.randrange(channels), rng.randrange(2)
                reference, one = rng.getrandbits(16), rng.random() < 0.5
                idle = rng.choice([0, 0, 0, 1, 2, 8, t.WRITE, t.WRITE + 1])
            if not one:
                channel, port = rng.randrange(channels), rng.randrange(2)
                reference = rng.choice([rng.getrandbits(16), rng.randrange(4) << 14])
            entries.append(Entry(epoch * length + x, channel=channel, port=port, reference=reference, idle=idle))
        epoch += 1
    return entries


def burst_entries(rng: random.Random, channels: int, epochs: int, per_epoch: int) -> list[Entry]:
    """Bursts of equal clicks without an idle clock, longer than the pipeline: none of a burst's first clicks sees another."""
    length = 1 << t.EPOCH_BITS
    entries = []
    for epoch in range(epochs):
        entries.append(Entry(epoch * length, turn=True))
        for burst in range(per_epoch):
            channel, port, reference = rng.randrange(channels), rng.randrange(2), rng.getrandbits(16)
            first = epoch * length + rng.randrange(length // per_epoch - t.WRITE) + burst * (length // per_epoch)
            for k in range(t.WRITE + 8):
                idle = 0 if k else t.WRITE
                entries.append(Entry(first + k // 2, channel=channel, port=port, reference=reference, idle=idle))
    return entries


def crowd_entries(rng: random.Random, channels: int, epochs: int, epoch_bits: int) -> list[Entry]:
    """A click in every clock for longer than a channel's start and its loss take, of few channels and whims, across turns and behind
    them: alarms, starts, losses and the clicks under way meet in all orders."""
    length = 1 << epoch_bits
    entries = []
    for epoch in range(epochs):
        entries.append(Entry(epoch * length, turn=True, idle=rng.choice([0, 0, 3, t.WRITE, 3 * t.WRITE])))
        clock = epoch * length + rng.choice([0, 0, length // 2])
        for _ in range(rng.randrange(4)):
            channel, port, reference = rng.randrange(channels), rng.randrange(2), rng.getrandbits(16)
            idle = rng.choice([0, t.WRITE - 2, t.WRITE, t.WRITE + 2])
            for _ in range(rng.choice([1, 2, 20, 40, 60])):
                if rng.random() < 0.15:
                    channel, port = rng.randrange(channels), rng.randrange(2)
                    reference = rng.choice([rng.getrandbits(16), rng.randrange(4) << 14])
                entries.append(Entry(clock, channel=channel, port=port, reference=reference, idle=idle))
                idle, clock = rng.choice([0] * 30 + [1, 31, 32, 33]), min(clock + 1, (epoch + 1) * length - 1)
    return entries


def brink_entries(channels: int, epochs: int, epoch_bits: int, gaps: tuple[int, ...]) -> list[Entry]:
    """Turns that lose every channel for darkness, each just behind a click that speaks against the phase and ``gap`` clocks before
    another one or two, still under way: what the first has said must be forgotten. Then the channel starts anew."""
    entries = [Entry(0, turn=True)]
    for epoch, gap in zip(range(epochs), cycle(gaps), strict=False):
        channel = epoch // len(gaps) % channels
        for k in range(t.START_CLICKS):
            # Half of them at half a turn: the phase is 0.
            port, reference = k % 2, k % 2 << 15
            entries.append(
                Entry(
                    (epoch << epoch_bits) + 9,
                    channel=channel,
                    port=port,
                    reference=reference,
                    idle=0 if k else t.WRITE + 8,
                )
            )
        against = Entry((epoch << epoch_bits) + 9, channel=channel, port=1, idle=t.WRITE + 8)
        entries += [against, Entry(epoch + 1 << epoch_bits, turn=True, idle=epoch % 2)]
        again = replace(against, clock=epoch + 1 << epoch_bits, idle=gap)
        entries += [again] * (1 + epoch % 2)
    return entries


def fringe_entries(
    rng: random.Random,
    channels: int,
    epochs: int,
    per_epoch: int,
    *,
    epoch_bits: int = t.EPOCH_BITS,
    first: int = 0,
    jump: float = 0.0,
    visibility: float = 0.9,
    idles: tuple[int, ...] = (0, 1, 3),
) -> list[Entry]:
    """Clicks of a fringe under four-phase references, its phase drifting: what the tracker is made for. ``jump`` is in turns."""
    length = 1 << epoch_bits
    whims = random.Random(channels)
    phase = [whims.random() + jump for _ in range(channels)]
    slope = [whims.uniform(-0.03, 0.03) / length for _ in range(channels)]
    entries = []
    for epoch in range(first, first + epochs):
        entries.append(Entry(epoch * length, turn=True, idle=t.WRITE))
        for x in sorted(rng.randrange(length) for _ in range(per_epoch * channels)):
            channel, reference = rng.randrange(channels), rng.randrange(4) << 14
            turns = phase[channel] + slope[channel] * (epoch * length + x) + reference / 65536
            port = int(rng.random() > (1 + visibility * np.cos(2 * np.pi * turns)) / 2)
            idle = rng.choice(idles)
            entries.append(Entry(epoch * length + x, channel=channel, port=port, reference=reference, idle=idle))
    return entries


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


def crowd(rng: random.Random, channels: int, epoch_bits: int) -> Run:
    """Clicks that crowd, and thresholds that a few of them reach."""
    configs = [
        config(
            p_min=1 << 24,
            p_start=1 << 28,
            p_lost=rng.choice([1 << 29, t.P_MAX]),
            d=rng.choice([0, 1 << 28]),
            v_gain=rng.choice([0, 1]),
            j_alarm=j_alarm,
            w_alarm=w_alarm,
            dark=rng.choice([0, 1 << epoch_bits - 1, 1 << epoch_bits, (3 << epoch_bits) - 1]),
        )
        for j_alarm, w_alarm in rng.sample([(0, 1), (1, 0), (NAT, 2 * NAT), (3 * NAT, NAT), (1, 1)], channels)
    ]
    return Run(configs, crowd_entries(rng, channels, epochs=8, epoch_bits=epoch_bits), epoch_bits=epoch_bits)


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


@pytest.mark.parametrize("read_bits", [-1, 9])
def test_refuses_widths(read_bits):
    with pytest.raises(ValueError, match="0 to 8"):
        ChannelWord(channels=2, bits=8, read_bits=read_bits)
