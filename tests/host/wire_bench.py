"""A node on a network of this system's kernel: namespaces, TAP interfaces, pings and sockets of the kernel in them."""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from twinphase_sim.ethernet.bridge import Bridge
from twinphase_sim.ethernet.faults import Faults
from twinphase_sim.ethernet.namespace import NetworkNamespace, NotPermittedError
from twinphase_sim.ethernet.tap import Tap
from twinphase_sim.native.wire import NativeWire

NODE_IP, PREFIX = "10.77.0.50", 24
TIMER_HZ = 1_250_000
"""Of the core's ARP: a second of it is 20 ms of the node's time, some seconds here."""


@contextmanager
def hosts(count: int = 1, *, mtu: int = 1500) -> Iterator[list[Tap]]:
    """So many hosts, 10.77.0.1 and up, each with a kernel's network stack of its own. Skips the test where that is not permitted."""
    namespaces: list[NetworkNamespace] = []
    taps: list[Tap] = []
    try:
        for number in range(1, count + 1):
            namespaces.append(NetworkNamespace())
            taps.append(Tap(namespaces[-1], f"10.77.0.{number}/{PREFIX}", mtu=mtu))
    except NotPermittedError as error:
        pytest.skip(str(error))
    try:
        yield taps
    finally:
        for part in (*taps, *namespaces):
            part.close()


@contextmanager
def bridged(
    wire: NativeWire, count: int = 1, *, mtu: int = 1500, to_node: Faults | None = None, to_host: Faults | None = None
) -> Iterator[Bridge]:
    with hosts(count, mtu=mtu) as taps, Bridge(wire, taps, to_node=to_node, to_host=to_host) as bridge:
        yield bridge


@contextmanager
def udp_socket(tap: Tap) -> Iterator[socket.socket]:
    """An ordinary socket of the host behind ``tap``."""
    with tap.namespace.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with made:
        made.settimeout(60)
        yield made


def checksum(data: bytes) -> int:
    """Of internet headers (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_frame(source: bytes, target: bytes, source_ip: str, target_ip: str, protocol: int, body: bytes) -> bytes:
    """An Ethernet frame of an IPv4 packet."""
    ends = socket.inet_aton(source_ip) + socket.inet_aton(target_ip)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0)
    return target + source + b"\x08\0" + head[:10] + checksum(head + ends).to_bytes(2, "big") + ends + body


def udp_frame(
    source: bytes, target: bytes, source_ip: str, target_ip: str, data: bytes, ports: tuple[int, int] = (5000, 9750)
) -> bytes:
    """An Ethernet frame of a datagram without a checksum."""
    head = struct.pack(">HHHH", *ports, 8 + len(data), 0)
    return ip_frame(source, target, source_ip, target_ip, socket.IPPROTO_UDP, head + data)


def echo_request(data: bytes, sequence: int) -> bytes:
    """A ping."""
    head = struct.pack(">BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, sequence)
    return head[:2] + checksum(head + data).to_bytes(2, "big") + head[4:] + data


_SEQUENCES = itertools.count()
"""Of pings: a late answer to an earlier one is none to this one."""


def ping(tap: Tap, data: bytes, *, timeout_s: float = 60.0, address: str = NODE_IP) -> bytes | None:
    """What the node at ``address`` echoes of ``data``, or None; sent and checked by the kernel's IP."""
    with tap.namespace.entered():
        link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with link:
        request = echo_request(data, next(_SEQUENCES) & 0xFFFF)
        link.sendto(request, (address, 0))
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([link], [], [], left)[0]:
                return None
            packet = link.recv(1 << 16)
            body = packet[4 * (packet[0] & 15) :]
            if body[0] == 0 and body[4:8] == request[4:8] and packet[12:16] == socket.inet_aton(address):
                assert checksum(body) == 0
                return body[8:]
    return None


def echoed(link: socket.socket, datagrams: Sequence[bytes], port: int = 9750) -> list[bytes]:
    """Each sent when the answer to the one before has come."""
    answers = []
    for datagram in datagrams:
        link.sendto(datagram, (NODE_IP, port))
        answer, sender = link.recvfrom(1 << 16)
        assert sender == (NODE_IP, port)
        answers.append(answer)
    return answers
