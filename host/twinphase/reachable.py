"""What `open_device` can open: nodes on this computer and on the network, serial ports, nodes on USB, installed parts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

from serial.tools import list_ports

from .device import DEVICE_GROUP
from .discovery import Address, addresses_in, broadcast_addresses, scan
from .errors import DeviceError, TwinphaseError
from .transport.serial import DEFAULT_BAUD
from .transport.udp import DEFAULT_PORT
from .transport.usb import find_usb

LOCAL_PORTS = range(DEFAULT_PORT, DEFAULT_PORT + 3)
"""Default ports of a server and two clients on one computer."""
LOCAL_HOST = "127.0.0.1"


def targets_of(
    networks: Sequence[str] = (), *, broadcast: bool = True, ports: Sequence[int] | None = None
) -> list[Address]:
    """Addresses to ask: localhost's default ports, the interfaces' broadcast addresses on the same ports (if ``broadcast``), and
    all hosts of ``networks`` on each of ``ports`` (the default port). Raises DeviceError."""
    targets = [(LOCAL_HOST, port) for port in LOCAL_PORTS]
    if broadcast:
        targets += [(address, port) for address in broadcast_addresses() for port in LOCAL_PORTS]
    hosts = addresses_in(networks)
    return list(dict.fromkeys(targets + [(host, port) for host in hosts for port in ports or (DEFAULT_PORT,)]))


def find_nodes(
    targets: Sequence[Address], *, progress: Callable[[int, int], None] = lambda sent, total: None
) -> list[dict[str, Any]]:
    """The nodes that answer at ``targets``, as dictionaries (`FoundNode.as_dict`); what else answered is told on stderr. DeviceError when
    there is no way to any address but this computer's own."""
    result = scan(targets, progress=progress)
    away = {host for host, _ in targets if host != LOCAL_HOST}
    if result.unreachable:
        host, reason = next(iter(result.unreachable.items()))
        text = (
            f"there is no way to {len(result.unreachable)} addresses, e.g. {host} ({reason}): "
            "give this computer an address in their network"
        )
        if away and away <= set(result.unreachable) and not result.words:
            raise DeviceError(text)
        print(text, file=sys.stderr)
    if result.ignored:
        print(f"{result.ignored} packets came that are no answers of Twinphase nodes", file=sys.stderr)
    found = [node.as_dict() for node in result.nodes()]
    for node in found:
        node["url"] = str(node["url"]).replace(f"//{LOCAL_HOST}:", "//localhost:")
    return found


def on_usb() -> list[dict[str, Any]]:
    """Nodes on USB, by their serial numbers, and devices that may be some; how to look for them, where this computer cannot."""
    try:
        found = find_usb()
    except TwinphaseError as error:
        return [{"url": "usb://", "what": f"a node on USB, which this computer cannot look for yet: {error}"}]
    return [
        {"url": node.url, "what": f"a device on USB, perhaps a node: {node.problem}" if node.problem else "node on USB"}
        for node in found
    ]


def reachable(
    networks: Sequence[str] = (),
    *,
    broadcast: bool = True,
    ports: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda sent, total: None,
) -> list[dict[str, Any]]:
    """``url`` and ``what`` of UDP nodes (with their identity), serial ports, nodes on USB, schemes of entry points, recordings.
    Raises DeviceError."""
    found = find_nodes(targets_of(networks, broadcast=broadcast, ports=ports), progress=progress)
    for port in sorted(list_ports.comports()):
        found.append({"url": f"serial://{port.device}?baud={DEFAULT_BAUD}", "what": f"serial port: {port.description}"})
    found += on_usb()
    for point in sorted(entry_points(group=DEVICE_GROUP)):
        extra = f", needs pip install 'twinphase[{','.join(point.extras)}]'" if point.extras else ""
        found.append({"url": f"{point.name}:NAME", "what": f"from {point.module}{extra}"})
    found.append({"url": "udp://HOST:PORT", "what": "a node on the network"})
    found.append({"url": "DIR", "what": "the folder of a recording"})
    return found
