"""A node on UDP: one packet per datagram.

The first `receive` subscribes to the node's streams; the receive thread renews that every second. Receipts (stream, last
sequence handed to the caller) go out every 32 packets or 50 ms, so that a virtual node keeps pace with the caller. A
subscription, however, lives as long as the device is open, whether or not anybody takes the packets.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

from twinphase_spec.packets import MAX_PACKET_BYTES, SUBSCRIPTION_SECONDS, Stream

from ..errors import DeviceError
from ..packets import pack
from .link import TRIES, LinkDevice

DEFAULT_PORT = 9750
RECEIVE_BUFFER_BYTES = 16 << 20
SO_RXQ_OVFL = 40  # Linux: the kernel tells with each datagram how many it has dropped
SO_RCVBUFFORCE = 33
RENEW_S = SUBSCRIPTION_SECONDS / 5
RECEIPT_PACKETS = 32
RECEIPT_S = 0.05
POLL_S = 0.1
MOST_AT_ONCE = 64


class UdpDevice(LinkDevice):
    """``udp://host[:port]``. Raises DeviceError when nothing answers there or the node does not fit this host."""

    def __init__(self, url: str, tries: int = TRIES) -> None:
        super().__init__(url, tries)
        host, port = parse_udp_url(url)
        self._kernel_lost = 0
        self._kernel_lost_known = False
        self._subscribed = threading.Event()
        self._renewed_s = 0.0
        self._sequences: dict[int, int] = {}
        self._unreceipted = 0
        self._receipt_s = 0.0
        self._receipts_sent = 0
        self._socket = self._open(host, port)
        self._start()

    def _open(self, host: str, port: int) -> socket.socket:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            link = socket.socket(family, kind, protocol)
        except OSError as error:
            raise DeviceError(f"{self.url}: host {host} is not known ({error.strerror}); check the name") from error
        try:
            link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except OSError:  # needs privileges; the system's limit applies otherwise
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            self._kernel_lost_known = True
        link.setblocking(False)
        try:
            link.connect(address)
        except OSError as error:
            link.close()
            raise DeviceError(f"{self.url} cannot be reached: {error.strerror}") from error
        return link

    @property
    def transport_losses(self) -> dict[str, int]:
        losses = super().transport_losses
        return losses | {"kernel": self._kernel_lost} if self._kernel_lost_known else losses

    def _send(self, packet: bytes) -> None:
        self._socket.send(packet)

    def _collect(self) -> list[bytes]:
        self._renew()
        packets: list[bytes] = []
        select.select([self._socket], [], [], POLL_S)
        while len(packets) < MOST_AT_ONCE:
            try:
                packet, extra, _, _ = self._socket.recvmsg(MAX_PACKET_BYTES + 4, 64)
            except ConnectionRefusedError:
                self._note_refused()
                break
            except BlockingIOError:
                break
            for _, kind, data in extra:
                if kind == SO_RXQ_OVFL:
                    self._kernel_lost = struct.unpack("=I", data[:4])[0]
            packets.append(packet)
        return packets

    def _renew(self) -> None:
        now = time.monotonic()
        if self._subscribed.is_set() and now - self._renewed_s > RENEW_S:
            self._renewed_s = now
            with contextlib.suppress(OSError):  # what is wrong shows at the next request or receive
                self._send(pack(Stream.SUBSCRIBE, 0))

    def receive(self, timeout_s: float) -> list[bytes] | None:
        if not self._subscribed.is_set():
            with contextlib.suppress(OSError):
                self._send(pack(Stream.SUBSCRIBE, 0))
            self._renewed_s = time.monotonic()
            self._subscribed.set()
        return super().receive(timeout_s)

    def _handed_out(self, packets: list[bytes]) -> None:
        for packet in packets:
            if len(packet) >= 8:
                stream, sequence = packet[0], int.from_bytes(packet[4:8], "little")
                known = self._sequences.get(stream)
                if known is None or (sequence - known) & 0xFFFFFFFF < 1 << 31:
                    self._sequences[stream] = sequence
        self._unreceipted += len(packets)
        now = time.monotonic()
        if self._sequences and (self._unreceipted >= RECEIPT_PACKETS or now - self._receipt_s >= RECEIPT_S):
            pairs = b"".join(struct.pack("<II", *pair) for pair in sorted(self._sequences.items()))
            self._receipts_sent += 1
            with contextlib.suppress(OSError):
                self._send(pack(Stream.SUBSCRIBE, self._receipts_sent, pairs))
            self._renewed_s = self._receipt_s = now
            self._unreceipted = 0

    def _release(self) -> None:
        self._socket.close()


def parse_udp_url(url: str) -> tuple[str, int]:
    """``(host, port)`` of ``udp://host[:port]``. Raises DeviceError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise DeviceError(
            f"{url} is no UDP address ({error}); write udp://host:port, e.g. udp://localhost:9750"
        ) from error
    if not host:
        raise DeviceError(f"{url} names no host; write udp://host:port, e.g. udp://localhost:9750")
    return host, DEFAULT_PORT if port is None else port
