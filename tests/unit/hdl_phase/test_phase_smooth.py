"""Smoother against its contract: every epoch length and step, losses, extreme gains and slopes, restarts."""

import random
from itertools import zip_longest

import pytest
from phase_oracle import simulate
from smooth_oracle import Channel, sat, wrap

from twinphase_hdl.phase.smooth import Smoother
from twinphase_hdl.phase.smoothstep import SmoothStep

FIELDS = {"interval": ("channel", "index", "start", "way", "valid"), "cover": ("channel", "time")}
GAIN_LIMIT, SLOPE_LIMIT = 1 << 17, 1 << 33


class Bench:
    """Drives a Smoother with the nodes of one run after the other and keeps what must come out and what came."""

    def __init__(self, dut, rng, *, epoch_bits, steps, gains, later=(0, 0)):
        self.dut, self.rng, self.epoch_bits, self.steps, self.gains = dut, rng, epoch_bits, steps, gains
        self.later = later
        self.expected, self.got = [], []
        self.clock = 0
        self.when = []

    async def start(self, ctx, clocks=1):
        """i_run is 0 for some clocks."""
        dut = self.dut
        ctx.set(dut.i_epoch_bits, self.epoch_bits)
        ctx.set(dut.i_step, list(self.steps))
        ctx.set(dut.i_later, list(self.later))
        ctx.set(dut.i_gains, [list(gains) for gains in self.gains])
        ctx.set(dut.i_run, 0)
        await self.wait(ctx, clocks)
        ctx.set(dut.i_run, 1)
        self.channels = [
            Channel(
                channel=c,
                epoch_bits=self.epoch_bits,
                step=self.steps[c],
                gains=self.gains[c],
                later=self.later[c],
            )
            for c in (0, 1)
        ]

    async def wait(self, ctx, clocks):
        if clocks > 0:
            await ctx.tick().repeat(clocks)
            self.clock += clocks

    async def node(self, ctx, channel, epoch, phase, slope, locked=1, broke=0):
        dut = self.dut
        fields = {"channel": channel, "epoch": epoch % (1 << 32), "phase": phase, "slope": slope}
        ctx.set(dut.i_node, {**fields, "locked": locked, "broke": broke})
        ctx.set(dut.i_node_valid, 1)
        intervals, cover = self.channels[channel].add(epoch, phase, slope, locked, broke)
        self.expected += [("interval", *interval.values()) for interval in intervals]
        if cover:
            self.expected.append(("cover", *cover.values()))
        await self.wait(ctx, 1)
        ctx.set(dut.i_node_valid, 0)

    async def idle(self, ctx):
        while not ctx.get(self.dut.o_idle):
            await self.wait(ctx, 1)
        await self.wait(ctx, 1)

    async def watch(self, ctx):
        dut = self.dut
        ports = [(dut.o_interval_valid, dut.o_interval), (dut.o_cover_valid, dut.o_cover)]
        clock = 0
        async for _, _, run, *sampled in ctx.tick().sample(dut.i_run, *(port for pair in ports for port in pair)):
            clock += 1
            for name, valid, value in zip(FIELDS, sampled[::2], sampled[1::2], strict=True):
                if valid and run:
                    self.got.append((name, *(int(value[field]) for field in FIELDS[name])))
                    self.when.append(clock - 1)

    def check(self):
        for place, (got, expected) in enumerate(zip_longest(self.got, self.expected)):
            assert got == expected, f"output {place}"


def hostile_slope(rng):
    return rng.choice(
        [
            *(SLOPE_LIMIT - 1, -SLOPE_LIMIT, 0, -1, 1),
            *[rng.randrange(-(1 << 24), 1 << 24)] * 5,
            rng.randrange(-SLOPE_LIMIT, SLOPE_LIMIT) >> rng.randrange(34),
        ]
    )


def hostile_gains(rng):
    return tuple(
        rng.choice([0, 1 << 16, -GAIN_LIMIT, GAIN_LIMIT - 1, *[rng.randrange(-GAIN_LIMIT, GAIN_LIMIT)] * 4])
        for _ in range(4)
    )


# Every E, every g and every digit of l occurs; 10 ms of lag, steps of 2^15 clocks 6 or 7 later, in two ways.
CASES = [
    *((9, 0, 0, 0, 0), (10, 1, 0, 63, 0), (12, 0, 2, 1, 2), (13, 2, 1, 15, 16), (16, 0, 0, 3, 40), (15, 0, 0, 6, 6)),
    *((15, 3, 0, 5, 7), (11, 1, 4, 31, 8), (14, 5, 6, 18, 61), (16, 7, 7, 7, 32), (9, 0, 0, 63, 63)),
]


