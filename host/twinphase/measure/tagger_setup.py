"""Setting up a time tagger: what a configuration says goes in while nothing is inside, and what is set now comes out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twinphase_spec.fixed import wrap_signed
from twinphase_spec.registers import TIMETAGGER, TIMETAGGER_CHANNELS
from twinphase_spec.tagger import COINCIDENCES, GATE_ENABLE, PARTS, absent_parts
from twinphase_spec.tdc import SIGMA_SHIFT
from twinphase_spec.units import CLOCK_HZ, TICK_PS, ticks_to_node

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

    Raises DeviceError, before anything is changed if the build does not have what is asked for; after a later failure all channels
    are off, and the sentence says so.
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
    if missing := [part for part in absent_parts(device.read("PARTS")) if part in used_parts(registers, memories)]:
        raise DeviceError(
            f"{device.url}: this build has no {', '.join(missing)}; leave them out of the configuration or use a larger board; "
            "nothing was changed"
        )
    registers, memories = in_node_ticks(registers, memories, device.identity().clock_hz)
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


TICKS = (
    "DELAY",
    "DEAD_TIME",
    "VETO_FROM",
    "VETO_TO",
    "FILTER_WINDOW",
    "COINCIDENCE_WINDOW",
    "PULSER_FINE",
    "WINDOW_FROM",
    "WINDOW_UNTIL",
)
"""Registers in ticks, and the first words of the names of those that each channel has."""
TICK_MEMORIES = ("GATE_FROM", "GATE_TO")


def in_node_ticks(
    registers: Mapping[str, int], memories: Mapping[str, Sequence[int]], clock_hz: int
) -> tuple[Mapping[str, int], Mapping[str, Sequence[int]]]:
    """Settings in ticks and clocks of `CLOCK_HZ` (`tagger_config.tagger_registers`) as those of a node that runs at ``clock_hz``.

    WALK, whose steps are powers of two of the node's own ticks, stays: a node that has it runs at `CLOCK_HZ`.
    """
    if clock_hz == CLOCK_HZ:
        return registers, memories

    def convert(name: str, value: int) -> int:
        entry = TIMETAGGER[name]
        if name == "PULSER_PERIOD":
            return ticks_to_node(value, clock_hz)
        if name.rstrip("_0123456789") not in TICKS:
            return value
        given = wrap_signed(value, 32) if entry.signed else value
        return min(ticks_to_node(given, clock_hz), (1 << entry.width) - 1)

    def convert_all(name: str, words: Sequence[int]) -> Sequence[int]:
        return [ticks_to_node(word, clock_hz) for word in words] if name in TICK_MEMORIES else words

    return (
        {name: convert(name, value) for name, value in registers.items()},
        {name: convert_all(name, words) for name, words in memories.items()},
    )


def used_parts(registers: Mapping[str, int], memories: Mapping[str, Sequence[int]]) -> set[str]:
    """Which of `twinphase_spec.tagger.PARTS` do something with these settings."""
    uses = {
        "gates": any(word & GATE_ENABLE for word in memories.get("GATE_TABLE", ())),
        "time window": bool(registers.get("WINDOW_ENABLE")),
        "conditional filter": any(memories.get("FILTER_MASK", ())),
        "coincidences": any(registers.get(f"COINCIDENCE_MASK_{v}") for v in range(COINCIDENCES)),
        "time walk": any(memories.get("WALK", ())),
    }
    return {part for part in PARTS if uses[part]}


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
    clock_hz = device.identity().clock_hz
    tick_ps = TICK_PS * CLOCK_HZ / clock_hz
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
            "delay_ps": read(f"DELAY_{c}") * tick_ps,
            "dead_time_ps": read(f"DEAD_TIME_{c}") * tick_ps,
            "veto_ps": [read(f"VETO_FROM_{c}") * tick_ps, read(f"VETO_TO_{c}") * tick_ps],
            "divider": max(1, read(f"DIVIDER_{c}")),
            "gate": None,
            "filter": None if filters is None else _bits(int(filters[c])),
            "calibration": None,
        }
        if gates is not None and int(gates[0][c]) & GATE_ENABLE:
            row["gate"] = {
                "by": int(gates[0][c]) & 31,
                "from_ps": int(gates[1][c]) * tick_ps,
                "to_ps": int(gates[2][c]) * tick_ps,
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
        "left_out": list(absent_parts(read("PARTS"))),
        "lanes": read("LANES"),
        "chains": read("CHAINS"),
        "taps": read("TAPS"),
        "streams": _bits(read("STREAM_ENABLE")),
        "filter_window_ps": read("FILTER_WINDOW") * tick_ps,
        "pulser_period_ns": read("PULSER_PERIOD") * 1e9 / clock_hz,
        "coincidences": [
            {
                "channels": _bits(read(f"COINCIDENCE_MASK_{v}")),
                "window_ps": read(f"COINCIDENCE_WINDOW_{v}") * tick_ps,
            }
            for v in range(COINCIDENCES)
        ],
        "channels": rows,
    }


def _bits(mask: int) -> list[int]:
    return np.flatnonzero([mask >> i & 1 for i in range(32)]).tolist()
