"""The feed against the page: which clicks and turns reach the tracker, in which clock and as what, and how many clicks do not."""

import random
from bisect import bisect_right
from dataclasses import dataclass, field

import pytest
from phase_oracle import click, simulate

from twinphase_hdl.phase.feed import TrackerFeed
from twinphase_spec.frame import SlotClass
from twinphase_spec.smoothing import FEED_DEPTH

CLOCK = 1 << 51
START_UP = 37
"""Clocks from i_run until the tracker takes entries."""
LET_GO, TRANSFER, QUEUED = 3, 5, 2
"""Clocks from T to the entry's leaving of the queue and to its transfer; from a click's coming to its writing into the queue."""


@dataclass
class Given:
    """A click: t, the clock in which it comes, and what decides about it."""

    t: int
    at: int
    channel: int
    slot_class: int
    gated: int = 1
    r_valid: int = 1
    blank: int = 0
    rq: int = 0
    applied: int = 0
    applied_q: int = 0


@dataclass
class Stimulus:
    epoch_bits: int
    hold: int
    first: int
    """Clock count of the first clock, unwrapped; i_run rises in it."""
    clocks: int
    start: int
    swap: int
    steps: tuple[int, int, int, int] = (0, 1 << 14, 2 << 14, 3 << 14)
    clicks: list[Given] = field(default_factory=list)


def random_given(rng: random.Random, t: int, at: int) -> Given:
    reference = rng.random() < 0.85
    return Given(
        t=t,
        at=at,
        channel=rng.randrange(4),
        slot_class=rng.choice(range(4, 8)) if reference else rng.randrange(16),
        gated=int(rng.random() < 0.95),
        r_valid=int(rng.random() < 0.9),
        blank=int(rng.random() < 0.05),
        rq=rng.getrandbits(16),
        applied=rng.getrandbits(16),
        applied_q=rng.getrandbits(16),
    )


