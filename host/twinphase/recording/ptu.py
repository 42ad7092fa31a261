"""PTU files of T2 tags: our own writer and reader of the format (PicoQuant, "Unified TTTR file format").

A file is a header of typed tags of 48 bytes (name 32, index int32, type uint32, value 8, then a string's bytes) and T2 words
of the HydraHarp V2 / MultiHarp kind (`twinphase_spec.packets`). One time unit is 125/128 ps. The number of words in the
header is brought up to date with every write, so that the file is readable at any time, also after a full disk.

Times are node times. Where the node has run for more than a minute before the first tag, they count from an origin instead,
a multiple of 2^25 ticks that is in the header (``Twinphase_TimeOriginTicks``): the way from 0 would fill the file with
overflow words.
"""

from __future__ import annotations

import datetime
import os
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import packets as wire
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import TAG_DTYPE, Gap
from ..errors import RecordingError
from ..packets import decode_t2

MAGIC = b"PQTTTR\0\0" + b"1.0.00\0\0"
RECORD_TYPE_T2 = 0x00010207
"""rtMultiHarpT2: the words of HydraHarp V2."""
RESOLUTION_S = 125 / 128 * 1e-12
TY_EMPTY, TY_BOOL, TY_INT, TY_FLOAT, TY_TIME, TY_STRING = (
    0xFFFF0008,
    0x00000008,
    0x10000008,
    0x20000008,
    0x21000008,
    0x4001FFFF,
)
MAX_OVERFLOW = 127
"""Periods per overflow word. The format allows 2^25 - 1, but ptufile 2026.2 computes the product with 2^25 in 32 bits."""
LATEST_ORIGIN_TICKS = 60 * TICKS_PER_SECOND
TIME_MASK = (1 << wire.T2_TIME_BITS) - 1
OVERFLOW_WORD = wire.T2_SPECIAL | wire.T2_OVERFLOW_CHANNEL << wire.T2_CHANNEL_SHIFT
MARKER_WORD = wire.T2_SPECIAL | wire.T2_GAP_MARKER << wire.T2_CHANNEL_SHIFT
LAST_MARKER_KIND = 64 + 15
"""T2 words of special channel 1 to 15 are markers (0: a sync)."""
COUNT_TAG = b"TTResult_NumberOfRecords"
ORIGIN_TAG = b"Twinphase_TimeOriginTicks"
CHUNK_WORDS = 1 << 20


def _tag(name: str, kind: int, value: Any = 0) -> bytes:
    data = b""
    if kind == TY_STRING:
        data = value.encode("ascii", "replace") + b"\0"
        data += bytes(-len(data) % 8)
        raw = struct.pack("<q", len(data))
    else:
        raw = struct.pack("<d" if kind in (TY_FLOAT, TY_TIME) else "<q", value)
    return struct.pack("<32siI", name.encode(), -1, kind) + raw + data


def header(comment: str, created: datetime.datetime) -> bytes:
    """A header for no records yet and origin 0."""
    ole_date = (created.replace(tzinfo=None) - datetime.datetime(1899, 12, 30)).total_seconds() / 86400
    return MAGIC + b"".join(
        (
            _tag("File_GUID", TY_STRING, f"{{{str(uuid.uuid4()).upper()}}}"),
            _tag("File_Comment", TY_STRING, comment),
            _tag("File_CreatingTime", TY_TIME, ole_date),
            _tag("CreatorSW_Name", TY_STRING, "Twinphase"),
            _tag("Measurement_Mode", TY_INT, 2),  # T2
            _tag("Measurement_SubMode", TY_INT, 0),
            _tag("TTResultFormat_TTTRRecType", TY_INT, RECORD_TYPE_T2),
            _tag("TTResultFormat_BitsPerRecord", TY_INT, 32),
            _tag("MeasDesc_BinningFactor", TY_INT, 1),
            _tag("MeasDesc_GlobalResolution", TY_FLOAT, RESOLUTION_S),
            _tag("MeasDesc_Resolution", TY_FLOAT, RESOLUTION_S),
            _tag("TTResult_SyncRate", TY_INT, TICKS_PER_SECOND),  # T2 has no sync; readers want a number
            _tag("TTResult_StopAfter", TY_INT, 0),
            _tag(ORIGIN_TAG.decode(), TY_INT, 0),
            _tag(COUNT_TAG.decode(), TY_INT, 0),
            _tag("Header_End", TY_EMPTY),
        )
    )


