"""Control messages and packets of nodes on one TCP connection between two computers of a run.

    frame = length of the rest (4 bytes, little-endian) | kind (1 byte) | body        kind 0: a control message, JSON; 1: a packet

An end that has nothing to say sends an empty control message every second; one from which nothing came for SILENT_S is gone. What is
sent goes through a queue, so that no thread waits for the network.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import DeviceError
from ..packet_block import PacketBlock

CONTROL, PACKET = 0, 1
MOST_BYTES = 1 << 16
MOST_QUEUED = 1 << 14
BEAT_S = 1.0
SILENT_S = 10.0
POLL_S = 0.2
LENGTH_BYTES = 4


class Connection:
    """The other end, ``name`` in what is said of it, from construction to `close`."""

    def __init__(self, link: socket.socket, name: str) -> None:
        self.name = name
        self.failure: str | None = None
        self._link = link
        link.settimeout(POLL_S)
        with contextlib.suppress(OSError):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._out: queue.Queue[bytes] = queue.Queue(MOST_QUEUED)
        self._hearers: list[Callable[[PacketBlock], None]] = []
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"{what} {name}", daemon=True)
            for what, target in (("hear", self._read), ("tell", self._write))
        ]
        for thread in self._threads:
            thread.start()

    def listen(self, hear: Callable[[PacketBlock], None]) -> None:
        """``hear`` gets all packets from now on, in the connection's thread. It must not raise."""
        self._hearers.append(hear)

    def send(self, packet: bytes) -> bool:
        """Hand over a packet. False where too many wait or the connection is gone."""
        return self._put(PACKET, packet)

    def tell(self, **message: Any) -> None:
        """Send a control message."""
        self._put(CONTROL, json.dumps(message).encode())

    def told(self, timeout_s: float) -> dict[str, Any] | None:
        """The next control message; None where none came in time. DeviceError when the connection is gone and all was told."""
        with contextlib.suppress(queue.Empty):
            return self._told.get(timeout=timeout_s)
        if self.failure is not None and self._told.empty():
            raise DeviceError(self.failure)
        return None

    def wait_until_closed(self, timeout_s: float) -> None:
        """Until the other end is gone, or so long."""
        self._threads[0].join(timeout_s)

    def close(self) -> None:
        """Send what waits and end."""
        self._closing.set()
        self._put(CONTROL, b"")  # wakes the one that writes
        self._threads[1].join(timeout=2 * BEAT_S)
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(timeout=2 * BEAT_S)
        self._link.close()

    def _put(self, kind: int, body: bytes) -> bool:
        if self.failure is not None:
            return False
        try:
            self._out.put_nowait((len(body) + 1).to_bytes(4, "little") + bytes([kind]) + body)
        except queue.Full:
            return False
        return True

    def _fail(self, why: str) -> None:
        self.failure = self.failure or f"the connection to {self.name} {why}"

    def _write(self) -> None:
        beat = (1).to_bytes(4, "little") + bytes([CONTROL])
        while self.failure is None:
            try:
                frame = self._out.get(not self._closing.is_set(), BEAT_S)
            except queue.Empty:
                if self._closing.is_set():
                    return
                frame = beat
            try:
                self._send_all(frame)
            except OSError as error:
                self._fail(f"has ended ({error.strerror or error})")

    def _send_all(self, frame: bytes) -> None:
        view, began_s = memoryview(frame), time.monotonic()
        while view:
            try:
                view = view[self._link.send(view) :]
            except TimeoutError:
                if time.monotonic() - began_s > SILENT_S:
                    raise

    def _read(self) -> None:
        held, heard_s = bytearray(), time.monotonic()
        while self.failure is None:
            try:
                got = self._link.recv(1 << 16)
            except TimeoutError:
                if time.monotonic() - heard_s > SILENT_S:
                    self._fail(f"has been silent for {SILENT_S:g} s: are that computer and the network there?")
                continue
            except OSError as error:
                self._fail(f"has ended ({error.strerror or error})")
                return
            if not got:
                self._fail("was closed by the other end")
                return
            heard_s = time.monotonic()
            held += got
            self._take(held)

    def _take(self, held: bytearray) -> None:
        """Hand on the whole frames and remove them from ``held``."""
        packets: list[bytes] = []
        at = 0
        while len(held) - at >= LENGTH_BYTES:
            length = int.from_bytes(held[at : at + LENGTH_BYTES], "little")
            if not 1 <= length <= MOST_BYTES:
                self._fail(f"brought a frame of {length} bytes: what speaks there is no run of a pair")
                return
            if len(held) - at < LENGTH_BYTES + length:
                break
            kind, begin = held[at + LENGTH_BYTES], at + LENGTH_BYTES + 1
            at += LENGTH_BYTES + length
            body = bytes(held[begin:at])
            if kind == PACKET:
                packets.append(body)
            elif body:
                self._take_control(body)
        del held[:at]
        if packets:
            block = PacketBlock.of(packets)
            for hear in self._hearers:
                hear(block)

    def _take_control(self, body: bytes) -> None:
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._fail("brought a control message that is none: what speaks there is no run of a pair")
            return
        self._told.put(message)
