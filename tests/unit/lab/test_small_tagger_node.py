"""The small time tagger node (iCE40), Verilated, against the model of all builds. A Verilator build of its own: the long suite."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_tagger_node import STREAMS, compare, run, tags_of

from twinphase_sim.native import NativeNode, NodeRegisters, write_requests
from twinphase_spec.packets import Stream
from twinphase_spec.registers import TIMETAGGER
from twinphase_spec.tagger import TaggerOptions

pytestmark = pytest.mark.long
OPTIONS = asdict(TaggerOptions(channels=2, depth=1024, burst=512, small=True))
TURN_CLOCKS = 5


def spaced_edges(
    rng: np.random.Generator, count: int, mean_clocks: float
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Edges of two channels, those of a channel in clocks that are `TURN_CLOCKS` apart or more; often both at one tick."""
    times, channels = [], []
    shared = np.cumsum(TURN_CLOCKS + rng.exponential(mean_clocks, count).astype(np.int64))
    for channel in range(2):
        own = np.cumsum(TURN_CLOCKS + rng.exponential(mean_clocks, count).astype(np.int64))
        clocks = np.where(rng.random() < 0.5, own, shared)
        fine = rng.integers(0, 8192, count)
        fine[rng.random(count) < 0.3] = 77
        times.append(clocks * 8192 + fine)
        channels.append(np.full(count, channel, np.uint8))
    all_times, all_channels = np.concatenate(times), np.concatenate(channels)
    order = np.lexsort((all_channels, all_times))
    return all_times[order], all_channels[order]


def numbers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, bits).flatmap(lambda width: st.integers(0, (1 << width) - 1))


@st.composite
def small_settings(draw: st.DrawFn) -> dict[str, int]:
    registers = {"STREAM_ENABLE": STREAMS, "CHANNEL_ENABLE": draw(st.integers(1, 3))}
    for channel in range(2):
        registers |= {
            f"DELAY_{channel}": draw(st.integers(-(1 << 21), (1 << 21) - 1)) & 0xFFFFFFFF,
            f"DEAD_TIME_{channel}": draw(numbers(22)),
            f"VETO_FROM_{channel}": draw(numbers(20)),
            f"VETO_TO_{channel}": draw(numbers(24)),
            f"DIVIDER_{channel}": draw(st.integers(0, 5)),
        }
    return registers


@settings(max_examples=12, deadline=None)
@given(registers=small_settings(), seed=st.integers(0, 1 << 30), spacing=st.sampled_from([200.0, 20_000.0]))
def test_any_settings_on_any_edges(registers: dict[str, int], seed: int, spacing: float) -> None:
    edges, channels = spaced_edges(np.random.default_rng(seed), 200, spacing)
    compare(run(registers, {}, edges, channels, options=OPTIONS), registers, {}, channels, lanes=1)


def test_skipped_equals_unskipped() -> None:
    registers = {"STREAM_ENABLE": STREAMS, "CHANNEL_ENABLE": 3, "DEAD_TIME_1": (1 << 26) - 1, "DELAY_0": 900_000}
    edges, channels = spaced_edges(np.random.default_rng(4), 60, 9000.0)
    results = [run(registers, {}, edges, channels, skip=skip, options=OPTIONS) for skip in (True, False)]
    assert results[0].cycles < results[1].cycles
    for result in results:
        compare(result, registers, {}, channels, lanes=1)


def test_what_is_lost_is_accounted_for() -> None:
    """An edge in every clock of both channels for a while: overruns, a full packer, and nothing beside."""
    node = NativeNode("timetagger", progress=False, **OPTIONS)
    packets = write_requests(node.map, {"STREAM_ENABLE": STREAMS, "CHANNEL_ENABLE": 3}, {})
    node.run(node.clock + 1000, rx=[(node.clock, packet) for packet in packets])
    start = node.clock + 100
    clocks = np.repeat(np.arange(start, start + 9000), 2)
    edges = clocks.astype(np.int64) << 13
    output = node.run(start + (1 << 18), edges, np.tile(np.array([0, 1], np.uint8), 9000), tx_ready=[1] + [0] * 63)
    counters = NodeRegisters(node).counters()
    times, _ = tags_of(output)
    lost = sum(
        [int(np.frombuffer(packet[20:28], "<u8")[0]) for _, packet in output.packets if packet[0] == Stream.TAG][-1:]
    )
    for c in range(2):
        assert counters[f"seen_{c}"] == 9000
        removed = sum(counters[f"{kind}_{c}"] for kind in ("overrun", "dead", "vetoed", "divided", "dropped", "tags"))
        assert removed == 9000
        assert counters[f"overrun_{c}"] > 7000
        assert counters[f"in_flight_{c}"] == 0
    assert counters["tags_0"] + counters["tags_1"] == len(times) + lost
    assert lost > 500
    assert (np.diff(times.astype(np.int64)) >= 0).all()


def test_registers_say_what_the_build_is() -> None:
    node = NativeNode("timetagger", progress=False, **OPTIONS)
    registers = NodeRegisters(node)
    node_map = TIMETAGGER
    wrong = {"DELAY_0": 0x3FFFFF, "DIVIDER_1": 0xFFFF, "DELAY_5": 1, "WINDOW_ENABLE": 255, "COINCIDENCE_MASK_0": 3}
    packets = write_requests(node.map, wrong, {})
    node.run(node.clock + 4000, rx=[(node.clock, packet) for packet in packets])
    found = {name: registers.read(name) for name in ("CHANNELS", "LANES", "PARTS", "NODE_TYPE", "MAP_HASH", *wrong)}
    assert found == {
        "CHANNELS": 2,
        "LANES": 1,
        "PARTS": 0,
        "NODE_TYPE": 3,
        "MAP_HASH": node_map.hash,
        "DELAY_0": found["DELAY_0"],
        "DIVIDER_1": 0xFFFF,
        "DELAY_5": 0,
        "WINDOW_ENABLE": 0,
        "COINCIDENCE_MASK_0": 0,
    }
    assert found["DELAY_0"] & 0x3FFFFF == 0x3FFFFF