@pytest.mark.parametrize(("epoch_bits", "g0", "g1", "l0", "l1"), CASES)
def test_random_nodes(epoch_bits, g0, g1, l0, l1):
    """Both channels' nodes as fast as passes allow, with losses, breaks and jumps, from anywhere; gains and slopes of every size."""
    rng = random.Random(f"{epoch_bits} {g0} {g1} {l0} {l1}")
    dut = Smoother()
    gains = [hostile_gains(rng) for _ in range(2)]
    bench = Bench(dut, rng, epoch_bits=epoch_bits, steps=(g0, g1), gains=gains, later=(l0, l1))
    blocks = 4 + max(l0, l1) // 16 if min(g0, g1) < 7 else 3 + max(l0, l1) // 16
    epochs = 16 * blocks << min(g0, g1)
    # Past the wrap of 32 bits and a K of each channel behind it, and from a place that is on no grid.
    passes = (l0 << g0, l1 << g1)
    first = (1 << 32) - rng.randrange(max(1, epochs - max(passes)))
    # A pass of each channel for 16 nodes of it.
    pause = -(-dut.latency * ((1 << g0) + (1 << g1)) // (16 << g0 + g1))

    async def run(ctx):
        await bench.start(ctx)
        locked, phase = [1, 1], [0, 0]
        for epoch in range(first, first + epochs):
            for c in (0, 1):
                if rng.random() < 0.03:
                    locked[c] ^= 1
                phase[c] = (phase[c] + rng.choice([rng.getrandbits(24), rng.getrandbits(32)])) % (1 << 32)
                broke = int(rng.random() < 0.05 / (1 << bench.steps[c]))
                await bench.node(ctx, c, epoch, phase[c], hostile_slope(rng), locked[c], broke)
                await bench.wait(ctx, pause - 2 if c else rng.randrange(2))
        await bench.idle(ctx)

    simulate(dut, run, bench.watch)
    bench.check()
    intervals = [fields for name, *fields in bench.got if name == "interval"]
    assert {fields[0] for fields in intervals} == {0, 1}
    assert {fields[-1] for fields in intervals} == {0, 1}, "linked and not linked"


def test_straight_line_goes_through():
    """Whole gains of a constant slope reproduce the line to the bit, across the phase's wrap: way = step, all linked."""
    dut = Smoother()
    bench = Bench(dut, random.Random(1), epoch_bits=9, steps=(0, 0), gains=[(40000, 3000, -500, 60000)] * 2)
    step = (5 << 20) + 8

    async def run(ctx):
        await bench.start(ctx)
        for epoch in range(100, 145):
            await bench.node(ctx, 0, epoch, (7 + epoch * step) % (1 << 32), step << 3)
            await bench.wait(ctx, 80)
        await bench.idle(ctx)

    simulate(dut, run, bench.watch)
    bench.check()
    # The first node is 100, so the first block with nodes is 96 to 111 from node 128 on; before it, the block to 95 is there and empty.
    # Its lower ones are not locked.
    lines = [fields for name, *fields in bench.got if name == "interval" and fields[1] >= 96]
    assert [(index, start, way) for _, index, start, way, valid in lines if valid] == [
        (k, (7 + k * step) % (1 << 32), step) for k in (*range(111, 99, -1), *range(127, 111, -1))
    ]
    assert [fields[1:3] for fields in lines if not fields[-1]] == [[99, 0], [98, 0], [97, 0], [96, 0]]


@pytest.mark.parametrize("later", [0, 7, 31, 63])
def test_latency_and_both_passes_due_at_once(later):
    """Both channels' nodes K come in one clock after the other; channel 1 waits for channel 0's pass, its next nodes are kept."""
    rng = random.Random(5)
    dut = Smoother()
    gains = [hostile_gains(rng) for _ in range(2)]
    bench = Bench(dut, rng, epoch_bits=9, steps=(0, 0), gains=gains, later=(later, later))

    async def run(ctx):
        await bench.start(ctx)
        for epoch in range(later, 33 + later):
            for c in (0, 1):
                await bench.node(ctx, c, epoch, rng.getrandbits(32), rng.randrange(-(1 << 20), 1 << 20))
            if epoch - later in (0, 16):
                await bench.idle(ctx)
        bench.came = bench.clock - 2  # channel 0's node K is taken with the edge at the end of this clock
        for epoch in range(33 + later, 48 + later):
            for c in (0, 1):
                await bench.node(ctx, c, epoch, rng.getrandbits(32), rng.randrange(-(1 << 20), 1 << 20))
                await bench.wait(ctx, 20)
        await bench.idle(ctx)
        for c in (0, 1):
            await bench.node(ctx, c, 48 + later, rng.getrandbits(32), 0)
        await bench.idle(ctx)

    simulate(dut, run, bench.watch)
    bench.check()
    covers = [clock for clock, (name, *_) in zip(bench.when, bench.got, strict=True) if name == "cover"]
    latency = dut.latency - (63 - later) * dut.step_clocks
    assert covers[4] - bench.came == latency
    assert covers[5] - covers[4] <= latency
    # Passes of both channels take less than 16 of the shortest node steps; those 33 after K replace the first of a pass.
    assert 2 * dut.latency < 16 * 512 - 256


def test_a_pass_has_the_gains_of_its_last_node():
    """Whatever the gains are while it waits for the other channel's and while it runs."""
    rng = random.Random(6)
    dut = Smoother()
    bench = Bench(dut, rng, epoch_bits=9, steps=(0, 0), gains=[hostile_gains(rng) for _ in range(2)], later=(15, 15))

    async def run(ctx):
        await bench.start(ctx)
        for epoch in range(48 + 16 * 5):
            for c in (0, 1):
                await bench.node(ctx, c, epoch, rng.getrandbits(32), hostile_slope(rng))
            await bench.wait(ctx, 3)
            if epoch % 16 == 15:
                for left in range(2 * dut.latency, 0, -97):
                    gains = [hostile_gains(rng) for _ in range(2)]
                    ctx.set(dut.i_gains, [list(words) for words in gains])
                    await bench.wait(ctx, min(left, 97))
                for channel, words in zip(bench.channels, gains, strict=True):
                    channel.gains = words

    simulate(dut, run, bench.watch)
    bench.check()


LATER = 3
STOPS = {1: (0, 2, 3, 600), 700: (30, 612)}


@pytest.mark.parametrize("clocks", STOPS)
def test_restart_in_the_middle_of_a_pass(clocks):
    """Nothing of the old run comes out, whatever it was doing, and its nodes count as not there."""
    rng = random.Random(clocks)
    dut = Smoother()
    gains = [hostile_gains(rng) for _ in range(2)]
    bench = Bench(dut, rng, epoch_bits=10, steps=(0, 0), gains=gains, later=(LATER, LATER))

    async def run(ctx):
        for stop in STOPS[clocks]:
            await bench.start(ctx, clocks)
            bench.got.clear(), bench.expected.clear(), bench.when.clear()
            first = rng.randrange(1 << 20)
            middle = first + 18 + rng.randrange(16)
            for epoch in range(first, middle):
                for c in (0, 1):
                    await bench.node(ctx, c, epoch, rng.getrandbits(32), hostile_slope(rng))
                await bench.wait(ctx, 5 if epoch % 16 != LATER else 2200)
            await bench.idle(ctx)
            bench.check()
            last = first + 48 - (first - LATER) % 16
            for epoch in range(middle, last + 1):
                for c in (0, 1):
                    await bench.node(ctx, c, epoch, rng.getrandbits(32), hostile_slope(rng))
                if epoch % 16 == LATER and epoch != last:
                    await bench.wait(ctx, 2200)
            await bench.wait(ctx, stop)
        await bench.start(ctx, clocks)
        bench.got.clear()
        await bench.wait(ctx, 3000)
        assert not bench.got

    simulate(dut, run, bench.watch)


@pytest.mark.parametrize("linked", [0, 1])
def test_step_extremes_and_latency(linked):
    """Corners of every operand: wraps and both saturations."""
    rng = random.Random(linked)
    dut = SmoothStep()
    limit = 1 << 31
    corners = [0, 1, -1, limit - 1, -limit]

    def value():
        return rng.choice([*corners, rng.randrange(-limit, limit), rng.randrange(-(1 << 20), 1 << 20)])

    async def run(ctx):
        saturated = 0
        for _ in range(150):
            f, s, phase, step = value() % (1 << 32), value(), value() % (1 << 32), value()
            h11, h12, h21, h22 = gains = hostile_gains(rng)
            ctx.set(dut.i_phase, f), ctx.set(dut.i_step, s), ctx.set(dut.i_linked, linked)
            ctx.set(dut.i_node_phase, phase), ctx.set(dut.i_node_step, step), ctx.set(dut.i_gains, list(gains))
            ctx.set(dut.i_start, 1)
            await ctx.tick()
            ctx.set(dut.i_start, 0)
            for _ in range(dut.latency - 1):
                assert not ctx.get(dut.o_done)
                await ctx.tick()
            assert ctx.get(dut.o_done)
            e1, e2 = wrap(f - phase - step), sat(s - step)
            expected = phase, step
            if linked:
                expected = (phase + (h11 * e1 + h12 * e2 >> 16)) % (1 << 32), sat(step + (h21 * e1 + h22 * e2 >> 16))
            assert (ctx.get(dut.o_phase), ctx.get(dut.o_step)) == expected
            saturated += expected[1] in (limit - 1, -limit)
            for _ in range(rng.randrange(3)):
                await ctx.tick()
        assert saturated > 20

    simulate(dut, run)
