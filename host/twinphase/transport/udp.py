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

import numpy as np

from twinphase_spec.packets import HEADER_WORDS, MAGIC, SUBSCRIPTION_SECONDS, VERSION, Stream

from ..errors import DeviceError
from ..packet_block import PacketBlock
from ..packets import pack
from .datagrams import DatagramReader
from .group import join_group, parse_group
from .link import PASSING_ERRORS, TRIES, LinkDevice

DEFAULT_PORT = 9750
RECEIVE_BUFFER_BYTES = 16 << 20
"""Asked for; Linux books twice as much, its own share of each packet included."""
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
"""Linux: what a socket holds; the ninth number is the packets that it dropped."""
RENEW_S = SUBSCRIPTION_SECONDS / 5
RECEIPT_PACKETS = 32
RECEIPT_S = 0.05
POLL_S = 0.1
BUSY_PACKETS_PER_S = 10_000
"""From this rate on the thread waits for more packets before it takes them: many per system call cost less."""
BUSY_PAUSE_S = 2e-3
BOOKED_BYTES_PER_S = 110_000 * 2304
"""What a gigabit of full packets takes of the receive buffer per second, as Linux books them."""


class UdpDevice(LinkDevice):
    """``udp://host[:port][?group=ADDRESS[:PORT]]``: with a group also what the node sends to that (`transport.group`).

    Raises DeviceError when nothing answers there or the node does not fit this host."""

    def __init__(self, url: str, tries: int = TRIES) -> None:
        super().__init__(url, tries)
        host, port = parse_udp_url(url)
        group = parse_group(url)
        self._kernel_lost, self._kernel_lost_known = 0, False
        self._subscribed = threading.Event()
        self._renewed_s = 0.0
        self._sequences: dict[int, int] = {}
        self._unreceipted = 0
        self._receipt_s = 0.0
        self._receipts_sent = 0
        self._socket = self._open(host, port)
        self._group_socket = self._join(group) if group else None
        streams = self._group_socket or self._socket
        self.receive_buffer_bytes = given = streams.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._sockets = [self._socket] if self._group_socket is None else [self._group_socket, self._socket]
        self._readers = [DatagramReader(link) for link in self._sockets]
        self._pause_s = min(BUSY_PAUSE_S, given / 4 / BOOKED_BYTES_PER_S)
        self._busy, self._behind = False, False
        self._counted, self._counted_from_s = 0, time.monotonic()
        self._start()

    def _open(self, host: str, port: int) -> socket.socket:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            link = socket.socket(family, kind, protocol)
        except OSError as error:
            raise DeviceError(f"{self.url}: host {host} is not known ({error.strerror}); check the name") from error
        make_room(link)
        link.setblocking(False)
        try:
            link.connect(address)
        except OSError as error:
            link.close()
            raise DeviceError(f"{self.url} cannot be reached: {error.strerror}") from error
        return link

    def _join(self, group: tuple[str, int]) -> socket.socket:
        try:
            link = join_group(group, self._socket)
        except OSError as error:
            self._socket.close()
            raise DeviceError(f"{self.url}: group {group[0]} cannot be joined: {error.strerror or error}") from error
        make_room(link)
        return link

    @property
    def transport_losses(self) -> dict[str, int]:
        losses = super().transport_losses
        with contextlib.suppress(OSError, struct.error):  # another system, or closed
            self._kernel_lost = sum(
                struct.unpack("=9I", link.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8] for link in self._sockets
            )
            self._kernel_lost_known = True
        return losses | {"kernel": self._kernel_lost} if self._kernel_lost_known else losses

    @property
    def advice(self) -> list[str]:
        given = self.receive_buffer_bytes or 0
        if given >= 2 * RECEIVE_BUFFER_BYTES or not self.transport_losses.get("kernel"):
            return []
        return [
            f"the kernel dropped {self._kernel_lost} packets: the receive buffer has {given} bytes where "
            f"{2 * RECEIVE_BUFFER_BYTES} were wanted; raise the limit with `sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}`"
        ]

    def _send(self, packet: bytes) -> None:
        self._socket.send(packet)

    def _collect(self) -> PacketBlock:
        self._renew()
        if self._busy and not self._behind:
            time.sleep(self._pause_s)
        select.select(self._sockets, [], [], POLL_S)
        blocks: list[PacketBlock] = []
        try:
            for reader in self._readers:
                blocks.append(reader.read())
            block = PacketBlock.join(blocks)
        except ConnectionRefusedError:
            self._note_refused()
            block = PacketBlock.join(blocks)
        except OSError as error:
            if error.errno not in PASSING_ERRORS:
                raise
            time.sleep(POLL_S)
            block = PacketBlock.join(blocks)
        self._behind = len(block) >= self._readers[0].slots  # more may wait
        self._counted += len(block)
        now = time.monotonic()
        if (passed := now - self._counted_from_s) >= BUSY_PAUSE_S:
            self._busy = self._readers[0].many and self._counted > passed * BUSY_PACKETS_PER_S
            self._counted, self._counted_from_s = 0, now
        return block

    def _renew(self) -> None:
        now = time.monotonic()
        if self._subscribed.is_set() and now - self._renewed_s > RENEW_S:
            self._renewed_s = now
            with contextlib.suppress(OSError):  # what is wrong shows at the next request or receive
                self._send(pack(Stream.SUBSCRIBE, 0))

    def receive_block(self, timeout_s: float) -> PacketBlock | None:
        if not self._subscribed.is_set():
            with contextlib.suppress(OSError):
                self._send(pack(Stream.SUBSCRIBE, 0))
            self._renewed_s = time.monotonic()
            self._subscribed.set()
        return super().receive_block(timeout_s)

    def _handed_out(self, block: PacketBlock) -> None:
        self._note_sequences(block)
        self._unreceipted += len(block)
        now = time.monotonic()
        if self._sequences and (self._unreceipted >= RECEIPT_PACKETS or now - self._receipt_s >= RECEIPT_S):
            pairs = b"".join(struct.pack("<II", *pair) for pair in sorted(self._sequences.items()))
            self._receipts_sent += 1
            with contextlib.suppress(OSError):
                self._send(pack(Stream.SUBSCRIBE, self._receipts_sent, pairs))
            self._renewed_s = self._receipt_s = now
            self._unreceipted = 0

    def _note_sequences(self, block: PacketBlock) -> None:
        """Keep the newest sequence number of each stream, that of whole packets of this protocol."""
        first = block.first_words()
        sound = (first >> 8 == MAGIC << 8 | VERSION) & (block.sizes >= 4 * HEADER_WORDS)
        streams, sequences = first[sound] & 0xFF, block.words[block.starts[sound] + 1]
        for stream in np.unique(streams).tolist():
            numbers = sequences[streams == stream]
            known = self._sequences.get(stream, int(numbers[0]))
            ahead = int((numbers - np.uint32(known)).view(np.int32).max())
            self._sequences[stream] = (known + max(ahead, 0)) & 0xFFFFFFFF

    def _release(self) -> None:
        for link in self._sockets:
            link.close()


def make_room(link: socket.socket) -> None:
    """The receive buffer that is wanted, or what the system gives."""
    try:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except OSError:  # needs privileges; the system's limit applies otherwise
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


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
