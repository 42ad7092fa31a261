"""Pulse alignment while a pair runs: a thread that gives the server's packets to the aligner, and its corrections to the clients."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from twinphase_spec.configure import frame_config
from twinphase_spec.frame import FrameConfig
from twinphase_spec.lab import Lab
from twinphase_spec.packets import HEADER_WORDS, Stream
from twinphase_spec.units import FRACTION_BITS, TICKS_PER_SECOND

from ..emission import EmissionCorrection
from ..errors import TwinphaseError
from ..packet_block import PacketBlock
from ..transport.link import LinkDevice
from .aligner import PulseAligner
from .secrets import ROLES, Role
from .settings import server_settings

WAIT_S = 0.25
"""From an ARRIVAL record to the slot of its correction: for links and hosts that are slow at times, and the physics of the virtual lab,
which draws light ahead. A client holds 16 corrections, which at records every 20 ms is 0.32 s."""
POLL_S = 0.1
Corrections = Mapping[Role, Callable[[EmissionCorrection], None]]
"""What takes the corrections of each user's client."""


class Aligning:
    """Runs from its construction to `stop`. ``correct``: takes the corrections of each user's client, in the thread of this; ``windows``:
    of an interval of ARRIVAL records, in a frame whose pulse 0 is at ``frame.start_clock`` of the server.

    Raises TwinphaseError for a frame whose pulses cannot be told. ``failure``: why it has ended by itself."""

    def __init__(
        self,
        server: LinkDevice,
        correct: Corrections,
        frame: FrameConfig,
        *,
        windows: int,
    ) -> None:
        self._correct_each = [correct[role] for role in ROLES]
        self.corrections = [0] * len(ROLES)
        self.failure: TwinphaseError | None = None
        self.aligner = PulseAligner(
            frame,
            interval_s=windows * frame.window_ticks / TICKS_PER_SECOND,
            wait_s=WAIT_S,
            correct=self._correct,
        )
        self._packets: queue.SimpleQueue[list[bytes]] = queue.SimpleQueue()
        self._stop = threading.Event()
        server.listen(self._hear)
        self._thread = threading.Thread(target=self._run, name="align", daemon=True)
        self._thread.start()

    def _hear(self, block: PacketBlock) -> None:
        streams = block.first_words() & 0xFF
        wanted = (streams == Stream.TAG) | (streams == Stream.ARRIVAL)
        if wanted.any() and not self._stop.is_set():
            self._packets.put(block[wanted].packets())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                packets = self._packets.get(timeout=POLL_S)
            except queue.Empty:
                continue
            try:
                self.aligner.take(packets, _base_ticks(packets[-1]) >> FRACTION_BITS)
            except TwinphaseError as error:
                self.failure = error
                return

    def _correct(self, arm: int, correction: EmissionCorrection) -> None:
        self._correct_each[arm](correction)
        self.corrections[arm] += 1

    def stop(self) -> None:
        """No correction is made any more when this returns."""
        self._stop.set()
        self._thread.join()

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what the last search has found, and how many corrections each client has taken."""
        found = self.aligner.found
        return {
            "found": None if found is None else [offset.as_dict() for offset in found],
            "corrections": dict(zip(ROLES, self.corrections, strict=True)),
        }


@contextmanager
def aligned(
    wanted: bool, lab: Lab, start_clock: int, server: LinkDevice, correct: Corrections
) -> Iterator[Aligning | None]:
    """The clients' pulses of a run that begins at ``start_clock`` are kept in their places meanwhile, where that is ``wanted``."""
    if not wanted:
        yield None
        return
    windows = server_settings(lab, start_clock).registers["ARRIVAL_WINDOWS"]
    aligning = Aligning(server, correct, frame_config(lab, start_clock), windows=windows)
    try:
        yield aligning
    finally:
        aligning.stop()


def _base_ticks(packet: bytes) -> int:
    words = np.frombuffer(packet, "<u4", HEADER_WORDS)
    return int(words[3]) | int(words[4]) << 32
