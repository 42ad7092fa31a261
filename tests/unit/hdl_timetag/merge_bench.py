"""Streams with bounds for the merges' tests, and a bench that plays them."""

from __future__ import annotations

import random
from collections.abc import Callable

from amaranth.sim import Simulator
from hypothesis import Phase
from hypothesis import strategies as st

from twinphase_spec.tagger import ORDER_BITS

ORDER = 1 << ORDER_BITS
STEP = 100
"""Ticks by which the bounds go on per clock."""
LEAD = 8
"""Clocks after which the bounds out of reset, which are for times near 0, are gone."""


class Side:
    """A front with the tags of one stream; each is shown from the clock ``time / STEP`` on, the bound follows the clock."""

    def __init__(self, front, tags: list[tuple[int, int]], base: int) -> None:
        self.front, self.tags, self.base = front, tags, base
        self.next = 0

    def show(self, ctx, clock: int) -> None:
        here = self.next < len(self.tags) and self.tags[self.next][0] < clock * STEP
        time, channel = self.tags[self.next] if here else (clock * STEP, 0)
        ctx.set(self.front.valid, here)
        ctx.set(self.front.time, (self.base + time) % ORDER)
        if len(self.front.channel):
            ctx.set(self.front.channel, channel)
        self.here = here

    def taken(self, ctx) -> None:
        self.next += self.here and ctx.get(self.front.ready)


def play(
    dut,
    sides: list[Side],
    clocks: int,
    ready: Callable[[int], bool],
    taken: Callable,
    ready_port,
    bound: Callable | None = None,
    busy: Callable | None = None,
) -> list[list[tuple[int, int]]]:
    """Per clock the tags that left, as (time less base modulo the range, channel).

    Asserts that no tag is below a bound shown, that what is shown does not depend on ``ready`` and holds until it, and that it is busy
    exactly while a tag is inside.
    """
    base = sides[0].base
    left: list[list[tuple[int, int]]] = []
    bounds: list[int] = []
    number = 0

    async def bench(ctx) -> None:
        nonlocal number
        held: list[tuple[int, int]] = []
        for clock in range(clocks):
            for side in sides:
                side.show(ctx, clock)
            ctx.set(ready_port, not ready(clock))
            shown_otherwise = taken(ctx)
            ctx.set(ready_port, ready(clock))
            shown_tags = taken(ctx)
            assert shown_tags == shown_otherwise, "shown depends on ready"
            assert not held or shown_tags == held, "did not hold"
            held = [] if ready(clock) else shown_tags
            left.append(
                [(((t - base + ORDER // 2) % ORDER) - ORDER // 2, c) for t, c in shown_tags] if ready(clock) else []
            )
            if busy is not None:
                assert busy(ctx) == (sum(side.next for side in sides) > number), "busy"
            number += len(left[-1])
            if bound is not None:
                shown = (bound(ctx) - base + ORDER // 2) % ORDER - ORDER // 2
                bounds.append(shown if clock >= LEAD else -ORDER)
            for side in sides:
                side.taken(ctx)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    highest = -ORDER
    for tags, shown in zip(left, bounds, strict=False):
        highest = max(highest, shown)
        assert all(time >= highest for time, _ in tags), "a tag below a bound that was shown"
    return left


def streams(number: int):
    """Sorted streams with many equal times, and how often the output is held back."""
    gaps = st.sampled_from([0, 0, 0, 1, 30, 100, 250])
    tags = st.lists(st.tuples(st.integers(0, number - 1), gaps), max_size=60)
    return st.tuples(tags, st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.integers(0, 1 << 30))


def times_of(tags: list[tuple[int, int]]) -> list[tuple[int, int]]:
    time, result = LEAD * STEP, []
    for channel, gap in tags:
        time += gap
        result.append((time, channel))
    return result


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes."""
BASES = (0, ORDER - 3000, ORDER // 2 - 3000)


def assert_sorts(
    dut,
    sides: list[Side],
    tags: list[tuple[int, int]],
    *,
    hold: float,
    seed: int,
    taken: Callable,
    bound: Callable,
    busy: Callable | None = None,
) -> None:
    """All of ``tags`` leave in their order, while the output is held in ``hold`` of 160 clocks, and within 100 clocks behind them."""
    chance = random.Random(seed)
    holds = [chance.random() < hold for _ in range(160)] + [False] * 100
    left = play(dut, sides, len(holds), lambda k: not holds[k], taken, dut.o.ready, bound, busy)
    assert [tag for clock in left for tag in clock] == tags
