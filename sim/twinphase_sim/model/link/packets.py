"""Reference packer: the packets of one stream from its records and their acceptance clocks, and the way back.

Source: `twinphase_spec.packets` and ``link.packer`` of docs/contract.md. Where those leave a cycle open, this model takes:

* a record accepted at the clock of a tick is in the next packet;
* a packet that closes because it is full carries the clock at which its last record was accepted;
* a TAG packet's base is its first tag's time (of an empty one: the tick), rounded down to 2^25 ticks;
* a packet that closes at a heartbeat tick belongs to the interval that ends there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.link.t2 import TIME_MASK, decode_t2, t2_words
from twinphase_spec.packets import (
    FLUSH_BITS,
    HEADER_DTYPE,
    HEARTBEAT_BITS,
    MAGIC,
    MAX_PAYLOAD_WORDS,
    RECORD_DTYPES,
    T2_TIME_BITS,
    VERSION,
    Stream,
)
from twinphase_spec.units import FRACTION_BITS

TAG_DTYPE = np.dtype([("time", "<u8"), ("channel", "u1")])
"""A tag as a record of the reference packer."""


@dataclass(frozen=True)
class Packet:
    """A packet of a data stream, taken apart."""

    header: NDArray[np.void]
    """One HEADER_DTYPE element."""
    records: NDArray[np.void]
    """TAG: TAG_DTYPE; STATUS: uint64 counters, one row per record; else the stream's record dtype."""


def pack(
    stream: Stream,
    records: NDArray[np.void],
    clocks: NDArray[np.int64],
    *,
    until_clock: int,
    start_clock: int = 0,
    lost: NDArray[np.bool_] | None = None,
) -> list[bytes]:
    """All packets that ``stream`` closes after ``start_clock`` and up to ``until_clock``, as bytes.

    ``records`` are in order: TAG_DTYPE for tags, else the stream's record dtype (STATUS packets are snapshots, not closed by a clock);
    ``clocks`` are the rising clock counts of their acceptance. ``lost`` replays which records found no room: they are in no packet,
    but counted. Raises ValueError.
    """
    clocks = np.asarray(clocks, dtype=np.int64)
    if len(records) != clocks.size or (np.diff(clocks) < 0).any():
        raise ValueError(
            f"packer: {len(records)} records have {clocks.size} clocks; allowed: one rising clock per record"
        )
    gone = np.zeros(clocks.size, dtype=np.bool_) if lost is None else np.asarray(lost, dtype=np.bool_)
    lost_clocks, records, clocks = clocks[gone], records[~gone], clocks[~gone]
    packets: list[bytes] = []

    def close(first: int, stop: int, clock: int) -> None:
        payload, base = _payload(stream, records[first:stop], clock)
        header = np.zeros(1, dtype=HEADER_DTYPE)
        header["stream"], header["version"], header["magic"] = stream, VERSION, MAGIC
        header["sequence"], header["words"] = len(packets) & 0xFFFFFFFF, payload.size
        header["base_ticks"], header["lost"] = base, np.searchsorted(lost_clocks, clock)
        header["first_record"] = first & 0xFFFFFFFF
        packets.append(header.tobytes() + payload.astype("<u4").tobytes())

    heartbeat = _next_tick(start_clock, HEARTBEAT_BITS)
    first, closed_since_heartbeat = 0, False
    while True:
        stop, clock = _closing(stream, records, clocks, first)
        while heartbeat < clock and heartbeat <= until_clock:
            if not closed_since_heartbeat:
                close(first, first, heartbeat)
            closed_since_heartbeat = False
            heartbeat += 1 << HEARTBEAT_BITS
        if clock > until_clock:
            return packets
        close(first, stop, clock)
        first, closed_since_heartbeat = stop, True
        if clock == heartbeat:
            closed_since_heartbeat = False
            heartbeat += 1 << HEARTBEAT_BITS


def unpack(data: bytes) -> Packet:
    """A packet of a data stream taken apart. Raises ValueError when its magic, version, stream or length is wrong."""
    header = np.frombuffer(data[: HEADER_DTYPE.itemsize], dtype=HEADER_DTYPE)
    payload = np.frombuffer(data[HEADER_DTYPE.itemsize :], dtype="<u4")
    wrong = not header.size or header["magic"][0] != MAGIC or header["version"][0] != VERSION
    if wrong or header["words"][0] != payload.size:
        raise ValueError(
            f"packet of {len(data)} bytes has a wrong magic, version or length; it is not a Twinphase packet"
        )
    stream = Stream(int(header["stream"][0]))
    if stream is Stream.TAG:
        times, channels = decode_t2(payload, int(header["base_ticks"][0]))
        records = np.zeros(times.size, dtype=TAG_DTYPE)
        records["time"], records["channel"] = times, channels
        return Packet(header=header[0], records=records)
    dtype = np.dtype("<u8") if stream is Stream.STATUS else RECORD_DTYPES[stream]
    return Packet(header=header[0], records=payload.view(dtype))


def _next_tick(clock: int, bits: int) -> int:
    """First multiple of 2^bits after ``clock``."""
    return ((clock >> bits) + 1) << bits


def _closing(stream: Stream, records: NDArray[np.void], clocks: NDArray[np.int64], first: int) -> tuple[int, int]:
    """(end of the packet that begins with record ``first``, clock at which it closes); far away without records."""
    if first >= clocks.size:
        return first, 1 << 62
    flush = _next_tick(int(clocks[first]), FLUSH_BITS[stream])
    by_flush = int(np.searchsorted(clocks, flush))
    ahead = slice(first, min(by_flush, first + MAX_PAYLOAD_WORDS))
    if stream is Stream.TAG:
        periods = (records["time"][ahead] >> np.uint64(T2_TIME_BITS)).astype(np.int64)
        words = np.cumsum(1 + (np.diff(periods, prepend=periods[:1]) != 0))
        largest = 2
    else:
        largest = records.dtype.itemsize // 4
        words = largest * np.arange(1, ahead.stop - first + 1)
    full = int(np.searchsorted(words, MAX_PAYLOAD_WORDS - largest, side="right"))  # first record after which it is full
    if full < words.size:
        return first + full + 1, int(clocks[first + full])
    return by_flush, flush


def _payload(stream: Stream, records: NDArray[np.void], clock: int) -> tuple[NDArray[np.uint32], int]:
    """(payload words, base in ticks) of a packet that closes at ``clock``."""
    if stream is not Stream.TAG:
        return np.ascontiguousarray(records).reshape(-1).view("<u4"), clock << FRACTION_BITS
    base = (int(records["time"][0]) if records.size else clock << FRACTION_BITS) & ~TIME_MASK
    return t2_words(records["time"], records["channel"], base), base
