"""Input channels and merge tree of the time tagger against an oracle that goes edge by edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from rigs import SOURCE_CHANNELS, SOURCE_DEPTHS, WIDE, tag_source
from source_oracle import TICKS, Config
from source_play import LEAD, Source, any_config, any_ready, hostile
from streams import start_clock
from twinphase_spec.tagger import ORDER_BITS
from twinphase_spec.units import CLOCK_BITS
from vectors import generator

RANGE = 1 << ORDER_BITS - 13
"""Clocks after which times repeat within the tagger."""
STARTS = (0, 5, RANGE - 300, RANGE // 2 - 300, (1 << CLOCK_BITS) - 300, 7 * RANGE + RANGE // 2 - 1, 1 << 45)


async def _random_cases(dut: Any, name: str, cases: int, clocks: int) -> int:
    rng = generator()
    await start_clock(dut)
    source = Source(dut, name)
    dropped = 0
    for case in range(cases):
        fines = hostile(rng, clocks, source.channels, source.lanes)
        pulses = np.where(rng.random(clocks) < 0.05, rng.integers(0, TICKS, clocks), -1)
        shift = int(rng.choice([0, 3, 7, 10, 13, 20, 31]))
        configs = [replace(any_config(rng, source.lanes, case % 2), walk_shift=shift) for _ in range(source.channels)]
        left = 700 + source.channels * min(clocks, SOURCE_DEPTHS[name])
        ready = np.concatenate([any_ready(rng, clocks), np.ones(left, dtype=bool)])
        start = int(STARTS[case % len(STARTS)])
        cocotb.log.info("case %d: start %d, shift %d, %s", case, start, shift, [replace(c, walk=()) for c in configs])
        result = await source.run(configs, fines, pulses, start, ready)
        dropped += result.dropped
    return dropped


@cocotb.test()
async def channels_of_one_lane(dut: Any) -> None:
    """Everything at random, with a queue of the default depth: nothing is dropped."""
    assert await _random_cases(dut, "source", 14, 500) == 0


@cocotb.test()
async def channels_of_two_lanes(dut: Any) -> None:
    """Everything at random, with a small queue that drops."""
    assert await _random_cases(dut, "lanes", 14, 500) > 0


@cocotb.test()
async def channels_of_a_wide_source(dut: Any) -> None:
    """Everything at random, with queues that drop when the output is held back."""
    assert await _random_cases(dut, "wide", 10, 400) > 0


@cocotb.test()
async def latency_is_constant(dut: Any) -> None:
    """Lone edges of any channel leave after `TagSource.latency`, whatever the others' silence; those of a wide source may come a clock
    later."""
    rng = generator()
    await start_clock(dut)
    for name, (channels, lanes) in SOURCE_CHANNELS.items():
        source = Source(dut, name)
        clocks = 600
        fines = np.full((clocks, channels, lanes), -1)
        at = np.cumsum(rng.integers(2, 12, 60))
        for k in at:
            lane = int(rng.integers(lanes))
            span = TICKS // lanes
            fines[k, rng.integers(channels), lane] = lane * span + int(rng.choice([0, span - 1, rng.integers(span)]))
        result = await source.run(
            [Config()] * channels, fines, np.full(clocks, -1), 1000, np.ones(clocks + 40, dtype=bool)
        )
        waits = {k - (time // TICKS - 1000) for k, time, _ in result.tags}
        cocotb.log.info("%s: latency %s", name, waits)
        if name in WIDE:
            assert waits == {rig_latency(name), rig_latency(name) + 1}, f"{name}: {waits}"
        else:
            assert waits == {rig_latency(name)}, f"{name}: {waits}"
        assert max(waits) <= {3: 18, 4: 18, 8: 20, 16: 22}[channels] + 3 * (name in WIDE), (
            "the contract allows 20 clocks for 8 channels, two less per level"
        )


def rig_latency(name: str) -> int:
    """As the component says it."""
    return tag_source(name).latency


@cocotb.test()
async def one_tag_per_clock(dut: Any) -> None:
    """16 channels with 16 edges every 16 clocks, all at once or spread: a tag leaves in every clock; and one channel alone."""
    rng = generator()
    await start_clock(dut)
    source = Source(dut, "sixteen")
    for kind in ("together", "spread", "alone", "halves"):
        clocks = 640
        fines = np.full((clocks, 16, 1), -1)
        for k in range(clocks):
            if kind == "together" and k % 16 == 0:
                fines[k, :, 0] = int(rng.integers(TICKS))
            elif kind == "spread":
                fines[k, int(rng.integers(16)), 0] = int(rng.integers(TICKS))
            elif kind == "alone":
                fines[k, 11, 0] = int(rng.integers(TICKS))
            elif kind == "halves":
                fines[k, k % 2 * 15, 0] = 5
        result = await source.run([Config()] * 16, fines, np.full(clocks, -1), 77, np.ones(clocks + 100, dtype=bool))
        at = [k for k, _, _ in result.tags]
        assert len(at) == clocks
        # Between the first and the last tag at most a few clocks without one.
        assert at[-1] - at[0] <= clocks + 4, f"{kind}: {clocks} tags in {at[-1] - at[0] + 1} clocks"


@cocotb.test()
async def two_tags_per_clock(dut: Any) -> None:
    """Channels 0 to 3 bring one tag per clock, 4 to 7 too: two tags leave in every clock, but for a few of the first ones.

    Each case: channels of the edges of clock k, and how many clocks more it may take than half of its tags. A first run of 16 fills the
    merge's queues at one tag per clock. With random channels a queue that ran empty shows its bound a clock late, until enough waits:
    12.6 clocks more, standard deviation 1.4 (of 24 runs), three quarters of them within the first 300.
    """
    rng = generator()
    await start_clock(dut)
    source = Source(dut, "wide")
    clocks = 1200
    cases = {
        "one channel each": (lambda k: (1, 6), 4),
        "channels in turn": (lambda k: (k % 4, 4 + k % 4), 4),
        "channels at random": (lambda k: (int(rng.integers(4)), int(rng.integers(4, 8))), 24),
        "all eight, every fourth clock": (lambda k: range(8) if k % 4 == 0 else (), 4),
        "runs of 16 tags of a side": (lambda k: (k // 8 % 2 * 4, k // 8 % 2 * 4 + 3), 20),
    }
    for kind, (channels, more) in cases.items():
        fines = np.full((clocks, 8, 1), -1)
        for k in range(clocks):
            of_clock = list(channels(k))
            fines[k, of_clock, 0] = (
                rng.integers(TICKS, size=len(of_clock)) if rng.random() < 0.5 else rng.integers(TICKS)
            )
        result = await source.run([Config()] * 8, fines, np.full(clocks, -1), 77, np.ones(clocks + 400, dtype=bool))
        at = np.array([k for k, _, _ in result.tags])
        assert len(at) == (fines >= 0).sum()
        span = at[-1] - at[0] + 1
        cocotb.log.info("%s: %d tags in %d clocks, %.3f per clock", kind, len(at), span, len(at) / span)
        assert span <= len(at) / 2 + more, f"{kind}: {len(at)} tags in {span} clocks"


@cocotb.test()
async def what_waited_leaves_two_per_clock(dut: Any) -> None:
    """A burst on all channels at once while the output is held; then it is not: two tags in every clock but the first."""
    await start_clock(dut)
    source = Source(dut, "wide")
    clocks, burst = 200, 40
    fines = np.full((clocks, 8, 1), -1)
    fines[:burst] = 100
    ready = np.concatenate([np.zeros(clocks, dtype=bool), np.ones(300, dtype=bool)])
    result = await source.run([Config()] * 8, fines, np.full(clocks, -1), 77, ready)
    assert result.dropped == 0
    at = np.array([k for k, _, _ in result.tags])
    assert len(at) == 8 * burst
    assert at[0] == LEAD + clocks
    assert at[-1] - at[0] <= 4 * burst + 1, f"{len(at)} tags in {at[-1] - at[0] + 1} clocks"


@cocotb.test()
async def two_edges_in_every_clock(dut: Any) -> None:
    """The lane queue loses the second lane's edge from its 15th clock on, and not before."""
    await start_clock(dut)
    source = Source(dut, "lanes")
    clocks = 100
    fines = np.tile(np.array([10, TICKS - 10]), (clocks, source.channels, 1))
    result = await source.run(
        [Config(dead_time=3 * TICKS)] * source.channels,
        fines,
        np.full(clocks, -1),
        77,
        np.ones(clocks + 200, dtype=bool),
    )
    first = np.flatnonzero(result.strobes["overrun"][:, 0])
    # 2, 3, .. 15 edges inside at the beginning of clocks 1, 2, .. 14; in clock 14 the second edge finds 16. The strobe is a clock later.
    np.testing.assert_array_equal(first, LEAD + np.arange(14, clocks) + 1)


