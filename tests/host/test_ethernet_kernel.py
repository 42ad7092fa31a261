"""The Ethernet core, Verilated, judged by the Linux kernel: ARP, ping, sockets, several hosts, and all that is not for it."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

import pytest
from udp_echo import Echo
from wire_bench import NODE_IP, TIMER_HZ, bridged, echo_request, echoed, ip_frame, ping, udp_frame, udp_socket

from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.ethernettop import gmii_verilog
from twinphase_hdl.link.liteethcore import CoreOptions
from twinphase_sim.ethernet.tap import Tap
from twinphase_sim.native.wire import NativeWire, line_bytes

pytestmark = pytest.mark.long
ADDRESS = Address(ip=NODE_IP)
MAC = bytes.fromhex(ADDRESS.mac.replace(":", ""))


@pytest.fixture(scope="module")
def verilog() -> str:
    return gmii_verilog(Echo(), options=CoreOptions(timer_hz=TIMER_HZ), address=ADDRESS)


@pytest.fixture
def wire(verilog: str) -> NativeWire:
    return NativeWire(verilog, title="an Ethernet echo")


def test_the_kernel_finds_the_node_and_is_answered(wire: NativeWire) -> None:
    with bridged(wire) as bridge:
        tap = bridge.taps[0]
        for size in (0, 1, 2, 3, 14, 15, 16, 17, 18, 19, 56, 63, 64, 1471, 1472):
            data = bytes(k & 0xFF for k in range(size))
            assert ping(tap, data) == data
        assert tap.neighbours() == {NODE_IP: ADDRESS.mac}
        assert ping(tap, bytes(2000), timeout_s=2.0) is None  # in fragments; zeros do not change a checksum
        assert ping(tap, b"still there") == b"still there"
    assert not bridge.count["cut"]


def until_echoed(tap: Tap) -> bool:
    """Whether an answer comes within a few tries: the echo, which is only a test's, drops what comes while it sends."""
    with udp_socket(tap) as link:
        link.settimeout(2.0)
        for _ in range(10):
            with suppress(TimeoutError):
                if echoed(link, [b"here"]) == [b"here"]:
                    return True
    return False


def test_ordinary_sockets_get_every_datagram_back(wire: NativeWire) -> None:
    rng = random.Random(5)
    with bridged(wire) as bridge, udp_socket(bridge.taps[0]) as link:
        datagrams = [rng.randbytes(size) for size in (1, 2, 3, 4, 5, 17, 18, 19, 24, 1055, 1056, 1471, 1472)]
        assert echoed(link, datagrams) == datagrams
        assert echoed(link, [b"second port"], 9751) == [b"second port"]
    assert not bridge.count["cut"]


def test_jumbo_frames_pass(wire: NativeWire) -> None:
    rng = random.Random(6)
    with bridged(wire, mtu=9000) as bridge, udp_socket(bridge.taps[0]) as link:
        datagrams = [rng.randbytes(size) for size in (1473, 4096, 8971, 8972)]
        assert echoed(link, datagrams) == datagrams
    assert not bridge.count["cut"]


def test_each_of_several_hosts_gets_its_own(wire: NativeWire) -> None:
    """Three hosts, so that each has a MAC address of its own in the core's table, in turn and all at once."""
    with bridged(wire, 3) as bridge:
        for turn in range(4):
            for number, tap in enumerate(bridge.taps):
                with udp_socket(tap) as link:
                    said = [f"host {number} turn {turn}".encode()]
                    assert echoed(link, said) == said
                assert ping(tap, b"%d" % number) == b"%d" % number
    assert not bridge.count["cut"]


def test_pings_do_not_stop_an_answer_that_waits_for_arp(wire: NativeWire) -> None:
    """Pings flood the node while the core asks for the host's MAC address again and again (its table forgets within 20 ms)."""
    with bridged(wire) as bridge, udp_socket(bridge.taps[0]) as link:
        tap = bridge.taps[0]
        assert ping(tap, b"x") == b"x"
        flood = line_bytes(
            ip_frame(tap.mac, MAC, "10.77.0.1", NODE_IP, socket.IPPROTO_ICMP, echo_request(bytes(56), 1))
        )
        for turn in range(200):
            for _ in range(20):
                bridge.send(flood)
            said = [b"turn %d" % turn]
            assert echoed(link, said) == said


def test_pings_longer_than_they_say_do_not_stop_the_node(wire: NativeWire) -> None:
    with bridged(wire) as bridge:
        tap = bridge.taps[0]
        assert ping(tap, b"before") == b"before"
        short = ip_frame(tap.mac, MAC, "10.77.0.1", NODE_IP, socket.IPPROTO_ICMP, echo_request(b"12345678", 1))
        for _ in range(5):
            bridge.send(line_bytes(short + bytes(2800)))
        assert ping(tap, b"after") == b"after"
    assert not bridge.count["cut"]


def test_what_is_not_for_the_node_changes_nothing(wire: NativeWire) -> None:
    """Other ports and protocols, other hosts, IPv6, closed sockets: no answer, and the next request is answered."""
    with bridged(wire) as bridge:
        tap = bridge.taps[0]
        with udp_socket(tap) as link:
            for port in (1, 9749, 9753, 65535):
                link.sendto(b"not yours", (NODE_IP, port))
            link.sendto(bytes(5000), (NODE_IP, 9750))  # in fragments
            link.settimeout(1.0)
            with pytest.raises(TimeoutError):
                link.recv(4096)
            link.sendto(b"gone", (NODE_IP, 9750))  # the kernel will say that the port is closed
        for _ in range(20):
            with udp_socket(tap) as link:
                link.sendto(b"and another", (NODE_IP, 9750))
        rng = random.Random(7)
        for target in (MAC, b"\xff" * 6, b"\x01\0\x5e\0\0\x01", bytes.fromhex("024444444444")):
            for kind in (b"\x08\0", b"\x08\x06", b"\x86\xdd", b"\x88\xcc", b"\0\x2e"):
                bridge.send(line_bytes(target + tap.mac + kind + rng.randbytes(rng.randrange(46, 1500))))
        assert until_echoed(tap)
        assert ping(tap, b"here") == b"here"


def test_damaged_and_shortened_frames_are_dropped(wire: NativeWire) -> None:
    """A wrong check sequence is no datagram; a preamble that lost bytes is one; frames too short to be any hold up no more than what
    comes directly after them."""
    with bridged(wire) as bridge:
        tap = bridge.taps[0]
        with udp_socket(tap) as link:
            assert echoed(link, [b"first"]) == [b"first"]
            port = link.getsockname()[1]
            shorter, damaged = (
                udp_frame(tap.mac, MAC, "10.77.0.1", NODE_IP, said, (port, 9750)) for said in (b"shorter!", b"damaged!")
            )
            bridge.send(line_bytes(shorter, b"\x55" * 4 + b"\xd5"))
            assert link.recv(100) == b"shorter!"
            whole = line_bytes(damaged)
            for bit in range(8 * 8, 8 * len(whole), 7):
                wrong = bytearray(whole)
                wrong[bit // 8] ^= 1 << bit % 8
                bridge.send(bytes(wrong))
            link.settimeout(2.0)
            with pytest.raises(TimeoutError):
                link.recv(100)
            link.settimeout(60)
            for length in range(1, len(whole)):
                bridge.send(whole[:length])
            for _ in range(3):
                bridge.send(bytes(100))
            assert ping(tap, b"once", timeout_s=5) in (None, b"once")
            assert ping(tap, b"here") == b"here"
            assert until_echoed(tap)
