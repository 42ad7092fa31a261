"""Nodes recorded at once, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinphase_spec.units import CLOCK_HZ, TICKS_PER_CLOCK

from ..device import PacketDevice
from ..errors import DeviceError
from ..recording.writer import Recorder, record

RECORDERS_S = 30.0
POLL_S = 0.05


class Recorders:
    """A thread for each node that records it."""

    def __init__(self, devices: Mapping[str, PacketDevice], folder: Path, lab: str) -> None:
        self.summaries: dict[str, Any] = {}
        self._now: dict[str, Recorder] = {}
        self._failures: dict[str, BaseException] = {}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._record, args=(name, device, folder / name, lab), name=f"record {name}")
            for name, device in devices.items()
        ]
        for thread in self._threads:
            thread.start()

    def _record(self, name: str, device: PacketDevice, folder: Path, lab: str) -> None:
        try:
            self.summaries[name] = record(
                device,
                folder,
                lab=lab,
                stop=self._stop.is_set,
                progress=lambda recorder: self._now.__setitem__(name, recorder),
            )
        except BaseException as error:
            self._failures[name] = error

    @property
    def failed(self) -> bool:
        return bool(self._failures)

    @property
    def records(self) -> dict[str, int]:
        """Taken in so far, by node."""
        return {name: recorder.records for name, recorder in self._now.items()}

    def seconds_since(self, start_clock: int) -> float:
        """Of the server's node time; 0 before."""
        last = self._now["server"].last_ticks
        return 0.0 if last is None else max(0.0, (last / TICKS_PER_CLOCK - start_clock) / CLOCK_HZ)

    def wait_until_all_read(self) -> None:
        """Their registers are read, their streams subscribed to. Raises what one has failed with, DeviceError if it lasts too long."""
        deadline = time.monotonic() + RECORDERS_S
        while len(self._now) < len(self._threads):
            self.raise_failure()
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"the recordings have not begun within {RECORDERS_S:g} s: are the nodes there, and the disk?"
                )
            time.sleep(POLL_S)

    def raise_failure(self) -> None:
        """The first failure, if there is one."""
        for error in self._failures.values():
            raise error

    def finish(self) -> None:
        """Close the recordings."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
