"""Reference of a node's link over UDP: what becomes of datagrams that come, and where packets go.

Source: `twinphase_spec.packets` and docs/udp.md. Times are counted in lease ticks, LEASE_TICKS of which are SUBSCRIPTION_SECONDS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twinphase_spec.packets import HEADER_DTYPE, MAGIC, MAX_PACKET_BYTES, VERSION, RegisterOp, Stream

LEASE_TICKS = 64
WRITERS, WINDOW, OLD = 8, 16, 1 << 16
"""Writers that are known; ids up to the newest one that are known one by one; ids that may be those of late copies."""
NOWHERE = 1 << 31
"""Bit of a register's address."""
HEADER_BYTES = HEADER_DTYPE.itemsize
Address = tuple[int, int]
"""IP address and port."""


class Reason(StrEnum):
    """Why a datagram was dropped, the first that holds."""

    ERROR = "its frame had a wrong checksum"
    PORT = "it was for neither of the node's ports"
    LENGTH = "it was truncated, too long, of no whole words, or not as long as it said"
    FOREIGN = "its magic or version was wrong"
    STREAM = "a host does not send this to this port"
    FULL = "there was no room for its request, or for its packet of a stream"
    OLD = "it was a write that others of its sender have left too far behind"
    REFUSED = "there was no place for its subscription"


@dataclass(frozen=True, kw_only=True)
class Datagram:
    """A datagram to or from a node."""

    host: Address
    port: int
    """Of the node."""
    data: bytes
    length: int | None = None
    """What the UDP header says of a datagram that came; None: the truth."""
    error: bool = False


@dataclass
class Lease:
    """A subscription: it ends with tick ``until``."""

    host: Address
    until: int


def with_address(packet: bytes, address: int) -> bytes:
    """A register request or response with another ``address``."""
    return packet[:12] + address.to_bytes(4, "little") + packet[16:]


class Writers:
    """Ids of writes, by those who sent them; the one who has written last is the last one."""

    def __init__(self) -> None:
        self._ids: dict[Address, tuple[int, frozenset[int]]] = {}
        """Newest id, and those of the window that have come."""

    def judge(self, writer: Address, number: int) -> str:
        """ "new", "repeated" or "old"."""
        if writer not in self._ids:
            return "new"
        newest, come = self._ids[writer]
        behind = (newest - number) % (1 << 32)
        if behind < WINDOW:
            return "repeated" if number in come else "new"
        return "old" if behind < OLD else "new"

    def note(self, writer: Address, number: int) -> None:
        """A write that is not old has come."""
        newest, come = self._ids.pop(writer, (number, frozenset()))
        if (newest - number) % (1 << 32) >= WINDOW:
            newest = number
        kept = frozenset(known for known in come | {number} if (newest - known) % (1 << 32) < WINDOW)
        self._ids[writer] = (newest, kept)
        if len(self._ids) > WRITERS:
            self.forget(next(iter(self._ids)))

    def forget(self, writer: Address) -> None:
        """Somebody else may be behind that address now."""
        del self._ids[writer]


class UdpNode:
    """A link with ``places`` for subscribers. ``group``: where packets go once instead of to each of them. ``streams``: what ``port``
    takes for the node besides requests. What it answers on ``link_port`` is not said here."""

    def __init__(
        self,
        *,
        places: int,
        port: int,
        register_port: int,
        link_port: int | None = None,
        group: Address | None = None,
        streams: Collection[Stream] = (),
    ) -> None:
        self.port, self.register_port, self.link_port, self.group = port, register_port, link_port, group
        self.streams = frozenset(map(int, streams))
        self.leases: list[Lease | None] = [None] * places
        self.requests: list[bytes] = []
        """Packets that went to the node."""
        self.streamed: list[bytes] = []
        """Packets of streams that went there. Between which requests is not said here: they go in turns."""
        self.asked: deque[tuple[int, Address, int, bool]] = deque()
        """Request id, host, port of the node, and whether its address was marked, of requests without an answer."""
        self.writers = Writers()

    def receive(self, datagram: Datagram, *, tick: int = 0, room: bool = True) -> Reason | None:
        """Take a datagram, in a tick. ``room``: as observed, whether a request or a packet of a stream found room. Returns why it was
        dropped, if it was."""
        data = datagram.data
        said = len(data) if datagram.length is None else datagram.length
        if datagram.error:
            return Reason.ERROR
        if datagram.port not in (self.port, self.register_port, self.link_port):
            return Reason.PORT
        whole = len(data) == said and said % 4 == 0 and HEADER_BYTES <= said <= MAX_PACKET_BYTES
        if not whole:
            return Reason.LENGTH
        header = np.frombuffer(data[:HEADER_BYTES], HEADER_DTYPE)[0]
        if HEADER_BYTES + 4 * int(header["words"]) != said:
            return Reason.LENGTH
        if header["magic"] != MAGIC or header["version"] != VERSION:
            return Reason.FOREIGN
        if header["stream"] == Stream.REGISTER_REQUEST:
            if not room:
                return Reason.FULL
            if datagram.port == self.link_port:
                return None
            number, where = int(header["sequence"]), int.from_bytes(data[12:16], "little")
            marked = False
            if header["flags"] == RegisterOp.WRITE:
                verdict = self.writers.judge(datagram.host, number)
                if verdict == "old":
                    return Reason.OLD
                self.writers.note(datagram.host, number)
                marked = verdict == "repeated" and where < NOWHERE
            self.requests.append(with_address(data, where | NOWHERE) if marked else data)
            self.asked.append((number, datagram.host, datagram.port, marked))
            return None
        if header["stream"] == Stream.SUBSCRIBE and datagram.port == self.port:
            return self._subscribe(datagram.host, tick)
        if int(header["stream"]) not in self.streams or datagram.port != self.port:
            return Reason.STREAM
        if not room:
            return Reason.FULL
        self.streamed.append(data)
        return None

    def live(self, tick: int) -> list[Address]:
        """Subscribers in a tick, in the order of their places."""
        return [lease.host for lease in self.leases if lease is not None and tick <= lease.until]

    def strike(self, host: Address) -> None:
        """End a subscription."""
        self.leases = [None if lease is not None and lease.host == host else lease for lease in self.leases]

    def send(self, packet: bytes, *, tick: int = 0) -> list[Datagram]:
        """Datagrams that a packet of the node becomes, in their order."""
        stream, number = packet[0], int.from_bytes(packet[4:8], "little")
        if stream == Stream.REGISTER_RESPONSE:
            found = next((k for k, entry in enumerate(self.asked) if entry[0] == number), None)
            if found is None:
                return []
            _, host, port, marked = self.asked[found]
            self.asked = deque(list(self.asked)[found + 1 :])
            where = int.from_bytes(packet[12:16], "little")
            answer = with_address(packet, where & ~NOWHERE) if marked else packet
            return [Datagram(host=host, port=port, data=answer)]
        hosts = self.live(tick)
        if hosts and self.group is not None:
            hosts = [self.group]
        return [Datagram(host=host, port=self.port, data=packet) for host in hosts]

    def _subscribe(self, host: Address, tick: int) -> Reason | None:
        until = tick + LEASE_TICKS
        for lease in self.leases:
            if lease is not None and lease.host == host and tick <= lease.until:
                lease.until = until
                return None
        for place, lease in enumerate(self.leases):
            if lease is None or tick > lease.until:
                self.leases[place] = Lease(host, until)
                return None
        return Reason.REFUSED
