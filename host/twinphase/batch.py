"""What measurements work on: the decoded records that a device delivered at once, per stream."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import RECORD_DTYPES, Stream
from twinphase_spec.registers import RegisterMap
from twinphase_spec.units import CLOCK_HZ, ticks_from_node

TAG_DTYPE = np.dtype([("time_ticks", "<i8"), ("channel", "u1")])
"""A decoded click: absolute node time in ticks (125/128 ps at 125 MHz) and channel number."""


def record_dtype(stream: Stream, node_map: RegisterMap) -> np.dtype[Any]:
    """dtype of the decoded records of ``stream``: TAG_DTYPE for tags, one unsigned 64-bit field per counter for STATUS
    (names of ``node_map.counters``), otherwise the wire's dtype from `twinphase_spec.packets`."""
    if stream is Stream.TAG:
        return TAG_DTYPE
    if stream is Stream.STATUS:
        return np.dtype([(name, "<u8") for name in node_map.counter_names])
    return RECORD_DTYPES[stream]


@dataclass(frozen=True)
class Gap:
    """A place in a stream where records are missing."""

    index: int
    """Position in the batch's array: the loss lies before ``records[stream][index]``."""
    records: int
    """Records known to be missing here (lost in the node or with lost packets)."""
    packets: int
    """Packets missing here; 0 when the node itself lost the records."""
    time_ticks: int
    """Time base of the first packet after the gap."""


@dataclass
class Batch:
    """Records of several streams; streams without records are absent from ``records``."""

    records: dict[Stream, NDArray[Any]] = field(default_factory=dict)
    """Structured arrays of `record_dtype`, in the order of the stream."""
    packet_ticks: dict[Stream, NDArray[np.int64]] = field(default_factory=dict)
    """For each record of a stream other than TAG, the node's time in ticks at which its packet was closed."""
    gaps: dict[Stream, list[Gap]] = field(default_factory=dict)
    time_ticks: int | None = None
    """Newest node time known with this batch, in ticks; None when nothing has arrived yet."""

    def __len__(self) -> int:
        return sum(len(array) for array in self.records.values())

    def __getitem__(self, stream: Stream) -> NDArray[Any]:
        """The stream's records. KeyError when the batch has none."""
        return self.records[stream]

    def get(self, stream: Stream) -> NDArray[Any] | None:
        """The stream's records or None."""
        return self.records.get(stream)


def in_host_ticks(batch: Batch, clock_hz: int) -> Batch:
    """The batch of a node that runs at ``clock_hz``, its own ticks converted to those of `CLOCK_HZ` (`ticks_from_node`), in which all
    measurements and recordings count."""
    if clock_hz == CLOCK_HZ:
        return batch

    def one(ticks: int) -> int:
        return int(ticks_from_node(np.array([ticks], np.int64), clock_hz)[0])

    if (tags := batch.records.get(Stream.TAG)) is not None:
        tags["time_ticks"] = ticks_from_node(tags["time_ticks"], clock_hz)
    return replace(
        batch,
        packet_ticks={stream: ticks_from_node(ticks, clock_hz) for stream, ticks in batch.packet_ticks.items()},
        gaps={
            stream: [replace(gap, time_ticks=one(gap.time_ticks)) for gap in gaps]
            for stream, gaps in batch.gaps.items()
        },
        time_ticks=None if batch.time_ticks is None else one(batch.time_ticks),
    )
