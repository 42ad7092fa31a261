"""The tagger against the contract: dead time, delay, order, horizon and accounts."""

import random
from itertools import product
from operator import itemgetter

import pytest
from hdl_core_bench import simulate

from twinphase_hdl.core.queue import Queue
from twinphase_hdl.timetag.channel import Channel
from twinphase_hdl.timetag.frontend import DdrFrontEnd, SimulationFrontEnd
from twinphase_hdl.timetag.tagger import Tagger

COUNTERS = ("seen", "dead", "dropped", "tags", "in_flight")
MASK = (1 << 64) - 1


def accounts(ctx, dut, channel: int) -> dict[str, int]:
    return {name: ctx.get(getattr(dut, f"o_{name}")[channel]) for name in COUNTERS}


@pytest.mark.parametrize("seed", range(6))
def test_order_dead_time_and_accounts(seed: int) -> None:
    rng = random.Random(seed)
    equal_delays = seed < 2
    delays = [0] * 4 if equal_delays else [rng.randrange(-(1 << 18), 1 << 18) for _ in range(4)]
    dead_times = [rng.choice([0, 8192, 20_000, rng.randrange(200_000)]) for _ in range(4)]
    enable = rng.choice([15, 15, 7])
    clock = rng.choice([10_000, (1 << 51) - 60])
    rate = rng.choice([0.02, 0.2, 0.6])
    dut = Tagger(depth=512)

    async def bench(ctx):
        nonlocal clock
        ctx.set(dut.i_clock, clock)
        ctx.set(dut.i_enable, enable)
        for c in range(4):
            ctx.set(dut.i_delay[c], delays[c])
            ctx.set(dut.i_dead_time[c], dead_times[c])
        await ctx.tick().repeat(8)
        last = [None] * 4
        expected, got, dead, seen = [], [], [0] * 4, [0] * 4
        for step in range(1100):
            valid = 0
            for c in range(4):
                if step < 350 and rng.random() < rate:
                    fine = rng.choice([0, 8191, rng.randrange(8192)])
                    valid |= 1 << c
                    ctx.set(dut.i.fine[c], fine)
                    if not enable >> c & 1:
                        continue
                    t0 = clock << 13 | fine
                    seen[c] += 1
                    if last[c] is not None and (t0 - last[c]) & MASK < dead_times[c]:
                        dead[c] += 1
                        continue
                    last[c] = t0
                    # Python's order must not see the wrap of the count.
                    unwrapped = (t0 + delays[c] + (1 << 63)) & MASK if clock < 1 << 50 else t0 + delays[c] - (1 << 63)
                    expected.append((unwrapped, c))
            ctx.set(dut.i.valid, valid)
            await ctx.tick()
            clock = (clock + 1) % (1 << 51)
            ctx.set(dut.i_clock, clock)
            if ctx.get(dut.o.valid):
                tag = ctx.get(dut.o.payload)
                got.append(((tag.time + (1 << 63)) & MASK, tag.channel))
            if step % 16 == 0:
                for c in range(4):
                    a = accounts(ctx, dut, c)
                    assert a["seen"] == a["dead"] + a["dropped"] + a["tags"] + a["in_flight"]
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o_idle)
        assert got == sorted(expected)
        for c in range(4):
            tags = sum(1 for _, channel in got if channel == c)
            assert accounts(ctx, dut, c) == {
                "seen": seen[c],
                "dead": dead[c],
                "dropped": 0,
                "tags": tags,
                "in_flight": 0,
            }

    simulate(dut, bench)


def test_latency_with_equal_delays() -> None:
    dut = Tagger()
    assert dut.latency == 6

    async def bench(ctx):
        ctx.set(dut.i_enable, 15)
        clock = 5
        for step in range(18):
            ctx.set(dut.i_clock, clock + step)
            ctx.set(dut.i.valid, 2 if step == 10 else 0)
            ctx.set(dut.i.fine[1], 8191)
            assert ctx.get(dut.o.valid) == (step == 10 + dut.latency)
            assert ctx.get(dut.o_idle) == (step not in range(11, 11 + dut.latency))
            await ctx.tick()
        assert ctx.get(dut.o.payload.time) == (clock + 10) << 13 | 8191

    simulate(dut, bench)


