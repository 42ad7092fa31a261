"""Nodes recorded at once, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinphase_spec.units import CLOCK_HZ, TICKS_PER_CLOCK

from ..device import PacketDevice
from ..errors import DeviceError
from ..recording.writer import Recorder, record

RECORDERS_S = 30.0
POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Of a run under way. ``seconds``: since pulse 0, by the clock of the node that is watched; ``records``: by node."""

    seconds: float
    records: Mapping[str, int]


@contextmanager
def recorded(devices: Mapping[str, PacketDevice], folder: Path, lab: str) -> Iterator[Recorders]:
    """The devices are recorded into ``folder`` meanwhile."""
    recorders = Recorders(devices, folder, lab)
    try:
        yield recorders
    finally:
        recorders.finish()


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

    def watch(
        self,
        name: str,
        start_clock: int,
        *,
        seconds: float | None,
        over: Callable[[], str | None],
        stop: Callable[[], bool],
        progress: Callable[[Progress], None],
    ) -> str:
        """Wait until ``seconds`` of node ``name`` after its ``start_clock``, for a failure, for what ``over`` says, for ``stop``; why it
        has ended."""
        while True:
            last = self._now[name].last_ticks
            done = 0.0 if last is None else max(0.0, (last / TICKS_PER_CLOCK - start_clock) / CLOCK_HZ)
            progress(Progress(seconds=done, records=self.records))
            if (why := over()) is not None:
                return why
            if self.failed:
                return "a node failed"
            if stop():
                return "stopped"
            if seconds is not None and done >= seconds:
                return "time over"
            time.sleep(POLL_S)

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
