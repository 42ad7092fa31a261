"""The server node under hostile inputs: with resting rooms and skipped clocks it sends the same words at the same clocks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from twinphase_sim.native import NativeNode, request_packet, write_requests
from twinphase_spec.configure import SERVER_STREAMS, frame_config, server_registers
from twinphase_spec.frame import FRAME_BITS, LAG_CLOCKS, PULSE_BITS, WINDOW_BITS, SlotClass, slot_byte
from twinphase_spec.packets import HEADER_WORDS, TRACK_DTYPE, TRACK_FLAGS_SHIFT, TRACK_LOCKED, RegisterOp, Stream
from twinphase_spec.registers import CHANNELS as EDGE_CHANNELS
from twinphase_spec.registers import SERVER
from twinphase_spec.smoothing import CHANNELS, smooth_gains
from twinphase_spec.tracking_config import channel_config
from twinphase_spec.units import CLOCK_BITS

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SEED = 31
START = 40_000
LENGTH = 150_000
MOST_AWAKE = 10_000
"""Clocks after which a node without clicks has rested."""
SHORTEST_LAG = {"SMOOTH_LATER_R": 0, "SMOOTH_LATER_D": 0}
"""Of the smoother, whose passes keep a node awake."""


def _clocks(rng: np.random.Generator, closes: list[int], length: int) -> NDArray[np.int64]:
    """Clocks with edges, each (clock, channel) as ``4 * clock + channel``: bursts, pairs, singles and long silences."""
    places: list[int] = []
    at = 0
    while at < length:
        kind = rng.integers(6)
        if kind == 0:  # every channel, clock by clock, for longer than the queues' pipelines
            burst = int(rng.integers(1, 120))
            places += [4 * (at + k) + c for k in range(burst) for c in range(4) if rng.random() < 0.6]
            at += burst
        elif kind == 1:  # two channels whose delays bring their tags to the horizon at about the same time
            channels, apart = rng.permutation(4)[:2], int(rng.integers(0, 30))
            places += [4 * at + int(channels[0]), 4 * (at + apart) + int(channels[1])]
            at += apart + int(rng.integers(1, 40))
        elif kind == 2:  # singles, just when the node falls asleep after the one before
            for _ in range(int(rng.integers(1, 30))):
                places.append(4 * at + int(rng.integers(4)))
                at += int(rng.integers(1, 60))
        elif kind == 3:  # around a tick of the timebase
            at = (at | 0x1FFF) + 1
            places += [
                4 * (at + int(k)) + int(rng.integers(4)) for k in np.unique(rng.integers(-8, 8, 3)) if at + k >= 0
            ]
            at += 20
        elif kind == 4 and closes:  # around the close of a window
            close = closes[int(rng.integers(len(closes)))]
            places += [4 * (close + int(k)) + int(rng.integers(4)) for k in np.unique(rng.integers(-150, 50, 4))]
            at += 1
        else:
            at += int(rng.integers(1000, 9000))
    found = np.unique(np.array(places, np.int64))
    return found[(found >= 0) & (found < 4 * length)]


def _requests(
    rng: np.random.Generator, first: int, length: int, identifier: int, changes: bool
) -> list[tuple[int, bytes]]:
    """Reads, snapshots, and ``changes`` of the configuration while edges come."""
    packets = []
    for at in np.sort(rng.integers(0, length, 40)).tolist():
        identifier += 1
        choice = rng.integers(0 if changes else 3, 5)
        if choice == 0:
            name, value = (
                str(rng.choice(["DELAY_qL", "DELAY_qR", "DELAY_rL", "DELAY_rR"])),
                int(rng.integers(-(1 << 21), 1 << 21)),
            )
        elif choice == 1:
            name, value = (
                str(rng.choice(["DEAD_TIME_qL", "DEAD_TIME_rR"])),
                int(rng.integers(0, 1 << int(rng.integers(1, 25)))),
            )
        elif choice == 2:
            name, value = "CHANNEL_ENABLE", int(rng.integers(16))
        elif choice == 3:
            name, value = "SNAPSHOT", 1
        else:
            address = SERVER.memory("COUNTERS").address + int(rng.integers(40))
            packets.append((first + at, request_packet(identifier, RegisterOp.READ, address, 20)))
            continue
        packets.append((first + at, write_requests(SERVER, {name: value}, first_id=identifier)[0]))
    return packets


def _tracking(epoch_bits: int) -> dict[str, int]:
    """Everything that the click tracker and the smoother do, on epochs of 2^E clocks; a loss of the phase by silence too."""
    values = {
        "TRACK_EPOCH": epoch_bits,
        "TRACK_HOLD": 400 if epoch_bits > 9 else 200,
        "TRACK_EVERY": 0,
        "PSI_SOURCE": 1,
        "RECOVERY_PULSES": 2,
    }
    values["STREAM_ENABLE"] = sum(
        1 << stream for stream in Stream if stream in (*SERVER_STREAMS, Stream.TRACK, Stream.PSI_CAUSAL, Stream.LIVE)
    )
    words = channel_config(
        diffusion_rad2_per_s=3000,
        click_rate_hz=3e6,
        visibility=0.9,
        slope_noise_rad2_per_s3=1e10,
        v_gain=3,
        detect=True,
    )
    gains = smooth_gains(
        diffusion_rad2_per_s=3000, slope_noise_rad2_per_s3=1e10, fisher_hz=1e6, node_clocks=1 << epoch_bits
    )
    for c, channel in enumerate(CHANNELS):
        suffix = channel.upper()
        values |= {f"{name.upper()}_{suffix}": value for name, value in vars(words).items()}
        values |= {f"SMOOTH_{name.upper()}_{suffix}": value & 0xFFFFFFFF for name, value in vars(gains).items()}
        values |= {
            f"SMOOTH_STEP_{suffix}": c,
            f"SMOOTH_LATER_{suffix}": 7 - 6 * c,
            f"D_{suffix}": words.d // 64,
            f"P_LOST_{suffix}": (1 << 32) - 1,
        }
    # Clicks of no fringe: the alarm gives band r up, darkness the other channel.
    values |= {"DARK_R": 0, "DARK_D": 6_000, "W_ALARM_R": 60_000, "W_ALARM_D": 0}
    return values | {f"DEAD_TIME_{name}": 0 for name in EDGE_CHANNELS}


def _dense_table(slots: int) -> list[int]:
    """Every other slot of the q band is a reference."""
    classes = list(SlotClass)
    first = classes.index(SlotClass.REF0)
    return [
        slot_byte(classes[first + k // 2 % 4] if k % 2 else SlotClass.SIG, classes[first + k % 4]) for k in range(slots)
    ]


def _records(streams: dict[int, list[int]], words: NDArray[np.uint32], ends: NDArray[np.int64]) -> None:
    """Adds the payload words of each packet to those of its stream."""
    begin = 0
    for end in ends.tolist():
        streams.setdefault(int(words[begin]) & 0xFF, []).extend(words[begin + HEADER_WORDS : end].tolist())
        begin = end


@pytest.mark.parametrize("duty", [None, 0.5, 0.02])
@pytest.mark.parametrize("wrap", [False, True])
def test_hostile_inputs_are_the_same_with_every_clock_simulated(wrap: bool, duty: float | None) -> None:
    """Psi from windows, and the tracker on epochs of 65 us, as it starts."""
    _play(wrap, duty, {}, LENGTH)


@pytest.mark.parametrize(("wrap", "duty", "epoch_bits"), [(False, None, 10), (True, 0.5, 9), (False, 0.1, 11)])
def test_tracker_and_smoother_are_the_same_with_every_clock_simulated(
    wrap: bool, duty: float | None, epoch_bits: int
) -> None:
    streams = _play(wrap, duty, _tracking(epoch_bits), 2 * LENGTH)
    track = np.array(streams[Stream.TRACK], "<u4").view(TRACK_DTYPE)
    assert len(track) > LENGTH >> epoch_bits
    locked = track["clock_high_channel"] >> TRACK_FLAGS_SHIFT & TRACK_LOCKED
    channel = track["clock_high_channel"] >> 24 & 1
    for c in range(2):
        assert 0 < np.count_nonzero(locked[channel == c]) < np.count_nonzero(channel == c)
        assert track["clicks"][channel == c].sum() > 100
    causal, smoothed = (np.array(streams[stream]).reshape(-1, 2) for stream in (Stream.PSI_CAUSAL, Stream.PSI))
    for psi in (causal, smoothed):
        flags = psi[:, 1] >> 16
        assert len(psi) > 100
        assert 3 in flags
        assert 0 in flags
    assert set(smoothed[:, 0]) <= set(causal[:, 0])
    assert len(streams[Stream.LIVE]) > 3 * 100


def _play(wrap: bool, duty: float | None, registers: dict[str, int], length: int) -> dict[int, list[int]]:
    """Asserts the equality of a skipped run with two that simulate every clock; returns the payload words of each stream."""
    lab = small_lab()
    frame = frame_config(lab, START)
    # The last one is what boards get: one clock for everything.
    nodes = [
        NativeNode("server", skip=skip, progress=False, rooms=rooms)
        for skip, rooms in ((True, True), (False, True), (False, False))
    ]
    values = server_registers(lab, START) | (registers or SHORTEST_LAG)
    table = _dense_table(len(frame.table)) if registers else list(frame.table)
    setup = write_requests(SERVER, values, {"FRAME_TABLE": table})
    setup += write_requests(SERVER, {"CONTROL": 1}, first_id=len(setup) + 1)
    first = START + LAG_CLOCKS + 10_000
    for node in nodes:
        node.run(first, rx=[(0, packet) for packet in setup])
    closes = [frame.close_clock(w) - first for w in range(20)]
    if wrap:
        near = replace(
            frame.anchor_at(first),
            clock=(1 << CLOCK_BITS) - length // 2,
            pulse=(1 << PULSE_BITS) - 8 * length // 3,
            frame=(1 << FRAME_BITS) - 300,
            window=(1 << WINDOW_BITS) - 3,
            dwindow=(1 << WINDOW_BITS) - 2,
        )
        # The count is loaded while they rest, which all do in the same clocks.
        for clock in range(first, first + MOST_AWAKE):
            for node in nodes:
                node.run(clock)
            if nodes[0].idle:
                break
        for node in nodes:
            assert node.idle
            node.load(near)
        first = near.clock
    rng = np.random.default_rng((SEED, int(wrap)))
    ready = None if duty is None else rng.random(997) < duty
    streams: dict[int, list[int]] = {}
    for run, clocks in enumerate((length, 3, 977, length // 3)):
        places = _clocks(rng, closes, clocks)
        fine = rng.integers(0, 8192, len(places)).astype(np.uint64)
        ticks = ((np.uint64(first) + (places >> 2).astype(np.uint64)) << np.uint64(13)) + fine
        rx = _requests(rng, first, clocks, 1000 + 100 * run, not registers) if clocks > 1000 else []
        first += clocks
        skipped, full, board = (
            node.run(first, ticks, (places & 3).astype(np.uint8), rx, ready, word_clocks=True) for node in nodes
        )
        for name in ("words", "ends", "clocks", "word_clocks"):
            np.testing.assert_array_equal(getattr(skipped, name), getattr(full, name), err_msg=name)
            np.testing.assert_array_equal(getattr(skipped, name), getattr(board, name), err_msg=name)
        _records(streams, skipped.words, skipped.ends)
    # It is awake from each turn to its letting go.
    assert nodes[0].cycles_simulated < (0.95 if registers else 0.8) * nodes[1].cycles_simulated
    return streams
