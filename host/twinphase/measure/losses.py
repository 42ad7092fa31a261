"""Losses, and whether the node's own books balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twinphase_spec.registers import CHANNELS, TIMETAGGER_CHANNELS
from twinphase_spec.tagger import CHANNEL_COUNTERS

from ..batch import Batch
from ..device import Device

_SERVER_CAME: tuple[str, ...] = ("seen",)
_SERVER_WENT: tuple[str, ...] = ("dead", "dropped", "tags", "in_flight")
_TAGGER_CAME: tuple[str, ...] = ("seen", "generated")
_TAGGER_WENT: tuple[str, ...] = tuple(name for name, _ in CHANNEL_COUNTERS[2:11])
"""The identity is over the first eleven counters of a channel."""


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


class RestartWatch:
    """Sees that a node has started anew: its numbers or its time begin again, and its settings may be gone."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._restarts = self._count()
        self._ticks: int | None = None

    def _count(self) -> int:
        return sum(state.restarts for state in self._device.streams.values())

    def restarted(self, batch: Batch) -> bool:
        """Whether that happened before or in ``batch``, the next one of the device."""
        before, now = self._ticks, batch.time_ticks
        self._ticks = before if now is None else now
        return self._count() > self._restarts or (before is not None and now is not None and now < before)


def unexplained_edges(counters: Mapping[str, int]) -> dict[str, int]:
    """Per channel of one snapshot (modulo 2^64) what the node's own books leave open; 0 unless the gateware is wrong.

    Server: ``seen - dead - dropped - tags - in_flight``. Time tagger: ``seen + generated - overrun - dead - vetoed - divided -
    dropped - gated - filtered - tags - in_flight``. Empty for a node without channels.
    """
    if f"seen_{CHANNELS[0]}" in counters:
        names: Sequence[str] = CHANNELS
        came, went = _SERVER_CAME, _SERVER_WENT
    else:
        names = [name for name in map(str, range(TIMETAGGER_CHANNELS)) if f"seen_{name}" in counters]
        came, went = _TAGGER_CAME, _TAGGER_WENT
    return {
        name: (sum(counters[f"{kind}_{name}"] for kind in came) - sum(counters[f"{kind}_{name}"] for kind in went))
        % (1 << 64)
        for name in names
    }
