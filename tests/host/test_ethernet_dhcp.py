"""A node that asks for its address, Verilated; servers on the kernel's sockets. Lost and foreign answers, renewal, loss, fallback."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dhcp_server import ACK, COOKIE, DISCOVER, NAK, OFFER, REQUEST, SO_BINDTODEVICE, Message, Server, write
from udp_echo import Echo
from wire_bench import NODE_IP, bridged, ping, udp_frame, udp_socket

from twinphase_hdl.link.dhcpclient import FALLBACK_SECONDS, LONGEST_WAIT, REQUESTS
from twinphase_hdl.link.dhcpwords import host_name
from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.ethernettop import gmii_verilog
from twinphase_hdl.link.liteethcore import CoreOptions
from twinphase_sim.ethernet.bridge import Bridge
from twinphase_sim.ethernet.faults import Faults
from twinphase_sim.native.wire import NativeWire, line_bytes

pytestmark = pytest.mark.long
SECOND = 125_000
"""Clocks of the core that count as a second: 2 ms of the node's time, a few tenths of a second here."""
FALLBACK = Address(ip=NODE_IP, dhcp=True)
MAC = bytes.fromhex(FALLBACK.mac.replace(":", ""))
LEASED, OTHER = "10.77.0.80", "10.77.0.99"


@pytest.fixture(scope="module")
def verilog() -> str:
    return gmii_verilog(Echo(), options=CoreOptions(timer_hz=SECOND, dhcp=True), address=FALLBACK)


@pytest.fixture
def wire(verilog: str) -> NativeWire:
    return NativeWire(verilog, title="an Ethernet echo with DHCP")


def seconds(bridge: Bridge) -> float:
    """Of the node, so far."""
    return bridge.wire.clock / 2 / SECOND


def until(condition, bridge: Bridge, within: float = 120.0) -> float:
    """Waits for it; the node's seconds that it took. They are fewer than ``within``."""
    start = seconds(bridge)
    while not condition():
        assert seconds(bridge) - start < within
        time.sleep(0.01)
    return seconds(bridge) - start


def pause(bridge: Bridge, node_seconds: float) -> None:
    end = seconds(bridge) + node_seconds
    while seconds(bridge) < end:
        time.sleep(0.01)


def settled(bridge: Bridge, address: str) -> None:
    """Until the node is there: the server has sent its answer, the node has not read it yet, and the kernel asks by ARP once a second."""
    until(lambda: there(bridge, address), bridge)


def there(bridge: Bridge, address: str) -> bool:
    return ping(bridge.taps[0], b"there?", timeout_s=1.0, address=address) == b"there?"


@contextmanager
def served(
    wire: NativeWire, count: int = 1, *, to_node=None, to_host=None, **server
) -> Iterator[tuple[Bridge, Server]]:
    with (
        bridged(wire, count, to_node=to_node, to_host=to_host) as bridge,
        Server(bridge.taps[0], **server).running() as it,
    ):
        yield bridge, it


def acknowledged(server: Server, count: int = 1) -> bool:
    return server.kinds().count(REQUEST) >= count


def test_a_node_gets_its_address_and_says_who_it_is(wire):
    with served(wire) as (bridge, server):
        until(lambda: acknowledged(server), bridge)
        settled(bridge, LEASED)
        assert not there(bridge, NODE_IP)
        with udp_socket(bridge.taps[0]) as link:
            link.sendto(b"hello", (LEASED, 9750))
            assert link.recvfrom(100) == (b"hello", (LEASED, 9750))
            # A broadcast is none of its datagrams.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            link.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, bridge.taps[0].name.encode())
            link.sendto(b"everybody", ("255.255.255.255", 9750))
            link.settimeout(1.0)
            with pytest.raises(TimeoutError):
                link.recv(100)
        (_, discover), (_, request) = server.heard[0], server.heard[-1]
        assert discover.options[12] == host_name(FALLBACK.mac_number).encode() == b"twinphase-000001"
        assert request.options[50] == socket.inet_aton(LEASED)
        assert request.options[54] == socket.inet_aton("10.77.0.1")
        for _, message in server.heard:
            assert message.chaddr == MAC
            assert message.options[61] == b"\1" + MAC
            assert message.xid == discover.xid
            assert message.flags == 0x8000
        pause(bridge, 12)
        assert server.kinds().count(REQUEST) == 1  # an hour's lease
    assert not bridge.count["cut"]


@pytest.mark.parametrize(
    "unanswered", [{DISCOVER: 3}, {REQUEST: REQUESTS - 1}, {REQUEST: REQUESTS}, {DISCOVER: 1, REQUEST: 2}]
)
def test_lost_messages_are_sent_again(wire, unanswered):
    with served(wire, unanswered=dict(unanswered)) as (bridge, server):
        expected = [DISCOVER] * (unanswered.get(DISCOVER, 0) + 1) + [REQUEST] * (unanswered.get(REQUEST, 0) + 1)
        if anew := unanswered.get(REQUEST, 0) == REQUESTS:
            expected[-1:] = [DISCOVER, REQUEST]
        until(lambda: len(server.heard) >= len(expected), bridge)
        settled(bridge, LEASED)
        assert server.kinds() == expected
        assert len({message.xid for _, message in server.heard}) == 1 + anew


