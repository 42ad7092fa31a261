"""Nodes on the network: the identity of everything that answers at a list of addresses.

One request, a read of the identity registers, goes to every address; what answers it is a node. A second round goes to those that
were silent, as the first packet to a new neighbour may be lost. Requests are paced (RATE_HZ), and a broadcast address reaches all
nodes of a network at once that take broadcasts; a core that answers at its own address only is found by sweeping the network.
An answer counts if it repeats the request's random number, wherever it comes from.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import secrets
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from twinphase_spec.packets import HEADER_WORDS, MAGIC, MAX_PACKET_BYTES, VERSION, RegisterOp, RegisterStatus, Stream
from twinphase_spec.registers import ID_MAGIC, NodeType

from .device import IDENTITY_WORDS, check_identity
from .errors import DeviceError
from .packets import pack

MOST_ADDRESSES = 1024
RATE_HZ = 500.0
"""Requests per second: each may make the system ask for the neighbour's MAC."""
WAIT_S = 0.5
"""For answers after the last request of a round."""
ROUNDS = 2
MOST_AT_ONCE = 256
_BURST_S = 0.01
_SIOCGIFFLAGS, _SIOCGIFBRDADDR = 0x8913, 0x8919
_IFF_UP, _IFF_BROADCAST = 1, 2

Address = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class FoundNode:
    """A node that answered. ``node``: its type by name, or its number where this host knows none."""

    url: str
    node: str
    clock_hz: int
    interface_version: int
    map_hash: int
    build_hash: int
    reason: str | None
    """Why this host does not fit it; None: it does."""

    @property
    def fits(self) -> bool:
        """Whether this host can use it."""
        return self.reason is None

    def as_dict(self) -> dict[str, str | int | bool | None]:
        """For JSON."""
        return asdict(self) | {"fits": self.fits, "what": str(self)}

    def __str__(self) -> str:
        text = (
            f"{self.node} node, {self.clock_hz / 1e6:g} MHz, interface {self.interface_version}, "
            f"build {self.build_hash:#010x}, "
        )
        return text + ("fits this host" if self.fits else f"not usable: {self.reason}")


@dataclass
class Scan:
    """What answered, by address, and how many packets were no answers to the request."""

    words: dict[Address, tuple[int, ...]] = field(default_factory=dict)
    conflicts: set[Address] = field(default_factory=set)
    """Addresses at which two different nodes answer."""
    ignored: int = 0
    unreachable: dict[str, str] = field(default_factory=dict)
    """Addresses to which this computer has no way, and the system's word for it."""

    def nodes(self) -> list[FoundNode]:
        """What answered, in the order of addresses."""

        def order(address: Address) -> tuple[bytes, int]:
            return socket.inet_aton(address[0]), address[1]

        return [_node(at, self.words[at], at in self.conflicts) for at in sorted(self.words, key=order)]


def _node(address: Address, words: tuple[int, ...], conflict: bool) -> FoundNode:
    url = "udp://{}:{}".format(*address)
    magic, node, version, clock_hz, map_hash, build_hash = words
    reason = None
    try:
        check_identity(words, url)
    except DeviceError as error:
        reason = str(error)
    if conflict:
        reason = f"two different nodes answer at {address[0]}: give one of them another address"
    known = magic == ID_MAGIC and node in list(NodeType)
    return FoundNode(
        url=url,
        node=NodeType(node).name.lower() if known else f"unknown ({node})",
        clock_hz=clock_hz,
        interface_version=version,
        map_hash=map_hash,
        build_hash=build_hash,
        reason=reason,
    )


def addresses_in(networks: Iterable[str]) -> list[str]:
    """All host addresses of IPv4 networks such as ``192.168.1.0/24``. DeviceError for what is none, and beyond MOST_ADDRESSES in all."""
    found: list[str] = []
    for text in networks:
        try:
            network = ipaddress.IPv4Network(text, strict=False)
        except ValueError as error:
            raise DeviceError(f"{text} is no IPv4 network ({error}); write e.g. 192.168.1.0/24") from error
        if (
            len(found) + network.num_addresses > MOST_ADDRESSES + 2
        ):  # the network's own and its broadcast address are not asked
            raise DeviceError(
                f"{text} brings the sweep to {len(found) + network.num_addresses} addresses; allowed: {MOST_ADDRESSES}, e.g. one /22"
            )
        found += [str(host) for host in network.hosts()]
    if len(found) > MOST_ADDRESSES:
        raise DeviceError(f"the networks have {len(found)} addresses; allowed: {MOST_ADDRESSES}, e.g. one /22")
    return list(dict.fromkeys(found))


