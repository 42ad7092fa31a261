"""What tests of the click tracker share: entries that are played through it, and every output asked of its model, in its clock."""

import random
from dataclasses import dataclass, field, replace
from itertools import cycle

import numpy as np
from phase_oracle import simulate

from twinphase_hdl.phase.clicktracker import FRONT, ClickTracker
from twinphase_sim.model.phase.clicktracker import Events, track
from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import ChannelConfig, channel_config

OUTPUTS = ("channel", "time", "kind", "locked", "broke", "phase", "slope", "p", "v")
EARLY = ("d", "kappa", "v_gain", "dark", "a_gain", "k_follows")
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


def wild_config(rng: random.Random, *, adapts: bool = False) -> ChannelConfig:
    """Words of any size, the extremes among them; gains that adapt only if they may."""
    words = {name: min(rng.getrandbits(bits), rng.getrandbits(bits)) for name, bits in (("p_min", 30), ("p_start", 32))}
    return ChannelConfig(
        d=rng.choice([0, 1 << 20, rng.getrandbits(t.D_BITS), (1 << t.D_BITS) - 1]),
        kappa=rng.choice([0, rng.getrandbits(t.KAPPA_BITS), (1 << t.KAPPA_BITS) - 1]),
        p_lost=rng.choice([rng.getrandbits(t.P_BITS), t.P_MAX - 1, t.P_MAX, t.P_MAX]),
        v_start=rng.choice(
            [t.VISIBILITY_LEAST, rng.randrange(t.VISIBILITY_LEAST, t.VISIBILITY_MOST), t.VISIBILITY_MOST]
        ),
        v_gain=rng.choice([0, 1, 1, rng.randrange(16)]),
        j_alarm=rng.choice([0, 1, NAT, rng.randrange(12 * NAT), (1 << t.EVIDENCE_BITS) - 1]),
        w_alarm=rng.choice([0, 1, NAT, rng.randrange(12 * NAT), (1 << t.EVIDENCE_BITS) - 1]),
        dark=rng.choice([0, 0, rng.randrange(1 << 18), 1 << t.EPOCH_BITS, (1 << t.QUIET_BITS) - 1]),
        a_gain=rng.choice([0, 1, 1, 2, 15]) if adapts else 0,
        k_follows=rng.randrange(2),
        **words,
    )


def apart(entries: list[Entry], channels: int) -> list[Entry]:
    """The entries with turns as far apart as gains that adapt need it, and no farther where they came closer."""
    least = 8 * channels + 128
    result, now, free, turned = [], 0, 0, -least
    for entry in entries:
        wait = max(now, free)
        idle = max(entry.idle, turned + least - now) if entry.turn else entry.idle
        taken = max(now + idle, wait)
        free = taken + (channels if entry.turn else 1)
        if entry.turn:
            turned = taken
        now = taken + 1
        result.append(replace(entry, idle=idle))
    return result


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
            for k in range(t.WRITE + 17):
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
                idle, clock = (
                    rng.choice([0] * 30 + [1, t.WRITE - 1, t.WRITE, t.WRITE + 1]),
                    min(clock + 1, (epoch + 1) * length - 1),
                )
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


def thrust_entries(rng: random.Random, channels: int, epochs: int, epoch_bits: int, reach: int = 3) -> list[Entry]:
    """Up to three thrusts of equal clicks per epoch, of ``reach`` channels: all of a thrust find the same sensitivity, whose sign says
    where the gain goes. The first begins around the clock in which the turn's words come, another one ends at the turn."""
    length = 1 << epoch_bits
    few = rng.sample(range(channels), min(reach, channels))
    entries = []
    for epoch in range(epochs):
        entries.append(Entry(epoch * length, turn=True))
        near = epoch * length
        clocks = sorted(epoch * length + rng.randrange(1, length) for _ in range(rng.choice([0, 1, 2, 3])))
        for place, clock in enumerate(clocks):
            channel, port, reference = rng.choice(few), rng.randrange(2), rng.getrandbits(16)
            idle = rng.choice([0, 0, 3, 8]) if place == 0 else rng.choice([8, t.WRITE + 1])
            for k in range(rng.choice([10, 20, 36])):
                near = max(near, min(clock + k // 2, (epoch + 1) * length - 1))
                entries.append(Entry(near, channel=channel, port=port, reference=reference, idle=idle))
                idle = 0
                if rng.random() < 0.1:
                    channel = rng.choice(few)
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
