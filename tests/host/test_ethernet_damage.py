"""A damaged frame is nothing to the node, also where what is in it ends long before its check sequence and the frame before was sound."""

from __future__ import annotations

import random

import pytest
from udp_echo import Echo
from wire_bench import NODE_IP, TIMER_HZ
from wire_peer import Peer

from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.ethernettop import gmii_verilog
from twinphase_hdl.link.liteethcore import CoreOptions
from twinphase_sim.native.wire import PREAMBLE, NativeWire, line_bytes

pytestmark = pytest.mark.long
ADDRESS = Address(ip=NODE_IP)
MAC = bytes.fromhex(ADDRESS.mac.replace(":", ""))
HEADERS_BYTES = 14 + 20 + 8
QUIET_CLOCKS = 6400
"""For a frame to come and be answered."""


@pytest.fixture
def peer() -> Peer:
    text = gmii_verilog(Echo(), options=CoreOptions(timer_hz=TIMER_HZ), address=ADDRESS)
    return Peer(NativeWire(text, title="an Ethernet echo"), node_mac=MAC)


def with_bit(line: bytes, bit: int) -> bytes:
    """A frame with another bit ``bit`` behind its preamble."""
    changed = bytearray(line)
    changed[len(PREAMBLE) + bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def echoes(peer: Peer) -> list[bytes]:
    """What comes back until all is quiet; the node may ask for this host's MAC address first."""
    return [came.data for _ in range(8) for came in peer.run(QUIET_CLOCKS // 8)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 14, 17, 18, 19, 20, 21, 22, 23, 64, 255, 1472])
def test_a_damaged_datagram_behind_a_sound_frame_is_dropped(peer: Peer, size: int) -> None:
    """One bit is wrong: of the data, of the padding if there is any, of the check sequence. Words of the datagram are all right then."""
    rng = random.Random(size)
    peer.send(peer.frame(b"whoever"))
    assert echoes(peer) == [b"whoever"]
    line = line_bytes(peer.frame(rng.randbytes(size)))
    end = 8 * (len(line) - len(PREAMBLE))
    data_end = 8 * (HEADERS_BYTES + size)
    bits = {
        8 * HEADERS_BYTES,
        data_end - 1,
        data_end,
        end - 32,
        end - 1,
        *(rng.randrange(data_end, end) for _ in range(8)),
    }
    for turn, bit in enumerate(sorted(bits)):
        said = b"turn %d" % turn
        peer.send(peer.frame(said))
        assert echoes(peer) == [said]
        peer.wire.put([with_bit(line, bit)])
        assert echoes(peer) == [], f"bit {bit} of {end}"
    peer.wire.put([line])
    assert len(echoes(peer)) == 1
    assert not peer.others


def test_a_damaged_arp_request_behind_a_sound_frame_is_neither_answered_nor_learnt(peer: Peer) -> None:
    rng = random.Random(3)
    peer.send(peer.frame(b"whoever"))
    assert echoes(peer) == [b"whoever"]
    wrong = line_bytes(peer.arp_request(bytes.fromhex("0244444400ff")))
    end = 8 * (len(wrong) - len(PREAMBLE))
    for turn, bit in enumerate((8 * 60 - 1, end - 32, end - 1, *(rng.randrange(8 * 42, end) for _ in range(12)))):
        said = b"turn %d" % turn
        peer.send(peer.frame(said))
        assert echoes(peer) == [said]
        peer.wire.put([with_bit(wrong, bit)])
        assert echoes(peer) == []
        assert not peer.others, "answered"
    peer.send(peer.arp_request())
    assert echoes(peer) == []
    assert len(peer.others) == 1