def encode(tags: NDArray[Any], gaps: list[Gap], period: int, last_ticks: int) -> tuple[NDArray[np.uint32], int, int]:
    """T2 words of time-ordered ``tags`` (TAG_DTYPE) with a marker at each gap.

    ``period`` is the number of 2^25-tick periods that the file has counted so far, ``last_ticks`` its last time. Returns
    ``(words, period, unordered)``; ``unordered`` tags lay before an earlier one and are left out: T2 cannot hold them.
    """
    if not gaps and (words := _encode_plain(tags, period, last_ticks)) is not None:
        return words, int(tags["time_ticks"][-1]) >> wire.T2_TIME_BITS, 0
    ticks, channel = tags["time_ticks"], tags["channel"].astype(np.int64)
    word = channel << wire.T2_CHANNEL_SHIFT | ticks & TIME_MASK
    if gaps:
        at = np.array([gap.index for gap in gaps])
        before = np.concatenate(([last_ticks], ticks))[
            at
        ]  # a marker stands at the packet's base, but never back in time
        marks = np.maximum(before, np.array([gap.time_ticks for gap in gaps]))
        if len(ticks):
            after = np.where(at < len(ticks), ticks[np.minimum(at, len(ticks) - 1)], marks)
            marks = np.where(after >= before, np.minimum(marks, after), before)
        ticks = np.insert(ticks, at, marks)
        word = np.insert(word, at, MARKER_WORD | marks & TIME_MASK)
    newest = np.maximum.accumulate(np.maximum(ticks, last_ticks))
    ordered = ticks == newest
    ticks, word = ticks[ordered], word[ordered]
    unordered = int(np.count_nonzero(~ordered))
    if not len(ticks):
        return np.empty(0, np.uint32), period, unordered
    periods = ticks >> wire.T2_TIME_BITS
    step = np.diff(periods, prepend=period)
    overflows = -(-step // MAX_OVERFLOW)
    positions = np.arange(len(word)) + np.cumsum(overflows)
    words = np.full(len(word) + int(overflows.sum()), OVERFLOW_WORD | MAX_OVERFLOW, np.int64)
    words[positions] = word
    jumps = overflows > 0
    words[positions[jumps] - 1] = OVERFLOW_WORD | (step[jumps] - (overflows[jumps] - 1) * MAX_OVERFLOW)
    return words.astype(np.uint32), int(periods[-1]), unordered


def _encode_plain(tags: NDArray[Any], period: int, last_ticks: int) -> NDArray[np.uint32] | None:
    """As `encode`, in a tenth of its time, for what fast tags are: in order, without a gap, and without a pause longer than one overflow
    word tells (4.2 ms). None for any others."""
    ticks = np.ascontiguousarray(tags["time_ticks"])
    if not len(ticks) or ticks[0] < last_ticks or (ticks[1:] < ticks[:-1]).any():
        return None
    word = tags["channel"].astype(np.uint32)
    word <<= wire.T2_CHANNEL_SHIFT
    word |= ticks.astype(np.uint32) & np.uint32(TIME_MASK)  # the low words
    periods = ticks >> wire.T2_TIME_BITS
    jumps = np.flatnonzero(periods[1:] != periods[:-1]) + 1
    if periods[0] != period:
        jumps = np.concatenate(([0], jumps))
    steps = periods[jumps] - np.where(jumps > 0, periods[jumps - 1], period)
    if len(steps) and steps.max() > MAX_OVERFLOW:
        return None
    return np.insert(word, jumps, (OVERFLOW_WORD | steps).astype(np.uint32))


class PtuWriter:
    """Writes tags as they come. OSError when the disk is full; what was written before stays readable."""

    def __init__(self, path: Path, comment: str, created: datetime.datetime) -> None:
        head = header(comment, created)
        self._count_at, self._origin_at = head.index(COUNT_TAG) + 40, head.index(ORIGIN_TAG) + 40
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115  (unbuffered: a failed write must not be tried again)
        self._data_at = len(head)
        self.words = 0
        self.tags = 0
        self.unordered = 0
        """Tags left out because they lay before an earlier one."""
        self._period = 0
        self._last_ticks = 0
        self.origin_ticks: int | None = None
        self._write(head)

    def write(self, tags: NDArray[Any], gaps: list[Gap] | None = None) -> None:
        """Append tags of TAG_DTYPE; ``gaps`` as in `Batch`."""
        gaps = gaps or []
        if self.origin_ticks is None and (len(tags) or gaps):
            self._set_origin(int(tags["time_ticks"][0]) if len(tags) else gaps[0].time_ticks)
        words, period, unordered = encode(tags, gaps, self._period, self._last_ticks)
        self.unordered += unordered
        if not len(words):
            return
        try:
            self._write(words.tobytes())
        finally:
            self.words = (self._file.tell() - self._data_at) // 4
            self._file.seek(self._data_at + 4 * self.words)
            self._patch(self._count_at, self.words)
        self._period = period
        self._last_ticks = period << wire.T2_TIME_BITS | int(words[-1]) & TIME_MASK
        self.tags += int(np.count_nonzero(words < wire.T2_SPECIAL))

    def _set_origin(self, first_ticks: int) -> None:
        self._period = first_ticks >> wire.T2_TIME_BITS if first_ticks > LATEST_ORIGIN_TICKS else 0
        self.origin_ticks = self._last_ticks = self._period << wire.T2_TIME_BITS
        self._patch(self._origin_at, self.origin_ticks)

    def _patch(self, offset: int, value: int) -> None:
        end = self._file.tell()
        self._file.seek(offset)
        self._file.write(struct.pack("<q", value))
        self._file.seek(end)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def close(self) -> None:
        """Finish the file: cut a half-written word and bring it to the disk."""
        if not self._file.closed:
            self._file.truncate(self._data_at + 4 * self.words)
            try:
                os.fsync(self._file.fileno())
            finally:
                self._file.close()


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """``(tags by name, offset of the data)``. Raises RecordingError, also for a truncated or damaged header."""
    fault = f"{path} is not a readable PTU file"
    try:
        with open(path, "rb") as file:
            if file.read(8) != MAGIC[:8]:
                raise RecordingError(f"{fault}: it does not begin with PQTTTR")
            file.read(8)
            tags: dict[str, Any] = {}
            while True:
                entry = file.read(48)
                if len(entry) < 48:
                    raise RecordingError(f"{fault}: its header is cut off; use another copy of the file")
                name, _, kind, raw = struct.unpack("<32siI8s", entry)
                value: Any = struct.unpack("<d" if kind in (TY_FLOAT, TY_TIME) else "<q", raw)[0]
                if kind in (TY_STRING, 0x4002FFFF, 0x2001FFFF, 0xFFFFFFFF):  # text, wide text, floats, blob
                    if not 0 <= value <= 1 << 24:
                        raise RecordingError(f"{fault}: its header is damaged; use another copy of the file")
                    value = file.read(value)
                    value = value.rstrip(b"\0").decode("ascii", "replace") if kind == TY_STRING else value
                key = name.rstrip(b"\0").decode("ascii", "replace")
                if key == "Header_End":
                    break
                tags[key] = value
            offset = file.tell()
    except OSError as error:
        raise RecordingError(f"{fault}: {error.strerror}") from error
    if tags.get("TTResultFormat_TTTRRecType") not in (RECORD_TYPE_T2, 0x01010204):
        raise RecordingError(f"{fault} of T2 tags (MultiHarp or HydraHarp V2 record type)")
    if abs(tags.get("MeasDesc_GlobalResolution", 0) / RESOLUTION_S - 1) > 1e-9:
        raise RecordingError(f"{fault} with Twinphase's resolution of 125/128 ps; convert its times first")
    return tags, offset


def read_tags(path: Path) -> Iterator[tuple[NDArray[Any], list[Gap]]]:
    """Tags (TAG_DTYPE) of a file in chunks, with the marked gaps (their sizes are in the recording's metadata).

    Of a file that is cut off or damaged, all before that place; then RecordingError.
    """
    header_tags, offset = read_header(path)
    period = header_tags.get(ORIGIN_TAG.decode(), 0) >> wire.T2_TIME_BITS
    promised, read = header_tags.get(COUNT_TAG.decode(), 0), 0
    fault = ""
    with open(path, "rb") as file:
        file.seek(offset)
        while not fault and (data := file.read(4 * CHUNK_WORDS)):
            words = np.frombuffer(data[: len(data) & ~3], "<u4")
            kind = words >> wire.T2_CHANNEL_SHIFT
            unknown = np.flatnonzero((kind > LAST_MARKER_KIND) & (kind != OVERFLOW_WORD >> wire.T2_CHANNEL_SHIFT))
            if unknown.size:
                fault = f"is damaged at word {read + unknown[0]}"
                words, kind = words[: unknown[0]], kind[: unknown[0]]
            read += len(words)
            overflow = kind == OVERFLOW_WORD >> wire.T2_CHANNEL_SHIFT
            periods = period + np.cumsum(np.where(overflow, words & TIME_MASK, 0).astype(np.int64))
            ticks, is_tag = decode_t2(words, periods)
            tags = np.empty(np.count_nonzero(is_tag), TAG_DTYPE)
            tags["time_ticks"], tags["channel"] = ticks[is_tag], kind[is_tag] & 63
            places = np.cumsum(is_tag)
            marked = np.flatnonzero(kind == MARKER_WORD >> wire.T2_CHANNEL_SHIFT)
            yield tags, [Gap(index=int(places[i]), records=0, packets=0, time_ticks=int(ticks[i])) for i in marked]
            period = int(periods[-1]) if len(periods) else period
    if not fault and read < promised:
        fault = f"ends after {read} of {promised} words"
    if fault:
        raise RecordingError(f"{path} {fault}; what comes before was read, for the rest use another copy of the file")