def test_it_finds_its_way_over_a_bad_line(wire):
    bad = Faults(lost=0.3, doubled=0.2, late=0.2, damaged=0.2)
    with served(wire, to_node=bad, to_host=bad) as (bridge, server):
        until(lambda: acknowledged(server), bridge, 400)
        bridge.set_faults()
        deadline = time.monotonic() + 60
        while not there(bridge, LEASED):
            assert time.monotonic() < deadline


def lures(kind: int, asked: Message, right: bytes) -> list[bytes]:
    """Answers of this kind, each wrong in one thing, that promise OTHER."""
    options = {54: socket.inet_aton("10.77.0.1"), 51: (60).to_bytes(4, "big")}

    def lure(message: int = kind, more=(), **changes) -> bytes:
        return write(message, asked, OTHER, options | dict(more), **changes)

    wrong = [
        lure(xid=bytes(4)),
        lure(xid=asked.xid[::-1]),
        lure(chaddr=MAC[:5] + b"\x02"),
        lure(chaddr=b"\0" + MAC[1:]),
        lure(cookie=COOKIE[::-1]),
        lure(op=1),
        lure(message=9),
        lure(end=b""),
        lure(end=b"\x0c\x7f\xff"),  # an option longer than the message
        lure(more={53: bytes((kind, 0))}),
        lure(more={54: bytes(3)}),
        lure(more={51: bytes(5)}),
        lure()[:239],
        lure()[:240],
        lure()[:244],
        b"",
        bytes(3000)[:1472],
    ]
    if kind == OFFER:
        wrong += [
            lure(message=ACK),
            write(OFFER, asked, OTHER, {51: bytes(4)}),
            write(OFFER, asked, "0.0.0.0", options),
        ]
    else:
        wrong += [
            lure(),  # not the address that was asked for
            lure(message=OFFER),
            lure(more={54: socket.inet_aton("10.77.0.2")}),
            lure(message=NAK, more={54: socket.inet_aton("10.77.0.2")}),
            write(ACK, asked, OTHER, {54: options[54], 51: bytes(4)}),
            write(ACK, asked, "0.0.0.0", options),
        ]
    return wrong


def test_wrong_answers_change_nothing(wire):
    """Every kind of lure, alone and in front of the right answer, to both messages."""
    sent = []

    def alone(kind: int, asked: Message, right: bytes) -> list[bytes]:
        sent.extend(wrong := lures(kind, asked, right))
        return wrong

    with served(wire, meddle=alone) as (bridge, server):
        until(lambda: server.kinds().count(DISCOVER) >= 2, bridge)
        assert REQUEST not in server.kinds()
        server.meddle = lambda kind, asked, right: alone(kind, asked, right) + ([right] if kind == OFFER else [])
        until(lambda: server.kinds().count(REQUEST) >= 2, bridge)
        assert not there(bridge, OTHER)
        server.meddle = lambda kind, asked, right: [*alone(kind, asked, right), right]
        until(lambda: there(bridge, LEASED), bridge)
        assert not there(bridge, OTHER)
        assert len(sent) >= 80
        asked_for = {message.options[50] for _, message in server.heard if 50 in message.options}
        assert asked_for == {socket.inet_aton(LEASED)}


def test_answers_may_have_options_in_any_order_and_padding(wire):
    more = {3: bytes(4), 6: bytes(8), 15: b"lab.example", 82: bytes(200), 119: b""}

    def meddle(kind: int, asked: Message, right: bytes) -> list[bytes]:
        head = b"\0\0\0" + b"\x0f\x03lab" + b"\0"
        return [write(kind, asked, LEASED, server.options() | more, head=head) + bytes(60)]

    with served(wire, silent=True) as (bridge, server):
        server.meddle, server.silent = meddle, False
        until(lambda: acknowledged(server), bridge)
        settled(bridge, LEASED)


def test_an_answer_from_another_port_or_damaged_is_none(wire):
    with served(wire, silent=True) as (bridge, server):
        until(lambda: server.kinds().count(DISCOVER) >= 1, bridge)
        tap, asked = bridge.taps[0], server.heard[-1][1]
        offer = write(OFFER, asked, OTHER, server.options())
        for ports, spoiled in (((68, 68), 0), ((67, 68), 1)):
            line = bytearray(line_bytes(udp_frame(tap.mac, b"\xff" * 6, "10.77.0.1", "255.255.255.255", offer, ports)))
            line[-10] ^= spoiled  # in the last option, or in none
            bridge.send(bytes(line))
        pause(bridge, 3)
        assert REQUEST not in server.kinds()
        bridge.send(line_bytes(udp_frame(tap.mac, b"\xff" * 6, "10.77.0.1", "255.255.255.255", offer, (67, 68))))
        until(lambda: REQUEST in server.kinds(), bridge)


