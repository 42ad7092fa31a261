"""Streams by multicast: ``udp://host:port?group=239.1.2.3:9760`` takes what the node sends to a group, once for all who listen."""

from __future__ import annotations

import ipaddress
import socket
import struct
from urllib.parse import parse_qs, urlsplit

from ..errors import DeviceError

DEFAULT_GROUP_PORT = 9760
OF_THE_NETWORK = ipaddress.IPv4Network("224.0.0.0/24")
"""For protocols of the network itself (RFC 5771): switches send these to every port, whoever has joined."""
ALLOWED = "an IPv4 group's address from 224.0.1.0 to 239.255.255.255, and a port if you like, e.g. 239.1.2.3 or 239.1.2.3:9760"


def read_group(text: str) -> tuple[str, int]:
    """Address and port of ``ADDRESS[:PORT]``; ValueError if it is no group (`ALLOWED`)."""
    address, colon, port = text.partition(":")
    if colon and not (port.isascii() and port.isdigit()):
        raise ValueError(text)
    number = int(port) if colon else DEFAULT_GROUP_PORT
    where = ipaddress.IPv4Address(address)
    if not where.is_multicast or where in OF_THE_NETWORK or not 0 < number < 1 << 16:
        raise ValueError(text)
    return address, number


def parse_group(url: str) -> tuple[str, int] | None:
    """Address and port of the group that a ``udp://`` URL names, if it names one. Raises DeviceError."""
    query = urlsplit(url).query
    if not query:
        return None
    try:
        values = parse_qs(query, strict_parsing=True, keep_blank_values=True)
        ((text,),) = (values.pop("group"),)
        if values:
            raise ValueError(", ".join(sorted(values)))
        return read_group(text)
    except (ValueError, KeyError) as error:
        raise DeviceError(f"{url}: {query!r} names no group; allowed after the host: ?group= and {ALLOWED}") from error


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
