"""A time tagger on a network of the Linux kernel, read by the host library as it is: nothing lost is missed, nothing is written twice."""

from __future__ import annotations

import random
import socket

import pytest
from wire_bench import NODE_IP, bridged, ping, udp_frame, udp_socket
from wire_tagger import ALL, CHANNELS, MAC, URL, Received, opened, start_pulser, tagger_wire, written

from twinphase.device import open_device
from twinphase.measure.losses import unexplained_edges
from twinphase.packets import pack
from twinphase.transport.udp import UdpDevice
from twinphase_sim.ethernet.bridge import Bridge
from twinphase_sim.ethernet.faults import Faults
from twinphase_sim.native.wire import NativeWire, line_bytes
from twinphase_spec.packets import RegisterOp, Stream
from twinphase_spec.registers import NodeType

pytestmark = pytest.mark.long


@pytest.fixture
def wire() -> NativeWire:
    return tagger_wire()


def test_the_host_library_reads_writes_and_streams(wire: NativeWire) -> None:
    with bridged(wire) as bridge:
        with bridge.taps[0].namespace.entered(), open_device(URL) as device:
            assert device.identity().node is NodeType.TIMETAGGER
        with opened(bridge.taps[0]) as device:
            check_all(device, bridge)
    assert not bridge.count["cut"]


def check_all(device: UdpDevice, bridge: Bridge) -> None:
    """Registers, memories, both streams, and a ping beside them."""
    assert device.read("CHANNELS") == CHANNELS
    device.write("WINDOW_FROM", 0x0123456789ABCDEF)
    assert device.read("WINDOW_FROM") == 0x0123456789ABCDEF
    assert written(device, 20) == 20
    assert device.read_memory("COUNTERS", 0, 64)[0] > 0
    start_pulser(device)
    received = Received()
    received.take(device, packets=350)  # two status ticks
    assert received.check() == 0
    tags, status = device.streams[Stream.TAG], device.streams[Stream.STATUS]
    assert (tags.lost_packets, tags.node_lost_records, tags.duplicates, tags.reordered) == (0, 0, 0, 0)
    assert status.records >= 2
    assert not any(device.damage.values())
    assert ping(bridge.taps[0], b"meanwhile") == b"meanwhile"


@pytest.mark.parametrize(
    "faults",
    [
        Faults(lost=0.1),
        Faults(doubled=0.2),
        Faults(late=0.2, late_clocks=4000),
        Faults(late=0.1, late_clocks=100_000),
        Faults(damaged=0.1),
        Faults(lost=0.05, doubled=0.1, late=0.1, damaged=0.05, delay_clocks=2000),
    ],
    ids=["loss", "duplication", "reordering", "lateness", "corruption", "all"],
)
def test_every_lost_record_is_counted_and_located(wire: NativeWire, faults: Faults) -> None:
    """What went wrong on the line is known frame by frame; what the host says must agree, and each tag must be where it says."""
    with bridged(wire) as bridge, opened(bridge.taps[0]) as device:
        start_pulser(device)
        received = Received()
        received.take(device, packets=5)
        bridge.set_faults(to_host=faults)
        received.take(device, packets=150)
        bridge.set_faults()
        received.take(device, packets=20)
        tags = device.streams[Stream.TAG]
        lost = received.check()
        assert lost == tags.lost_records + tags.node_lost_records
        assert tags.node_lost_records == 0
        assert (tags.strays, tags.restarts) == (0, 0)
        assert not any(device.damage.values())
        count = bridge.to_host.count
        assert bridge.count["refused"] == count["damaged"]
        if faults.lost or faults.damaged:
            assert tags.lost_packets > 0
        elif faults.late_clocks <= 4000:  # overtaken, but not given up
            assert tags.lost_packets == tags.late
        if faults.doubled and not faults.lost:
            assert tags.duplicates > 0
        assert written(device, 3) == 3
    assert not bridge.count["cut"]


@pytest.mark.parametrize(
    "faults",
    [Faults(lost=0.2), Faults(doubled=0.5), Faults(damaged=0.2), Faults(lost=0.1, doubled=0.3, damaged=0.1)],
    ids=["loss", "duplication", "corruption", "all"],
)
def test_registers_are_never_written_twice(wire: NativeWire, faults: Faults) -> None:
    with bridged(wire) as bridge, opened(bridge.taps[0]) as device:
        written(device, 1)
        bridge.set_faults(to_node=faults, to_host=faults)
        assert written(device, 40) == 40
        assert device.read("CHANNELS") == CHANNELS


def test_a_copy_of_a_write_that_comes_after_a_later_one_is_not_executed(wire: NativeWire) -> None:
    with bridged(wire) as bridge, opened(bridge.taps[0]) as device, udp_socket(bridge.taps[0]) as link:
        address, count = device.map["SNAPSHOT"].address, "SNAPSHOT_COUNT"
        device.write("STREAM_ENABLE", 0)
        before = device.read(count)
        for identifier in (7, 8, 7):
            request = pack(
                Stream.REGISTER_REQUEST,
                identifier,
                (1).to_bytes(4, "little"),
                base_ticks=address | 1 << 32,
                flags=RegisterOp.WRITE,
            )
            link.sendto(request, (NODE_IP, 9750))
            assert link.recv(2048)[:8] == bytes((Stream.REGISTER_RESPONSE, 1, 0x50, 0x54, identifier, 0, 0, 0))
        assert device.read(count) - before == 2