@pytest.mark.parametrize("more", [{}, {58: (4).to_bytes(4, "big"), 59: (14).to_bytes(4, "big")}], ids=["half", "T1"])
def test_a_lease_is_renewed_and_kept(wire, more):
    with served(wire, lease_s=16, more=more) as (bridge, server):
        until(lambda: acknowledged(server), bridge)
        times = []
        for count in range(2, 5):
            times.append(until(lambda n=count: acknowledged(server, n), bridge))
            assert there(bridge, LEASED)
        t1 = 4 if more else 8
        assert all(t1 - 2.5 < took < t1 + 1.5 for took in times[1:])
        renewals = [message for _, message in server.heard if message.ciaddr == LEASED]
        assert len(renewals) == server.kinds().count(REQUEST) - 1 >= 3
        assert len({message.xid for message in renewals}) == len(renewals)
        for message in renewals:
            assert not {50, 54} & set(message.options)
            assert message.flags == 0
        assert server.kinds().count(DISCOVER) == 1


def test_a_server_that_is_gone_costs_the_address_at_the_leases_end_and_not_before(wire):
    with served(wire, lease_s=20) as (bridge, server):
        until(lambda: acknowledged(server), bridge)
        server.silent = True
        until(lambda: server.kinds().count(REQUEST) >= 3, bridge)
        assert there(bridge, LEASED)
        took = until(lambda: server.kinds()[-1] == DISCOVER, bridge)
        assert not there(bridge, LEASED)
        assert took < 20
        assert until(lambda: there(bridge, NODE_IP), bridge) < 2 * FALLBACK_SECONDS
        server.silent = False
        until(lambda: there(bridge, LEASED), bridge, 2 * (1 << LONGEST_WAIT))
        assert not there(bridge, NODE_IP)


def test_a_refused_renewal_costs_the_address_at_once(wire):
    with served(wire, lease_s=12) as (bridge, server):
        until(lambda: acknowledged(server), bridge)
        server.address = OTHER  # its network was renumbered
        until(lambda: there(bridge, OTHER), bridge)
        assert not there(bridge, LEASED)
        kinds = [kind for kind, _ in itertools.groupby(server.kinds())]
        assert kinds[:4] == [DISCOVER, REQUEST, DISCOVER, REQUEST]


def test_without_a_server_the_fallback_is_the_address(wire):
    with bridged(wire) as bridge:
        assert not there(bridge, NODE_IP)
        took = until(lambda: there(bridge, NODE_IP), bridge)
        assert took < 2 * FALLBACK_SECONDS
        with Server(bridge.taps[0]).running() as server:
            until(lambda: there(bridge, LEASED), bridge, 2 * (1 << LONGEST_WAIT))
            assert not there(bridge, NODE_IP)
            assert server.heard[0][1].ciaddr == "0.0.0.0"


def test_of_two_servers_one_is_taken(wire):
    with (
        bridged(wire, 2) as bridge,
        Server(bridge.taps[0], silent=True).running() as first,
        Server(bridge.taps[1], address=OTHER, own="10.77.0.2", silent=True).running() as second,
    ):
        # Neither answers before both listen, so that both hear whom the node asks.
        first.silent = second.silent = False
        until(lambda: there(bridge, LEASED) or there(bridge, OTHER), bridge)

        def asked(server: Server) -> list[bytes]:
            """Whom the node has asked, as this server has heard it."""
            return [message.options[54] for _, message in server.heard if message.kind == REQUEST]

        # Both hear every broadcast; one of them may read it after the node has the other's answer.
        until(lambda: asked(first) == asked(second) != [], bridge)
        address = {b"\x0a\x4d\0\1": LEASED, b"\x0a\x4d\0\2": OTHER}[asked(first)[-1]]
        assert there(bridge, address)
        assert not there(bridge, ({LEASED, OTHER} - {address}).pop())


def test_datagrams_pass_unharmed_while_leases_are_renewed(wire):
    """Renewed every second or two, so that messages of the client fall between and into the echo's datagrams."""
    more = {58: (2).to_bytes(4, "big")}
    with served(wire, lease_s=20, more=more) as (bridge, server), udp_socket(bridge.taps[0]) as link:
        settled(bridge, LEASED)
        start = seconds(bridge)
        answered = 0
        while seconds(bridge) - start < 20:
            said = bytes((answered & 0xFF,)) * (1 + 7 * answered % 1400)
            link.sendto(said, (LEASED, 9750))
            assert link.recv(2000) == said
            answered += 1
        assert answered > 10
        assert len([message for _, message in server.heard if message.ciaddr == LEASED]) >= 6
    assert not bridge.count["cut"]
