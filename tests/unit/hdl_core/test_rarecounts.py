"""Rare counters with the snapshot that holds them: every step is counted once, and a snapshot is of one instant."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hdl_core_bench import simulate

from twinphase_hdl.core.rarecounts import QUEUE, WORDS, RareCounts
from twinphase_hdl.link.snapshot import Snapshot

LATCHED = 3
"""Clock count, and the two levels."""


class Pair(wiring.Component):
    """A snapshot of a clock count, two levels and the rare counters."""

    def __init__(self, counters: int) -> None:
        self.rare = RareCounts(counters=counters, levels=2, first_word=2 * LATCHED)
        self.snapshot = Snapshot(counters=LATCHED, rare=counters)
        super().__init__(
            {
                "i_clock": In(51),
                "i_steps": In(counters),
                "i_levels": In(2),
                "i_snapshot": In(1),
                "i_address": In(7),
                "o_data": Out(32),
                "o_count": Out(32),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.rare, m.submodules.snapshot = rare, snapshot = self.rare, self.snapshot
        m.d.comb += [
            *(rare.i_steps.eq(self.i_steps), rare.i_levels.eq(self.i_levels), rare.i_hold.eq(snapshot.o_hold)),
            *(rare.i_address.eq(snapshot.o_word), snapshot.i_word.eq(rare.o_data)),
            *(snapshot.i_settled.eq(rare.o_settled), snapshot.i_snapshot.eq(self.i_snapshot)),
            *(snapshot.i_counters[0].eq(self.i_clock), snapshot.i_address.eq(self.i_address)),
            *(snapshot.i_counters[1 + k].eq(rare.o_levels[k]) for k in range(2)),
            *(self.o_data.eq(snapshot.o_data), self.o_count.eq(snapshot.o_snapshot_count)),
            self.o_idle.eq(snapshot.o_idle & rare.o_settled),
        ]
        return m


async def shown(ctx, dut: Pair, counters: int) -> list[int]:
    """COUNTERS as they are read; takes clocks."""
    words = []
    for address in range(2 * (LATCHED + counters) + 2):
        ctx.set(dut.i_address, address)
        await ctx.tick()
        words.append(ctx.get(dut.o_data))
    assert words[-2:] == [0, 0]
    return [low | high << 32 for low, high in zip(words[:-2:2], words[1:-2:2], strict=True)]


@pytest.mark.parametrize("seed", range(8))
def test_a_snapshot_shows_all_steps_up_to_an_instant(seed: int) -> None:
    """Steps at any clocks, bursts in neighbouring ones among them, before, in and after copies; lower words about to overflow.

    The levels change with steps only, so counters and levels of a snapshot must be those of one clock, and not earlier than the last
    step before it was asked for.
    """
    rng = random.Random(seed)
    counters = [1, 4, 10, 16][seed % 4]
    bursts = [rng.randint(60, 420) for _ in range(rng.randint(1, 5))]
    asks = [rng.randint(60, 480) for _ in range(rng.randint(1, 4))]
    longest = max(1, (QUEUE - 1) // len(bursts))
    before = [rng.choice([0, 2**32 - 1, 2**32 - 2, 2**64 - 1, 7]) for _ in range(counters)]
    steps: dict[int, int] = {}
    for first in bursts:
        steps |= {first + k: rng.getrandbits(counters) for k in range(rng.randint(1, longest))}
    dut = Pair(counters)

    async def bench(ctx):
        await ctx.tick().repeat(WORDS + 2)
        assert ctx.get(dut.o_idle)
        for k, value in enumerate(before):
            for half in range(2):
                place = (2 * LATCHED + 2 * k + half) % WORDS
                ctx.set(dut.rare.store.data[place], value >> 32 * half & 0xFFFFFFFF)
        now, levels, snapshots, asked = list(before), 0, 0, []
        states = [(*now, levels)]
        clock = 40
        while clock < 500 or not ctx.get(dut.o_idle):
            clock += 1
            mask = steps.get(clock, 0)
            if mask:
                levels = rng.randrange(4)
                now = [(value + (mask >> k & 1)) % 2**64 for k, value in enumerate(now)]
                states.append((*now, levels))
            ctx.set(dut.i_steps, mask)
            ctx.set(dut.i_levels, levels)
            ctx.set(dut.i_clock, clock)
            ctx.set(dut.i_snapshot, clock in asks)
            if clock in asks:
                asked.append(len(states) - bool(mask) - 1)
            await ctx.tick()
            ctx.set(dut.i_steps, 0)
            ctx.set(dut.i_snapshot, 0)
            if ctx.get(dut.o_count) > snapshots:
                snapshots, *rest = ctx.get(dut.o_count), await shown(ctx, dut, counters)
                # reading took clocks in which nothing new was given
                got = (*rest[0][LATCHED:], rest[0][1] | rest[0][2] << 1)
                assert got in states
                # a snapshot asked for in a copy is taken after it: not before the last that was asked when it began
                assert states.index(got) >= asked[0]
                assert rest[0][0] > min(asks)
        assert snapshots >= 1
        ctx.set(dut.i_snapshot, 1)
        await ctx.tick()
        ctx.set(dut.i_snapshot, 0)
        await ctx.tick().repeat(dut.snapshot.copy_clocks + 6)
        assert ctx.get(dut.o_count) == snapshots + 1
        assert (await shown(ctx, dut, counters))[LATCHED:] == now
        assert ctx.get(dut.o_idle)

    simulate(dut, bench)


def test_a_reset_clears_the_counters() -> None:
    dut = RareCounts(counters=3, levels=1)

    async def bench(ctx):
        for place in range(WORDS):
            ctx.set(dut.store.data[place], 5)
        assert not ctx.get(dut.o_settled)
        ctx.set(dut.i_steps, 4)
        await ctx.tick()
        ctx.set(dut.i_steps, 0)
        await ctx.tick().repeat(WORDS + 4 + 7 * 3)
        assert ctx.get(dut.o_settled)
        ctx.set(dut.i_hold, 1)
        await ctx.tick()
        for address in range(WORDS):
            ctx.set(dut.i_address, address)
            await ctx.delay(1e-10)
            assert ctx.get(dut.o_data) == (address == 4)

    simulate(dut, bench)


def test_it_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="counters is 17; allowed: 1 to 16"):
        RareCounts(counters=17, levels=1)
    with pytest.raises(ValueError, match="first_word is 5; allowed: even numbers"):
        RareCounts(counters=1, levels=1, first_word=5)
    with pytest.raises(ValueError, match="counters is 60 with 10 rare ones; allowed: 1 to 64 in all"):
        Snapshot(counters=60, rare=10)
