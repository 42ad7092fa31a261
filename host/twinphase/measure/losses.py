"""Losses, and whether the node's own books balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinphase_spec.registers import CHANNELS

from ..device import Device


def losses(device: Device) -> dict[str, Any]:
    """What was lost since the device was opened: per stream with trouble, in damaged packets, and on this host.

    ``records`` and ``packets`` are totals over all streams; ``records`` includes what the node lost.
    """
    states = device.streams
    return {
        "records": sum(state.lost_records + state.node_lost_records for state in states.values()),
        "packets": sum(state.lost_packets for state in states.values()),
        "node_records": sum(state.node_lost_records for state in states.values()),
        "damaged_packets": sum(device.damage.values()),
        "silences": sum(state.silences for state in states.values()),
        "restarts": sum(state.restarts for state in states.values()),
        "transport": device.transport_losses,
        "streams": {
            stream.name.lower(): lost
            for stream, state in states.items()
            if (lost := state.lost_records + state.node_lost_records) or state.lost_packets
        },
    }


def unexplained_edges(counters: Mapping[str, int]) -> dict[str, int]:
    """Per channel ``seen - dead - dropped - tags - in_flight`` (modulo 2^64) of one server snapshot.

    0 unless the gateware is wrong."""
    return {
        name: (
            counters[f"seen_{name}"]
            - sum(counters[f"{kind}_{name}"] for kind in ("dead", "dropped", "tags", "in_flight"))
        )
        % (1 << 64)
        for name in CHANNELS
    }
