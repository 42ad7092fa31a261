"""Offsets of the arms from ARRIVAL records, wherever in the period the pulse lies, and `twinphase align` on a node."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fake_node import FakeNode, Registers, record_packets, tag_packets
from hypothesis import given, settings
from hypothesis import strategies as st
from test_host_phase_command import run

from twinphase.batch import TAG_DTYPE, Batch
from twinphase.measure.arrival import Arrival, offset_of
from twinphase_spec.configure import frame_config
from twinphase_spec.lab import load_lab
from twinphase_spec.packets import ARRIVAL_DTYPE, Stream
from twinphase_spec.registers import SERVER

PERIOD, START = 1024, 1 << 16


def record(positions: np.ndarray, place: int, window: int = 0) -> np.ndarray:
    """The record of clicks at these positions, ticks from 0 to 1023."""
    made = np.zeros(1, ARRIVAL_DTYPE)
    made["window"], made["place"], made["sum_ticks"] = window, place, positions.sum()
    counts = np.bincount(positions * 8 // PERIOD, minlength=8)
    for k in range(8):
        made[f"bin_{k}"] = counts[k]
    return made


@settings(max_examples=80, deadline=None)
@given(offset=st.floats(-512, 511.9), sigma=st.floats(5, 75), seed=st.integers(0, 1 << 30))
def test_mean_is_that_of_the_unwrapped_clicks(offset: float, sigma: float, seed: int) -> None:
    """Clicks within 5 sigma of their middle are less than three eighths of a period away: no cut can be among them."""
    rng = np.random.default_rng(seed)
    true = 512 + offset + np.clip(rng.normal(0, sigma, 4000), -5 * sigma, 5 * sigma)
    positions = np.floor(true).astype(np.int64)
    wrapped = positions % PERIOD
    found = offset_of(np.bincount(wrapped * 8 // PERIOD, minlength=8), int(wrapped.sum()), PERIOD)
    assert found is not None
    expected = (positions.mean() % PERIOD) - 512
    assert (found[0] - expected + 512) % PERIOD - 512 == pytest.approx(0, abs=1e-6)
    # The width is bound from above by an eighth that is filled, and is no more than that above it.
    assert sigma * 0.95 <= found[1] <= np.hypot(sigma, 2 * PERIOD / 8 / np.sqrt(12)) * 1.05


def test_darkness_has_no_offset() -> None:
    rng = np.random.default_rng(1)
    arrival = Arrival(PERIOD)
    dark = record(rng.integers(0, 1024, 20_000), 1)
    arrival.update(Batch(records={Stream.ARRIVAL: np.concatenate([record(np.empty(0, np.int64), 0), dark])}))
    offsets = arrival.offsets()
    assert [(o.clicks, o.offset_ps) for o in offsets] == [(0, None), (20_000, None), (0, None), (0, None)]
    assert arrival.intervals == 1
    assert [o.clicks for o in arrival.newest()] == [0, 20_000]


def node_packets() -> list[bytes]:
    """One second of the seed experiment's frame: A 120 ps late, B 480 ps and two pulses more, in records and in tags."""
    rng = np.random.default_rng(2)
    records = []
    for interval in range(50):
        for place, (offset, mean) in enumerate([(0, 0), (0, 0), (120, 40), (480, 30)]):
            positions = np.round(512 + offset * 1.024 + rng.normal(0, 60, rng.poisson(mean))).astype(np.int64) % 1024
            records.append(record(positions, place, 200 * interval + 199))
    arrivals = record_packets(Stream.ARRIVAL, np.concatenate(records), 4, 2_500_000, 2_500_000)
    frame = frame_config(load_lab("seed-370km"), START)
    classes = np.repeat(np.array(frame.table) >> 4, frame.slot_pulses)
    times = []
    for own, offset in ((2, 0.12), (3, 2.48)):
        on = np.flatnonzero((classes == own) | (classes >= 4) & (classes <= 7))
        pulses = np.repeat(on, rng.poisson(100, on.size))
        pulses += 1000 * rng.integers(0, 10**6, pulses.size)
        times.append((pulses + 0.5 + offset) * 1024 + rng.normal(0, 60, pulses.size) + START * 8192)
    tags = np.zeros(sum(map(len, times)), TAG_DTYPE)
    tags["time_ticks"], tags["channel"] = np.sort(np.concatenate(times).astype(np.int64)), 2
    return sorted([*arrivals, *tag_packets(tags)], key=base)


def base(packet: bytes) -> int:
    """Time base of a packet."""
    return int(np.frombuffer(packet, "<u4")[3:5].astype("<u4").view("<u8")[0])


PACKETS = node_packets()


@pytest.fixture
def node():
    registers = Registers(SERVER)
    values = {
        "ARRIVAL_WINDOWS": 200,
        "PERIOD": 1024 << 32,
        "START_CLOCK": START,
        "FRAME_PULSES": 1000,
        "SLOT_PULSES": 8,
    }
    for name, value in (values | {"STREAM_ENABLE": 0xFFFF}).items():
        for i in range(SERVER[name].words):
            registers.words[SERVER[name].address + i] = value >> 32 * i & 0xFFFFFFFF
    with FakeNode(registers=registers, paced=True) as fake:
        fake.outbox = PACKETS
        yield fake


def test_align_says_fractions_and_pulses(node, capsys) -> None:
    code, out, err = run(capsys, "align", node.url, "--seconds", 0.9, "--lab", "seed-370km", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    a, b = result["arms"][2:]
    assert (a["band"], a["arm"], b["arm"]) == ("r", "a", "b")
    assert a["offset_ps"] == pytest.approx(120, abs=4 * a["error_ps"])
    assert b["offset_ps"] == pytest.approx(480, abs=4 * b["error_ps"])
    assert [pulse["pulses"] for pulse in result["pulses"]] == [0, 2]
    assert result["pulses"][1]["fraction_ps"] == pytest.approx(480, abs=10)


def test_align_without_a_lab_or_with_a_wrong_one(node, capsys) -> None:
    code, out, _ = run(capsys, "align", node.url, "--seconds", 0.9)
    assert code == 0
    assert "give --lab" in out
    code, _, err = run(capsys, "align", node.url, "--seconds", 0.9, "--lab", "metro-50km")
    assert code == 2
    assert "give the lab that the server runs" in err


def test_align_of_a_server_that_makes_no_records(node, capsys) -> None:
    node.registers.words[SERVER["ARRIVAL_WINDOWS"].address] = 0
    code, _, err = run(capsys, "align", node.url, "--seconds", 0.1)
    assert code == 2
    assert "set ARRIVAL_WINDOWS" in err
