"""The channels of small parts, edge by edge against the model, with what overran or was dropped replayed."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from twinphase_hdl.timetag.turnchannel import TURN_CLOCKS, TurnChannel
from twinphase_hdl.timetag.turnsource import TurnSource
from twinphase_sim.model.timetag.input import InputSettings, tag_inputs
from twinphase_sim.model.timetag.merge import merge_tags

CLOCK_BITS, COARSE_BITS = 51, 19
COUNTS = ("seen", "overrun", "dead", "vetoed", "divided", "dropped", "queued")


def run(edges, settings, *, start, clocks, pause=0.3, ready_from=0):
    """(tags, strobes per clock and kind and channel) of a source with ``edges``: (clock after start, channel) to ticks."""
    dut = TurnSource(depth=1024, burst=512)
    rng = np.random.default_rng(7)
    tags, strobes = [], {kind: np.zeros((clocks, 2), int) for kind in COUNTS}

    async def bench(ctx):
        for c, s in enumerate(settings):
            for name in ("delay", "dead_time", "veto_from", "veto_to", "divider"):
                ctx.set(getattr(dut, f"i_{name}")[c], getattr(s, name))
        ctx.set(dut.i_divider_restart, 3)
        await ctx.tick()
        ctx.set(dut.i_divider_restart, 0)
        for clock in range(clocks):
            now = (start + clock) % (1 << CLOCK_BITS)
            ctx.set(dut.i_now, now)
            ctx.set(dut.i_clock, now % (1 << COARSE_BITS))
            ctx.set(dut.i_enable, 3)
            for c in range(2):
                fine = edges.get((clock, c))
                ctx.set(dut.i.valid[c], fine is not None)
                ctx.set(dut.i.fine[c], fine or 0)
            ready = clock >= ready_from and rng.random() >= pause
            ctx.set(dut.o.ready, ready)
            if ready and ctx.get(dut.o.valid):
                tags.append((ctx.get(dut.o.payload.time), ctx.get(dut.o.payload.channel)))
            for kind, counts in strobes.items():
                got = getattr(dut, f"o_{kind}")
                counts[clock] = [ctx.get(got[c]) for c in range(2)]
            await ctx.tick()
        assert ctx.get(dut.o_idle)

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return tags, strobes


def overruns(clocks):
    """Which edges in these clocks find one under examination and one waiting: what the channel's page says."""
    flags, done = [], []
    """``done``: first clock in which the next can begin, of each taken edge."""
    for clock in clocks:
        begun = [end - TURN_CLOCKS for end in done]
        waiting = [b for b in begun if b > clock + 1]
        flags.append(bool(waiting))
        if not waiting:
            done.append(max(clock + 2, done[-1] if done else 0) + TURN_CLOCKS)
    return np.array(flags, bool)


def compare(edges, settings, start, tags, strobes):
    """Every tag and every count is the model's."""
    expected, rooms = [], []
    for c, s in enumerate(settings):
        clocks = np.array(sorted(clock for clock, channel in edges if channel == c), np.int64)
        times = np.array([(start + int(k)) * 8192 + edges[int(k), c] for k in clocks.tolist()], object)
        times = np.array([t % (1 << 64) for t in times], np.uint64)
        lost = overruns(clocks.tolist())
        assert strobes["overrun"][:, c].nonzero()[0].tolist() == (clocks[lost] + 1).tolist()
        order = [kind for k in range(len(strobes["queued"])) for kind in ("queued", "dropped") if strobes[kind][k, c]]
        room = np.array([kind == "queued" for kind in order], bool)
        model = tag_inputs(times, s, overrun=lost, room=room)
        expected.append(model.times_ticks)
        rooms.append(room)
        for kind in COUNTS:
            total = int(strobes[kind][:, c].sum())
            names = {"seen": len(clocks), "queued": len(model.times_ticks), "overrun": int(lost.sum())}
            if kind in names:
                assert total == names[kind], kind
        accounted = sum(int(strobes[kind][:, c].sum()) for kind in COUNTS[1:])
        assert accounted == len(clocks)
    times, channels = merge_tags(expected)
    assert tags == list(zip(times.tolist(), channels.tolist(), strict=True))
    return rooms


def neutral(**changes):
    """Settings that change nothing."""
    values = {"dead_time": 0, "veto_from": 0, "veto_to": 0, "divider": 0, "walk_shift": 0, "delay": 0}
    return InputSettings(walk=np.zeros(64, np.int64), **{**values, **changes})


