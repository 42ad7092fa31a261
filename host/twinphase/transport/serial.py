"""A node on a serial port: `slip` frames, pyserial.

The node sends its enabled streams without being asked; a host that reads too slowly loses packets, which the stream
states then show. The port is taken exclusively.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import serial

from ..errors import DeviceError
from ..packet_block import PacketBlock
from .link import LinkDevice
from .slip import FrameReader, encode_frame

DEFAULT_BAUD = 3_000_000
"""What every board of `twinphase build` runs its port at."""
POLL_S = 0.1


class SerialDevice(LinkDevice):
    """``serial:///dev/ttyUSB0?baud=3000000``. Raises DeviceError when the port is missing, busy, or nothing answers."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        path, baud = parse_serial_url(url)
        self._frames = FrameReader()
        try:
            self._port = serial.Serial(path, baud, timeout=POLL_S, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            reason = str(error).split("] ")[-1]
            raise DeviceError(
                f"serial port {path} cannot be opened ({reason}): is it there, free and yours to use? "
                "`twinphase devices` lists the ports"
            ) from error
        self._start()

    @property
    def transport_losses(self) -> dict[str, int]:
        return super().transport_losses | {"damaged frames": self._frames.damaged}

    def _send(self, packet: bytes) -> None:
        self._port.write(encode_frame(packet))

    def _collect(self) -> PacketBlock:
        try:
            data = self._port.read(max(1, self._port.in_waiting))
        except (serial.SerialException, TypeError) as error:  # TypeError: closed while it was read
            raise OSError(str(error)) from error
        return PacketBlock.of(self._frames.feed(data))

    def _wake(self) -> None:
        self._port.cancel_read()

    def _release(self) -> None:
        self._port.close()


def parse_serial_url(url: str) -> tuple[str, int]:
    """``(path, baud)`` of ``serial://PATH[?baud=N]``. Raises DeviceError."""
    parts = urlsplit(url)
    path = parts.netloc + parts.path
    query = parse_qs(parts.query)
    baud = query.get("baud", [str(DEFAULT_BAUD)])[-1]
    if not path or set(query) - {"baud"} or not baud.isdigit() or int(baud) == 0:
        raise DeviceError(f"{url} is no serial address; write serial:///dev/ttyUSB0?baud={DEFAULT_BAUD}")
    return path, int(baud)
