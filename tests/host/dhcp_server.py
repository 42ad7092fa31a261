"""A DHCP server in a host's namespace, on an ordinary socket of its kernel, with what goes wrong at servers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from twinphase_sim.ethernet.tap import Tap

COOKIE = bytes.fromhex("63825363")
DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
SO_BINDTODEVICE = 25


@dataclass(frozen=True, kw_only=True)
class Message:
    """As it is on the wire; ``options`` by code."""

    op: int
    xid: bytes
    secs: int
    flags: int
    ciaddr: str
    yiaddr: str
    chaddr: bytes
    options: dict[int, bytes]
    length: int

    @property
    def kind(self) -> int:
        return self.options[53][0]


def read(data: bytes) -> Message:
    """Checks what every server may ask of a message."""
    op, htype, hlen, hops, xid, secs, flags = struct.unpack_from(">BBBB4sHH", data)
    assert (htype, hlen, hops) == (1, 6, 0)
    assert len(data) >= 300
    assert data[28 + 6 : 236] == bytes(202)
    assert data[236:240] == COOKIE
    options, place = {}, 240
    while (code := data[place]) != 255:
        if code:
            options[code] = data[place + 2 : place + 2 + data[place + 1]]
            place += 1 + data[place + 1]
        place += 1
    assert not any(data[place + 1 :])
    ciaddr, yiaddr = (socket.inet_ntoa(data[start : start + 4]) for start in (12, 16))
    return Message(
        op=op,
        xid=xid,
        secs=secs,
        flags=flags,
        ciaddr=ciaddr,
        yiaddr=yiaddr,
        chaddr=data[28:34],
        options=options,
        length=len(data),
    )


def write(
    kind: int,
    asked: Message,
    address: str,
    options: dict[int, bytes],
    *,
    xid: bytes | None = None,
    chaddr: bytes | None = None,
    cookie: bytes = COOKIE,
    op: int = 2,
    end: bytes = b"\xff",
    head: bytes = b"",
) -> bytes:
    """An answer; ``head``: options in front of the message's type."""
    text = struct.pack(">BBBB4sHH", op, 1, 6, 0, xid or asked.xid, 0, asked.flags) + socket.inet_aton(asked.ciaddr)
    text += (
        socket.inet_aton(address) + bytes(8) + (chaddr or asked.chaddr).ljust(16, b"\0") + bytes(192) + cookie + head
    )
    for code, value in {53: bytes((kind,)), **options}.items():
        text += bytes((code, len(value))) + value
    return text + end


@dataclass
class Server:
    """Offers ``address`` for ``lease_s``. ``unanswered``: how many messages of a kind are not; ``meddle`` makes of the right answer what
    is sent. ``heard``: all messages of clients, in order, with the time."""

    tap: Tap
    address: str = "10.77.0.80"
    lease_s: int = 3600
    more: dict[int, bytes] = field(default_factory=dict)
    unanswered: dict[int, int] = field(default_factory=dict)
    refuse: bool = False
    silent: bool = False
    meddle: Callable[[int, Message, bytes], list[bytes]] = lambda _kind, _asked, right: [right]
    heard: list[tuple[float, Message]] = field(default_factory=list)
    own: str = "10.77.0.1"
    fault: BaseException | None = None

    def options(self) -> dict[int, bytes]:
        return {
            1: socket.inet_aton("255.255.255.0"),
            54: socket.inet_aton(self.own),
            51: self.lease_s.to_bytes(4, "big"),
            **self.more,
        }

    def kinds(self) -> list[int]:
        return [message.kind for _, message in self.heard]

    def answers(self, asked: Message) -> list[bytes]:
        kind = asked.kind
        if self.silent:
            return []
        if self.unanswered.get(kind, 0):
            self.unanswered[kind] -= 1
            return []
        if kind == DISCOVER:
            return self.meddle(OFFER, asked, write(OFFER, asked, self.address, self.options()))
        wanted = socket.inet_ntoa(asked.options[50]) if 50 in asked.options else asked.ciaddr
        if 54 in asked.options and asked.options[54] != socket.inet_aton(self.own):
            return []  # another server's client
        if self.refuse or wanted != self.address:
            return [write(NAK, asked, "0.0.0.0", {54: socket.inet_aton(self.own)})]
        return self.meddle(ACK, asked, write(ACK, asked, self.address, self.options()))

    def serve(self, link: socket.socket, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                try:
                    data, sender = link.recvfrom(2048)
                except TimeoutError:
                    continue
                asked = read(data)
                assert asked.op == 1
                assert sender == (asked.ciaddr, 68)
                self.heard.append((time.monotonic(), asked))
                for number, answer in enumerate(self.answers(asked)):
                    time.sleep(0.01 if number else 0)  # else it comes while the one before is read
                    link.sendto(answer, ("255.255.255.255" if asked.flags & 0x8000 else asked.ciaddr, 68))
        except BaseException as error:
            self.fault = error

    @contextmanager
    def running(self) -> Iterator[Server]:
        with self.tap.namespace.entered():
            link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            link.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, self.tap.name.encode())
            link.bind(("", 67))
        link.settimeout(0.05)
        stop = threading.Event()
        thread = threading.Thread(target=self.serve, args=(link, stop), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
            link.close()
            if self.fault is not None:
                raise self.fault
