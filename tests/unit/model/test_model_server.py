"""The whole server model: accounting, closed windows, registers, speed."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.model.client import emitted_codes
from twinphase_sim.model.server import register, run_server
from twinphase_spec.frame import FrameConfig, SlotClass, slot_byte
from twinphase_spec.registers import CHANNELS, SERVER

TABLE = tuple(
    slot_byte(q, r)
    for q, r in zip(
        [SlotClass.SIG] * 12 + [SlotClass.REF0, SlotClass.REF1, SlotClass.REF2, SlotClass.REF3],
        [SlotClass(SlotClass.REF0 + k % 4) for k in range(16)],
        strict=True,
    )
)
REGISTERS = {
    "CHANNEL_ENABLE": 15,
    "GATE_START_Q": 100,
    "GATE_STOP_Q": 900,
    "GATE_START_R": 0,
    "GATE_STOP_R": 1024,
    "RATIO": 27_000_000,
    **{f"DELAY_{name}": (100 * i - 150) & 0xFFFFFFFF for i, name in enumerate(CHANNELS)},
    **{f"DEAD_TIME_{name}": 20000 for name in CHANNELS},
}


def frame_at(start_clock: int) -> FrameConfig:
    return FrameConfig(
        period_q32=1024 << 32,
        slot_pulses=8,
        table=TABLE,
        frames_per_window=600,
        windows_per_dwindow=4,
        start_clock=start_clock,
    )


def edges_of(seed: int, count: int, first_clock: int, clocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Random edges, at most one per channel and clock, in order of time."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(4 * clocks, min(count, 4 * clocks), replace=False))
    clock, channel = np.divmod(chosen, 4)
    times = ((first_clock + clock.astype(np.uint64)) << np.uint64(13)) + rng.integers(0, 8192, chosen.size).astype(
        np.uint64
    )
    return times, channel.astype(np.uint8)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 3000), start=st.sampled_from([0, 5000, 2**51 - 30000]))
def test_accounting_and_closed_windows(seed: int, count: int, start: int) -> None:
    """Also with a frame that runs across the wrap of the clock count."""
    frame = frame_at(start)
    edges, channels = edges_of(seed, count, max(0, start - 2000), 60_000)
    until = start + 60_000
    result = run_server(REGISTERS, frame, edges, channels, until)
    counters = result.counters
    assert list(counters) == list(SERVER.counter_names)
    tags = 0
    for c, name in enumerate(CHANNELS):
        assert counters[f"seen_{name}"] == np.count_nonzero(channels == c)
        parts = (counters[f"{part}_{name}"] for part in ("dead", "dropped", "tags", "in_flight"))
        assert counters[f"seen_{name}"] == sum(parts)
        tags += counters[f"tags_{name}"]
    framing = ("unframed", "background", "signal", "reference_q", "reference_r", "other")
    assert tags == sum(counters[name] for name in framing) == result.tag_times_ticks.size
    closed = sum(frame.close_clock(w) <= until for w in range(50))
    assert result.phase["window"].tolist() == list(range(closed))
    assert result.dphase["dwindow"].tolist() == list(range(closed // 4))
    window = result.clicks.window
    in_windows = result.clicks.reference & (window < closed)
    assert result.phase["clicks_r"].sum() + result.phase["clicks_q"].sum() == np.count_nonzero(in_windows)
    assert counters["heralds"] == result.heralds.size >= result.psi.size
    assert result.psi["number"].tolist() == list(range(result.psi.size))


def test_a_disabled_channel_has_no_edges() -> None:
    edges, channels = edges_of(1, 1000, 0, 20_000)
    result = run_server({**REGISTERS, "CHANNEL_ENABLE": 0b0110}, frame_at(0), edges, channels, 30_000)
    assert set(result.tag_channels.tolist()) == {1, 2}
    assert result.counters["seen_qL"] == result.counters["seen_rR"] == 0


def test_registers_default_to_reset_and_are_signed() -> None:
    assert register({}, "GATE_STOP_Q") == 1 << 17
    assert register({}, "CHANNEL_ENABLE") == SERVER["CHANNEL_ENABLE"].reset
    assert (
        register({"DELAY_qL": -5 & 0xFFFFFFFF}, "DELAY_qL") == register({"DELAY_qL": -5 & 0x3FFFFF}, "DELAY_qL") == -5
    )
    assert register({"RATIO": 0x80000000}, "RATIO") == -(2**31)


def test_no_edges_still_close_windows() -> None:
    frame = frame_at(0)
    result = run_server(
        REGISTERS, frame, np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint8), frame.close_clock(7)
    )
    assert (result.phase.size, result.dphase.size, result.heralds.size) == (8, 2, 0)
    assert not result.phase["flags"].any()
    assert not result.dphase["flags"].any()


def test_edges_that_no_front_end_gives_are_refused() -> None:
    channels = np.zeros(2, dtype=np.uint8)
    for edges in ([8192, 8193], [20000, 100]):
        with pytest.raises(ValueError, match="at most one edge per channel and clock"):
            run_server(REGISTERS, frame_at(0), np.array(edges, dtype=np.uint64), channels, 10)
    with pytest.raises(ValueError, match="one of 0 to 3 per edge"):
        run_server(REGISTERS, frame_at(0), np.array([1], dtype=np.uint64), np.array([4], dtype=np.uint8), 10)


def test_half_a_million_clicks_take_under_two_seconds() -> None:
    edges, channels = edges_of(3, 500_000, 0, 12_500_000)
    frame = frame_at(100)
    began = time.process_time()
    result = run_server(REGISTERS, frame, edges, channels, 12_500_000)
    assert time.process_time() - began < 2
    assert result.phase.size == (12_500_000 - 100 - 4096) // 9600


def test_emitted_codes_are_those_of_the_table() -> None:
    bounds = {"SENT_BELOW": 900, "Z_BELOW": 2048, "VACUUM_BELOW": 2048, "MU1_BELOW": 2048}
    registers = {"ROLE": 0, **bounds, **{f"KEY_{i}": i + 1 for i in range(4)}}
    q, r = emitted_codes(registers, frame_at(0), 0, 256)
    assert q[12 * 8 :: 8][:4].tolist() == [4 << 8, 4 << 8 | 64, 4 << 8 | 128, 4 << 8 | 192]
    assert r[:32:8].tolist() == q[12 * 8 :: 8][:4].tolist()
