"""A reader of a virtual node's streams, and how far it is behind.

A reader that sends receipts (SUBSCRIBE packets with the last sequence per stream) is never sent more than WINDOW_PACKETS beyond
them: its socket buffer cannot overflow, however slow it is. A reader that sends none is not waited for.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from twinphase_spec.packets import HEADER_WORDS, SUBSCRIPTION_SECONDS

WINDOW_PACKETS = 64
"""About 64 kB; Linux charges up to 2.3 kB per datagram against a default buffer of 212 kB."""
SILENT_S = 0.25
"""A reader that has sent no receipt this long after its window was full sends none at all."""
STUCK_S = 0.5
"""Receipts that repeat this long without progress mean that the last packets were lost on the way."""
HALF = 1 << 31


class Subscriber:
    """The state of one reader; times are `time.monotonic` seconds."""

    def __init__(self, now_s: float) -> None:
        self.expires_s = now_s + SUBSCRIPTION_SECONDS
        self.receipts = False
        self.paced = True
        self._underway: dict[int, deque[int]] = {}
        self._count = 0
        self._moved_s = now_s

    def renew(self, packet: bytes, now_s: float) -> None:
        """Take a SUBSCRIBE packet: it renews the lease, and its pairs (stream, sequence) are receipts."""
        self.expires_s = now_s + SUBSCRIPTION_SECONDS
        pairs = np.frombuffer(packet, "<u4")[HEADER_WORDS:].tolist()
        if not pairs:
            return
        self.receipts = self.paced = True
        before = self._count
        for stream, sequence in zip(pairs[::2], pairs[1::2], strict=False):
            waiting = self._underway.get(stream)
            while waiting and (sequence - waiting[0]) & 0xFFFFFFFF < HALF:
                waiting.popleft()
                self._count -= 1
        if self._count < before:
            self._moved_s = now_s
        elif self._count and now_s - self._moved_s > STUCK_S:
            self._underway.clear()
            self._count = 0

    def sent(self, packet: bytes, now_s: float) -> None:
        """Note a packet that was sent to the reader."""
        if not self.paced:
            return
        if not self._count:
            self._moved_s = now_s
        self._underway.setdefault(packet[0], deque()).append(int.from_bytes(packet[4:8], "little"))
        self._count += 1

    def ready(self, now_s: float) -> bool:
        """Whether another packet may be sent now."""
        if not self.paced or self._count < WINDOW_PACKETS:
            return True
        if not self.receipts and now_s - self._moved_s > SILENT_S:
            self.paced = False
        return not self.paced
