"""Virtual nodes on real UDP sockets, each on a port of its own: server, alice and bob of one lab, or a time tagger at its bench.

Every port behaves as a board would: SUBSCRIBE packets start the streams to their sender, register requests are answered to
theirs, one packet per datagram. The lab runs while at least ``readers`` of the ports have a subscriber, as fast as the
readers' receipts allow; a reader without receipts gets at most real time.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from twinphase.errors import TwinphaseError
from twinphase_spec.packets import HEADER_WORDS, MAGIC, MAX_PACKET_BYTES, VERSION, Stream
from twinphase_spec.units import CLOCK_HZ

from .subscriber import Subscriber
from .truth import TruthKeeper
from .virtual import LabStep
from .world import SETUP_CHUNK_CLOCKS, World, WorldStep

POLL_S = 0.02
SEND_BUFFER_BYTES = 4 << 20
MAX_REQUESTS = 256
"""Requests of which the answer is awaited, per node; more are dropped, as a board's full buffer would."""
MAX_HELD_PACKETS = 1 << 14
PATIENCE_CLOCKS = 1 << 22
Address = tuple[str, int]


class PortError(TwinphaseError):
    """A UDP port cannot be used."""


class NodePort:
    """The socket of one node, its readers and the packets that wait to be sent to them."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.subscribers: dict[Address, Subscriber] = {}
        self.ignored = 0
        """Datagrams that were no packet, or not for a node."""
        self.holding = True
        """Keep what was sent although nobody reads this port yet: a run has all its readers from its first packet."""
        self._waiting: deque[bytes] = deque()
        self._asked: dict[int, Address] = {}
        self.socket = _bind(host, port, name)

    @property
    def address(self) -> Address:
        """Host and port as bound."""
        host, port = self.socket.getsockname()[:2]
        return host, port

    @property
    def asked(self) -> bool:
        """Whether a request waits for its answer."""
        return bool(self._asked)

    @property
    def unsent(self) -> bool:
        """Whether a packet waits for a reader's receipt."""
        return bool(self._waiting)

    @property
    def unpaced(self) -> bool:
        """Whether a reader sends no receipts."""
        return any(not subscriber.paced for subscriber in self.subscribers.values())

    def receive(self, virtual: World, now_s: float) -> None:
        """Take all datagrams that have come."""
        while True:
            try:
                packet, sender = self.socket.recvfrom(MAX_PACKET_BYTES + 1)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if not _whole(packet):
                self.ignored += 1
            elif packet[0] == Stream.SUBSCRIBE:
                self.subscribers.setdefault(sender, Subscriber(now_s)).renew(packet, now_s)
            elif packet[0] == Stream.REGISTER_REQUEST and len(self._asked) < MAX_REQUESTS:
                self._asked[int.from_bytes(packet[4:8], "little")] = sender
                virtual.submit(self.name, packet)
            elif packet[0] in virtual.messages:
                virtual.submit(self.name, packet)
            else:
                self.ignored += 1

    def take(self, step: WorldStep) -> None:
        """Answer requests and queue the data packets of a step."""
        output = step.outputs[self.name]
        for (_, packet), stream in zip(output.packets, output.streams.tolist(), strict=True):
            if stream != Stream.REGISTER_RESPONSE:
                if self.subscribers or (self.holding and len(self._waiting) < MAX_HELD_PACKETS):
                    self._waiting.append(packet)
            elif asked := self._asked.pop(int.from_bytes(packet[4:8], "little"), None):
                self._send(packet, asked)

    def send(self, now_s: float) -> None:
        """Send what waits as far as every reader is ready for it."""
        for address in [a for a, subscriber in self.subscribers.items() if subscriber.expires_s < now_s]:
            del self.subscribers[address]
        if not self.subscribers:
            if not self.holding:
                self._waiting.clear()
            return
        while self._waiting and all(subscriber.ready(now_s) for subscriber in self.subscribers.values()):
            packet = self._waiting.popleft()
            for address, subscriber in self.subscribers.items():
                self._send(packet, address)
                subscriber.sent(packet, now_s)

    def forget_requests(self) -> None:
        """Give up on requests that the node has not answered."""
        self._asked.clear()

    def _send(self, packet: bytes, address: Address) -> None:
        try:
            self.socket.sendto(packet, address)
        except ConnectionRefusedError:
            self.subscribers.pop(address, None)
        except OSError as error:
            if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM):
                raise


