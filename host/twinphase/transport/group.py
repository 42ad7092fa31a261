"""Streams by multicast: ``udp://host:port?group=239.1.2.3:9760`` takes what the node sends to a group, once for all who listen."""

from __future__ import annotations

import ipaddress
import socket
import struct
from urllib.parse import parse_qs, urlsplit

from ..errors import DeviceError

DEFAULT_GROUP_PORT = 9760


def parse_group(url: str) -> tuple[str, int] | None:
    """Address and port of the group that a ``udp://`` URL names, if it names one. Raises DeviceError."""
    query = urlsplit(url).query
    if not query:
        return None
    allowed = "allowed after the host: ?group=239.1.2.3 or ?group=239.1.2.3:9760, an IPv4 group's address"
    try:
        values = parse_qs(query, strict_parsing=True, keep_blank_values=True)
        ((text,),) = (values.pop("group"),)
        if values:
            raise ValueError(", ".join(sorted(values)))
        address, colon, port = text.partition(":")
        number = int(port) if colon else DEFAULT_GROUP_PORT
        if not ipaddress.IPv4Address(address).is_multicast or not 0 < number < 1 << 16:
            raise ValueError(text)
    except (ValueError, KeyError) as error:
        raise DeviceError(f"{url}: {query!r} names no group; {allowed}") from error
    return address, number


def join_group(group: tuple[str, int], node: socket.socket) -> socket.socket:
    """A socket that takes the group's datagrams of the node that ``node`` is connected to, on the interface behind which that is.

    Several may listen on one computer. The group is left when the socket is closed. Raises OSError.
    """
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.bind(group)
        here = socket.inet_aton(node.getsockname()[0])
        link.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton(group[0]), here)
        )
        link.connect(node.getpeername())  # nobody else's
        link.setblocking(False)
    except OSError:
        link.close()
        raise
    return link
