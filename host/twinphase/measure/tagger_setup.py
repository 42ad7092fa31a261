"""Setting up a time tagger: what a configuration says goes in while nothing is inside, and what is set now comes out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twinphase_spec.registers import TIMETAGGER_CHANNELS
from twinphase_spec.tagger import COINCIDENCES, GATE_ENABLE
from twinphase_spec.tdc import SIGMA_SHIFT
from twinphase_spec.units import CLOCK_HZ, TICK_PS

from ..device import Device, PacketDevice
from ..errors import DeviceError
from .calibration import CALIBRATED, DELAY_LINE, FRONT_ENDS, LEVEL, NONUNIFORM, SCALE_LIMIT, check_tagger

EMPTY_CLOCKS = 500
"""Clocks after which a tagger without edges is empty, if nothing is in flight: the longest delay is 2 us (4 us here)."""
EMPTY_TIMEOUT_S = 2.0
ENABLE = "CHANNEL_ENABLE"


def apply_settings(
    device: Device,
    registers: Mapping[str, int],
    memories: Mapping[str, Sequence[int]],
    *,
    timeout_s: float = EMPTY_TIMEOUT_S,
) -> None:
    """Disable all channels, wait until no edge is inside (4 us at least), write memories and registers, enable channels last.

    Raises DeviceError; after a failure all channels are off, and the sentence says so.
    """
    check_tagger(device)
    if not isinstance(device, PacketDevice):
        raise DeviceError(f"{device.url} is a recording: it cannot be set up")
    try:
        for name in registers:
            device.map[name]
        for name in memories:
            device.map.memory(name)
    except KeyError as error:
        raise DeviceError(f"{device.url}: {error.args[0]}; nothing was changed") from error
    device.write(ENABLE, 0)
    try:
        _wait_until_empty(device, timeout_s)
        for name, words in memories.items():
            device.write_memory(name, words)
        for name, value in registers.items():
            if name != ENABLE:
                device.write(name, value)
        if ENABLE in registers:
            device.write(ENABLE, registers[ENABLE])
    except DeviceError as error:
        raise DeviceError(f"{error}; the set-up is incomplete and all channels are off") from error


def _wait_until_empty(device: PacketDevice, timeout_s: float) -> None:
    began = device.counters(timeout_s)["clock"]
    deadline = time.monotonic() + timeout_s
    while True:
        now = device.counters(timeout_s)
        inside = sum(now[f"in_flight_{c}"] for c in range(TIMETAGGER_CHANNELS))
        if not inside and (now["clock"] - began) % (1 << 64) >= EMPTY_CLOCKS:
            return
        if time.monotonic() > deadline:
            what = f"{inside} edges are still inside" if inside else "node time stands still"
            raise DeviceError(f"{device.url}: {what} {timeout_s:g} s after all channels were disabled")
        time.sleep(EMPTY_CLOCKS / CLOCK_HZ)


def settings(device: Device) -> dict[str, Any]:
    """What a tagger is set to and how its calibration is, in physical units, for JSON. Of a recording without the memories."""
    check_tagger(device)
    read = device.read
    channels = min(read("CHANNELS"), TIMETAGGER_CHANNELS)
    front_end = read("FRONTEND")
    masks = {
        name: read(name)
        for name in (ENABLE, "EDGE", "PULSER_MASK", "WINDOW_ENABLE", "CAL_SOURCE", "CAL_HOLD", "CAL_RESET")
    }
    gates = filters = None
    if isinstance(device, PacketDevice):
        gates = [device.read_memory(name, 0, channels) for name in ("GATE_TABLE", "GATE_FROM", "GATE_TO")]
        filters = device.read_memory("FILTER_MASK", 0, channels)
    rows = []
    for c in range(channels):
        status = read(f"CAL_STATUS_{c}")
        row: dict[str, Any] = {
            "channel": c,
            "enabled": bool(masks[ENABLE] >> c & 1),
            "edge": "falling" if masks["EDGE"] >> c & 1 else "rising",
            "pulser": bool(masks["PULSER_MASK"] >> c & 1),
            "time_window": bool(masks["WINDOW_ENABLE"] >> c & 1),
            "delay_ps": read(f"DELAY_{c}") * TICK_PS,
            "dead_time_ps": read(f"DEAD_TIME_{c}") * TICK_PS,
            "veto_ps": [read(f"VETO_FROM_{c}") * TICK_PS, read(f"VETO_TO_{c}") * TICK_PS],
            "divider": max(1, read(f"DIVIDER_{c}")),
            "gate": None,
            "filter": None if filters is None else _bits(int(filters[c])),
            "calibration": None,
        }
        if gates is not None and int(gates[0][c]) & GATE_ENABLE:
            row["gate"] = {
                "by": int(gates[0][c]) & 31,
                "from_ps": int(gates[1][c]) * TICK_PS,
                "to_ps": int(gates[2][c]) * TICK_PS,
            }
        if front_end == DELAY_LINE:
            row["calibration"] = {
                "calibrated": bool(status & CALIBRATED),
                "refused": bool(status & NONUNIFORM),
                "scale_limit": bool(status & SCALE_LIMIT),
                "level": bool(status & LEVEL),
                "scale": read(f"SCALE_{c}") / (1 << SIGMA_SHIFT),
                "oscillator": bool(masks["CAL_SOURCE"] >> c & 1),
                "hold": bool(masks["CAL_HOLD"] >> c & 1),
                "reset": bool(masks["CAL_RESET"] >> c & 1),
            }
        rows.append(row)
    return {
        "url": device.url,
        "front_end": FRONT_ENDS[front_end] if front_end < len(FRONT_ENDS) else f"front end {front_end}",
        "lanes": read("LANES"),
        "chains": read("CHAINS"),
        "taps": read("TAPS"),
        "streams": _bits(read("STREAM_ENABLE")),
        "filter_window_ps": read("FILTER_WINDOW") * TICK_PS,
        "pulser_period_ns": read("PULSER_PERIOD") * 1e9 / CLOCK_HZ,
        "coincidences": [
            {
                "channels": _bits(read(f"COINCIDENCE_MASK_{v}")),
                "window_ps": read(f"COINCIDENCE_WINDOW_{v}") * TICK_PS,
            }
            for v in range(COINCIDENCES)
        ],
        "channels": rows,
    }


def _bits(mask: int) -> list[int]:
    return np.flatnonzero([mask >> i & 1 for i in range(32)]).tolist()