def test_full_queue_drops_and_starts_the_dead_time() -> None:
    """Channel 0 waits for the smaller delay of channel 1 with a queue of 4."""
    dut = Tagger(channels=2, depth=4)

    async def bench(ctx):
        ctx.set(dut.i_enable, 3)
        ctx.set(dut.i_delay[0], 100 * 8192)
        await ctx.tick().repeat(8)
        times, got = [], []
        for step in range(200):
            ctx.set(dut.i_clock, step)
            ctx.set(dut.i.valid, step < 10)
            if step < 10:
                times.append((step + 100) * 8192)
            await ctx.tick()
            if ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload.time))
        assert got == times[:5]  # four in the queue and one at the merge
        assert accounts(ctx, dut, 0) == {"seen": 10, "dead": 0, "dropped": 5, "tags": 5, "in_flight": 0}

    simulate(dut, bench)


def test_dead_time_is_modular() -> None:
    """Edges on both sides of a wrap, and more than half the range apart."""
    cases = [
        # (last t0, t0, dead time, dead)
        ((1 << 64) - 5, 3, 8, False),
        ((1 << 64) - 5, 3, 9, True),
        (5, (1 << 64) - 5, 100, False),
        (5, (1 << 63) + 200, 100, False),
        (100 << 13, 101 << 13, 8192, False),
        (100 << 13, 101 << 13, 8193, True),
    ]
    for (first, second, dead_time, dead), pause in product(cases, (0, 3)):
        dut = Channel()

        async def bench(ctx, dut=dut, first=first, second=second, dead_time=dead_time, dead=dead, pause=pause):
            ctx.set(dut.i_enable, 1)
            ctx.set(dut.i_dead_time, dead_time)
            await ctx.tick()
            # With a pause: against the last accepted edge; without: against the edge just before.
            for t0, wait in ((first, pause), (second, 0)):
                ctx.set(dut.i_valid, 1)
                ctx.set(dut.i_clock, t0 >> 13)
                ctx.set(dut.i_fine, t0 & 8191)
                await ctx.tick()
                ctx.set(dut.i_valid, 0)
                for _ in range(wait):
                    await ctx.tick()
            await ctx.tick().repeat(2)
            assert ctx.get(dut.o_dead) == dead, (first, second, dead_time, pause)

        simulate(dut, bench)


@pytest.mark.parametrize(("seed", "direct"), [(0, True), (1, True), (2, True), (3, False)])
def test_queue_is_a_queue(seed: int, direct: bool) -> None:
    rng = random.Random(seed)
    dut = Queue(width=16, depth=16, front_depth=4, direct=direct)

    async def bench(ctx):
        model = []
        bubble = 0
        for step in range(1500):
            filling = rng.choice([0.2, 0.5, 0.9]) if step % 50 == 0 else filling  # noqa: F821
            assert ctx.get(dut.o_level) == len(model)
            assert ctx.get(dut.o_full) == (len(model) == 16)
            assert ctx.get(dut.o_valid) | ctx.get(dut.o_pending) == bool(model)
            bubble = bubble + 1 if ctx.get(dut.o_pending) else 0
            assert bubble <= (4 if direct else 5)
            if ctx.get(dut.o_valid):
                assert ctx.get(dut.o_head) == model[0]
            push = len(model) < 16 and rng.random() < filling
            pop = ctx.get(dut.o_valid) and rng.random() < 0.5
            if pop:
                model.pop(0)
            if push:
                model.append(rng.randrange(1 << 16))
                ctx.set(dut.i_data, model[-1])
            ctx.set(dut.i_push, push)
            ctx.set(dut.i_pop, pop)
            assert ctx.get(dut.o_pending) or not push or ctx.get(dut.o_valid)
            await ctx.tick()
            ctx.set(dut.i_push, 0)
            ctx.set(dut.i_pop, 0)

    simulate(dut, bench)


def test_ddr_front_end() -> None:
    """Every pair of samples after every last sample."""
    dut = DdrFrontEnd(channels=2)

    async def bench(ctx):
        last = 1
        rng = random.Random(0)
        for _ in range(60):
            first, second = rng.randrange(2), rng.randrange(2)
            ctx.set(dut.i_samples[1], first | second << 1)
            await ctx.tick()
            rises = [(2048, first and not last), (6144, second and not first)]
            fine = next(map(itemgetter(0), filter(itemgetter(1), rises)), None)
            assert ctx.get(dut.o.valid) == (2 if fine is not None else 0)
            if fine is not None:
                assert ctx.get(dut.o.fine[1]) == fine
            last = second

    simulate(dut, bench)


def test_bad_configuration() -> None:
    with pytest.raises(ValueError, match="depth is 6"):
        Queue(width=8, depth=6)
    with pytest.raises(ValueError, match="channels is 0"):
        SimulationFrontEnd(channels=0)
    with pytest.raises(ValueError, match="frontend_latency is -1"):
        Tagger(frontend_latency=-1)
