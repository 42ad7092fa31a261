"""The click tracker against its model: every output, bit for bit and in its clock, over random and adversarial events."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from phase_oracle import simulate

from twinphase_hdl.phase.clickconfig import ClickConfig
from twinphase_hdl.phase.clickqueue import ClickQueue
from twinphase_hdl.phase.clickstart import ColdStart
from twinphase_hdl.phase.clickstate import ClickState
from twinphase_hdl.phase.clicktime import ClickTime
from twinphase_hdl.phase.clicktracker import FRONT, ClickTracker
from twinphase_hdl.phase.clickword import ChannelWord
from twinphase_sim.model.phase.clicktracker import Events, track
from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import ChannelConfig, channel_config

EPOCH = 1 << t.EPOCH_BITS
OUTPUTS = ("channel", "time", "kind", "locked", "phase", "slope", "p", "v")


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
        **words,
    )


def random_entries(rng: random.Random, channels: int, epochs: int, per_epoch: int) -> list[Entry]:
    """Epochs whose clicks lie in bursts and alone, at their edges, several in a clock; port and reference stay for a while."""
    epoch = rng.randrange(1 << 20)
    entries = []
    for _ in range(epochs):
        entries.append(Entry(epoch * EPOCH, turn=True, idle=rng.choice([0, 0, t.WRITE])))
        near = rng.choice([1, 40, EPOCH, EPOCH])
        start = rng.choice([0, EPOCH - near, rng.randrange(EPOCH - near + 1)])
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
            entries.append(Entry(epoch * EPOCH + x, channel=channel, port=port, reference=reference, idle=idle))
        epoch += 1
    return entries


def burst_entries(rng: random.Random, channels: int, epochs: int, per_epoch: int) -> list[Entry]:
    """Bursts of equal clicks without an idle clock, longer than the pipeline: none of a burst's first clicks sees another."""
    entries = []
    for epoch in range(epochs):
        entries.append(Entry(epoch * EPOCH, turn=True))
        for burst in range(per_epoch):
            channel, port, reference = rng.randrange(channels), rng.randrange(2), rng.getrandbits(16)
            first = epoch * EPOCH + rng.randrange(EPOCH // per_epoch - t.WRITE) + burst * (EPOCH // per_epoch)
            for k in range(t.WRITE + 8):
                idle = 0 if k else t.WRITE
                entries.append(Entry(first + k // 2, channel=channel, port=port, reference=reference, idle=idle))
    return entries


def fringe_entries(rng: random.Random, channels: int, epochs: int, per_epoch: int) -> list[Entry]:
    """Clicks of a fringe of visibility 0.9 under four-phase references, its phase drifting: what the tracker is made for."""
    entries = []
    phase = [rng.random() for _ in range(channels)]
    slope = [rng.uniform(-2e-6, 2e-6) for _ in range(channels)]
    for epoch in range(epochs):
        entries.append(Entry(epoch * EPOCH, turn=True, idle=t.WRITE))
        for x in sorted(rng.randrange(EPOCH) for _ in range(per_epoch * channels)):
            channel, reference = rng.randrange(channels), rng.randrange(4) << 14
            turns = phase[channel] + slope[channel] * (epoch * EPOCH + x) + reference / 65536
            port = int(rng.random() > (1 + 0.9 * np.cos(2 * np.pi * turns)) / 2)
            idle = rng.choice([0, 1, 3])
            entries.append(Entry(epoch * EPOCH + x, channel=channel, port=port, reference=reference, idle=idle))
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
            ctx.set(dut.i_config_valid, 1)
            for channel, words in enumerate(run.configs):
                early = {name: getattr(words, name) for name in ("d", "kappa", "v_gain")}
                late = {name: getattr(words, name) for name in ("p_min", "p_start", "p_lost", "v_start")}
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
    said = track(events, run.configs)
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


@pytest.mark.parametrize(("channels", "runs", "epochs", "per_epoch"), [(1, 2, 8, 60), (3, 5, 8, 50), (32, 1, 4, 90)])
def test_equals_model(channels, runs, epochs, per_epoch):
    rng = random.Random(channels)
    played = [
        Run([wild_config(rng) for _ in range(channels)], random_entries(rng, channels, epochs, per_epoch))
        for _ in range(runs)
    ]
    for run in played[:-1:2]:
        run.cut = True
    play(channels, played)
    outputs = np.concatenate([judge(run, channels) for run in played])
    if channels == 3:
        assert set(column(outputs, "kind")) == {t.TURN, t.ACQUIRING, t.STARTING, t.IGNORED, t.TRACKING}
        assert t.P_MAX in column(outputs, "p")
        assert {t.V_LEAST, t.V_MOST} <= set(column(outputs, "v"))


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
    rng = random.Random(7)
    channels = 2
    entries = fringe_entries(rng, channels, epochs=3, per_epoch=70)
    last = entries[-1].clock // EPOCH
    silence = 24
    entries += [Entry((last + 1 + k) * EPOCH, turn=True, idle=t.WRITE) for k in range(silence)]
    again = (last + 1 + silence) * EPOCH
    entries += [
        Entry(entry.clock + again, entry.turn, entry.channel, entry.port, entry.reference, entry.idle)
        for entry in fringe_entries(rng, channels, epochs=1, per_epoch=70)
    ]
    run = Run([config(d=1 << 26), config(d=1 << 26, v_gain=3)], entries)
    play(channels, [run])
    outputs = judge(run, channels)
    for channel in range(channels):
        locked = column(outputs, "locked")[column(outputs, "channel") == channel]
        changes = np.flatnonzero(np.diff(locked))
        assert [locked[change + 1] for change in changes] == [1, 0, 1]


@pytest.mark.parametrize("part", [ClickTracker, ClickQueue, ClickConfig, ClickTime, ColdStart, ClickState])
@pytest.mark.parametrize("channels", [0, 33])
def test_refuses_channels(part, channels):
    with pytest.raises(ValueError, match="allowed: 1 to 32"):
        part(channels=channels)


@pytest.mark.parametrize("read_bits", [-1, 9])
def test_refuses_widths(read_bits):
    with pytest.raises(ValueError, match="0 to 8"):
        ChannelWord(channels=2, bits=8, read_bits=read_bits)
