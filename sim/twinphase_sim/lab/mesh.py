"""Single nodes of a lab in processes of their own: the messages between them on TCP, and how far each may run.

Every process listens on its node's port (TCP, the number of its UDP port) and connects to those before it: alice to server, bob to
server and alice. A message is a header (kind, length, clock) and that many bytes:

* HELLO: node name and what all must have in common (lab, seed, versions), as JSON; the first on a connection.
* START: from the server, the clock at which pulse 0 reaches it.
* PACKET: a packet that left the sender's link at ``clock``.
* TIME: everything that left before ``clock`` has been sent.

Packets take a flight, so that a node may run one flight beyond what the others have told: the words are those of the lab in one process.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np

from twinphase.errors import TwinphaseError
from twinphase_sim.native import NodeOutput
from twinphase_spec.packets import MAX_PACKET_BYTES

from .messages import DelayLine

HEADER = struct.Struct("<BIQ")
CONNECT_S = 120.0
"""The others may still be compiling."""
RETRY_S = 0.1
MAX_BYTES = 1 << 16


class MeshError(TwinphaseError):
    """Another node of the lab is not there, is not of the same lab, or has gone."""


class Kind(IntEnum):
    HELLO = 1
    START = 2
    PACKET = 3
    TIME = 4


class ArrivingLine(DelayLine):
    """Packets of some streams of a node elsewhere, on their way to one here."""

    def __init__(self, streams: Any, delay_clocks: int) -> None:
        super().__init__(streams, delay_clocks)
        self.told_clock = 0
        """All that left before this clock has come."""
        self._lock = threading.Lock()

    def put(self, clock: int, packet: bytes) -> None:
        """A packet that left at ``clock``."""
        with self._lock:
            super().put(clock, packet)

    def arriving(self, before_clock: int) -> list[tuple[int, bytes]]:
        with self._lock:
            return super().arriving(before_clock)

    @property
    def known_clock(self) -> int:
        """What arrives before this clock is known."""
        return self.told_clock + self.delay_clocks


class LeavingLine(DelayLine):
    """Packets of some streams of a node here, to one elsewhere."""

    def __init__(self, streams: Any, delay_clocks: int, peer: Peer) -> None:
        super().__init__(streams, delay_clocks)
        self._peer = peer

    def send(self, output: NodeOutput) -> None:
        for index in np.flatnonzero(self._wanted[output.streams]).tolist():
            self._peer.send(Kind.PACKET, output.packet(index), int(output.clocks[index]))

    def put(self, clock: int, packet: bytes) -> None:
        self._peer.send(Kind.PACKET, packet, clock)


class Peer:
    """The connection to one node."""

    def __init__(self, name: str, connection: socket.socket) -> None:
        self.name = name
        self.connection = connection
        self.line: ArrivingLine | None = None
        self.start_clock: int | None = None
        self.gone = ""
        """Why it is not there any more."""

    def send(self, kind: Kind, content: bytes = b"", clock: int = 0) -> None:
        """Raises MeshError when the other side has gone."""
        try:
            self.connection.sendall(HEADER.pack(kind, len(content), clock) + content)
        except OSError as error:
            raise MeshError(f"the {self.name} node has gone ({error}); start the lab's nodes again") from error

    def receive(self) -> tuple[Kind, bytes, int]:
        """The next message. Raises MeshError when none comes any more, or one that is none."""
        kind, length, clock = HEADER.unpack(self._exactly(HEADER.size))
        if kind not in set(Kind) or length > (MAX_PACKET_BYTES if kind == Kind.PACKET else MAX_BYTES):
            raise MeshError(
                f"the {self.name} node sent something that is no message of a lab; start the lab's nodes again"
            )
        return Kind(kind), self._exactly(length), clock

    def _exactly(self, length: int) -> bytes:
        parts = b""
        while len(parts) < length:
            try:
                part = self.connection.recv(length - len(parts))
            except OSError:
                part = b""
            if not part:
                raise MeshError(f"the {self.name} node has gone; start the lab's nodes again")
            parts += part
        return parts


class Mesh:
    """One node's connections to all others of its lab.

    ``addresses``: (host, TCP port) of every node, in the order in which they wait for each other; ``common``: what all must agree on.
    `connect` waits for the others. Raises MeshError.
    """

    def __init__(self, node: str, addresses: Mapping[str, tuple[str, int]], common: Mapping[str, Any]) -> None:
        self.node = node
        self._addresses = dict(addresses)
        self._common = dict(common)
        self._peers: dict[str, Peer] = {}
        self._closed = False
        self._moved = threading.Condition()
        self.waker, self._wake = socket.socketpair()
        """Readable when another node has told something."""
        for end in (self.waker, self._wake):
            end.setblocking(False)
        try:
            self._listener = socket.create_server(self._addresses[node], backlog=len(self._addresses))
        except OSError as error:
            raise MeshError(
                f"TCP port {self._addresses[node][1]}, wanted for messages to the {node} node, cannot be used ({error}); "
                "choose others with --port"
            ) from error

    def connect(self) -> None:
        """Connect to the nodes before this one and wait for those behind it, for at most CONNECT_S."""
        names, until_s = list(self._addresses), time.monotonic() + CONNECT_S
        place = names.index(self.node)
        for name in names[:place]:
            self._add(self._dial(name, until_s), name)
        for _ in names[place + 1 :]:
            self._listener.settimeout(max(0.01, until_s - time.monotonic()))
            try:
                connection, _ = self._listener.accept()
            except TimeoutError as error:
                missing = ", ".join(name for name in names if name != self.node and name not in self._peers)
                raise MeshError(
                    f"{missing} did not come within {CONNECT_S:g} s; start it with twinphase serve LAB --node"
                ) from error
            connection.settimeout(None)
            self._add(connection, None)

    def _dial(self, name: str, until_s: float) -> socket.socket:
        while True:
            try:
                return socket.create_connection(self._addresses[name], timeout=None)
            except OSError as error:
                if time.monotonic() > until_s:
                    raise MeshError(
                        f"the {name} node is not on TCP port {self._addresses[name][1]} ({error}); start it with "
                        f"twinphase serve LAB --node {name}"
                    ) from error
                time.sleep(RETRY_S)

    def _add(self, connection: socket.socket, name: str | None) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(name or "newcomer", connection)
        peer.send(Kind.HELLO, json.dumps({"node": self.node, **self._common}, sort_keys=True).encode())
        kind, content, _ = peer.receive()
        hello = json.loads(content) if kind is Kind.HELLO else {}
        peer.name = str(hello.pop("node", peer.name))
        for key in sorted(self._common.keys() | hello.keys()):
            if hello.get(key) != self._common.get(key):
                raise MeshError(
                    f"the {peer.name} node has {key} {hello.get(key)}, the {self.node} node {self._common.get(key)}; "
                    "start both with the same"
                )
        if peer.name in self._peers or peer.name not in self._addresses or peer.name == self.node:
            raise MeshError(f"a second {peer.name} node has come to {self.node}; start each node once")
        self._peers[peer.name] = peer

    def listen(self, lines: Mapping[str, ArrivingLine]) -> None:
        """Take messages from now on; ``lines`` by the node from which they come."""
        for name, peer in self._peers.items():
            peer.line = lines.get(name)
            threading.Thread(target=self._read, args=(peer,), name=f"from {name}", daemon=True).start()

    def leaving(self, receiver: str, streams: Any, delay_clocks: int) -> LeavingLine:
        """Line to a node elsewhere."""
        return LeavingLine(streams, delay_clocks, self._peers[receiver])

    def agree_on_start(self, earliest_clock: int) -> int:
        """The server's start for all; each node must be able to start then."""
        if self.node == "server":
            for peer in self._peers.values():
                peer.send(Kind.START, clock=earliest_clock)
            return earliest_clock
        server = self._peers["server"]
        with self._moved:
            self._moved.wait_for(lambda: server.start_clock is not None or server.gone, CONNECT_S)
        if server.start_clock is None:
            raise MeshError(server.gone or f"the server node has not said within {CONNECT_S:g} s when it starts")
        if server.start_clock < earliest_clock:
            raise MeshError(
                f"the server starts at clock {server.start_clock}, the {self.node} node is ready at {earliest_clock}; start them again"
            )
        return server.start_clock

    def tell(self, clock: int) -> None:
        """Everything that left before ``clock`` has been sent."""
        for peer in self._peers.values():
            peer.send(Kind.TIME, clock=clock)

    def limit(self) -> int | None:
        """Clock up to which this node may run; None where nobody sends to it. Raises MeshError when a node has gone."""
        for peer in self._peers.values():
            if peer.gone and not self._closed:
                raise MeshError(peer.gone)
        return min((peer.line.known_clock for peer in self._peers.values() if peer.line is not None), default=None)

    def _read(self, peer: Peer) -> None:
        try:
            while True:
                kind, content, clock = peer.receive()
                if kind is Kind.PACKET and peer.line is not None:
                    peer.line.put(clock, content)
                elif kind is Kind.TIME and peer.line is not None:
                    peer.line.told_clock = clock
                    self._wake_up()
                elif kind is Kind.START:
                    with self._moved:
                        peer.start_clock = clock
                        self._moved.notify_all()
        except (MeshError, OSError) as error:
            with self._moved:
                peer.gone = str(error)
                self._moved.notify_all()
            self._wake_up()

    def _wake_up(self) -> None:
        try:
            self._wake.send(b"\0")
        except OSError:
            return  # enough wakes wait already, or all is over

    def close(self) -> None:
        """Leave; harmless when repeated."""
        self._closed = True
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
        for one in (self._listener, self._wake, self.waker, *(peer.connection for peer in self._peers.values())):
            one.close()
