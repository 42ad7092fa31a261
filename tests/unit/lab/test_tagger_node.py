"""The time tagger node, Verilated, against the model: settings and edges of any kind, skipped and with every clock simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from twinphase_sim.model.timetag.timetagger import run_timetagger
from twinphase_sim.native import NativeNode, NodeOutput, NodeRegisters, write_requests
from twinphase_spec.packets import T2_TIME_BITS, Stream
from twinphase_spec.registers import TIMETAGGER

CHANNELS, LANES = 8, 2
OPTIONS = {"frontend": "simulation", "lanes": LANES}
STREAMS = 1 << Stream.TAG | 1 << Stream.STATUS


def tags_of(output: NodeOutput) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """(times, channels) of all tags, straight from the definition of the words."""
    times, channels = [], []
    for _, packet in output.packets:
        if packet[0] != Stream.TAG:
            continue
        words = np.frombuffer(packet, "<u4").astype(np.int64)
        base = int(words[3]) | int(words[4]) << 32
        for word in words[8:].tolist():
            if word >> 31:
                base += (word & (1 << T2_TIME_BITS) - 1) << T2_TIME_BITS
            else:
                times.append(base + (word & (1 << T2_TIME_BITS) - 1))
                channels.append(word >> T2_TIME_BITS & 63)
    return np.array(times, np.uint64), np.array(channels, np.uint8)


@dataclass(frozen=True)
class Run:
    times: NDArray[np.uint64]
    channels: NDArray[np.uint8]
    counters: dict[str, int]
    clock: int
    edges: NDArray[np.int64]
    cycles: int


def run(
    registers: Mapping[str, int],
    memories: Mapping[str, Sequence[int]],
    edges: NDArray[np.int64],
    channels: NDArray[np.uint8],
    *,
    skip: bool = True,
    tx_ready: Sequence[int] | None = None,
    options: Mapping[str, Any] = OPTIONS,
) -> Run:
    """A fresh node, configured, given ``edges`` (ticks after its start), and drained."""
    node = NativeNode("timetagger", skip=skip, progress=False, **options)
    packets = write_requests(node.map, registers, memories)
    node.run(node.clock + 64 * (len(packets) + 8), rx=[(node.clock, packet) for packet in packets])
    start = node.clock + 100
    shifted = edges + (start << 13)
    last = int(shifted[-1] >> 13) if edges.size else start
    output = node.run(last + (1 << 18), shifted, channels, tx_ready=tx_ready)
    times, numbers = tags_of(output)
    counters = NodeRegisters(node).counters()
    return Run(times, numbers, counters, node.clock, shifted, node.cycles_simulated)


def compare(
    run: Run, registers: Mapping[str, int], memories: Mapping[str, Sequence[int]], channels: NDArray, lanes: int = LANES
) -> None:
    model = run_timetagger(registers, memories, run.edges, channels, run.clock, lanes=lanes)
    np.testing.assert_array_equal(run.times, model.times_ticks)
    np.testing.assert_array_equal(run.channels, model.channels)
    ignored = {"clock"}
    assert {k: v for k, v in run.counters.items() if k not in ignored} == {
        k: v for k, v in model.counters.items() if k not in ignored
    }


def edges_of(rng: np.random.Generator, count: int, mean_clocks: float) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """At most one edge per channel, clock and lane; now and then several channels at one tick, or a burst of one."""
    gaps = rng.exponential(mean_clocks * 8192, count).astype(np.int64)
    gaps[rng.random(count) < 0.2] = 0
    gaps[rng.random(count) < 0.1] = rng.integers(0, 8192)
    times = np.cumsum(gaps)
    channels = rng.integers(0, CHANNELS, count).astype(np.uint8)
    _, first = np.unique((times >> 12) * CHANNELS + channels, return_index=True)
    times, channels = times[first], channels[first]
    order = np.lexsort((channels, times))
    return times[order], channels[order]


@st.composite
def tagger_settings(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Registers and memories, each setting left alone as often as not."""

    def some(strategy: st.SearchStrategy[int], otherwise: int = 0) -> int:
        return draw(st.one_of(st.just(otherwise), strategy))

    def numbers(bits: int) -> st.SearchStrategy[int]:
        return st.integers(0, bits).flatmap(lambda width: st.integers(0, (1 << width) - 1))

    registers = {"STREAM_ENABLE": STREAMS}
    for channel in range(CHANNELS):
        registers |= {
            f"DELAY_{channel}": some(st.integers(-(1 << 21), (1 << 21) - 1)) & 0xFFFFFFFF,
            f"DEAD_TIME_{channel}": some(numbers(22)),
            f"VETO_FROM_{channel}": some(numbers(20)),
            f"VETO_TO_{channel}": some(numbers(24)),
            f"DIVIDER_{channel}": some(st.integers(0, 5)),
        }
    registers |= {
        "FILTER_WINDOW": some(numbers(22)),
        "WINDOW_ENABLE": some(st.integers(0, 255)),
        "WINDOW_FROM": some(numbers(32)),
        "WALK_SHIFT": draw(st.integers(0, 20)),
        **{f"COINCIDENCE_MASK_{v}": some(st.integers(0, 255)) for v in range(4)},
        **{f"COINCIDENCE_WINDOW_{v}": draw(numbers(22)) for v in range(4)},
        "CHANNEL_ENABLE": draw(st.integers(0, 255)),
    }
    gated = st.integers(0, CHANNELS - 1).map(lambda channel: 0x80 | channel)
    memories = {
        "GATE_TABLE": [some(gated) for _ in range(CHANNELS)],
        "GATE_FROM": [draw(numbers(20)) for _ in range(CHANNELS)],
        "GATE_TO": [draw(numbers(27)) for _ in range(CHANNELS)],
        "FILTER_MASK": [some(st.integers(0, 255)) for _ in range(CHANNELS)],
        "WALK": [
            value & 0xFFF
            for value in np.random.default_rng(draw(st.integers(0, 99))).integers(-2048, 2048, CHANNELS * 64).tolist()
        ]
        if draw(st.booleans())
        else [0] * (CHANNELS * 64),
    }
    return registers, memories


