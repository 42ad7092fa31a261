"""The register map of a board's link over UDP: its addresses and counters. It has a port of its own beside the node's, and an identity of
its own, so that a node's map is the same whatever its link is (docs/udp.md)."""

from __future__ import annotations

from .register_groups import ID_MAGIC, register
from .register_map import INTERFACE_VERSION, Access, NodeType, Register, RegisterMap

UDP_REGISTER_PORT_OFFSET = 2
"""From the port of the node's streams to that of these registers."""
DROPPED = (
    ("ERROR", "with a wrong frame checksum"),
    ("PORT", "for another port"),
    ("LENGTH", "truncated, too long, of no whole words, or not as long as they say"),
    ("FOREIGN", "with another magic or version"),
    ("STREAM", "that a host does not send to this port"),
    ("FULL", "that were requests for which there was no room"),
    ("OLD", "that were writes too far behind their writer's newest"),
    ("REFUSED", "that were subscriptions for which there was no place"),
)
"""Reasons for which a datagram is dropped, in the order in which they are looked for."""
SENT = (
    ("SENT", "datagrams sent"),
    ("DISCARDED", "packets of streams that nobody had subscribed to"),
    ("UNASKED", "answers that nobody waited for"),
    ("MALFORMED", "packets of the node that were none"),
    ("STRUCK", "subscribers struck because a datagram to them did not get away"),
)
COUNTERS = (*SENT, *((f"DROPPED_{name}", f"datagrams dropped {text}") for name, text in DROPPED))
"""Counters of 32 bits that wrap around: name and meaning."""


def _read_only(address: int, name: str, width: int, doc: str, reset: int = 0) -> Register:
    return register(address, name, width, doc, access=Access.RO, reset=reset)


UDP_LINK = RegisterMap(
    node=NodeType.UDP_LINK,
    registers=(
        _read_only(0x00, "ID_MAGIC", 32, "0x54575048", ID_MAGIC),
        _read_only(0x01, "NODE_TYPE", 8, "4: a link", int(NodeType.UDP_LINK)),
        _read_only(0x02, "INTERFACE_VERSION", 8, "version of packets and records", INTERFACE_VERSION),
        _read_only(0x03, "CLOCK_HZ", 32, "clock of the link"),
        _read_only(0x04, "MAP_HASH", 32, "hash of this map"),
        _read_only(0x05, "BUILD_HASH", 32, "0: the node has that of both"),
        _read_only(0x06, "MAC_ADDRESS", 48, "first byte highest"),
        _read_only(0x08, "IP_ADDRESS", 32, "first byte highest"),
        _read_only(0x09, "LIVE", 16, "bit k: place k of the table of subscribers is taken"),
        register(
            0x0A, "GROUP_ADDRESS", 32, "where streams go once instead of to each subscriber; 0: as the build says"
        ),
        register(0x0B, "GROUP_PORT", 16, "port of that group"),
        _read_only(0x0C, "GROUP_ADDRESS_NOW", 32, "the group that holds, 0: none"),
        _read_only(0x0D, "GROUP_PORT_NOW", 16, "port of that group"),
        *(_read_only(0x10 + k, name, 32, doc) for k, (name, doc) in enumerate(COUNTERS)),
    ),
    memories=(),
    counters=(),
)
