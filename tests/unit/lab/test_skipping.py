"""The server node under hostile inputs: with resting rooms and skipped clocks it sends the same words at the same clocks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from twinphase_sim.native import NativeNode, request_packet, write_requests
from twinphase_spec.configure import frame_config, server_registers
from twinphase_spec.frame import FRAME_BITS, LAG_CLOCKS, PULSE_BITS, WINDOW_BITS
from twinphase_spec.packets import RegisterOp
from twinphase_spec.registers import SERVER
from twinphase_spec.units import CLOCK_BITS

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SEED = 31
START = 40_000
LENGTH = 150_000


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


def _requests(rng: np.random.Generator, first: int, length: int, identifier: int) -> list[tuple[int, bytes]]:
    """Reads, snapshots, and changes of the configuration while edges come."""
    packets = []
    for at in np.sort(rng.integers(0, length, 40)).tolist():
        identifier += 1
        choice = rng.integers(5)
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


@pytest.mark.parametrize("duty", [None, 0.5, 0.02])
@pytest.mark.parametrize("wrap", [False, True])
def test_hostile_inputs_are_the_same_with_every_clock_simulated(wrap: bool, duty: float | None) -> None:
    lab = small_lab()
    frame = frame_config(lab, START)
    # The last one is what boards get: one clock for everything.
    nodes = [
        NativeNode("server", skip=skip, progress=False, rooms=rooms)
        for skip, rooms in ((True, True), (False, True), (False, False))
    ]
    setup = write_requests(SERVER, server_registers(lab, START), {"FRAME_TABLE": list(frame.table)})
    setup += write_requests(SERVER, {"CONTROL": 1}, first_id=len(setup) + 1)
    first = START + LAG_CLOCKS + 10_000
    for node in nodes:
        node.run(first, rx=[(0, packet) for packet in setup])
    closes = [frame.close_clock(w) - first for w in range(20)]
    if wrap:
        near = replace(
            frame.anchor_at(first),
            clock=(1 << CLOCK_BITS) - LENGTH // 2,
            pulse=(1 << PULSE_BITS) - 8 * LENGTH // 3,
            frame=(1 << FRAME_BITS) - 300,
            window=(1 << WINDOW_BITS) - 3,
            dwindow=(1 << WINDOW_BITS) - 2,
        )
        for node in nodes:
            assert node.idle
            node.load(near)
        first = near.clock
    rng = np.random.default_rng((SEED, int(wrap)))
    ready = None if duty is None else rng.random(997) < duty
    for run, length in enumerate((LENGTH, 3, 977, LENGTH // 3)):
        places = _clocks(rng, closes, length)
        fine = rng.integers(0, 8192, len(places)).astype(np.uint64)
        ticks = ((np.uint64(first) + (places >> 2).astype(np.uint64)) << np.uint64(13)) + fine
        rx = _requests(rng, first, length, 1000 + 100 * run) if length > 1000 else []
        first += length
        skipped, full, board = (
            node.run(first, ticks, (places & 3).astype(np.uint8), rx, ready, word_clocks=True) for node in nodes
        )
        for name in ("words", "ends", "clocks", "word_clocks"):
            np.testing.assert_array_equal(getattr(skipped, name), getattr(full, name), err_msg=name)
            np.testing.assert_array_equal(getattr(skipped, name), getattr(board, name), err_msg=name)
    assert nodes[0].cycles_simulated < 0.7 * nodes[1].cycles_simulated
