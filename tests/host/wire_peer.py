"""A host on a node's line without a kernel: it answers ARP, sends and takes datagrams, and counts every byte of the line."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from wire_bench import NODE_IP, udp_frame

from twinphase.packets import pack
from twinphase_sim.native.wire import NativeWire, line_bytes, read_line
from twinphase_spec.packets import HEADER_WORDS, RegisterOp, Stream
from twinphase_spec.registers import RegisterMap

GAP_BYTES = 12
"""Between two frames at least."""
ARP, IP = b"\x08\x06", b"\x08\x00"
HEADERS_BYTES = 14 + 20 + 8


@dataclass(frozen=True, kw_only=True)
class Came:
    """A datagram to this host."""

    data: bytes
    ports: tuple[int, int]
    """Where it came from and went to."""


class Peer:
    """``line_bytes``: all that the node has sent since it was last set to 0, preambles, check sequences and least gaps included.
    ``others``: its frames that were neither datagrams to this host nor ARP requests for it."""

    def __init__(self, wire: NativeWire, *, node_mac: bytes, ip: str = "10.77.0.9", port: int = 40_000) -> None:
        self.wire, self.node_mac, self.ip, self.port = wire, node_mac, ip, port
        self.mac = bytes.fromhex("024444440009")
        self.line_bytes = 0
        self.others: list[bytes] = []
        self._identifier = 0

    def frame(self, data: bytes, port: int = 9750) -> bytes:
        """The Ethernet frame of a datagram to the node's ``port``."""
        return udp_frame(self.mac, self.node_mac, self.ip, NODE_IP, data, (self.port, port))

    def arp_request(self, mac: bytes | None = None) -> bytes:
        """The frame that asks for the node's MAC address, from ``mac`` (this host's, if None)."""
        node = bytes(map(int, NODE_IP.split(".")))
        body = b"\0\1\x08\0\6\4\0\1" + (mac or self.mac) + self._ip_bytes + bytes(6) + node
        return b"\xff" * 6 + self.mac + ARP + body

    def send(self, *frames: bytes) -> None:
        self.wire.put([line_bytes(frame) for frame in frames])

    def run(self, clocks: int) -> list[Came]:
        """Datagrams that come within so many clocks; AssertionError for what is no frame."""
        found = []
        for line in self.wire.run_lines(clocks):
            self.line_bytes += len(line) + GAP_BYTES
            frame = read_line(line)
            assert frame.sound, "the node sent what is no frame"
            kind, packet = frame.data[12:14], frame.data[14:]
            if kind == ARP and packet[24:28] == self._ip_bytes and packet[6:8] == b"\0\1":
                answer = packet[:6] + b"\0\2" + self.mac + self._ip_bytes + packet[8:18]
                self.send(frame.data[6:12] + self.mac + ARP + answer)
            elif kind == IP and packet[9] == 17 and packet[16:20] == self._ip_bytes:
                source, target, length = struct.unpack(">HHH", packet[20:26])
                found.append(Came(data=packet[28 : 20 + length], ports=(source, target)))
            else:
                self.others.append(frame.data)
        return found

    def request(self, op: RegisterOp, address: int, count: int, words: Sequence[int] = ()) -> list[int]:
        """As a device's, between whatever else comes, which is dropped."""
        self._identifier += 1
        payload = np.array(words, "<u4").tobytes()
        self.send(
            self.frame(
                pack(
                    Stream.REGISTER_REQUEST, self._identifier, payload, base_ticks=address | count << 32, flags=int(op)
                )
            )
        )
        for _ in range(200):
            for came in self.run(2000):
                answer = np.frombuffer(came.data, "<u4")
                if answer[0] & 0xFF == Stream.REGISTER_RESPONSE and answer[1] == self._identifier:
                    assert answer[2] >> 16 == 0
                    return [int(word) for word in answer[HEADER_WORDS:]]
        raise AssertionError(f"no answer to {op.name} at {address:#06x}")

    def write(self, registers: RegisterMap, **values: int) -> None:
        for name, value in values.items():
            self.request(RegisterOp.WRITE, registers[name].address, 1, [value])

    @property
    def _ip_bytes(self) -> bytes:
        return bytes(map(int, self.ip.split(".")))