def random_stimulus(seed: int) -> Stimulus:
    """Clicks alone, several per clock for long, around turns, late and early; START anywhere; clock counts that wrap."""
    rng = random.Random(seed)
    epoch_bits = rng.choice([9, 9, 10])
    hold = rng.choice([0, 64, 96, 96, 300, 511, 511])
    clocks = 2600
    first = rng.choice([CLOCK - 1400, rng.getrandbits(50), (1 << 14) * rng.getrandbits(30) - 1200])
    length = 1 << epoch_bits
    start = first + rng.choice([150, 700])
    if rng.random() < 0.5:
        start = (start >> epoch_bits) * length + rng.choice([-1, 0, 1]) + length
    s = Stimulus(epoch_bits, hold, first, clocks, start, rng.randrange(4))
    if rng.random() < 0.7:
        s.steps = tuple(rng.getrandbits(16) for _ in range(4))
    t, at = start, first
    lead = rng.choice([-200, 40, 60, 60])
    while True:
        kind = rng.randrange(5)
        # What the merge has held up has come by then.
        t = max(t, at - lead - rng.randrange(40))
        if kind == 0:
            t += rng.randrange(1, 60)
            times = [t]
        elif kind == 1:  # four per clock
            times = [t + k // 4 for k in range(rng.choice([20, 60, 60, 500]))]
        elif kind == 2:
            times = [t + k for k in range(rng.choice([3, 40]))]
        elif kind == 3:
            t = max(t, (t // length + 1) * length - 2)
            times = [t + k // 2 for k in range(8)]
        else:
            t += rng.randrange(300)
            times = [t]
        for t in times:
            at = max(at + 1, t + (lead if rng.random() < 0.97 else hold + rng.randrange(-6, 1)))
            if at >= first + clocks - 700:
                return s
            s.clicks.append(random_given(rng, t, at))


def expected(s: Stimulus) -> tuple[list[tuple[int, dict[str, int]]], int]:
    """(clock of the transfer, entry) of each entry, and how many clicks are not tracked; clocks are counts, unwrapped."""
    entries, untracked = [], 0
    length = 1 << s.epoch_bits
    turn = -(-s.start // length) * length
    first_turn = turn
    free = -CLOCK
    popped: list[int] = []  # clocks in which clicks leave the queue
    pushed = 0

    def turns_until(t: int) -> None:
        nonlocal turn, free
        while turn <= t:
            due = max(free, turn + s.hold)
            entries.append((due + TRANSFER, {"turn": 1, "time": turn % CLOCK}))
            free, turn = due + 2, turn + length

    for c in s.clicks:
        if not c.gated or not SlotClass.REF0 <= c.slot_class < SlotClass.REF0 + 4:
            continue
        band_r = c.channel >> 1
        push = c.at + QUEUED
        level = pushed - sum(pop < push for pop in popped[-FEED_DEPTH - 8 :]) - max(0, len(popped) - FEED_DEPTH - 8)
        if c.blank or not (band_r or c.r_valid) or push + 1 > c.t + s.hold or level >= FEED_DEPTH:
            untracked += 1
            continue
        pushed += 1
        turns_until(c.t)
        due = max(free, c.t + s.hold)
        free = due + 1
        popped.append(due + LET_GO)
        if c.t < first_turn:
            untracked += 1
            continue
        step = (c.slot_class - SlotClass.REF0) << 14
        reference = s.steps[step >> 14] - c.applied if band_r else step + c.rq - c.applied_q
        port = c.channel & 1 ^ (s.swap >> band_r & 1)
        fields = {"channel": 1 - band_r, "port": port, "reference": reference % (1 << 16)}
        entries.append((due + TRANSFER, {"turn": 0, "time": c.t % CLOCK, **fields}))
    turns_until(s.first + s.clocks - s.hold - 20)
    return entries, untracked


def play(s: Stimulus) -> tuple[list[tuple[int, dict[str, int]]], list[int], dict[int, int]]:
    """Entries as `expected` tells them, what o_untracked was in each clock, and o_wait of the clocks in which o_idle was high."""
    dut = TrackerFeed()
    assert dut.latency == TRANSFER
    seen, untracked, idle = [], [], {}
    clicks = {c.at: c for c in s.clicks}
    names = ("turn", "time", "channel", "port", "reference")

    async def bench(ctx):
        for name in ("epoch_bits", "hold", "swap"):
            ctx.set(getattr(dut, f"i_{name}"), getattr(s, name))
        ctx.set(dut.i_steps, list(s.steps))
        ctx.set(dut.i_start_clock, s.start % CLOCK)
        ctx.set(dut.i_framing, 1)
        more = False
        for clock in range(s.first - 6, s.first + s.clocks):
            ctx.set(dut.i_clock, clock % CLOCK)
            ctx.set(dut.i_run, clock >= s.first)
            c = clicks.get(clock)
            ctx.set(dut.i_valid, c is not None)
            if c:
                fields = click(c.channel, c.slot_class, 0, gated=c.gated)
                mark = {name: getattr(c, name) for name in ("r_valid", "blank", "rq", "applied", "applied_q")}
                ctx.set(dut.i, {"click": fields, "time": c.t % (1 << 26), "mark": mark})
            ready = clock >= s.first + START_UP and not more
            ctx.set(dut.o.ready, ready)
            more = False
            if ready and ctx.get(dut.o.valid):
                entry = {name: ctx.get(getattr(dut.o.payload, name)) for name in names}
                more = bool(entry["turn"])
                seen.append((clock, {name: entry[name] for name in (names[:2] if more else names)}))
            untracked.append(ctx.get(dut.o_untracked))
            if ctx.get(dut.o_idle):
                idle[clock] = ctx.get(dut.o_wait)
            await ctx.tick()

    simulate(dut, bench)
    return seen, untracked, idle


def judge(s: Stimulus) -> list[int]:
    """Asserts that the feed does what the page says; what o_untracked was in each clock."""
    seen, untracked, idle = play(s)
    entries, want_untracked = expected(s)
    entries = [entry for entry in entries if entry[0] < s.first + s.clocks]
    for got, want in zip(seen, entries, strict=False):
        assert got == want, (s.epoch_bits, s.hold, s.start)
    assert len(seen) == len(entries)
    assert sum(untracked) == want_untracked
    # Low when a click comes and while an entry is let go. It stays high, and nothing leaves, for o_wait clocks in which none comes.
    busy = {c.at for c in s.clicks}
    for clock, _ in entries:
        busy.update(range(clock - TRANSFER, clock + 1))
    assert not busy.intersection(idle)
    comes, leaves = sorted(c.at for c in s.clicks), [clock for clock, _ in entries]
    for clock, wait in ((clock, wait) for clock, wait in idle.items() if clock >= s.first):
        later = bisect_right(comes, clock)
        until = min([clock + wait, *comes[later : later + 1]])
        assert bisect_right(leaves, until) == bisect_right(leaves, clock), (clock, wait)
        assert until == clock or until - 1 in idle or until > s.first + s.clocks, (clock, wait)
    if s.hold + LET_GO < (1 << s.epoch_bits) - 60:
        assert idle
    return untracked


@pytest.mark.parametrize("seed", [0, 1, 4, 5, 7, 9, 22, 28, 30])
def test_equals_the_page(seed: int) -> None:
    judge(random_stimulus(seed))


def test_full_queue() -> None:
    """Four clicks per clock that all come in time, but before any of them is due."""
    first = CLOCK - 900
    s = Stimulus(10, 511, first, 2600, first + 100, 0)
    t = first + 1000
    s.clicks = [Given(t=t + k // 4, at=t + 40 + k, channel=2, slot_class=4 + k % 4) for k in range(500)]
    # The first leaves in clock t + 514, so that those written from t + 515 on find room again: the last 27.
    assert sum(judge(s)) == 500 - 256 - 27


def test_late_while_others_are_older_than_the_first_turn() -> None:
    first = 1 << 20
    s = Stimulus(10, 96, first, 2600, first + 100, 0)
    t = first + 200
    s.clicks = [Given(t=t + k, at=t + 60 + k, channel=3, slot_class=5) for k in range(30)]
    s.clicks += [Given(t=t + 29, at=t + 98 + k, channel=2, slot_class=6) for k in range(40)]
    assert 2 in judge(s)


def test_no_turns_of_a_missed_frame() -> None:
    s = Stimulus(9, 20, 1 << 20, 1400, (1 << 20) - 9000, 0)
    dut = TrackerFeed()

    async def bench(ctx):
        for name in ("epoch_bits", "hold"):
            ctx.set(getattr(dut, f"i_{name}"), getattr(s, name))
        ctx.set(dut.i_start_clock, s.start)
        ctx.set(dut.o.ready, 1)
        turns = []
        for clock in range(s.first - 6, s.first + s.clocks):
            ctx.set(dut.i_clock, clock)
            ctx.set(dut.i_run, clock >= s.first)
            ctx.set(dut.i_framing, clock >= s.first + 700)
            if ctx.get(dut.o.valid):
                turns.append(ctx.get(dut.o.payload.time))
            if clock in (s.first + 100, s.first + 600):
                assert ctx.get(dut.o_idle)
            await ctx.tick()
        # A run that is late has those turns that it has not missed, not all since START.
        assert turns == [s.first + 1024]

    simulate(dut, bench)
