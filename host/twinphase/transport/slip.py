"""Serial framing: SLIP (RFC 1055) around packet bytes and their CRC-32."""

from __future__ import annotations

import zlib

from twinphase_spec.packets import MAX_PACKET_BYTES, SLIP_END, SLIP_ESC, SLIP_ESC_END, SLIP_ESC_ESC

_END, _ESC = bytes([SLIP_END]), bytes([SLIP_ESC])
_ESCAPED_END, _ESCAPED_ESC = bytes([SLIP_ESC, SLIP_ESC_END]), bytes([SLIP_ESC, SLIP_ESC_ESC])
MAX_FRAME_BYTES = 2 * (MAX_PACKET_BYTES + 4)


def encode_frame(packet: bytes) -> bytes:
    """The bytes on the wire for one packet."""
    body = packet + zlib.crc32(packet).to_bytes(4, "little")
    return _END + body.replace(_ESC, _ESCAPED_ESC).replace(_END, _ESCAPED_END) + _END


class FrameReader:
    """Finds packets in a byte stream that may start anywhere."""

    def __init__(self) -> None:
        self.damaged = 0
        """Frames with a wrong CRC, a wrong escape or too many bytes."""
        self._rest = b""
        self._synchronous = False

    def feed(self, data: bytes) -> list[bytes]:
        """Packets that ``data`` completes."""
        *frames, self._rest = (self._rest + data).split(_END)
        packets = []
        for frame in frames:
            packet = _unescape(frame)
            if packet is not None:
                packets.append(packet)
            elif frame and self._synchronous:
                self.damaged += 1
            self._synchronous = True  # what comes before the first end is a part of a frame
        if len(self._rest) > MAX_FRAME_BYTES:
            self._rest = b""
            self.damaged += self._synchronous
            self._synchronous = False
        return packets


def _unescape(frame: bytes) -> bytes | None:
    if len(frame) < 4:
        return None
    parts = frame.split(_ESC)
    if any(part[:1] not in (b"\xdc", b"\xdd") for part in parts[1:]):
        return None
    body = parts[0] + b"".join((_END if part[0] == SLIP_ESC_END else _ESC) + part[1:] for part in parts[1:])
    packet = body[:-4]
    return packet if zlib.crc32(packet) == int.from_bytes(body[-4:], "little") else None
