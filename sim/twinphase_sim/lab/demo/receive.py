"""The host's side of the demo: all three nodes are received, recorded and kept at once, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase.batch import record_dtype
from twinphase.device import Device, PacketDevice, open_device
from twinphase.errors import TwinphaseError
from twinphase.measure.losses import losses
from twinphase.recording.writer import Recorder
from twinphase_spec.packets import Stream


@dataclass
class Received:
    """Everything that one node sent: records per stream, what was lost on the way, and its counters at the end."""

    records: dict[Stream, NDArray[Any]] = field(default_factory=dict)
    losses: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


def cycles_of(received: Mapping[str, Received]) -> int:
    """Clocks that all nodes together went through."""
    return sum(result.counters.get("clock", 0) for result in received.values())


class Receiver:
    """Receives and records the nodes ``urls`` (name -> URL) into ``folder/<name>`` until each has sent what it had at
    ``stop_ticks`` of lab time. ``progress`` gets the newest time of any node in ticks; ``stopped()`` ends it early.

    A node that is done goes on being read until all are, because the lab waits for its slowest reader.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        folder: Path,
        lab: str,
        stop_ticks: int,
        stopped: Callable[[], bool],
        progress: Callable[[int], None],
    ) -> None:
        self._urls, self._folder, self._lab = dict(urls), folder, lab
        self._stop_ticks, self._stopped, self._progress = stop_ticks, stopped, progress
        self._finished: set[str] = set()
        self._errors: list[BaseException] = []

    def run(self) -> dict[str, Received]:
        """All nodes' records. Raises the first error of any node, or TwinphaseError when stopped early."""
        devices = {name: open_device(url) for name, url in self._urls.items()}
        try:
            results = {name: Received() for name in devices}
            threads = [
                threading.Thread(
                    target=self._guarded, args=(name, devices[name], results[name]), name=f"receive {name}"
                )
                for name in devices
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self._errors:
                raise self._errors[0]
            if self._stopped():
                raise TwinphaseError(f"stopped by request; what was recorded until then is in {self._folder}")
            for name, device in devices.items():
                if isinstance(device, PacketDevice):
                    results[name].counters = device.counters()
            return results
        finally:
            for device in devices.values():
                device.close()

    def _guarded(self, name: str, device: Device, result: Received) -> None:
        try:
            self._receive(name, device, result)
        except BaseException as error:
            self._errors.append(error)

    def _receive(self, name: str, device: Device, result: Received) -> None:
        recorder = Recorder(device, self._folder / name, lab=self._lab)
        parts: dict[Stream, list[NDArray[Any]]] = {}
        ended = "interrupted"
        try:
            for batch in device.batches():
                if self._errors or self._stopped():
                    return
                if name not in self._finished:
                    recorder.write(batch)
                    for stream, records in batch.records.items():
                        parts.setdefault(stream, []).append(records)
                    if batch.time_ticks is not None:
                        self._progress(batch.time_ticks)
                        if batch.time_ticks >= self._stop_ticks:
                            ended = "time over"
                            result.losses = losses(device)
                            self._finished.add(name)
                if len(self._finished) == len(self._urls):
                    return
        finally:
            recorder.close(ended)
            result.records = {stream: np.concatenate(arrays) for stream, arrays in parts.items()}
            for stream in Stream:
                if stream < Stream.REGISTER_REQUEST:
                    result.records.setdefault(stream, np.empty(0, record_dtype(stream, device.map)))
