"""What `open_device` can open on this computer."""

from __future__ import annotations

from importlib.metadata import entry_points

from serial.tools import list_ports

from .device import DEVICE_GROUP
from .errors import DeviceError
from .transport.serial import DEFAULT_BAUD
from .transport.udp import DEFAULT_PORT, UdpDevice

LOCAL_PORTS = range(DEFAULT_PORT, DEFAULT_PORT + 3)
"""Default ports of a server and two clients on one computer."""


def reachable() -> list[dict[str, str]]:
    """``url`` and ``what`` of UDP nodes on localhost's default ports, serial ports, schemes of entry points, recordings."""
    found = []
    for port in LOCAL_PORTS:
        url = f"udp://localhost:{port}"
        try:
            with UdpDevice(url, tries=2) as device:
                found.append({"url": url, "what": f"{device.identity().node.name.lower()} node"})
        except DeviceError as error:
            if "does not answer" not in str(error):
                found.append({"url": url, "what": f"not usable: {error}"})
    for port in sorted(list_ports.comports()):
        found.append({"url": f"serial://{port.device}?baud={DEFAULT_BAUD}", "what": f"serial port: {port.description}"})
    for point in sorted(entry_points(group=DEVICE_GROUP)):
        extra = f", needs pip install 'twinphase[{','.join(point.extras)}]'" if point.extras else ""
        found.append({"url": f"{point.name}:NAME", "what": f"from {point.module}{extra}"})
    found.append({"url": "udp://HOST:PORT", "what": "a node on the network"})
    found.append({"url": "DIR", "what": "the folder of a recording"})
    return found
