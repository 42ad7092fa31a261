"""Marks of clicks against the page: any clocks, any nodes, clicks early and late."""

import random
from dataclasses import dataclass, field

import pytest
from phase_oracle import click, simulate

from twinphase_hdl.phase.marks import PhaseMarks

LATENCY = 12
CLOCK = 1 << 51
FULL = 1 << 32
MARK = ("psi", "rq", "r_valid", "d_valid", "applied", "applied_q", "blank")


@dataclass
class Stimulus:
    """By clock from the first: nodes as (channel, e, F, G, locked), clicks as (t, A, blank)."""

    epoch_bits: int
    ratio: int
    first: int
    clocks: int
    nodes: dict[int, tuple[int, int, int, int, int]] = field(default_factory=dict)
    clicks: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    run_until: int = 1 << 60


def random_word(rng: random.Random, bits: int, signed: bool = False) -> int:
    low = -(1 << bits - 1) if signed else 0
    return rng.choice([low, low + (1 << bits) - 1, 0, low + rng.getrandbits(bits), low + rng.getrandbits(bits)])


def random_stimulus(seed: int) -> Stimulus:
    """Turns whose nodes come between the epoch's start and its middle, epochs left out of a run's beginning; bursts of clicks with
    times around the present, at the ends of epochs often, some of them more than an epoch old."""
    rng = random.Random(seed)
    epoch_bits = rng.choice([9, 9, 10, 11])
    length = 1 << epoch_bits
    clocks = 5 * length
    first = rng.choice([CLOCK - clocks // 2, rng.getrandbits(51), (1 << 14) * rng.getrandbits(30) - 5])
    s = Stimulus(epoch_bits, random_word(rng, 32, signed=True), first, clocks)
    epochs = range((first >> epoch_bits) + rng.choice([1, 2]), (first + clocks) >> epoch_bits)
    for e in epochs:
        at = e * length - first + rng.randrange(length // 2)
        for channel in range(2):
            node = (channel, e, random_word(rng, 32), random_word(rng, 34, signed=True), int(rng.random() < 0.8))
            s.nodes[at] = node
            at += 1
    for clock in range(clocks):
        if rng.random() < (0.9 if clock // 100 % 3 else 0.05):
            now = first + clock
            t = now + rng.choice([rng.randrange(-200, 200), rng.randrange(-8000, 500), -8191, 511])
            if rng.random() < 0.4:
                t = (t >> epoch_bits << epoch_bits) + rng.choice([-1, 0, 1])
            if -(1 << 13) < t - now < 1 << 13:
                s.clicks[clock] = (t, random_word(rng, 16), rng.randrange(2))
    return s


def expected(s: Stimulus, clock: int, known_until: int) -> dict[str, int]:
    """The mark of the click that comes in ``clock``, of the nodes that came up to ``known_until``."""
    t, applied, blank = s.clicks[clock]
    e = t >> s.epoch_bits
    applied_q = (applied + (applied * s.ratio >> 32)) % (1 << 16)
    whole = [at for at, node in s.nodes.items() if node[0] == 1 and at <= known_until]
    kept = {}
    for at in whole[-2:]:
        for channel, epoch, phase, slope, locked in (s.nodes[at - 1], s.nodes[at]):
            if locked:
                kept[channel, epoch] = phase, slope
    r, d = kept.get((0, e - 1)), kept.get((1, e - 1))
    phase_r = 0
    if r:
        phase_r = (r[0] + (r[1] * (t - (e - 1 << s.epoch_bits)) >> 12)) % FULL
    psi = ((phase_r + (d[0] if d else 0)) % FULL >> 16) - applied_q
    values = (
        psi % (1 << 16),
        phase_r >> 16,
        int(r is not None),
        int(d is not None),
        applied % (1 << 16),
        applied_q,
        blank,
    )
    return dict(zip(MARK, values, strict=True))


def play(s: Stimulus) -> list[tuple[int, int, dict[str, int], dict[str, int]]]:
    """(clock, time, mark, click) of each output."""
    dut = PhaseMarks()
    assert dut.latency == LATENCY
    seen = []

    async def bench(ctx):
        ctx.set(dut.i_epoch_bits, s.epoch_bits)
        ctx.set(dut.i_ratio, s.ratio)
        await ctx.tick().repeat(3)
        for clock in range(s.clocks + LATENCY + 1):
            ctx.set(dut.i_run, clock < s.run_until)
            ctx.set(dut.i_clock, (s.first + clock) % CLOCK)
            node, given = s.nodes.get(clock), s.clicks.get(clock)
            ctx.set(dut.i_node_valid, node is not None)
            if node:
                channel, e, phase, slope, locked = node
                fields = {"channel": channel, "epoch": e % FULL, "phase": phase, "slope": slope, "locked": locked}
                ctx.set(dut.i_node, fields)
            ctx.set(dut.i_valid, given is not None)
            if given:
                t, applied, blank = given
                fields = click(clock % 4, clock % 16, clock, pulse=t % (1 << 56), dwindow=7)
                ctx.set(dut.i, {**fields, "clock": t % (1 << 14)})
                ctx.set(dut.i_position, applied)
                ctx.set(dut.i_blank, blank)
            busy = any(clock - k in s.clicks for k in range(LATENCY + 1)) or node is not None
            assert ctx.get(dut.o_idle) == (not busy)
            if ctx.get(dut.o_valid):
                mark = {name: ctx.get(getattr(dut.o.mark, name)) for name in MARK}
                passed = {name: ctx.get(getattr(dut.o.click, name)) for name in (*fields_of_click, "clock")}
                seen.append((clock, ctx.get(dut.o.time), mark, passed))
            await ctx.tick()

    fields_of_click = tuple(click(0, 0, 0))
    simulate(dut, bench)
    return seen


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_page(seed: int) -> None:
    s = random_stimulus(seed)
    seen = play(s)
    assert [clock for clock, *_ in seen] == [clock + LATENCY for clock in s.clicks]
    valid = 0
    for (clock, time, mark, passed), (since, (t, _, _)) in zip(seen, s.clicks.items(), strict=True):
        assert time == t % (1 << 26)
        fields = click(since % 4, since % 16, since, pulse=t % (1 << 56), dwindow=7)
        assert passed == {**fields, "clock": t % (1 << 14)}
        # A click that comes together with a node may find it or not, but never something between.
        assert mark in (expected(s, since, since - 1), expected(s, since, since + 3)), (clock, s.epoch_bits, since)
        valid += mark["r_valid"] & mark["d_valid"]
    assert 0.1 * len(seen) < valid < 0.9 * len(seen)


def test_a_stop_forgets_the_nodes() -> None:
    s = Stimulus(9, 0, 1 << 20, 1400)
    epoch = s.first >> 9
    for at, node in ((10, (0, epoch, 5 << 16, 0, 1)), (11, (1, epoch, 7 << 16, 0, 1))):
        s.nodes[at] = node
    for clock in (600, 700, 900):
        s.clicks[clock] = (s.first + clock, 0, 0)
    s.run_until = 800
    assert [mark["psi"] for _, _, mark, _ in play(s)] == [12, 12, 0]
