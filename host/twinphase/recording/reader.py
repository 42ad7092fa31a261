"""A recording as a device: the same record batches in the order of node time, without packets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import Stream
from twinphase_spec.registers import ID_MAGIC, Memory, NodeType, Register
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch, Gap, record_dtype
from ..device import Device, Identity, check_identity
from ..errors import DeviceError, RecordingError
from ..stream_state import StreamState
from .parts import part_paths, read_parts
from .ptu import read_tags
from .writer import FORMAT, GAPS, METADATA, TAGS

SLICE_TICKS = TICKS_PER_SECOND // 20
_Chunk = tuple[NDArray[Any], NDArray[np.int64]]


class Recording(Device):
    """The recording in a folder. Batches are slices of 50 ms of node time, as fast as they can be read.

    Registers read what they held when the recording began. Raises DeviceError when there is no such recording and
    RecordingError when it is damaged.
    """

    def __init__(self, path: str) -> None:
        self.url = path
        self.folder = Path(path)
        try:
            self.metadata = json.loads((self.folder / METADATA).read_text(encoding="utf-8"))
            identity = self.metadata["identity"]
            node = NodeType[identity["node"].upper()]
            words = [
                ID_MAGIC,
                node,
                *(identity[key] for key in ("interface_version", "clock_hz", "map_hash", "build_hash")),
            ]
            states = {Stream[name.upper()]: StreamState(**state) for name, state in self.metadata["streams"].items()}
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DeviceError(
                f"{path} is neither a device (udp://host:port, serial://port, lab:name) nor the folder of a recording"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordingError(
                f"{self.folder / METADATA} is damaged ({error}); tags and Parquet files stand alone"
            ) from error
        if self.metadata.get("format") != FORMAT:
            raise RecordingError(
                f"{path} has format {self.metadata.get('format')}, this host {FORMAT}: update Twinphase"
            )
        self.lab = self.metadata.get("lab")
        self._identity = check_identity(words, path)
        self._states = states

    def close(self) -> None:
        pass

    def identity(self) -> Identity:
        return self._identity

    @property
    def streams(self) -> Mapping[Stream, StreamState]:
        return self._states

    @property
    def damage(self) -> dict[str, int]:
        return self.metadata.get("damaged_packets", {})

    @property
    def transport_losses(self) -> dict[str, int]:
        return self.metadata.get("transport_losses", {})

    def read(self, register: str | Register) -> int:
        entry = self._register(register)
        try:
            return self.metadata["registers"][entry.name]
        except KeyError as error:
            raise DeviceError(f"{self.url} does not hold {entry.name}; it is a recording") from error

    def write(self, register: str | Register, value: int) -> None:
        raise DeviceError(f"{self.url} is a recording: its registers cannot be written")

    def read_memory(self, memory: str | Memory, start: int = 0, count: int | None = None) -> NDArray[np.uint32]:
        raise DeviceError(f"{self.url} is a recording: it holds no memories")

    def write_memory(self, memory: str | Memory, values: Sequence[int] | NDArray[Any], start: int = 0) -> None:
        raise DeviceError(f"{self.url} is a recording: its memories cannot be written")

    def batches(self, timeout_s: float = 0.1) -> Iterator[Batch]:
        cursors = {
            stream: _Cursor(lambda stream=stream: self._chunks(stream))  # type: ignore[misc]
            for stream in Stream
            if (stream is Stream.TAG and (self.folder / TAGS).exists()) or part_paths(self.folder, stream.name.lower())
        }
        gaps = self._gaps()
        while (
            start := min((c.next_ticks for c in cursors.values() if c.next_ticks is not None), default=None)
        ) is not None:
            stop = start + SLICE_TICKS
            batch = Batch()
            for stream, cursor in cursors.items():
                place = cursor.place
                records, ticks = cursor.take(stop)
                if not len(records):
                    continue
                batch.records[stream] = records
                if stream is not Stream.TAG:
                    batch.packet_ticks[stream] = ticks
                batch.time_ticks = max(int(ticks[-1]), batch.time_ticks or 0)
                _move_gaps(gaps, batch, stream, place, len(records))
            yield batch
        left = Batch(
            gaps={stream: [_shift(gap, cursors, stream) for gap in rest] for stream, rest in gaps.items() if rest}
        )
        if left.gaps:
            yield left

    def _chunks(self, stream: Stream) -> Iterator[_Chunk]:
        if stream is Stream.TAG:
            for tags, _ in read_tags(self.folder / TAGS):
                yield tags, tags["time_ticks"]
            return
        dtype = record_dtype(stream, self.map)
        for columns in read_parts(self.folder, stream.name.lower()):
            ticks = columns.pop("packet_ticks", None)
            if ticks is None or set(columns) != set(dtype.names or ()):
                raise RecordingError(
                    f"{self.folder}: the {stream.name.lower()} files have other columns than this host knows"
                )
            records = np.empty(len(ticks), dtype)
            for name, column in columns.items():
                records[name] = column
            yield records, ticks

    def _gaps(self) -> dict[Stream, list[Gap]]:
        """Gaps of each stream; ``index`` counts from the stream's first record."""
        gaps: dict[Stream, list[Gap]] = {}
        for columns in read_parts(self.folder, GAPS):
            rows = zip(
                *(columns[name].tolist() for name in ("stream", "record", "records", "packets", "time_ticks")),
                strict=True,
            )
            for stream, *fields in rows:
                gaps.setdefault(Stream(stream), []).append(Gap(*fields))
        return gaps


class _Cursor:
    """Walks through a stream's chunks by time. Ticks rise within a stream."""

    def __init__(self, chunks: Callable[[], Iterator[_Chunk]]) -> None:
        self._chunks = chunks()
        self._chunk: _Chunk | None = None
        self.place = 0
        self._advance()

    def _advance(self) -> None:
        self._chunk = next((chunk for chunk in self._chunks if len(chunk[0])), None)

    @property
    def next_ticks(self) -> int | None:
        return None if self._chunk is None else int(self._chunk[1][0])

    def take(self, stop: int) -> _Chunk:
        """Everything before ``stop`` ticks."""
        taken: list[_Chunk] = []
        while self._chunk is not None and self._chunk[1][0] < stop:
            records, ticks = self._chunk
            count = int(np.searchsorted(ticks, stop))
            taken.append((records[:count], ticks[:count]))
            if count == len(ticks):
                self._advance()
            else:
                self._chunk = records[count:], ticks[count:]
        if not taken:
            return np.empty(0), np.empty(0, np.int64)
        self.place += sum(len(records) for records, _ in taken)
        return np.concatenate([records for records, _ in taken]), np.concatenate([ticks for _, ticks in taken])


def _move_gaps(gaps: dict[Stream, list[Gap]], batch: Batch, stream: Stream, place: int, count: int) -> None:
    """Move the gaps that lie before one of the ``count`` records from ``place`` into the batch."""
    pending = gaps.get(stream, [])
    inside = [gap for gap in pending if gap.index < place + count]
    if inside:
        batch.gaps[stream] = [Gap(max(0, g.index - place), g.records, g.packets, g.time_ticks) for g in inside]
        gaps[stream] = pending[len(inside) :]


def _shift(gap: Gap, cursors: Mapping[Stream, _Cursor], stream: Stream) -> Gap:
    place = cursors[stream].place if stream in cursors else 0
    return Gap(max(0, gap.index - place), gap.records, gap.packets, gap.time_ticks)
