"""Messages between the nodes of a pair: the server's heralds, phases and live runs to both clients, and what these tell each other.

Packets go on as they came, in their order, from the receive thread of one link to the other link: no disk and no plot holds them up.
Lost heralds and phases cost the clients blocks, which they count; a lost PEER packet costs the pair its sifting, as each client
then waits for the other (docs/contract.md, Block sifter): `Relay.fault` says so.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twinphase_spec.packets import HEADER_WORDS, Stream

from ..device import Device
from ..errors import DeviceError
from ..packet_block import PacketBlock
from ..transport.link import LinkDevice

TO_CLIENTS = (Stream.HERALD_CODE, Stream.PSI, Stream.LIVE)
BETWEEN = (Stream.PEER,)
Route = tuple[str, str, tuple[Stream, ...]]
ROUTES: tuple[Route, ...] = (
    ("server", "alice", TO_CLIENTS),
    ("server", "bob", TO_CLIENTS),
    ("alice", "bob", BETWEEN),
    ("bob", "alice", BETWEEN),
)


class End(Protocol):
    """Where messages come from and go to: a node on a link, or what stands for one that is at another computer."""

    def listen(self, hear: Callable[[PacketBlock], None]) -> None:
        """``hear`` gets the packets that come."""

    def send(self, packet: bytes) -> bool:
        """False: there is no room or no way."""


def on_link(device: Device) -> LinkDevice:
    """``device``, or DeviceError where it is on no link."""
    if not isinstance(device, LinkDevice):
        raise DeviceError(
            f"{device.url} is on no link that carries messages; allowed: udp://, serial:// and usb:// nodes"
        )
    return device


class Relay:
    """Carries messages along ``routes`` between ``ends``, by name, from its construction on.

    ``carried``, ``refused``: packets by (from, to, stream), that went on and that the system had no room for; ``missing``: by (from,
    stream), those that did not come from the node, by their numbers.
    """

    def __init__(self, ends: Mapping[str, End], routes: tuple[Route, ...] = ROUTES) -> None:
        self.carried: Counter[tuple[str, str, str]] = Counter()
        self.refused: Counter[tuple[str, str, str]] = Counter()
        self.missing: Counter[tuple[str, str]] = Counter()
        self.fault: str | None = None
        self._stopped = False
        self._sequences: dict[tuple[str, Stream], int] = {}
        self._lock = threading.Lock()
        self._ends, self._routes = ends, routes
        for name in sorted({source for source, _, _ in routes}):
            ends[name].listen(self._hearer(name))

    def _hearer(self, source: str) -> Callable[[PacketBlock], None]:
        routes = [(target, streams) for origin, target, streams in self._routes if origin == source]
        wanted = {int(stream) for _, streams in routes for stream in streams}

        def hear(block: PacketBlock) -> None:
            for packet in () if self._stopped else block.packets():
                if len(packet) < 4 * HEADER_WORDS or packet[0] not in wanted:
                    continue
                stream = Stream(packet[0])
                self._note(source, stream, int.from_bytes(packet[4:8], "little"))
                for target, streams in routes:
                    if stream in streams:
                        self._carry(source, target, stream, packet)

        return hear

    def _note(self, source: str, stream: Stream, sequence: int) -> None:
        gap = (sequence - self._sequences.get((source, stream), sequence)) & 0xFFFFFFFF
        if gap >= 1 << 31:  # late, or repeated
            return
        self._sequences[source, stream] = (sequence + 1) & 0xFFFFFFFF
        if gap:
            with self._lock:
                self.missing[source, stream.name.lower()] += gap
            if stream in BETWEEN:
                self._fail(f"{gap} PEER packets of {source} were lost on their way to this computer")

    def _carry(self, source: str, target: str, stream: Stream, packet: bytes) -> None:
        sent = self._ends[target].send(packet)
        with self._lock:
            (self.carried if sent else self.refused)[source, target, stream.name.lower()] += 1
        if not sent and stream in BETWEEN:
            self._fail(f"a PEER packet of {source} could not be sent to {target}")

    def _fail(self, what: str) -> None:
        self.fault = self.fault or f"{what}, and each client now waits for the other: run the pair anew"

    def stop(self) -> None:
        """Carry nothing that comes from now on."""
        self._stopped = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        with self._lock:
            return {
                "carried": {" ".join(route): count for route, count in sorted(self.carried.items())},
                "refused": {" ".join(route): count for route, count in sorted(self.refused.items())},
                "missing": {" ".join(origin): count for origin, count in sorted(self.missing.items())},
                "fault": self.fault,
            }
