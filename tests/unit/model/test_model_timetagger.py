"""The whole time tagger: registers in, accounted tags out."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinphase_sim.model.timetag.timetagger import TaggerTags, memory, register, run_timetagger
from twinphase_spec.registers import TIMETAGGER

CHANNELS = 8
FATES = ("overrun", "dead", "vetoed", "divided", "dropped", "gated", "filtered", "tags", "in_flight")


def assert_accounted(tags: TaggerTags) -> None:
    counters = tags.counters
    assert set(counters) == set(TIMETAGGER.counter_names)
    for c in range(CHANNELS):
        edges = counters[f"seen_{c}"] + counters[f"generated_{c}"]
        assert edges == sum(counters[f"{fate}_{c}"] for fate in FATES)
        assert counters[f"tags_{c}"] == np.count_nonzero(tags.channels == c)


@given(data=st.data())
def test_the_identity_holds_for_any_settings(data: st.DataObject) -> None:
    """Registers and memories drawn at random, small times likely; the pulser replaces pins."""
    registers = {"CHANNEL_ENABLE": data.draw(st.integers(0, 255)), "PULSER_MASK": data.draw(st.integers(0, 255))}
    registers |= {"PULSER_PERIOD": data.draw(st.integers(2, 9)), "PULSER_FINE": data.draw(st.integers(0, 8191))}
    registers |= {"FILTER_WINDOW": data.draw(st.integers(0, 1 << 16)), "WINDOW_ENABLE": data.draw(st.integers(0, 255))}
    registers |= {"WINDOW_UNTIL": data.draw(st.integers(0, 1 << 19))}
    for c in range(CHANNELS):
        registers[f"DEAD_TIME_{c}"] = data.draw(st.integers(0, 30_000))
        registers[f"VETO_TO_{c}"] = data.draw(st.integers(0, 60_000))
        registers[f"DIVIDER_{c}"] = data.draw(st.integers(0, 3))
        registers[f"DELAY_{c}"] = data.draw(st.integers(-20_000, 20_000)) & 0xFFFF_FFFF
    for v in range(4):
        registers[f"COINCIDENCE_MASK_{v}"] = data.draw(st.integers(0, 255))
        registers[f"COINCIDENCE_WINDOW_{v}"] = data.draw(st.integers(0, 60_000))
    memories = {
        "GATE_TABLE": data.draw(st.lists(st.sampled_from([0, 0x80, 0x83]), min_size=8, max_size=8)),
        "GATE_TO": data.draw(st.lists(st.integers(0, 1 << 17), min_size=8, max_size=8)),
        "FILTER_MASK": data.draw(st.lists(st.sampled_from([0, 3, 255]), min_size=8, max_size=8)),
        "WALK": data.draw(st.lists(st.integers(0, 4095), max_size=512)),
    }
    seed = data.draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    present = np.flatnonzero(generator.random(60 * CHANNELS) < 0.3)
    clocks, channels = present // CHANNELS, (present % CHANNELS).astype(np.uint8)
    edges = (clocks * 8192 + generator.integers(0, 8192, present.size)).astype(np.uint64)
    tags = run_timetagger(registers, memories, edges, channels, 60)
    assert_accounted(tags)
    real = tags.channels < 32
    base = np.uint64(1 << 32)
    assert (np.diff((tags.times_ticks + base)[real].view(np.int64)) >= 0).all()
    for c in range(CHANNELS):
        on, pulsed = registers["CHANNEL_ENABLE"] >> c & 1, registers["PULSER_MASK"] >> c & 1
        assert tags.counters[f"seen_{c}"] == (on and not pulsed) * np.count_nonzero(channels == c)
        assert tags.counters[f"generated_{c}"] == (on and pulsed) * -(-60 // registers["PULSER_PERIOD"])


def test_one_run_through_every_stage() -> None:
    """Laid out by hand: channel 0 triggers, 1 is gated by it, 2 is filtered by 1, coincidence 0 of 1 and 2."""
    ns = 1024
    registers = {
        "CHANNEL_ENABLE": 0b1111, "PULSER_MASK": 0b1000, "PULSER_PERIOD": 100, "PULSER_FINE": 5,
        "FILTER_WINDOW": 3 * ns, "COINCIDENCE_MASK_0": 0b110, "COINCIDENCE_WINDOW_0": 2 * ns,
        "DELAY_1": -10, "DEAD_TIME_2": 50 * ns, "VETO_FROM_2": 50 * ns, "VETO_TO_2": 60 * ns, "DIVIDER_0": 2,
    }  # fmt: skip
    memories = {"GATE_TABLE": [0, 0x80], "GATE_FROM": [0, 20 * ns], "GATE_TO": [0, 90 * ns], "FILTER_MASK": [0, 0, 2]}
    pins = [
        (0, 100), (1, 110), (1, 150), (2, 151), (2, 190), (2, 205), (0, 300), (1, 350), (2, 400), (0, 500), (2, 589), (1, 589),
    ]  # fmt: skip
    edges = np.array([t * ns for _, t in pins], dtype=np.uint64)
    tags = run_timetagger(registers, memories, edges, np.array([c for c, _ in pins], dtype=np.uint8), 101)
    found = [(int(t), int(c)) for t, c in zip(tags.times_ticks, tags.channels, strict=True)]
    assert found == [
        (5, 3),
        (100 * ns, 0),
        (150 * ns - 10, 1),
        (151 * ns, 2),
        (151 * ns, 32),
        (500 * ns, 0),
        (589 * ns - 10, 1),
        (589 * ns, 2),
        (589 * ns, 32),
        (100 * 8192 + 5, 3),
    ]
    assert_accounted(tags)
    picked = {
        name: tags.counters[name] for name in ("divided_0", "gated_1", "dead_2", "vetoed_2", "filtered_2", "virtual_0")
    }
    assert picked == {"divided_0": 1, "gated_1": 2, "dead_2": 1, "vetoed_2": 1, "filtered_2": 1, "virtual_0": 2}
    assert tags.counters["clock"] == 101


def test_losses_are_replayed_per_channel() -> None:
    edges = np.arange(6, dtype=np.uint64) * np.uint64(4096)
    channels = np.zeros(6, dtype=np.uint8)
    overrun = np.array([False, True, False, False, False, False])
    tags = run_timetagger(
        {"CHANNEL_ENABLE": 1}, {}, edges, channels, 9, lanes=2, overrun={0: overrun},
        room={0: np.array([True, True, False, True, True])},
    )  # fmt: skip
    assert tags.times_ticks.tolist() == [0, 8192, 16384, 20480]
    assert (tags.counters["overrun_0"], tags.counters["dropped_0"]) == (1, 1)
    assert_accounted(tags)


def test_bad_input_is_refused() -> None:
    edges = np.zeros(2, dtype=np.uint64)
    with pytest.raises(ValueError, match="2 edges have 2 channels; allowed: one of 0 to 7"):
        run_timetagger({}, {}, edges, np.array([0, 8], dtype=np.uint8), 5)
    with pytest.raises(ValueError, match="lanes is 4; allowed: 1 or 2"):
        run_timetagger({}, {}, edges, np.array([0, 1], dtype=np.uint8), 5, lanes=4)
    with pytest.raises(ValueError, match="edge 1 of channel 1 at tick 0 follows one at 0"):
        run_timetagger({"CHANNEL_ENABLE": 2}, {}, edges, np.array([1, 1], dtype=np.uint8), 5)
    with pytest.raises(ValueError, match="FILTER_MASK has 33 words"):
        memory({"FILTER_MASK": [0] * 33}, "FILTER_MASK")
    assert register({"DELAY_0": 0xFFFF_FFFF}, "DELAY_0") == -1


def test_a_million_tags_take_less_than_a_second() -> None:
    generator = np.random.default_rng(1)
    clocks = np.cumsum(generator.integers(1, 4, 1_000_000))
    edges = (clocks * 8192 + generator.integers(0, 8192, clocks.size)).astype(np.uint64)
    channels = generator.integers(0, 8, clocks.size).astype(np.uint8)
    registers = {"CHANNEL_ENABLE": 255, "FILTER_WINDOW": 20_000, "VETO_FROM_0": 1000, "VETO_TO_0": 50_000}
    registers |= {f"COINCIDENCE_MASK_{v}": 3 << v for v in range(4)} | {
        f"COINCIDENCE_WINDOW_{v}": 9999 for v in range(4)
    }
    memories = {"GATE_TABLE": [0, 0x80], "GATE_TO": [0, 1 << 20], "FILTER_MASK": [2, 4], "WALK": [3] * 512}
    run_timetagger(registers, memories, edges[:9], channels[:9], 0)  # compiles
    start = time.process_time()
    tags = run_timetagger(registers, memories, edges, channels, 0)
    spent = time.process_time() - start
    print(f"{edges.size / spent:.3g} edges per CPU second")
    assert_accounted(tags)
    assert spent < 1.0