def broadcast_addresses() -> list[str]:
    """The broadcast address of each interface that is up (Linux: of its first address); elsewhere the one for all."""
    if not sys.platform.startswith("linux"):
        return ["255.255.255.255"]
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("16s24x", name.encode()[:15])
            with contextlib.suppress(OSError):  # an interface without an IPv4 address
                flags = struct.unpack_from("<H", fcntl.ioctl(probe, _SIOCGIFFLAGS, request), 16)[0]
                if flags & _IFF_UP and flags & _IFF_BROADCAST:
                    answer = fcntl.ioctl(probe, _SIOCGIFBRDADDR, request)
                    found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in dict.fromkeys(found) if address != "0.0.0.0"]


def scan(
    targets: Sequence[Address],
    *,
    wait_s: float = WAIT_S,
    rate_hz: float = RATE_HZ,
    progress: Callable[[int, int], None] = lambda sent, total: None,
) -> Scan:
    """Ask every address of ``targets`` (host, port; broadcast addresses too) for its identity. Takes `scan_seconds` at most.

    ``progress`` hears how many of how many requests are sent.
    """
    identifier = secrets.randbits(32)
    request = pack(Stream.REGISTER_REQUEST, identifier, base_ticks=IDENTITY_WORDS << 32, flags=RegisterOp.READ)
    result = Scan()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.setblocking(False)
        total = ROUNDS * len(targets)
        for turn in range(ROUNDS):
            silent = [target for target in targets if target not in result.words]
            sent = turn * len(targets)
            started = time.monotonic()
            for i, target in enumerate(silent):
                _send(link, request, target, result)
                progress(sent + i + 1, total)
                ahead = (i + 1) / rate_hz - (time.monotonic() - started)
                _collect(link, identifier, result, max(ahead, 0.0) if ahead > _BURST_S else 0.0)
            _collect(link, identifier, result, wait_s, targets)
        progress(total, total)
    return result


def scan_seconds(count: int, *, wait_s: float = WAIT_S, rate_hz: float = RATE_HZ) -> float:
    """Time that a scan of ``count`` addresses takes when none answers."""
    return ROUNDS * (count / rate_hz + wait_s)


def _send(link: socket.socket, request: bytes, target: Address, result: Scan) -> None:
    try:
        link.sendto(request, target)
    except (BlockingIOError, ConnectionRefusedError):
        pass  # a full buffer (the next round asks again), or the refusal of an earlier request
    except OSError as error:
        if (
            error.errno != errno.ENOBUFS
        ):  # as many neighbours as the system asks for at a time; the next round asks again
            result.unreachable[target[0]] = error.strerror or str(error)


def _collect(
    link: socket.socket, identifier: int, result: Scan, wait_s: float, targets: Sequence[Address] | None = None
) -> None:
    """Take answers for ``wait_s``; of ``targets``, when all of them have answered, no longer."""
    deadline = time.monotonic() + wait_s
    while True:
        left_s = max(deadline - time.monotonic(), 0.0)
        if not select.select([link], [], [], left_s)[0]:
            return
        for _ in range(MOST_AT_ONCE):
            try:
                packet, sender = link.recvfrom(MAX_PACKET_BYTES + 4)
            except ConnectionRefusedError:
                continue
            except OSError:
                break
            words = identity_words(packet, identifier)
            if words is None:
                result.ignored += 1
                continue
            at = (sender[0], sender[1])
            if result.words.setdefault(at, words) != words:
                result.conflicts.add(at)
        if left_s <= 0 or (targets is not None and all(target in result.words for target in targets)):
            return


def identity_words(packet: bytes, identifier: int) -> tuple[int, ...] | None:
    """Register words 0 to 5 if ``packet`` answers the request with this id, else None."""
    if len(packet) != 4 * (HEADER_WORDS + IDENTITY_WORDS):
        return None
    words = np.frombuffer(packet, "<u4").tolist()
    head = [
        MAGIC << 16 | VERSION << 8 | Stream.REGISTER_RESPONSE,
        identifier,
        RegisterStatus.OK << 16 | IDENTITY_WORDS,
        0,
        IDENTITY_WORDS,
    ]
    return tuple(words[HEADER_WORDS:]) if words[: len(head)] == head else None
