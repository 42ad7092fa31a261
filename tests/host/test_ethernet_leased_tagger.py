"""A whole time tagger that has its address from a DHCP server, wired as the builds wire it: the host library finds it there and reads
its stream, through renewals and over a change of its address."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import lru_cache

import pytest
from amaranth.back import verilog
from dhcp_server import DISCOVER, REQUEST, Server
from wire_bench import NODE_IP, bridged, ping
from wire_tagger import CHANNELS, Received, opened, start_pulser, written

from twinphase.transport.udp_link import link_state
from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.ethernettop import GmiiTop
from twinphase_hdl.link.liteethcore import CoreOptions, core_verilog
from twinphase_hdl.nodes.timetagger import TimeTaggerNode
from twinphase_hdl.nodes.udp import UdpNode
from twinphase_sim.ethernet.tap import Tap
from twinphase_sim.native.wire import NativeWire
from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType

pytestmark = pytest.mark.long
SECOND = 125_000
"""Clocks of the core that count as a second: 2 ms of the node's time, about a second here."""
ADDRESS = Address(ip=NODE_IP, dhcp=True)
"""With the address that it has without a server."""
LEASED, OTHER = "10.77.0.80", "10.77.0.99"
T1_S, LEASE_S = 3, 12
T1 = {58: T1_S.to_bytes(4, "big")}
PATIENCE_S = 300.0


class LeasedTop(GmiiTop):
    """The link's registers say the address that the core has, as in a build."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        link = self._user._link
        m.d.comb += [link.i_mac_address.eq(ADDRESS.mac_number), link.i_ip_address.eq(self._core.o_ip_address)]
        return m


@lru_cache(maxsize=1)
def leased_verilog() -> str:
    """Of the time tagger, as module ``native``."""
    options = CoreOptions(timer_hz=SECOND, dhcp=True)
    tagger = TimeTaggerNode(channels=CHANNELS, frontend="simulation", lanes=1)
    top = LeasedTop(UdpNode(tagger, net_hz=SECOND), options=options, address=ADDRESS)
    text = verilog.convert(top, name="native", ports=top.ports, emit_src=False, strip_internal_attrs=True)
    return text + core_verilog(options)


@pytest.fixture
def wire() -> NativeWire:
    return NativeWire(leased_verilog(), title="a time tagger with DHCP")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def link_says(tap: Tap, address: str) -> dict[str, object]:
    """The registers of the link behind the port that is two above the streams'."""
    with tap.namespace.entered():
        found: list[dict[str, object] | None] = [None]
        until(lambda: found.append(link_state(f"udp://{address}")) or found[-1] is not None)
    state = found[-1]
    assert state is not None
    return state


def test_a_time_tagger_streams_from_the_address_that_a_server_gave_it(wire: NativeWire) -> None:
    """Also while it renews its lease, every few seconds of its own: the client's messages fall between and into its packets."""
    with bridged(wire) as bridge, Server(bridge.taps[0], address=LEASED, lease_s=LEASE_S, more=T1).running() as server:
        there = bridge.taps[0]
        until(lambda: REQUEST in server.kinds())
        with opened(there, address=LEASED) as device:
            assert device.identity().node is NodeType.TIMETAGGER
            state = link_says(there, LEASED)
            assert (state["mac"], state["ip"]) == (ADDRESS.mac, LEASED)
            assert written(device, 5) == 5
            start_pulser(device)
            received = Received()
            received.take(device, packets=20)
            renewed = server.kinds().count(REQUEST)
            while server.kinds().count(REQUEST) < renewed + 3:
                received.take(device, packets=40)
            tags = device.streams[Stream.TAG]
            assert received.check() == 0
            assert (tags.lost_packets, tags.node_lost_records, tags.duplicates, tags.restarts) == (0, 0, 0, 0)
            assert not any(device.damage.values())
            assert written(device, 5) == 5
        assert server.kinds().count(DISCOVER) == 1
        assert {message.ciaddr for _, message in server.heard[2:]} == {LEASED}
        assert ping(there, b"meanwhile", address=LEASED) == b"meanwhile"
        assert ping(there, b"there?", timeout_s=2.0) is None
    assert not bridge.count["cut"]


def test_a_tagger_whose_address_changes_is_silent_at_the_old_one_and_goes_on_at_the_new_one(wire: NativeWire) -> None:
    """The server's network is renumbered: the renewal is refused. The stream's numbers go on, so that what is missing shows."""
    with bridged(wire) as bridge, Server(bridge.taps[0], address=LEASED, lease_s=LEASE_S, more=T1).running() as server:
        there = bridge.taps[0]
        until(lambda: REQUEST in server.kinds())
        with opened(there, address=LEASED) as before:
            start_pulser(before)
            received = Received()
            received.take(before, packets=20)
            server.address = OTHER
            until(lambda: server.kinds().count(DISCOVER) >= 2)
            until(lambda: socket.inet_aton(OTHER) in [asked.options.get(50) for _, asked in server.heard])
            with opened(there, address=OTHER) as after:
                assert link_says(there, OTHER)["ip"] == OTHER
                received.take(before, seconds=1.0)  # what had come before
                state = before.streams[Stream.TAG]
                assert received.check() == state.lost_records + state.node_lost_records
                packets = state.packets
                again = Received()
                again.take(after, packets=50)
                assert after.streams[Stream.TAG].sequence > state.sequence
                assert again.check() == after.streams[Stream.TAG].lost_packets == 0
                received.take(before, seconds=0.5)
                assert before.streams[Stream.TAG].packets == packets
                assert written(after, 5) == 5
    assert not bridge.count["cut"]
