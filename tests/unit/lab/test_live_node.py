"""Live windows of the server node: heralds, runs and counters follow from the edges, and skipped clocks change no word."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from twinphase_sim.native import NativeNode, write_requests
from twinphase_spec.configure import frame_config, frame_registers, server_memories, server_registers
from twinphase_spec.frame import LAG_CLOCKS, MIN_PERIOD_TICKS, FrameConfig, SlotClass
from twinphase_spec.live import RUN_LIMIT, SILENT_HEARTBEATS
from twinphase_spec.packets import HEADER_WORDS, HEARTBEAT_BITS, HERALD_DTYPE, LIVE_DTYPE, STATUS_BITS, Stream
from twinphase_spec.registers import CHANNELS, SERVER

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SEED = 7
START = 40_000
LENGTH = 60_000
MAX_DELAY = 1 << 21


def edges_of(rng: np.random.Generator, first: int, dense: bool) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Ticks and channels: bursts of all channels clock by clock if ``dense``, pairs within a pulse, singles, silence."""
    places: set[tuple[int, int]] = set()
    at = 0
    while at < LENGTH:
        kind = rng.integers(4)
        if kind == 0 and dense:
            for _ in range(int(rng.integers(20, 90))):
                places |= {(at, c) for c in range(4) if rng.random() < 0.7}
                at += 1
        elif kind == 1:
            places |= {(at, 0), (at + int(rng.integers(2)), 1)}
            at += 1 + int(rng.integers(12))
        elif kind == 2:
            for _ in range(int(rng.integers(1, 20))):
                places.add((at, int(rng.integers(4))))
                at += int(rng.integers(1, 20))
        else:
            at += int(rng.integers(30, 900))
    found = sorted(places)
    fine = rng.integers(0, 8192, len(found))
    # Within a clock, edges of both detectors that belong to one pulse.
    fine = np.where(rng.random(len(found)) < 0.5, 4100 + rng.integers(0, 40, len(found)), fine)
    ticks = [(first + clock << 13) + int(f) for (clock, _), f in zip(found, fine.tolist(), strict=True)]
    return np.array(ticks, np.uint64), np.array([c for _, c in found], np.uint8)


def expected(
    frame: FrameConfig, registers: dict[str, int], ticks: list[int], channels: list[int]
) -> tuple[list[int], list[tuple[int, int]], Counter[str]]:
    """Pulses of the heralds, runs, and counters, from the edges one after the other."""
    delays = [((registers[f"DELAY_{name}"] + MAX_DELAY) & 0xFFFFFFFF) - MAX_DELAY for name in CHANNELS]
    times = sorted((t + delays[c], c) for t, c in zip(ticks, channels, strict=True) if c < 2)
    recovery, gate = registers["RECOVERY_PULSES"], (registers["GATE_START_Q"], registers["GATE_STOP_Q"])
    dead: set[int] = set()
    runs: list[tuple[int, int]] = []
    heralding: dict[int, int] = {}
    counts: Counter[str] = Counter()
    for time, _ in times:
        n, rest = divmod((time - (frame.start_clock << 13)) << 32, frame.period_q32)
        position, slot = rest >> 32, n % frame.frame_pulses // frame.slot_pulses
        early = position < gate[0]
        if gate[0] <= position < gate[1] and frame.table[slot] & 15 == SlotClass.SIG:
            counts["signal"] += 1
            counts["not_live"] += n in dead
            if n not in dead:
                heralding[n] = heralding.get(n, 0) + 1
        own, end = n + 1 - early, n + recovery + 1
        dead |= set(range(own, end))
        if runs and own <= runs[-1][1]:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((own, end))
    assert all(end - begin < RUN_LIMIT for begin, end in runs)
    counts["multiple"] = sum(clicks > 1 for clicks in heralding.values())
    heralds = [n for n, clicks in heralding.items() if clicks == 1]
    counts["heralds"] = len(heralds)
    return heralds, [(begin, end - begin) for begin, end in runs], counts