@cocotb.test()
async def a_noisy_channel_holds_nobody_up(dut: Any) -> None:
    """A channel with an edge in every clock, all of them dead but the first, delays the others' tags by nothing."""
    await start_clock(dut)
    source = Source(dut, "source")
    clocks = 700
    fines = np.full((clocks, 4, 1), -1)
    fines[:, 0, 0] = 8191
    fines[100::50, 1:, 0] = np.array([0, 4000, 8191])
    configs = [Config(dead_time=(1 << 26) - 1), Config(), Config(), Config()]
    result = await source.run(configs, fines, np.full(clocks, -1), 77, np.ones(clocks + 60, dtype=bool))
    late = [k - (time // TICKS - 77) for k, time, c in result.tags if c]
    assert min(late) == rig_latency("source")
    assert max(late) <= rig_latency("source") + 2


@cocotb.test()
async def the_count_jumps_while_idle(dut: Any) -> None:
    """Clock counts left out, up to the largest number and across wraps: distances, order and whole times stay right."""
    rng = generator()
    await start_clock(dut)
    for name in ("source", "lanes", "wide"):
        source = Source(dut, name)
        clocks, gap = 2000, 150
        fines = np.full((clocks, source.channels, source.lanes), -1)
        at = np.arange(0, clocks - gap, gap)
        for k in at:
            fines[k : k + 2] = rng.integers(0, TICKS // 2, (2, source.channels, source.lanes))
            fines[k : k + 2, :, -1] += TICKS // 2 * (source.lanes - 1)
        largest = RANGE // 4 - 1
        sizes = (1, 100, (1 << 13) - 64, (1 << 13) - 1, 1 << 13, 1 << 14, largest, largest)
        jumps = {int(k) + 40 + 32 * j: int(rng.choice(sizes)) for k in at for j in range(3)}
        walk = tuple(int(entry) for entry in rng.integers(-2048, 2048, 64))
        configs = [
            Config(dead_time=(1 << 26) - 1, walk=walk, walk_shift=20),
            Config(dead_time=9000, walk=walk, walk_shift=20),
            *[Config(delay=-5, walk=walk, walk_shift=20)] * (source.channels - 2),
        ]
        for start in (RANGE - 500, (1 << CLOCK_BITS) - 500):
            ready = np.ones(clocks + 60, dtype=bool)
            result = await source.run(configs, fines, np.full(clocks, -1), start, ready, jumps)
            assert result.strobes["dead"].sum() > 0
