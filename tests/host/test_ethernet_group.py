"""The registers of a node's link over UDP, and the group that they set: hosts that join it get the streams, each datagram once on the
line."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from wire_bench import NODE_IP, bridged, hosts, ping, udp_socket
from wire_tagger import ADDRESS, CHANNELS, URL, Received, opened, start_pulser, tagger_wire, written

from twinphase import cli
from twinphase.packets import pack
from twinphase.transport.udp_link import UdpLinkDevice
from twinphase_sim.ethernet.bridge import Bridge
from twinphase_sim.ethernet.tap import Tap
from twinphase_spec.packets import RegisterOp, Stream

pytestmark = pytest.mark.long
GROUP, GROUP_PORT = "239.84.80.1", 9760
GROUP_MAC = bytes.fromhex("01005e") + bytes((84, 80, 1))


@contextmanager
def link_of(tap: Tap) -> Iterator[UdpLinkDevice]:
    """The node's link as the host behind ``tap`` opens it."""
    with tap.namespace.entered():
        device = UdpLinkDevice(URL, tries=40)
    with device:
        yield device


def test_the_link_says_what_it_has_sent_and_dropped() -> None:
    """Its counters against what was sent to it and what came; the node's stream does not notice that they are read."""
    with bridged(tagger_wire(), 2) as bridge, udp_socket(bridge.taps[1]) as other:
        there = bridge.taps[0]
        with opened(there) as device, link_of(there) as link:
            start_pulser(device)
            received = Received()
            received.take(device, packets=5)
            before = link.state()
            assert (before["mac"], before["ip"], before["group"]) == (ADDRESS.mac, ADDRESS.ip, "")
            assert before["subscribers"] == 1
            read = pack(Stream.REGISTER_REQUEST, 9, base_ticks=1 << 32, flags=RegisterOp.READ)
            for data, port in (
                *[(bytes(32), 9750)] * 3,  # magic
                *[(read[:-4], 9751)] * 4,  # length
                *[(pack(Stream.SUBSCRIBE, 0), 9751)] * 2,  # nothing for that port
                *[(pack(Stream.TAG, 0), 9752)],
                *[(pack(Stream.TAG, 0), 9753)] * 7,  # the core knows no such port
            ):
                other.sendto(data, (NODE_IP, port))
            write = device.map["FILTER_WINDOW"].address | 1 << 32
            for number in (1000, 984):  # 16 behind
                data = pack(Stream.REGISTER_REQUEST, number, bytes(4), base_ticks=write, flags=RegisterOp.WRITE)
                other.sendto(data, (NODE_IP, 9750))
            assert other.recv(2048)[4:8] == (1000).to_bytes(4, "little")
            received.take(device, packets=100)
            came = sum(state.packets for state in device.streams.values())
            after = link.counters()
            moved = {name: after[name] - before["counters"][name] for name in after}
            assert moved.pop("SENT") > 50  # some of the 100 had been sent before
            assert after["SENT"] >= came
            wrong = {"DROPPED_FOREIGN": 3, "DROPPED_LENGTH": 4, "DROPPED_STREAM": 3, "DROPPED_OLD": 1}
            assert {name: count for name, count in moved.items() if count} == wrong
            assert received.check() == device.streams[Stream.TAG].lost_packets == 0


def test_hosts_in_a_group_get_the_stream_and_it_is_sent_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Two hosts listen, a third one writes registers; answers go to who asked, and streams to each once the group is cleared."""
    sent: Counter[tuple[bytes, int]] = Counter()

    def watch(frame: bytes) -> None:
        if frame[12:14] == b"\x08\0" and frame[23] == socket.IPPROTO_UDP:
            sent[frame[:6], frame[42]] += 1

    query = f"?group={GROUP}:{GROUP_PORT}"
    with hosts(3) as taps, Bridge(tagger_wire(), taps, watch=watch) as bridge:
        first, second, third = bridge.taps
        assert ping(third, b"known by ARP") == b"known by ARP"
        with third.namespace.entered():
            assert cli.main(["group", URL, f"{GROUP}:{GROUP_PORT}"]) == 0
        assert capsys.readouterr().out == f"{URL} sends to {GROUP}:{GROUP_PORT}: open {URL}{query}\n"
        with opened(first, query) as one, opened(second, query) as two, opened(third) as writer:
            start_pulser(writer)
            books = [Received(), Received()]
            for _ in range(4):
                for book, device in zip(books, (one, two), strict=True):
                    book.take(device, packets=20)
            for book, device in zip(books, (one, two), strict=True):
                tags = device.streams[Stream.TAG]
                assert book.check() == tags.lost_records + tags.node_lost_records
                assert tags.lost_packets == 0
                assert tags.packets >= 80
            assert one.read("CHANNELS") == two.read("CHANNELS") == CHANNELS
            assert not writer.receive(0.2), "it has not joined"
            assert written(writer, 5) == 5
            in_group = {mac for mac, stream in tuple(sent) if stream == Stream.TAG}
            with third.namespace.entered():
                assert cli.main(["group", URL, "--clear"]) == 0
            assert "sends to each of its 3 subscribers" in capsys.readouterr().out
            writer.write("STREAM_ENABLE", 1 << Stream.TAG)
            assert writer.receive(30.0), "it need not join any more"
            assert ping(third, b"there") == b"there"
    assert in_group == {GROUP_MAC}
    assert {mac for mac, stream in sent if stream == Stream.TAG} == {GROUP_MAC, first.mac, second.mac, third.mac}
    answers = {mac for mac, stream in sent if stream == Stream.REGISTER_RESPONSE}
    assert answers == {first.mac, second.mac, third.mac}


def test_others_who_send_to_the_group_are_not_heard() -> None:
    """Another computer sends to the same group what looks like tags."""
    with bridged(tagger_wire(), 2) as bridge:
        there, other = bridge.taps
        with link_of(other) as link:
            link.set_group(GROUP, GROUP_PORT)
        with opened(there, f"?group={GROUP}") as device, udp_socket(other) as forger:
            here = socket.inet_aton("10.77.0.2")
            forger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s", here))
            start_pulser(device)
            received = Received()
            received.take(device, packets=5)
            for k in range(50):
                forger.sendto(bytes((Stream.TAG, 1, 0x50, 0x54)) + bytes(28 + k), (GROUP, GROUP_PORT))
            received.take(device, packets=50)
            assert received.check() == 0
            assert not any(device.damage.values())
