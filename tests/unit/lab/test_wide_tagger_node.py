"""The time tagger node with a wide merge, Verilated, against the model of all builds. A Verilator build of its own: the long suite."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_tagger_node import CHANNELS, LANES, STREAMS, compare, edges_of, run, tagger_settings, tags_of

from twinphase_hdl.nodes.timetagger import TimeTaggerNode
from twinphase_sim.native import NativeNode, NodeOutput, NodeRegisters, write_requests
from twinphase_spec.packets import Stream
from twinphase_spec.tagger import PAIR_DEPTH, QUEUE_DEPTH, TaggerOptions

LONG = pytest.mark.long
OPTIONS = asdict(TaggerOptions(lanes=LANES, merge="wide"))
SELECTED = {
    "STREAM_ENABLE": STREAMS,
    "FILTER_WINDOW": 4000,
    "COINCIDENCE_MASK_0": 3,
    "COINCIDENCE_WINDOW_0": 9000,
    "COINCIDENCE_MASK_1": 0xF0,
    "COINCIDENCE_WINDOW_1": 1 << 20,
    **{f"DELAY_{c}": 1000 * c for c in range(CHANNELS)},
    "CHANNEL_ENABLE": 255,
}
FILTERED = {"FILTER_MASK": [0, 0, 1, 0, 0, 0, 0, 0]}


def bursts(rng: np.random.Generator, lengths: list[int]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Edges in every clock of all channels at once, at one tick or at any, a burst every 40,000 clocks; now and then in both lanes."""
    times, channels = [], []
    for number, length in enumerate(lengths):
        fine = np.full((length, CHANNELS), 77) if number % 2 else rng.integers(0, 4096, (length, CHANNELS))
        clocks = 40_000 * number + np.arange(length)
        times.append((clocks[:, np.newaxis] * 8192 + fine).ravel())
        channels.append(np.tile(np.arange(CHANNELS, dtype=np.uint8), length))
        second = clocks[:: max(1, length // 8)]
        times.append(np.repeat(second * 8192 + 5000, 2))
        channels.append(np.tile(np.array([0, 7], np.uint8), second.size))
    joined, numbers = np.concatenate(times), np.concatenate(channels)
    order = np.lexsort((numbers, joined))
    return joined[order], numbers[order]


@LONG
@settings(max_examples=12, deadline=None)
@given(configuration=tagger_settings(), seed=st.integers(0, 1 << 30), spacing=st.sampled_from([0.6, 4.0, 40.0, 3000.0]))
def test_any_settings_on_any_edges(
    configuration: tuple[dict[str, int], dict[str, list[int]]], seed: int, spacing: float
) -> None:
    registers, memories = configuration
    edges, channels = edges_of(np.random.default_rng(seed), 1500, spacing)
    compare(run(registers, memories, edges, channels, options=OPTIONS), registers, memories, channels)


@LONG
@pytest.mark.parametrize("registers", [{"STREAM_ENABLE": STREAMS, "CHANNEL_ENABLE": 255}, SELECTED])
def test_bursts_on_all_channels_at_once(registers: dict[str, int]) -> None:
    """Up to 1400 edges of all channels, an edge per clock each: the pair queue is full, the channels' queues are not; nothing drops."""
    edges, channels = bursts(np.random.default_rng(8), [1, 2, 64, 600, 1400])
    result = run(registers, {}, edges, channels, options=OPTIONS)
    assert sum(result.counters[f"dropped_{c}"] for c in range(CHANNELS)) == 0
    compare(result, registers, {}, channels)


@LONG
@pytest.mark.parametrize("duty", [None, 0.3])
def test_skipping_changes_nothing(duty: float | None) -> None:
    rng = np.random.default_rng(3)
    some, of_some = edges_of(rng, 2000, 300.0)
    more, of_more = bursts(rng, [5, 300])
    edges = np.concatenate((some, more + (int(some[-1]) // 8192 + 9000) * 8192))
    channels = np.concatenate((of_some, of_more))
    ready = None if duty is None else (rng.random(997) < duty).astype(int).tolist()
    fast, slow = (
        run(SELECTED, FILTERED, edges, channels, skip=skip, tx_ready=ready, options=OPTIONS) for skip in (True, False)
    )
    np.testing.assert_array_equal(fast.times, slow.times)
    np.testing.assert_array_equal(fast.channels, slow.channels)
    assert fast.counters == slow.counters
    assert fast.cycles < 0.7 * slow.cycles
    if duty is None:
        compare(fast, SELECTED, FILTERED, channels)


def flood(until: int) -> tuple[NodeOutput, dict[str, int]]:
    """Edges of all channels in every clock for three times as long as a channel's queue holds, up to ``until`` clocks from the first
    on: output and counters. Asserts that every edge seen is accounted for."""
    node = NativeNode("timetagger", progress=False, **OPTIONS)
    packets = write_requests(node.map, SELECTED, FILTERED)
    node.run(node.clock + 64 * (len(packets) + 8), rx=[(node.clock, packet) for packet in packets])
    start = node.clock + 100
    clocks = np.repeat(np.arange(start, start + min(until, 3 * QUEUE_DEPTH)), CHANNELS)
    output = node.run(
        start + until, clocks << 13, np.tile(np.arange(CHANNELS, dtype=np.uint8), clocks.size // CHANNELS)
    )
    counters = NodeRegisters(node).counters()
    ways = ("overrun", "dead", "vetoed", "divided", "dropped", "gated", "filtered", "tags", "in_flight")
    for c in range(CHANNELS):
        assert counters[f"seen_{c}"] == sum(counters[f"{way}_{c}"] for way in ways), f"channel {c}"
    return output, counters


@LONG
def test_books_balance_while_all_queues_are_full() -> None:
    """Tags in flight at once: all that the channels' queues hold, and in the pair queue behind the merge more than without it."""
    _, counters = flood(3 * QUEUE_DEPTH)
    inside = sum(counters[f"in_flight_{c}"] for c in range(CHANNELS))
    assert sum(counters[f"dropped_{c}"] for c in range(CHANNELS)) > 1000
    assert CHANNELS * QUEUE_DEPTH + PAIR_DEPTH < inside <= CHANNELS * (QUEUE_DEPTH + 64) + 2 * PAIR_DEPTH


@LONG
def test_what_is_lost_is_accounted_for() -> None:
    """When all has left: only the channels' queues have dropped, and what the packer lost is in the packets' headers."""
    output, counters = flood(1 << 19)

    def total(*ways: str) -> int:
        return sum(counters[f"{way}_{c}"] for way in ways for c in range(CHANNELS))

    assert total("dropped") > 1000
    assert total("in_flight", "overrun", "dead", "vetoed", "divided", "gated") == 0
    assert total("filtered", "tags") == total("seen") - total("dropped")
    packets_of = [packet for _, packet in output.packets if packet[0] == Stream.TAG]
    lost = int(np.frombuffer(packets_of[-1][20:28], "<u8")[0])
    times, _ = tags_of(output)
    assert len(times) + lost == total("tags") + sum(counters[f"virtual_{v}"] for v in range(4))
    assert (np.diff(times.astype(np.int64)) >= 0).all()


def test_more_tags_than_may_wait_are_refused() -> None:
    """8 x 2690 tags may wait, but not with a queue of pairs behind the merge."""
    TimeTaggerNode(channels=8, merge="wide")
    TimeTaggerNode(channels=8, depth=2690)
    with pytest.raises(
        ValueError, match="queues of 22544 tags, 2690 per channel; allowed: less than 21845 tags in all"
    ):
        TimeTaggerNode(channels=8, depth=2690, merge="wide")