def hostile(rng: random.Random) -> bytes:
    """A datagram that is no request, or not quite."""
    kind = rng.randrange(7)
    request = pack(Stream.REGISTER_REQUEST, rng.getrandbits(32), base_ticks=1 << 32, flags=RegisterOp.READ)
    if kind == 0:
        return rng.randbytes(rng.randrange(0, 1473))
    if kind == 1:
        return request[: rng.randrange(len(request))]
    if kind == 2:
        return request + rng.randbytes(rng.randrange(1, 1400))
    if kind == 3:
        return bytes((*request[:3], rng.randrange(256))) + request[4:]
    if kind == 4:
        return bytes((rng.choice([1, 2, 6, 65, 90]), *request[1:]))
    if kind == 5:  # a write that says more than it brings
        return pack(Stream.REGISTER_REQUEST, 1, bytes(8), base_ticks=0x15 | 64 << 32, flags=RegisterOp.WRITE)
    return pack(Stream.SUBSCRIBE, 0, rng.randbytes(4 * rng.randrange(0, 300)))[: rng.randrange(4, 1400)]


def test_a_flood_of_foreign_datagrams_costs_nothing(wire: NativeWire) -> None:
    """A second host floods the node's ports with everything that is no request; the first one's stream stays whole."""
    rng = random.Random(11)
    with bridged(wire, 2) as bridge, opened(bridge.taps[0]) as device, udp_socket(bridge.taps[1]) as other:
        start_pulser(device)
        received = Received()
        received.take(device, packets=5)
        for _ in range(20):
            for _ in range(30):
                other.sendto(hostile(rng), (NODE_IP, rng.choice([9750, 9750, 9751, 9, 67])))
            received.take(device, packets=5)
        assert received.check() == 0
        assert device.streams[Stream.TAG].lost_packets == 0
        assert written(device, 10) == 10
        assert device.read("CHANNEL_ENABLE") == ALL
    assert not bridge.count["cut"]


def test_two_hosts_read_and_write_at_once(wire: NativeWire) -> None:
    with bridged(wire, 2) as bridge, opened(bridge.taps[0]) as first, opened(bridge.taps[1]) as second:
        start_pulser(first)
        books = [Received(), Received()]
        for turn in range(5):
            for book, device in zip(books, (first, second), strict=True):
                book.take(device, packets=10)
                device.write("FILTER_WINDOW", 100 + turn)
                assert device.read("FILTER_WINDOW") == 100 + turn
        for book, device in zip(books, (first, second), strict=True):
            assert (
                book.check() == device.streams[Stream.TAG].lost_records + device.streams[Stream.TAG].node_lost_records
            )
        assert written(first, 5) == 5
        assert written(second, 5) == 5
    assert not bridge.count["cut"]


def test_a_subscriber_who_does_not_exist_stops_the_node_once(wire: NativeWire) -> None:
    """Nobody answers the core's ARP requests for him: it waits, the node counts what it loses meanwhile, the link strikes him."""
    with bridged(wire) as bridge, opened(bridge.taps[0]) as device:
        start_pulser(device)
        received = Received()
        received.take(device, packets=20)
        state = device.streams[Stream.TAG]
        assert received.check() == state.node_lost_records == 0
        bridge.send(line_bytes(udp_frame(bridge.taps[0].mac, MAC, "10.77.0.99", NODE_IP, pack(Stream.SUBSCRIBE, 0))))
        received.take(device, packets=200)
        assert state.lost_packets == 0
        before = state.node_lost_records
        assert before > 0
        received.take(device, packets=100)
        assert state.node_lost_records == before
        assert state.lost_packets == 0
        counters = device.counters(timeout_s=60)
        dropped = sum(counters[f"dropped_{channel}"] for channel in range(CHANNELS))  # before they were the stream's
        missing = received.in_all() - received.next_place
        assert abs(missing - dropped) < CHANNELS
        assert set(unexplained_edges(counters).values()) == {0}
        assert device.read("CHANNELS") == CHANNELS
        assert ping(bridge.taps[0], b"there") == b"there"
    assert not bridge.count["cut"]


def test_a_subscriber_who_vanishes_costs_the_other_nothing(wire: NativeWire) -> None:
    """The core still knows his address, and what it sends there is nobody's."""
    with bridged(wire, 2) as bridge:
        there, left = bridge.taps
        with opened(there) as device, opened(left) as gone:
            start_pulser(gone)
            Received().take(gone, packets=5)
            received = Received()
            received.take(device, packets=5)
            bridge.unplug(left)
            received.take(device, packets=200)
            assert received.check() == device.streams[Stream.TAG].lost_packets == 0
            assert ping(there, b"there") == b"there"


def test_a_host_that_does_not_read_and_then_closes_costs_nobody_anything(wire: NativeWire) -> None:
    """Its kernel drops what its socket does not hold, and tells the node, once the socket is closed, that nobody is there."""
    with bridged(wire, 2) as bridge, opened(bridge.taps[0]) as device:
        start_pulser(device)
        received = Received()
        with udp_socket(bridge.taps[1]) as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            lazy.sendto(pack(Stream.SUBSCRIBE, 0), (NODE_IP, 9750))
            received.take(device, packets=100)
            lazy.setblocking(False)
            assert 0 < sum(1 for _ in iter(lambda: readable(lazy), None)) < 100
        received.take(device, packets=100)
        assert received.check() == 0
        assert device.streams[Stream.TAG].lost_packets == 0
        assert written(device, 5) == 5
    assert not bridge.count["cut"]


def readable(link: socket.socket) -> bytes | None:
    """The next datagram, if there is one."""
    try:
        return link.recv(2048)
    except BlockingIOError:
        return None