@pytest.mark.parametrize(
    ("recovery", "dense", "shortest"),
    [
        (5, True, False),
        (300, False, True),
        pytest.param(37, True, False, marks=pytest.mark.long),
        pytest.param(400, False, False, marks=pytest.mark.long),
        pytest.param(50, True, True, marks=pytest.mark.long),
    ],
)
def test_heralds_and_runs_follow_from_the_edges(recovery: int, dense: bool, shortest: bool) -> None:
    """``shortest``: with the shortest pulses that a server takes, 20 or 21 in a clock (2.5 GHz), instead of the lab's 8."""
    lab = small_lab()
    frame = frame_config(lab, START)
    nodes = [NativeNode("server", skip=skip, progress=False, rooms=True) for skip in (True, False)]
    registers = server_registers(lab, START)
    registers |= {f"DEAD_TIME_{name}": 0 for name in CHANNELS} | {"RECOVERY_PULSES": recovery}
    if shortest:
        frame = replace(
            frame,
            period_q32=MIN_PERIOD_TICKS << 32,
            frames_per_window=frame.frames_per_window * 1024 // MIN_PERIOD_TICKS,
        )
        registers |= frame_registers(frame)
        registers |= {f"GATE_START_{band}": 60 for band in "QR"} | {f"GATE_STOP_{band}": 350 for band in "QR"}
    # The shortest lag of the smoother: its flushes then come while the dense runs find no room, so that some are lost.
    registers |= {"SMOOTH_LATER_R": 0, "SMOOTH_LATER_D": 0}
    registers["STREAM_ENABLE"] = sum(1 << s for s in (Stream.HERALD, Stream.LIVE, Stream.STATUS))
    setup = write_requests(SERVER, registers, server_memories(lab))
    setup += write_requests(SERVER, {"CONTROL": 1}, first_id=len(setup) + 1)
    first = START + LAG_CLOCKS + 10_000
    # Silence afterwards closes the last run; a status tick comes with the sixth heartbeat or behind it.
    until = ((first + LENGTH >> STATUS_BITS) + 1 << STATUS_BITS) + (SILENT_HEARTBEATS << HEARTBEAT_BITS) + 60_000
    ticks, channels = edges_of(np.random.default_rng((SEED, recovery)), first, dense)
    streams: dict[int, list[int]] = {}
    lost = 0
    outputs = []
    for node in nodes:
        node.run(first, rx=[(0, packet) for packet in setup])
        outputs.append(node.run(until, ticks, channels, word_clocks=True))
    for name in ("words", "ends", "clocks", "word_clocks"):
        np.testing.assert_array_equal(getattr(outputs[0], name), getattr(outputs[1], name), err_msg=name)
    # An open run does not keep it awake; the turns of the tracker do for a while.
    assert nodes[0].cycles_simulated < 0.6 * nodes[1].cycles_simulated
    begin = 0
    for end in outputs[0].ends.tolist():
        words = outputs[0].words[begin:end].tolist()
        stream = words[0] & 0xFF
        streams.setdefault(stream, []).extend(words[HEADER_WORDS:])
        lost = words[5] if stream == Stream.LIVE else lost
        status = words[HEADER_WORDS:] if stream == Stream.STATUS else None
        if status:
            counters = {name: status[2 * k] for k, name in enumerate(SERVER.counter_names)}
        begin = end

    heralds, runs, counts = expected(frame, registers, ticks.tolist(), channels.tolist())
    assert not any(counters[f"dropped_{name}"] for name in CHANNELS)
    assert not counters["unjoined"]
    assert {name: counters[name] for name in counts} == dict(counts)
    assert counts["not_live"] > 50
    records = np.array(streams[Stream.HERALD], "<u4").view(HERALD_DTYPE)
    pulses = records["pulse_low"] + ((records["pulse_high_detector"].astype(np.int64) & 0xFFFFFF) << 32)
    assert pulses.tolist() == heralds
    live = np.array(streams[Stream.LIVE], "<u4").view(LIVE_DTYPE)
    got = list(
        zip(
            (live["pulse_low"] + (live["pulse_high"].astype(np.int64) << 32)).tolist(),
            live["length"].tolist(),
            strict=True,
        )
    )
    assert len(got) + lost == len(runs)
    if recovery == 5:
        assert lost
        assert set(got) < set(runs)
        assert got == sorted(got)
    else:
        assert got == runs
