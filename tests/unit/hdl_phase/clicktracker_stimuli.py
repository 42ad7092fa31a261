"""Entries for the click tracker's benches: random, in bursts, in crowds, on the brink of a loss, and of a fringe."""

import random
from dataclasses import dataclass, field, replace
from itertools import cycle

import numpy as np

from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import ChannelConfig, channel_config

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
