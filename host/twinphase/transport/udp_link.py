"""The registers of a board's link over UDP, which have a port of their own beside the node's: its addresses, its group, what it has sent
and dropped (docs/udp.md). A virtual node has none."""

from __future__ import annotations

import ipaddress

from twinphase_spec.packets import RegisterOp
from twinphase_spec.registers import ID_MAGIC, NodeType, RegisterMap
from twinphase_spec.udp_registers import COUNTERS, UDP_LINK, UDP_REGISTER_PORT_OFFSET

from ..device import IDENTITY_WORDS, Identity
from ..errors import DeviceError
from .group import ALLOWED, read_group
from .link import TRIES
from .udp import UdpDevice, parse_udp_url

NO_GROUP = ("0.0.0.0", 0)


class UdpLinkDevice(UdpDevice):
    """Registers of the link of the node at ``url`` (``udp://host[:port]``), by their names in `UDP_LINK`; it has no streams.

    Raises DeviceError when nothing answers there, or what is no link that this host knows.
    """

    def __init__(self, url: str, tries: int = TRIES) -> None:
        host, port = parse_udp_url(url)
        name = f"[{host}]" if ":" in host else host
        super().__init__(f"udp://{name}:{port + UDP_REGISTER_PORT_OFFSET}", tries)

    @property
    def map(self) -> RegisterMap:
        return UDP_LINK

    def identity(self) -> Identity:
        if self._identity is None:
            try:
                words = self.request(RegisterOp.READ, 0, IDENTITY_WORDS)
            except DeviceError as error:
                raise DeviceError(f"{error} (virtual nodes have no link of their own)") from error
            magic, node, version, clock_hz, map_hash, build_hash = words
            if (magic, node) != (ID_MAGIC, NodeType.UDP_LINK):
                raise DeviceError(f"{self.url} is no link of a board over UDP: virtual nodes have none")
            if map_hash != UDP_LINK.hash:
                raise DeviceError(
                    f"{self.url} has register map {map_hash:#010x}, this host {UDP_LINK.hash:#010x}: install the Twinphase release that "
                    "the bitstream was built with, or build and load a new bitstream"
                )
            self._identity = Identity(
                node=NodeType.UDP_LINK,
                interface_version=version,
                clock_hz=clock_hz,
                map_hash=map_hash,
                build_hash=build_hash,
            )
        return self._identity

    def counters(self, timeout_s: float = 2.0) -> dict[str, int]:
        """All counters of the link, of 32 bits each; not all of one clock."""
        first = self.map[COUNTERS[0][0]].address
        words = self.request(RegisterOp.READ, first, len(COUNTERS))
        return {name: int(word) for (name, _), word in zip(COUNTERS, words, strict=True)}

    def state(self) -> dict[str, str | int | dict[str, int]]:
        """Addresses, group ("" if there is none), subscribers and counters, for people and for JSON."""
        mac = self.read("MAC_ADDRESS").to_bytes(6, "big").hex(":")
        group = self.read("GROUP_ADDRESS_NOW")
        return {
            "mac": mac,
            "ip": str(ipaddress.IPv4Address(self.read("IP_ADDRESS"))),
            "group": f"{ipaddress.IPv4Address(group)}:{self.read('GROUP_PORT_NOW')}" if group else "",
            "subscribers": self.read("LIVE").bit_count(),
            "counters": self.counters(),
        }

    def set_group(self, address: str, port: int) -> None:
        """Streams go to this group from now on, once for all who listen; with NO_GROUP as the build says. DeviceError if it is none."""
        if (address, port) != NO_GROUP:
            try:
                read_group(f"{address}:{port}")
            except ValueError as error:
                raise DeviceError(f"{self.url}: group {address}:{port}; allowed: {ALLOWED}") from error
        where = self.map["GROUP_ADDRESS"].address
        self.request(RegisterOp.WRITE, where, 2, [int(ipaddress.IPv4Address(address)), port])


def link_state(url: str) -> dict[str, str | int | dict[str, int]] | None:
    """`UdpLinkDevice.state` of the node at ``url``; None where nothing says so."""
    try:
        with UdpLinkDevice(url, tries=2) as link:
            return link.state()
    except DeviceError:
        return None


def describe(state: dict[str, str | int | dict[str, int]]) -> str:
    """A line of it: what is not 0."""
    counters = state["counters"]
    assert isinstance(counters, dict)
    moved = ", ".join(f"{name.lower()} {count}" for name, count in counters.items() if count) or "all counters 0"
    group = f", group {state['group']}" if state["group"] else ""
    return f"link {state['mac']}{group}, {state['subscribers']} subscribers: {moved}"
