"""Input channels and merge tree of the time tagger against an oracle that goes edge by edge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cocotb
import numpy as np

from rigs import SOURCE_CHANNELS, SOURCE_DEPTHS, tag_source
from source_oracle import TICKS, Config, channel, merged, ordered
from streams import start_clock
from twinphase_hdl.types import Tag
from twinphase_spec.units import CLOCK_BITS
from vectors import generator, play, reset, transfers, unpack

COUNTS = ("seen", "generated", "overrun", "dead", "vetoed", "divided")
ENDS = (*COUNTS[2:], "dropped")
DELAY_MAX = (1 << 21) - 1
ORDER = 1 << 36
LEAD = 32
"""Bounds of channels that were not enabled are gone after these clocks."""


@dataclass
class Result:
    """Tags as (clock of the transfer, time, channel), strobes (clocks, channels) by name, what was predicted."""

    tags: list[tuple[int, int, int]]
    strobes: dict[str, np.ndarray]
    dropped: int
    expected: list[tuple[int, int]]


class Source:
    """One tag source of the shelf."""

    def __init__(self, dut: Any, name: str) -> None:
        self.dut, self.name = dut, name
        self.channels, self.lanes = SOURCE_CHANNELS[name]

    def _port(self, name: str) -> str:
        return f"{self.name}__{name}"

    async def configure(self, configs: list[Config]) -> None:
        """Reset, configuration, walk tables."""

        def packed(name: str, width: int) -> int:
            return sum((getattr(config, name) & (1 << width) - 1) << width * c for c, config in enumerate(configs))

        await reset(self.dut, self._port("i__valid"), self._port("i_pulse"), self._port("i_enable"))
        drive: dict[str, Any] = {
            "i_delay": packed("delay", 22),
            "i_dead_time": packed("dead_time", 26),
            "i_veto_from": packed("veto_from", 26),
            "i_veto_to": packed("veto_to", 26),
            "i_divider": packed("divider", 16),
            "i_pulser": packed("pulser", 1),
            "i_walk_shift": configs[0].walk_shift,
            "i_divider_restart": [(1 << self.channels) - 1] + [0] * (64 * self.channels),
            "i_walk_write": [1 << c for c in range(self.channels) for _ in range(64)] + [0],
            "i_walk_address": list(range(64)) * self.channels + [0],
            "i_walk_data": [entry & 0xFFF for config in configs for entry in config.walk] + [0],
        }
        await play(self.dut, {self._port(name): values for name, values in drive.items()})

    async def run(
        self,
        configs: list[Config],
        fines: np.ndarray,
        pulses: np.ndarray,
        start: int,
        ready: np.ndarray,
        jumps: dict[int, int] | None = None,
    ) -> Result:
        """``fines``: (clocks, channels, lanes) of ticks, -1 none; ``pulses``: (clocks,); ``ready`` may be longer, for what is left.

        All of it begins LEAD clocks after the channels are enabled, in clock ``start + LEAD``. ``jumps``: by clock, how many the
        count leaves out.
        """
        await self.configure(configs)
        fines = np.concatenate([np.full((LEAD, *fines.shape[1:]), -1), fines])
        pulses = np.concatenate([np.full(LEAD, -1), pulses])
        ready = np.concatenate([np.ones(LEAD, dtype=bool), ready])
        clocks, total = len(fines), len(ready)
        flat = np.full((total, self.channels * self.lanes), -1, dtype=object)
        flat[:clocks] = fines.reshape(clocks, -1)
        pulse = np.full(total, -1)
        pulse[:clocks] = pulses
        counts = [start]
        for k in range(1, total):
            counts.append(counts[-1] + 1 + (jumps or {}).get(k - LEAD, 0))
        drive = {
            "i_enable": sum(config.enable << c for c, config in enumerate(configs)),
            "i_clock": [count % (1 << CLOCK_BITS) for count in counts],
            "i__valid": [sum((fine >= 0) << j for j, fine in enumerate(row)) for row in flat],
            "i__fine": [sum(max(fine, 0) << 13 * j for j, fine in enumerate(row)) for row in flat],
            "i_pulse": (pulse >= 0).astype(int),
            "i_pulse_fine": np.maximum(pulse, 0),
            "o__ready": ready.astype(int),
        }
        names = [f"o_{name}" for name in (*COUNTS, "dropped", "queued")]
        seen, caught = await play(
            self.dut,
            {self._port(name): values for name, values in drive.items()},
            [self._port(name) for name in (*names, "o_idle", "o_bound")],
            {self._port("o__payload"): self._port("o__valid")},
        )
        tags = transfers(caught[self._port("o__payload")], ready)
        fields = unpack(Tag, [word for _, word in tags])
        strobes = {}
        for name in (*COUNTS, "dropped", "queued"):
            width = 2 if name == "seen" and self.lanes == 2 else 1
            words = seen[self._port(f"o_{name}")]
            strobes[name] = np.array([[w >> width * c & (1 << width) - 1 for c in range(self.channels)] for w in words])
        self._identity(strobes, tags, fields["channel"], seen[self._port("o_idle")])

        kept, dropped = [], 0
        for c, config in enumerate(configs):
            outcome = channel(
                config,
                [[None if fine < 0 else int(fine) for fine in row[c]] for row in fines],
                [None if fine < 0 else int(fine) for fine in pulses],
                counts,
            )
            for name in COUNTS:
                assert strobes[name][:, c].sum() == outcome.counts[name], f"channel {c}: {name}"
            ended = strobes["queued"][:, c] + strobes["dropped"][:, c]
            kept.append(ordered(outcome.reached, strobes["queued"][ended > 0, c].astype(bool)))
            dropped += int(strobes["dropped"][:, c].sum())
        expected = merged(kept)
        times = [(int(time), int(c)) for time, c in zip(fields["time"], fields["channel"], strict=True)]
        assert times == [(time % (1 << 64), c) for time, c in expected], "tags or their order"
        self._bounds(seen[self._port("o_bound")], [k for k, _ in tags], [time for time, _ in expected], counts)
        return Result(
            [(k, time, c) for (k, _), (time, c) in zip(tags, expected, strict=True)], strobes, dropped, expected
        )

    def _identity(self, strobes: dict[str, np.ndarray], tags: list[tuple[int, int]], of: np.ndarray, idle: list[int]):
        """At every clock nothing ends that has not begun; idle means nothing inside; in the end nothing is inside."""
        left = np.zeros_like(strobes["seen"])
        for (k, _), c in zip(tags, of, strict=True):
            left[k, int(c)] += 1
        ends = sum(strobes[name] for name in ENDS) + left
        inside = np.cumsum(strobes["seen"] + strobes["generated"], axis=0) - np.cumsum(ends, axis=0)
        assert (inside >= 0).all()
        rests = np.array(idle, dtype=bool)
        assert not inside[rests].any(), "idle with edges inside"
        assert rests[-1], "something stayed inside"

    def _bounds(self, shown: list[int], clocks: list[int], times: list[int], counts: list[int]) -> None:
        """No tag leaves below a bound that was shown in its clock or before it."""
        highest, k = None, 0
        for clock, time in zip(clocks, times, strict=True):
            while k <= clock:
                now = counts[k] * TICKS
                bound = now + ((shown[k] - now + ORDER // 2) % ORDER - ORDER // 2)
                if k >= LEAD and (highest is None or bound > highest):
                    highest = bound
                k += 1
            assert highest is None or time >= highest, f"clock {clock}: a tag below the bound"


def hostile(rng: np.random.Generator, clocks: int, channels: int, lanes: int) -> np.ndarray:
    """Fine times: channels that are silent, sparse, dense or full; bursts on all at once, of equal times."""
    span = TICKS // lanes
    base = np.arange(lanes) * span
    density = rng.choice([0.0, 0.01, 0.3, 0.9, 1.0], channels, p=[0.2, 0.4, 0.2, 0.1, 0.1])
    fines = base + rng.integers(0, span, (clocks, channels, lanes))
    if rng.random() < 0.5:
        edges = rng.random(fines.shape) < 0.3
        fines[edges] = (base + rng.choice([0, span - 1], fines.shape))[edges]
    present = rng.random((clocks, channels, lanes)) < density[:, None]
    for _ in range(4):
        at, length = int(rng.integers(clocks)), int(rng.integers(1, 40))
        present[at : at + length] = True
        fines[at : at + length] = fines[at : at + length, :1]
    quiet = int(rng.integers(clocks))
    present[quiet : quiet + 200] &= rng.random() < 0.5
    return np.where(present, fines, -1)


def any_config(rng: np.random.Generator, lanes: int, kind: int) -> Config:
    """Dead times and vetoes around the distances of successive edges, extreme delays, dividers, random walk."""
    near = [0, 1, 4095, 4096, 8191, 8192, 8193, 16383, 16384, 40_000, 1 << 18, (1 << 26) - 1]
    veto_from = int(rng.choice(near))
    walk = {0: [0] * 64, 1: rng.choice([-2048, 2047], 64), 2: rng.integers(-2048, 2048, 64)}[int(rng.integers(3))]
    return Config(
        enable=rng.random() < 0.85,
        pulser=rng.random() < 0.15,
        delay=0
        if kind == 0
        else int(rng.choice([0, DELAY_MAX, -DELAY_MAX - 1, int(rng.integers(-DELAY_MAX, DELAY_MAX))])),
        dead_time=int(rng.choice([0, 0, *near])),
        veto_from=veto_from,
        veto_to=min(veto_from + int(rng.choice([0, 1, 5000, 100_000])), (1 << 26) - 1),
        divider=int(rng.choice([0, 1, 2, 3, 7, 65_535])) if rng.random() < 0.4 else 0,
        walk=tuple(int(entry) for entry in walk),
    )


def any_ready(rng: np.random.Generator, clocks: int) -> np.ndarray:
    chances = np.repeat(rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], -(-clocks // 64)), 64)[:clocks]
    return rng.random(clocks) < chances


STARTS = (0, 5, (1 << 23) - 300, (1 << 22) - 300, (1 << CLOCK_BITS) - 300, (7 << 23) + (1 << 22) - 1, 1 << 45)


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
async def latency_is_constant(dut: Any) -> None:
    """Lone edges of any channel leave after `TagSource.latency`, whatever the others' silence."""
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
        assert waits == {rig_latency(name)}, f"{name}: {waits}"
        assert max(waits) <= {3: 18, 4: 18, 16: 22}[channels], (
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
    for name in ("source", "lanes"):
        source = Source(dut, name)
        clocks, gap = 2000, 150
        fines = np.full((clocks, source.channels, source.lanes), -1)
        at = np.arange(0, clocks - gap, gap)
        for k in at:
            fines[k : k + 2] = rng.integers(0, TICKS // 2, (2, source.channels, source.lanes))
            fines[k : k + 2, :, -1] += TICKS // 2 * (source.lanes - 1)
        largest = (1 << 21) - 1
        sizes = (1, 100, (1 << 13) - 64, (1 << 13) - 1, 1 << 13, 1 << 14, largest, largest)
        jumps = {int(k) + 40 + 32 * j: int(rng.choice(sizes)) for k in at for j in range(3)}
        walk = tuple(int(entry) for entry in rng.integers(-2048, 2048, 64))
        configs = [
            Config(dead_time=(1 << 26) - 1, walk=walk, walk_shift=20),
            Config(dead_time=9000, walk=walk, walk_shift=20),
            *[Config(delay=-5, walk=walk, walk_shift=20)] * (source.channels - 2),
        ]
        for start in ((1 << 23) - 500, (1 << CLOCK_BITS) - 500):
            ready = np.ones(clocks + 60, dtype=bool)
            result = await source.run(configs, fines, np.full(clocks, -1), start, ready, jumps)
            assert result.strobes["dead"].sum() > 0
