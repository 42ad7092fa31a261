"""A TAP interface (Linux): an Ethernet card of the kernel whose line is a file."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from ipaddress import IPv4Interface
from pathlib import Path

from .namespace import NetworkNamespace, NotPermittedError

DEVICE = "/dev/net/tun"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
SIOCSIFFLAGS, SIOCGIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU, SIOCGIFHWADDR = (
    *(0x8914, 0x8913, 0x8916, 0x891C, 0x8922, 0x8927),
)
IFF_UP = 1
MOST_BYTES = 1 << 16


class Tap:
    """An interface ``name`` in ``namespace`` with an IPv4 ``address`` ("10.0.0.1/24"), up.

    Without an address it is the port of a bridge, and takes frames to whomever. ``mtu`` in bytes. Raises NotPermittedError.
    """

    def __init__(
        self, namespace: NetworkNamespace, address: str | None, *, mtu: int = 1500, name: str = "twinphase0"
    ) -> None:
        self.namespace, self.name, self.takes_all = namespace, name, address is None
        interface = None if address is None else IPv4Interface(address)
        try:
            with namespace.entered():
                self._file = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                fcntl.ioctl(self._file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                    self._set(control, SIOCSIFMTU, struct.pack("i", mtu))
                    if interface is not None:
                        self._set(control, SIOCSIFADDR, self._address(interface.ip.packed))
                        self._set(control, SIOCSIFNETMASK, self._address(interface.netmask.packed))
                    flags = struct.unpack_from("H", self._set(control, SIOCGIFFLAGS, b""), 16)[0]
                    self._set(control, SIOCSIFFLAGS, struct.pack("H", flags | IFF_UP))
                    self.mac = self._set(control, SIOCGIFHWADDR, b"")[18:24]
        except OSError as error:
            raise NotPermittedError(
                f"no TAP interface can be made here ({error}): it takes {DEVICE} and root, or the capability CAP_NET_ADMIN"
            ) from error

    def _set(self, control: socket.socket, request: int, value: bytes) -> bytes:
        return fcntl.ioctl(control, request, struct.pack("16s24s", self.name.encode(), value))

    @staticmethod
    def _address(packed: bytes) -> bytes:
        return struct.pack("HH4s8x", socket.AF_INET, 0, packed)

    def fileno(self) -> int:
        """For ``select``."""
        return self._file

    def read(self) -> list[bytes]:
        """The frames that the kernel has sent, without check sequences."""
        frames = []
        while True:
            try:
                frames.append(os.read(self._file, MOST_BYTES))
            except BlockingIOError:
                return frames

    def write(self, frame: bytes) -> None:
        """A frame for the kernel to receive."""
        os.write(self._file, frame)

    def neighbours(self) -> dict[str, str]:
        """The kernel's ARP table here: MAC address by IP address."""
        with self.namespace.entered():
            rows = [line.split() for line in Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]]
        return {row[0]: row[3] for row in rows if row[5] == self.name}

    def close(self) -> None:
        os.close(self._file)