class LabServer:
    """Serves a virtual lab on the ports of `open_ports`.

    ``seconds`` ends lab time there (the nodes still answer); ``readers``: ports that must have a subscriber for the lab to run;
    ``keeper`` gets every step of a lab.
    """

    def __init__(
        self,
        virtual: World,
        ports: list[NodePort],
        *,
        readers: int = 1,
        seconds: float | None = None,
        keeper: TruthKeeper | None = None,
    ) -> None:
        self.virtual = virtual
        self._keeper = keeper
        self.ports = ports
        self._readers = readers
        self._seconds = seconds
        self._selector = selectors.DefaultSelector()
        for node_port in self.ports:
            self._selector.register(node_port.socket, selectors.EVENT_READ, node_port)
        if (waker := virtual.waker) is not None:
            self._selector.register(waker, selectors.EVENT_READ, None)
        self._answer_clocks = 0

    def serve(self, stopped: Callable[[], bool]) -> None:
        """Serve until ``stopped()``."""
        while not stopped():
            self.turn()

    def turn(self) -> None:
        """Take what has come, run the lab by at most one chunk, send what is due."""
        busy = self._due() is not None
        for key, _ in self._selector.select(0 if busy else POLL_S):
            if key.data is None:
                self._drain(key.fileobj)
            else:
                key.data.receive(self.virtual, time.monotonic())
        now_s = time.monotonic()
        for port in self.ports:
            port.send(now_s)
        clocks = self._due()
        if clocks is None:
            return
        step = self.virtual.step(self.virtual.clock + clocks)
        if self._keeper is not None and isinstance(step, LabStep):
            self._keeper.add(step)
        for port in self.ports:
            port.take(step)
            port.send(time.monotonic())
        self._answer_clocks = self._answer_clocks + clocks if any(port.asked for port in self.ports) else 0
        if self._answer_clocks > PATIENCE_CLOCKS:
            for port in self.ports:
                port.forget_requests()
        if self.virtual.real_time or any(port.unpaced for port in self.ports):
            self._real_time(clocks, now_s)

    def close(self) -> None:
        """Free the ports and end the lab."""
        self._selector.close()
        for port in self.ports:
            port.socket.close()
        self.virtual.close()

    def _due(self) -> int | None:
        """Clocks to run now; None while the lab waits."""
        asked = any(port.asked for port in self.ports)
        readers = sum(bool(port.subscribers) for port in self.ports)
        ended = self._seconds is not None and self.virtual.seconds >= self._seconds
        if readers >= self._readers:
            for port in self.ports:
                port.holding = False
        if readers >= self._readers and not ended and not any(port.unsent for port in self.ports):
            return self.virtual.chunk_clocks or None
        return min(SETUP_CHUNK_CLOCKS, self.virtual.chunk_clocks) or None if asked else None

    @staticmethod
    def _drain(waker: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            while waker.recv(4096):
                pass

    def _real_time(self, clocks: int, began_s: float) -> None:
        ahead = clocks / CLOCK_HZ - (time.monotonic() - began_s)
        if ahead > 0:
            time.sleep(ahead)


def open_ports(names: Sequence[str], host: str, port: int) -> list[NodePort]:
    """Sockets of the nodes called ``names`` on ``port``, ``port + 1`` and so on (port 0: any free ones).

    Raises PortError, and leaves none open, when one is busy.
    """
    ports: list[NodePort] = []
    try:
        for i, name in enumerate(names):
            ports.append(NodePort(name, host, port + i if port else 0))
    except BaseException:
        for opened in ports:
            opened.socket.close()
        raise
    return ports


def _bind(host: str, port: int, name: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.bind((host, port))
    except (OSError, OverflowError) as error:
        opened.close()
        busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is busy" if busy else f"cannot be used ({error})"
        raise PortError(
            f"UDP port {port} of {host}, wanted for the {name} node, {reason}: stop the program that uses it or choose other "
            "ports with --port (one for each node, in a row)"
        ) from error
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return opened


def _whole(packet: bytes) -> bool:
    if len(packet) < 4 * HEADER_WORDS or len(packet) % 4:
        return False
    words = np.frombuffer(packet, "<u4")
    return int(words[0]) >> 8 == MAGIC << 8 | VERSION and int(words[2]) & 0xFFFF == len(words) - HEADER_WORDS