@settings(max_examples=15, deadline=None)
@given(configuration=tagger_settings(), seed=st.integers(0, 1 << 30), spacing=st.sampled_from([4.0, 40.0, 3000.0]))
def test_any_settings_on_any_edges(
    configuration: tuple[dict[str, int], dict[str, list[int]]], seed: int, spacing: float
) -> None:
    registers, memories = configuration
    edges, channels = edges_of(np.random.default_rng(seed), 1500, spacing)
    compare(run(registers, memories, edges, channels), registers, memories, channels)


@pytest.mark.parametrize("duty", [None, 0.3])
def test_skipping_changes_nothing(duty: float | None) -> None:
    rng = np.random.default_rng(3)
    edges, channels = edges_of(rng, 2000, 300.0)
    registers = {
        "STREAM_ENABLE": STREAMS,
        "FILTER_WINDOW": 4000,
        "COINCIDENCE_MASK_0": 3,
        "COINCIDENCE_WINDOW_0": 9000,
        **{f"DELAY_{c}": 1000 * c for c in range(CHANNELS)},
        "CHANNEL_ENABLE": 255,
    }
    memories = {"FILTER_MASK": [0, 0, 1, 0, 0, 0, 0, 0]}
    ready = None if duty is None else (rng.random(997) < duty).astype(int).tolist()
    fast, slow = (run(registers, memories, edges, channels, skip=skip, tx_ready=ready) for skip in (True, False))
    np.testing.assert_array_equal(fast.times, slow.times)
    np.testing.assert_array_equal(fast.channels, slow.channels)
    assert fast.counters == slow.counters
    assert fast.cycles < 0.7 * slow.cycles


def test_pulser() -> None:
    """Edges of the test pulser, in place of the pin's, at its period and fine time."""
    period, fine = 1000, 1234
    registers = {
        "STREAM_ENABLE": STREAMS,
        "PULSER_PERIOD": period,
        "PULSER_FINE": fine,
        "CHANNEL_ENABLE": 6,
        "PULSER_MASK": 4,
    }
    edges, channels = edges_of(np.random.default_rng(5), 200, 300.0)
    result = run(registers, {}, edges, channels)
    pulsed = result.times[result.channels == 2]
    assert pulsed.size > 100
    assert (np.diff(pulsed) == period * 8192).all()
    assert (pulsed % 8192 == fine).all()
    assert result.counters["generated_2"] == result.counters["tags_2"] + result.counters["in_flight_2"]
    assert result.counters["seen_2"] == 0
    assert result.counters["seen_1"] == np.count_nonzero(channels == 1) == result.counters["tags_1"]


def test_books_balance_when_the_link_stops() -> None:
    """A link that takes nothing for a while: queues fill behind it, tags are lost in the packer, and every edge is accounted for."""
    edges, channels = edges_of(np.random.default_rng(9), 30_000, 1.0)
    registers = {"STREAM_ENABLE": STREAMS, "CHANNEL_ENABLE": 255}
    result = run(registers, {}, edges, channels, tx_ready=[0] * 4000 + [1] * 97)
    counters = result.counters
    for channel in range(CHANNELS):
        ways = ("overrun", "dead", "vetoed", "divided", "dropped", "gated", "filtered", "tags", "in_flight")
        assert counters[f"seen_{channel}"] == sum(counters[f"{way}_{channel}"] for way in ways)
        assert counters[f"seen_{channel}"] == np.count_nonzero(channels == channel)
    assert set(TIMETAGGER.counter_names) == set(counters)
