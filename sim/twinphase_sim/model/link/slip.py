"""Serial framing of packets: CRC-32, then SLIP (RFC 1055). Source: `twinphase_spec.packets`."""

from __future__ import annotations

import zlib

from twinphase_spec.packets import SLIP_END, SLIP_ESC, SLIP_ESC_END, SLIP_ESC_ESC

END, ESC = bytes([SLIP_END]), bytes([SLIP_ESC])
ESCAPED_END, ESCAPED_ESC = bytes([SLIP_ESC, SLIP_ESC_END]), bytes([SLIP_ESC, SLIP_ESC_ESC])
CRC_BYTES = 4


def encode(packet: bytes) -> bytes:
    """A packet as the serial port carries it, with an END before and after."""
    framed = packet + zlib.crc32(packet).to_bytes(CRC_BYTES, "little")
    return END + framed.replace(ESC, ESCAPED_ESC).replace(END, ESCAPED_END) + END


def decode(line: bytes) -> tuple[list[bytes], int]:
    """(whole packets on the line, number of damaged ones). What follows the last END is left out."""
    packets, damaged = [], 0
    for frame in line.split(END)[:-1]:
        if not frame:
            continue
        body = frame.replace(ESCAPED_END, END).replace(ESCAPED_ESC, ESC)
        packet, crc = body[:-CRC_BYTES], body[-CRC_BYTES:]
        if len(body) >= CRC_BYTES and zlib.crc32(packet).to_bytes(CRC_BYTES, "little") == crc:
            packets.append(packet)
        else:
            damaged += 1
    return packets, damaged
