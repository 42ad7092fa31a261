"""Recording while streaming: one folder with tags.ptu, Parquet parts of the other streams, and recording.json."""

from __future__ import annotations

import datetime
import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import Stream
from twinphase_spec.registers import Access, NodeType
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import TAG_DTYPE, Batch
from ..device import Device
from ..errors import DeviceError, RecordingError
from ..measure.losses import RestartWatch
from .parts import PartWriter
from .ptu import PtuWriter

FORMAT = 1
METADATA = "recording.json"
TAGS = "tags.ptu"
GAPS = "gaps"
PART_S = 10.0
PART_RECORDS = 1 << 18
RESERVES = {"reserve": 4 << 20, "reserve-metadata": 1 << 14}
"""Files that keep disk space for the last parts, and then for the metadata, should the disk run full; at most a sixteenth of
what is free for the first."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Recorder:
    """Writes the batches of one device into a new folder. Raises RecordingError when the folder cannot be used.

    `write` and `close` raise OSError as the system does; `record` turns a full disk into a clean end.
    """

    def __init__(self, device: Device, folder: Path, *, lab: str | None = None, part_s: float = PART_S) -> None:
        self.device, self.folder = device, folder
        self._part_s = part_s
        self._parts: dict[str, PartWriter] = {}
        self._places: dict[Stream, int] = {}
        self._ptu: PtuWriter | None = None
        self._closed = False
        self.records = 0
        """Records taken in."""
        self.first_ticks: int | None = None
        self.last_ticks: int | None = None
        started = datetime.datetime.now(datetime.UTC)
        identity = device.identity()
        self._metadata: dict[str, Any] = {
            "format": FORMAT,
            "software": f"twinphase {version('twinphase')}",
            "url": device.url,
            "lab": lab or device.lab,
            "started_utc": started.isoformat(),
            "identity": identity.as_dict(),
            "registers": _registers(device),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise RecordingError(f"folder {folder} is not empty; choose another one for the recording")
            free = shutil.disk_usage(folder).free
            for name, size in RESERVES.items():
                (folder / name).write_bytes(bytes(min(size, max(free // 16, RESERVES["reserve-metadata"]))))
            if identity.node in (NodeType.SERVER, NodeType.TIMETAGGER):
                comment = f"{device.url} {lab or device.lab or ''}".strip()
                self._ptu = PtuWriter(folder / TAGS, comment, started)
            self._write_metadata("running")
        except OSError as error:
            raise RecordingError(f"cannot record into {folder}: {error.strerror}; choose another folder") from error
        self._part_due_s = time.monotonic() + part_s

    @property
    def seconds(self) -> float:
        """Node time recorded so far."""
        if self.first_ticks is None or self.last_ticks is None:
            return 0.0
        return (self.last_ticks - self.first_ticks) / TICKS_PER_SECOND

    def write(self, batch: Batch) -> None:
        """Append a batch."""
        if batch.time_ticks is not None:
            self.first_ticks = batch.time_ticks if self.first_ticks is None else self.first_ticks
            self.last_ticks = batch.time_ticks
        self._note_gaps(batch)
        for stream, records in batch.records.items():
            self._places[stream] = self._places.get(stream, 0) + len(records)
            self.records += len(records)
            if stream is not Stream.TAG:
                columns = {"packet_ticks": batch.packet_ticks[stream]}
                self._part(stream.name.lower()).append(
                    columns | {name: records[name] for name in records.dtype.names or ()}
                )
        if self._ptu and (Stream.TAG in batch.records or Stream.TAG in batch.gaps):
            tags = batch.records.get(Stream.TAG)
            self._ptu.write(_NO_TAGS if tags is None else tags, batch.gaps.get(Stream.TAG))
        waiting = max((part.waiting for part in self._parts.values()), default=0)
        if waiting >= PART_RECORDS or time.monotonic() >= self._part_due_s:
            self._part_due_s = time.monotonic() + self._part_s
            for part in self._parts.values():
                part.flush()
            self._write_metadata("running")

    def close(self, ended: str) -> None:
        """Finish all files; ``ended`` says why. Whatever cannot be written any more is counted as unsaved."""
        if self._closed:
            return
        self._closed = True
        space_of_parts, space_of_metadata = (self.folder / name for name in RESERVES)
        space_of_parts.unlink(missing_ok=True)
        failure: OSError | None = None
        for finish in (*(part.flush for part in self._parts.values()), *([self._ptu.close] if self._ptu else [])):
            try:
                finish()
            except OSError as error:
                failure = error
        space_of_metadata.unlink(missing_ok=True)
        self._write_metadata(_reason(failure) if failure else ended)
        if failure:
            raise failure

    def _part(self, name: str) -> PartWriter:
        if name not in self._parts:
            self._parts[name] = PartWriter(self.folder, name)
        return self._parts[name]

    def _note_gaps(self, batch: Batch) -> None:
        for stream, gaps in batch.gaps.items():
            start = self._places.get(stream, 0)
            columns: dict[str, NDArray[Any]] = {
                "stream": np.full(len(gaps), int(stream), np.uint8),
                "record": np.array([start + gap.index for gap in gaps], np.int64),
                "records": np.array([gap.records for gap in gaps], np.int64),
                "packets": np.array([gap.packets for gap in gaps], np.int64),
                "time_ticks": np.array([gap.time_ticks for gap in gaps], np.int64),
            }
            self._part(GAPS).append(columns)

    def summary(self) -> dict[str, Any]:
        """What was recorded and lost so far, as it stands in the metadata."""
        saved = {name: part.records for name, part in self._parts.items() if name != GAPS}
        unsaved = {name: part.waiting for name, part in self._parts.items() if part.waiting}
        if self._ptu:
            saved["tag"] = self._ptu.tags
        return {
            "node_seconds": self.seconds,
            "records": saved,
            "unsaved_records": unsaved,
            "unordered_tags": self._ptu.unordered if self._ptu else 0,
            "streams": {stream.name.lower(): state.as_dict() for stream, state in self.device.streams.items()},
            "damaged_packets": dict(self.device.damage),
            "transport_losses": self.device.transport_losses,
            "receive_buffer_bytes": self.device.receive_buffer_bytes,
        }

    def _write_metadata(self, ended: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        metadata = self._metadata | {"ended": ended, "ended_utc": now} | self.summary()
        unfinished = self.folder / (METADATA + ".unfinished")
        try:
            unfinished.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
            os.replace(unfinished, self.folder / METADATA)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise


def record(
    device: Device,
    folder: Path,
    *,
    seconds: float | None = None,
    lab: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Recorder], None] = lambda recorder: None,
    part_s: float = PART_S,
) -> dict[str, Any]:
    """Record until ``seconds`` of node time, the device's end or ``stop()``; the summary of the recording.

    Raises RecordingError when the disk is full; what was recorded before is complete and readable then.
    """
    recorder = Recorder(device, folder, lab=lab, part_s=part_s)
    ended = "device error"
    try:
        ended, restart = "device ended", RestartWatch(device)
        for batch in device.batches():
            if restart.restarted(batch):
                recorder.close("node restarted")
                raise DeviceError(
                    f"{device.url} has started anew: the recording in {folder} ends after {recorder.seconds:.3f} s and is readable up to "
                    "there; set the node up again and record into another folder"
                )
            recorder.write(batch)
            progress(recorder)
            if stop():
                ended = "stopped"
                break
            if seconds is not None and recorder.seconds >= seconds:
                ended = "time over"
                break
        recorder.close(ended)
    except OSError as error:
        _close_quietly(recorder, _reason(error))
        reason = "the disk is full" if error.errno in _FULL else f"writing failed ({error.strerror})"
        raise RecordingError(
            f"{reason}: the recording in {folder} ends after {recorder.seconds:.3f} s and is readable up to there; "
            "free space or choose another disk, then record again"
        ) from error
    except BaseException as error:
        _close_quietly(recorder, "device error" if isinstance(error, DeviceError) else "interrupted")
        raise
    return {"folder": str(folder), "ended": ended} | recorder.summary()


def _reason(error: OSError) -> str:
    return "disk full" if error.errno in _FULL else "write error"


def _close_quietly(recorder: Recorder, ended: str) -> None:
    """Save what can be saved after an error; the first error is the one to report."""
    try:
        recorder.close(ended)
    except OSError:
        return


def _registers(device: Device) -> dict[str, int]:
    """All readable settings but keys, so that a recording can be interpreted without its device, and shared."""
    values = {}
    for register in device.map.registers:
        if register.access is not Access.W1 and not register.secret:
            values[register.name] = device.read(register)
    return values


_NO_TAGS: NDArray[Any] = np.empty(0, TAG_DTYPE)
