"""A Verilated time tagger with eight delay lines per channel against the models, from hits to tags. A build of its own: long suite."""

from __future__ import annotations

import numpy as np
import pytest
from test_tagger_node import STREAMS, tags_of

from twinphase_sim.model.timetag.calibration import Calibration
from twinphase_sim.model.timetag.delayline import DelayLine
from twinphase_sim.model.timetag.taps import Hits
from twinphase_sim.model.timetag.timetagger import run_timetagger
from twinphase_sim.native import NativeNode, NodeRegisters, write_requests
from twinphase_spec.tagger import TaggerOptions

pytestmark = pytest.mark.long
CHANNELS, CHAINS, TAPS, STEP = 2, 8, 128, 12
CODE_BITS = 7
OPTIONS = TaggerOptions(channels=CHANNELS, frontend="delay line", chains=CHAINS, taps=TAPS)
SETTINGS = {"STREAM_ENABLE": STREAMS, "CAL_STEP": STEP, "CAL_SHARED": 1, "CHANNEL_ENABLE": 3, "DEAD_TIME_1": 30_000}


def set_up() -> NativeNode:
    """Settings written, what was collected before cleared."""
    node = NativeNode("timetagger", progress=False, **vars(OPTIONS))
    first_id = 1  # a write with the id of the one before it is a repetition, which a node does not execute
    for registers in ({"CAL_RESET": 3}, SETTINGS, {"CAL_RESET": 0}):
        packets = write_requests(node.map, registers, {}, first_id=first_id)
        first_id += len(packets)
        node.run(node.clock + 64 * (len(packets) + 8), rx=[(node.clock, packet) for packet in packets])
    node.run(node.clock + (1 << 16))
    return node


def test_tags_equal_the_models() -> None:
    """Codes of every chain at random, alike often, so that each makes its own table; both channels at one clock now and then."""
    rng = np.random.default_rng(11)
    node = set_up()
    start = node.clock + 100
    hits = 20_000
    clocks = start + np.cumsum(rng.integers(1, 25, (hits, CHANNELS)), axis=0)
    polarities = rng.integers(0, 2, (hits, CHANNELS))
    codes = rng.integers(0, 1 << CODE_BITS, (hits, CHANNELS, CHAINS))
    words = np.zeros((hits, CHANNELS, 2), np.uint64)
    for chain in range(CHAINS):
        place = np.uint64(1 + CODE_BITS * (chain % 4))
        words[:, :, chain // 4] |= codes[:, :, chain].astype(np.uint64) << place
    words[:, :, 0] |= polarities.astype(np.uint64)
    order = np.argsort(clocks.ravel(), kind="stable")
    numbers = np.tile(np.arange(CHANNELS, dtype=np.uint8), hits)[order]
    values = words.reshape(-1, 2)[order]
    output = node.run(int(clocks.max()) + (1 << 18), clocks.ravel()[order] << 13, numbers, hits=values)

    times, channels, uncalibrated = [], [], []
    for channel in range(CHANNELS):
        calibrations = [Calibration(taps=TAPS, lanes=1, step=STEP, shared=True) for _ in range(CHAINS)]
        found = Hits(
            clocks=clocks[:, channel],
            polarities=polarities[:, channel].astype(np.uint8),
            codes=codes[:, channel].astype(np.uint16),
            runt_clocks=np.zeros(0, np.int64),
        )
        edges = DelayLine(calibrations).edges(found)
        assert all(calibration.tables for calibration in calibrations)
        times.append(edges.times_ticks)
        channels.append(np.full(edges.times_ticks.size, channel, np.uint8))
        uncalibrated.append(edges.uncalibrated)
    joined, of_joined = np.concatenate(times), np.concatenate(channels)
    by_clock = np.lexsort((of_joined, joined >> 13))
    model = run_timetagger(SETTINGS, {}, joined[by_clock], of_joined[by_clock], node.clock)
    tags, numbers_of_tags = tags_of(output)
    assert len(tags) > hits
    np.testing.assert_array_equal(tags, model.times_ticks)
    np.testing.assert_array_equal(numbers_of_tags, model.channels)
    counters = NodeRegisters(node).counters()
    for channel in range(CHANNELS):
        assert counters[f"uncalibrated_{channel}"] == uncalibrated[channel] > 1 << STEP - 1
        assert counters[f"seen_{channel}"] == hits - uncalibrated[channel]
        assert counters[f"dead_{channel}"] == model.counters[f"dead_{channel}"]


def test_hits_of_one_word_are_refused() -> None:
    node = set_up()
    with pytest.raises(ValueError, match=r"hits have shape \(1,\); allowed with 8 chains: 2 words each"):
        node.run(node.clock + 1000, [(node.clock + 10) << 13], [0], hits=[1])
    assert NodeRegisters(node).read("CHAINS") == CHAINS
