"""A group in the URL of a node: what is taken for one, and a group on the loopback."""

import socket
import struct

import pytest
from fake_node import FakeNode

from twinphase.errors import DeviceError
from twinphase.packets import pack
from twinphase.transport.group import parse_group
from twinphase.transport.udp import UdpDevice, parse_udp_url
from twinphase_spec.packets import Stream

GROUP = "239.84.80.2"


def test_groups_in_urls():
    assert parse_group("udp://board") is None
    assert parse_group("udp://board?group=239.1.2.3") == ("239.1.2.3", 9760)
    assert parse_group("udp://board:9750?group=239.1.2.3:7000") == ("239.1.2.3", 7000)
    assert parse_udp_url("udp://board:9751?group=239.1.2.3:7000") == ("board", 9751)


@pytest.mark.parametrize(
    "query",
    [
        *("group=", "group=10.0.0.1", "group=239.1.2", "group=239.1.2.3:0", "group=239.1.2.3:x", "group=ff02::1"),
        *("group=224.0.0.5", "group=239.1.2.3:%2B1", "group=239.1.2.3:9_760"),
        *("grp=1", "group=239.1.2.3&group=239.1.2.4", "group=239.1.2.3&more=1", "x"),
    ],
)
def test_what_is_no_group_is_refused(query):
    with pytest.raises(
        DeviceError, match=r"names no group; allowed after the host: \?group= and an IPv4 group's address"
    ):
        UdpDevice(f"udp://localhost:9?{query}")


def test_a_group_on_the_loopback():
    """What the node sends to the group comes, also to two devices at once; what others send does not."""
    with FakeNode() as node:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            number = free.getsockname()[1]
        url = f"{node.url}?group={GROUP}:{number}"
        with UdpDevice(url) as one, UdpDevice(url) as two, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            for link in (node.socket, other):
                link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
                link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, struct.pack("B", 1))
            sent = [pack(Stream.STATUS, k, bytes(8)) for k in range(20)]
            for packet in sent:
                other.sendto(packet, (GROUP, number))
                node.socket.sendto(packet, (GROUP, number))
            for device in (one, two):
                came = []
                while len(came) < len(sent) and (packets := device.receive(2.0)):
                    came += packets
                assert came == sent
                assert not device.receive(0.05)
