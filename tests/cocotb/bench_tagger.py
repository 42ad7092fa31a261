"""Front ends, channel, merge and tagger against the model."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rigs import SMALL_DEPTH
from streams import start_clock
from twinphase_hdl.timetag.channel import Channel
from twinphase_hdl.timetag.frontend import DdrFrontEnd
from twinphase_hdl.timetag.tagger import Tagger
from twinphase_hdl.types import Tag
from twinphase_sim.model.timetag.channel import accept_edges, tag_edges
from twinphase_sim.model.timetag.merge import merge_tags
from twinphase_spec.units import CLOCK_BITS
from vectors import generator, lanes, play, reset, unlanes, unpack

TICKS = 8192
CLOCKS_WRAP = 1 << CLOCK_BITS
DELAY_MAX = (1 << 21) - 1
COUNTERS = ("seen", "dead", "dropped", "tags", "in_flight")


def hostile_edges(rng: np.random.Generator, clocks: int, dead: int, delay: int, comb: int) -> np.ndarray:
    """Rising times below ``clocks`` clocks, at most one per clock: dead time edges, bursts, gaps, and times that lie, when
    delayed, on a comb that all channels share."""
    times: list[int] = []
    time, last = -1, None
    density = rng.choice([3, 50])
    while True:
        kind = rng.random()
        if last is not None and kind < 0.35:
            candidate = last + dead + int(rng.integers(-1, 2))
        elif kind < 0.6:
            candidate = (time // TICKS + 1) * TICKS + int(rng.choice([0, TICKS - 1, int(rng.integers(TICKS))]))
        elif kind < 0.9:
            candidate = -(-(time + 1 + delay) // comb) * comb - delay
        else:
            candidate = time + int(rng.integers(1, density * TICKS))
        if candidate // TICKS <= time // TICKS:
            candidate = (time // TICKS + 1) * TICKS + candidate % TICKS
        if candidate >= clocks * TICKS:
            return np.array(times, dtype=np.int64)
        times.append(candidate)
        if last is None or candidate - last >= dead:
            last = candidate
        time = candidate


def edge_vectors(edges: list[np.ndarray], clocks: int) -> tuple[list[int], list[int]]:
    """``valid`` and packed ``fine`` per clock."""
    valid, fine = np.zeros((len(edges), clocks), dtype=int), np.zeros((len(edges), clocks), dtype=int)
    for channel, times in enumerate(edges):
        valid[channel, times // TICKS] = 1
        fine[channel, times // TICKS] = times % TICKS
    return lanes(valid.tolist(), 1), lanes(fine.tolist(), 13)


@cocotb.test()
async def ddr_front_end(dut: Any) -> None:
    """First rise among two samples per clock; a pin that is high at reset gives none."""
    rng = generator()
    await start_clock(dut)
    dut.ddr__i_samples.value = 0b11
    await reset(dut)
    latency, clocks = DdrFrontEnd.latency, 1500
    samples = rng.integers(0, 4, (clocks, 4)) & (rng.random((clocks, 4)) < 0.7) * 3
    samples[:3, 0] = 3
    seen, _ = await play(dut, {"ddr__i_samples": lanes(samples.T.tolist(), 2)}, ["ddr__o__valid", "ddr__o__fine"])
    valid = unlanes(seen["ddr__o__valid"], 1, 4)
    fine = unlanes(seen["ddr__o__fine"], 13, 4)
    for channel in range(4):
        halves = np.stack([samples[:, channel] & 1, samples[:, channel] >> 1], axis=1).ravel()
        before = np.concatenate([[1 if channel == 0 else halves[0]], halves[:-1]])
        rises = ((halves == 1) & (before == 0)).reshape(-1, 2)
        expected = rises.any(axis=1)
        skip = 2  # the other pins were low before the first clock
        np.testing.assert_array_equal(valid[latency + skip :, channel], expected[skip:-latency])
        at = np.flatnonzero(expected[skip:-latency]) + skip
        np.testing.assert_array_equal(fine[at + latency, channel], np.where(rises[at, 0], 2048, 6144))
    assert not valid[latency : latency + 3, 0].any(), "a pin that was high at reset gave an edge"


@cocotb.test()
async def channel(dut: Any) -> None:
    """Strobes three clocks after the edge; drops exactly when the queue is full; dead time edges; clock wrap."""
    rng = generator()
    await start_clock(dut)
    for case in range(8):
        await reset(dut, "channel__i_valid", "channel__i_permit")
        clocks = 600
        dead = int([0, 1, 8192, 40_000, TICKS * 30, TICKS * 200 + 77, (1 << 32) - 1, 3][case])
        delay = int(rng.choice([0, DELAY_MAX, -DELAY_MAX - 1, int(rng.integers(-DELAY_MAX, DELAY_MAX))]))
        start = int(rng.choice([0, CLOCKS_WRAP - 300, 1 << 45]))
        edges = hostile_edges(rng, clocks, dead, delay, 5 * TICKS + 17)
        valid, fine = edge_vectors([edges], clocks)
        enable = np.ones(clocks, dtype=int)
        enable[400:430] = 0
        drive: dict[str, Any] = {
            "i_clock": [(start + k) % CLOCKS_WRAP for k in range(clocks)],
            "i_valid": valid,
            "i_fine": fine,
            "i_enable": enable,
            "i_dead_time": dead,
            "i_delay": delay & (1 << 22) - 1,
            "i_permit": (rng.random(clocks) < np.repeat(rng.choice([0, 0.1, 0.5, 1], 12), 50)).astype(int),
        }
        drive = {f"channel__{name}": values for name, values in drive.items()}
        # A dead time acts two clocks after it changes.
        await play(dut, {"channel__i_dead_time": dead, "channel__i_valid": 0}, clocks=3)
        names = [f"channel__o_{name}" for name in ("seen", "dead", "dropped", "queued", "taken", "idle")]
        seen, caught = await play(dut, drive, names, {"channel__o_time": "channel__o_taken"})
        own = edges[enable[edges // TICKS] == 1]
        absolute = (own.astype(object) + start * TICKS) % (1 << 64)
        accepted = accept_edges(absolute.astype(np.uint64), dead)
        level, taken, expected_times = 0, 0, []
        flags = dict(zip((own // TICKS).tolist(), zip(accepted, absolute, strict=True), strict=True))
        for k in range(clocks - 1):
            edge = k - 2  # what becomes of an edge is known, and meets the queue, two clocks after its own
            is_accepted, time = flags.get(edge, (False, 0))
            full = level == SMALL_DEPTH
            assert not (seen["channel__o_idle"][k] and level), f"idle with {level} tags, clock {k}"
            expected = [
                edge in flags,
                edge in flags and not is_accepted,
                is_accepted and full,
                is_accepted and not full,
            ]
            assert [seen[name][k + 1] for name in names[:4]] == expected, f"case {case}, clock {k}, dead time {dead}"
            if is_accepted and not full:
                expected_times.append((int(time) + delay) % (1 << 64))
            level += int(is_accepted and not full) - seen["channel__o_taken"][k]
            taken += seen["channel__o_taken"][k]
        assert [time for _, time in caught["channel__o_time"]][:taken] == expected_times[:taken]
        assert taken + level == len(expected_times)


@cocotb.test()
async def merge(dut: Any) -> None:
    """Order, ties, the horizon, and one tag per clock from full queues; across the wrap of time."""
    rng = generator()
    await start_clock(dut)
    for spread in (4, 4000, 1 << 20):
        await reset(dut, "merge__i_push")
        clocks, count = 600, 45
        base = (1 << 64) - spread * 20
        queues = [np.cumsum(rng.integers(0, spread, count)) * rng.choice([1, 1, 3]) for _ in range(3)]
        pushes = np.zeros((3, clocks), dtype=int)
        times = np.zeros((3, clocks), dtype=object)
        # Everything is pushed before the horizon passes it.
        for i, queue in enumerate(queues):
            at = np.sort(rng.choice(120, count, replace=False))
            pushes[i, at], times[i, at] = 1, (queue.astype(object) + base) % (1 << 64)
        last = int(max(queue[-1] for queue in queues)) + 1
        sweep = np.concatenate([np.full(130, -1), np.linspace(0, last, 250).astype(int), np.full(220, last)])
        drive = {
            "merge__i_push": lanes(pushes.tolist(), 1),
            "merge__i_time": lanes(times.tolist(), 64),
            "merge__i_horizon": [(base + int(value)) % (1 << 64) for value in sweep],
        }
        seen, caught = await play(dut, drive, ["merge__o_refused"], {"merge__o__payload": "merge__o__valid"})
        assert not any(seen["merge__o_refused"])
        got = unpack(Tag, [word for _, word in caught["merge__o__payload"]])
        expected_times, expected_channels = merge_tags(
            [np.array([(int(t) + base) % (1 << 64) for t in queue], dtype=np.uint64) for queue in queues]
        )
        np.testing.assert_array_equal(got["time"], expected_times)
        np.testing.assert_array_equal(got["channel"], expected_channels)
        for k, word in caught["merge__o__payload"]:
            time = (unpack(Tag, [word])["time"][0] - np.uint64(base % (1 << 64))).astype(np.int64)
            assert time < sweep[k - 1], "a tag left at or above the horizon"


@cocotb.test()
async def tagger(dut: Any) -> None:
    """Four channels with small queues: overflow, dead time, delays of both signs, ties, wraps; every clock's loss identity."""
    rng = generator()
    await start_clock(dut)
    watch = [f"small__o_{name}" for name in (*COUNTERS, "idle")]
    for case in range(7):
        await reset(dut, "small__i__valid")
        clocks, quiet = 700, 900
        total = clocks + quiet
        start = int([CLOCKS_WRAP - 350, 0, 1 << 48, CLOCKS_WRAP - 1, 77, 1 << 50, 3][case])
        span = int([DELAY_MAX, 0, 100_000, DELAY_MAX, 20_000, DELAY_MAX, 5][case])
        delays = [int(d) for d in rng.integers(-span, span + 1, 4)]
        if case == 0:
            delays = [DELAY_MAX, -DELAY_MAX - 1, 0, -1]
        deads = [int(rng.choice([0, 8192, 20_000, 9 * TICKS + 5, TICKS * 100])) for _ in range(4)]
        comb = 3 * TICKS + 1001
        edges = [hostile_edges(rng, clocks, deads[i], delays[i], comb) for i in range(4)]
        if case == 5:  # all channels in every clock, at equal times after the delay where that is possible
            fine = rng.integers(0, TICKS, clocks)
            edges = [np.arange(clocks) * TICKS + fine for _ in range(4)]
            delays, deads = [1234] * 4, [0] * 4
        if case == 6:  # nothing lost: few edges
            edges = [np.sort(rng.choice(clocks // 12, 30, replace=False)) * 12 * TICKS + i for i in range(4)]
            deads = [1] * 4
        enable = 15 if case != 2 else 11
        valid, fine = edge_vectors(edges, clocks)
        drive: dict[str, Any] = {
            "small__i_enable": enable,
            "small__i_delay": lanes([[delay] for delay in delays], 22)[0],
            "small__i_dead_time": lanes([[dead] for dead in deads], 32)[0],
        }
        early = {"small__i_clock": [(start + k) % CLOCKS_WRAP for k in range(-10, 0)], "small__i__valid": 0}
        await play(dut, {**drive, **early})
        drive |= {
            "small__i_clock": [(start + k) % CLOCKS_WRAP for k in range(total)],
            "small__i__valid": [*valid, *[0] * quiet],
            "small__i__fine": [*fine, *[0] * quiet],
        }
        seen, caught = await play(dut, drive, watch, {"small__o__payload": "small__o__valid"})
        counts = {name: unlanes(seen[f"small__o_{name}"], 64, 4).astype(np.int64) for name in COUNTERS}
        lost = counts["dead"] + counts["dropped"]
        np.testing.assert_array_equal(counts["seen"], lost + counts["tags"] + counts["in_flight"])
        if case in (0, 3, 5):
            assert counts["dropped"][-1].sum() > 0, "the stimulus did not overflow a queue"
        elif case == 6:
            assert counts["dropped"][-1].sum() == 0
        tags = []
        for i in range(4):
            own = edges[i] if enable >> i & 1 else edges[i][:0]
            absolute = ((own.astype(object) + start * TICKS) % (1 << 64)).astype(np.uint64)
            # Strobes follow edges by a clock less than the channel's latency, counters strobes by one.
            step = {name: np.diff(counts[name][:, i], prepend=0) for name in COUNTERS}
            at = own // TICKS + Channel.latency
            accepted = accept_edges(absolute, deads[i])
            np.testing.assert_array_equal(np.flatnonzero(step["seen"]), at, f"channel {i}: seen")
            np.testing.assert_array_equal(np.flatnonzero(step["dead"]), at[~accepted], f"channel {i}: dead")
            room = step["dropped"][at[accepted]] == 0
            assert step["dropped"].sum() == np.count_nonzero(~room)
            # Drops only from full queues: SMALL_DEPTH in the queue, more than that in flight never.
            assert counts["in_flight"][:, i].max(initial=0) <= SMALL_DEPTH + 1
            assert (counts["in_flight"][at[accepted][~room] - 1, i] >= SMALL_DEPTH - 1).all(), "dropped with room"
            tags.append(tag_edges(absolute, deads[i], delays[i], room=room).times_ticks)
        times, channels = merge_tags(tags)
        words = [word for _, word in caught["small__o__payload"]]
        got = unpack(Tag, words)
        np.testing.assert_array_equal(got["time"], times, f"case {case}: times")
        np.testing.assert_array_equal(got["channel"], channels, f"case {case}: channels")
        # Each tag leaves the counters' in_flight when it is out; the horizon holds it until nothing can precede it.
        low = min(delay for i, delay in enumerate(delays) if enable >> i & 1)
        for k, word in caught["small__o__payload"]:
            time = int(unpack(Tag, [word])["time"][0])
            horizon = (start + k - 2) * TICKS + low
            assert (time - horizon) % (1 << 64) >= 1 << 63, f"clock {k}: a tag at or above the horizon"
        idle = np.array(seen["small__o_idle"], dtype=bool)
        assert idle[-1]
        assert not counts["in_flight"][idle].any()
        if case == 6 and span <= 5:
            at_edges = np.sort(np.concatenate([e // TICKS for e in edges]))
            leave = np.array([k for k, _ in caught["small__o__payload"]])
            assert leave.size == at_edges.size
            ties = 3
            assert (leave - at_edges <= Tagger.latency + ties).all(), (
                "a tag without contention waited for more than ties"
            )


@cocotb.test()
async def pins_to_tags(dut: Any) -> None:
    """The front end's latency is taken off: a rise in clock c has time ``c * 8192`` + the centre of its half clock."""
    rng = generator()
    await start_clock(dut)
    await reset(dut)
    clocks, quiet = 800, 300
    start = CLOCKS_WRAP - 100
    samples = rng.integers(0, 4, (clocks + quiet, 2)) * (rng.random((clocks + quiet, 2)) < 0.4)
    samples[:5] = samples[clocks:] = 0
    drive = {
        "pins__i_samples": lanes(samples.T.tolist(), 2),
        "pins__i_clock": [(start + k) % CLOCKS_WRAP for k in range(clocks + quiet)],
    }
    _, caught = await play(dut, drive, when={"pins__o__payload": "pins__o__valid"})
    edges = []
    for i in range(2):
        halves = np.stack([samples[:, i] & 1, samples[:, i] >> 1], axis=1).ravel()
        rises = ((halves == 1) & (np.concatenate([[0], halves[:-1]]) == 0)).reshape(-1, 2)
        at = np.flatnonzero(rises.any(axis=1))
        ticks = (start + at.astype(object)) * TICKS + np.where(rises[at, 0], 2048, 6144)
        edges.append((ticks % (1 << 64)).astype(np.uint64))
    times, channels = merge_tags(edges)
    got = unpack(Tag, [word for _, word in caught["pins__o__payload"]])
    np.testing.assert_array_equal(got["time"], times)
    np.testing.assert_array_equal(got["channel"], channels)