@pytest.mark.parametrize(
    ("start", "settings"),
    [
        ((1 << CLOCK_BITS) - 1100, (neutral(), neutral())),
        ((5 << COARSE_BITS) - 900, (neutral(dead_time=90_000, divider=2), neutral(delay=-(1 << 20)))),
        (123_456, (neutral(delay=400_000, dead_time=30_000), neutral(veto_from=60_000, veto_to=300_000, divider=3))),
    ],
)
def test_hostile_edges(start, settings):
    """Both channels at once, bursts, and a silence after which all edges are far."""
    rng = np.random.default_rng(start)
    clocks = 2600
    edges = {}
    for c in range(2):
        busy = rng.random(1500) < np.where(np.arange(1500) // 150 % 2, 0.5, 0.08)
        edges |= {(k, c): int(rng.integers(0, 8192)) for k in np.flatnonzero(busy).tolist()}
    edges |= {(k, c): 4000 for k in (2000, 2060) for c in range(2)}
    tags, strobes = run(edges, settings, start=start, clocks=clocks + 3000)
    compare(edges, settings, start, tags, strobes)


def test_an_edge_per_turn_is_never_lost():
    edges = {(TURN_CLOCKS * k, 0): k for k in range(100)} | {(TURN_CLOCKS * k + 3, 1): 9 for k in range(100)}
    tags, strobes = run(edges, (neutral(), neutral()), start=77, clocks=3200)
    compare(edges, (neutral(), neutral()), 77, tags, strobes)
    assert strobes["overrun"].sum() == 0


@pytest.mark.long
def test_a_full_queue_drops():
    edges = {(6 * k, 0): k for k in range(1040)} | {(6 * k, 1): k for k in range(3)}
    tags, strobes = run(edges, (neutral(), neutral()), start=1, clocks=18_000, pause=0.0, ready_from=6300)
    rooms = compare(edges, (neutral(), neutral()), 1, tags, strobes)
    assert 1 <= (~rooms[0]).sum() <= 16
    assert rooms[1].all()


def test_a_far_edge_is_accepted_after_any_silence():
    """The count of the channel's times comes round in 2^19 clocks; it may jump by 2^17 while nothing is inside."""
    dut = TurnChannel(depth=1024, burst=512)
    times = []

    async def bench(ctx):
        ctx.set(dut.i_enable, 1)
        ctx.set(dut.i_dead_time, (1 << 26) - 1)
        clock = 0

        async def go(clocks, valid=0):
            nonlocal clock
            for _ in range(clocks):
                ctx.set(dut.i_clock, clock % (1 << COARSE_BITS))
                ctx.set(dut.i_valid, valid)
                ctx.set(dut.i_pop, ctx.get(dut.o_valid))
                if ctx.get(dut.o_valid):
                    times.append(ctx.get(dut.o_time))
                await ctx.tick()
                clock += 1

        await go(10)
        for jumps in (0, 0, 1, 4, 4, 8):
            await go(1, valid=1)
            await go(32)
            for _ in range(jumps):
                assert ctx.get(dut.o_idle)
                clock += (1 << 17) - 33
                await go(33)

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    # Two of the first three are within the dead time of the first.
    assert len(times) == 4
    assert times[0] == 10 * 8192


def test_latencies_are_those_that_are_stated():
    """A lone edge: 13 clocks through the channel, 23 to the output; then tags of both channels that queue: one in 11 clocks."""
    dut = TurnSource(depth=1024, burst=512)
    channel_valid, offered, clock = [], [], 0

    async def go(ctx, valid):
        nonlocal clock
        ctx.set(dut.i.valid, valid)
        ctx.set(dut.i_now, clock)
        ctx.set(dut.i_clock, clock)
        if ctx.get(dut.channels[1].o_valid):
            channel_valid.append(clock)
        if ctx.get(dut.o.valid):
            offered.append(clock)
        await ctx.tick()
        clock += 1

    async def bench(ctx):
        ctx.set(dut.i_enable, 3)
        ctx.set(dut.o.ready, 1)
        for _ in range(40):
            await go(ctx, 0)
        await go(ctx, 2)
        for _ in range(60):
            await go(ctx, 0)
        for k in range(60):
            await go(ctx, 0 if k % TURN_CLOCKS else 3)
        for _ in range(250):
            await go(ctx, 0)

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert channel_valid[0] == 40 + 13
    assert offered[0] == 40 + 23
    assert len(offered) == 1 + 2 * 12
    assert set(np.diff(offered[1:])) == {11}


def test_too_small_a_queue_is_refused():
    with pytest.raises(ValueError, match="queue depth is 1024; allowed: at least 1536"):
        TurnChannel(depth=1024)
