"""Messages between three nodes: who gets what, in which order, and what is said of those that are lost."""

from __future__ import annotations

import threading

import pytest

from twinphase.errors import DeviceError
from twinphase.operate.relay import Relay, on_link
from twinphase.packet_block import PacketBlock
from twinphase.packets import pack
from twinphase.transport.link import LinkDevice
from twinphase_spec.packets import Stream

NODES = ("server", "alice", "bob")


class Wire(LinkDevice):
    """A link that keeps what it sends; ``full``: it has no room."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sent: list[bytes] = []
        self.full = False

    def _send(self, packet: bytes) -> None:
        if self.full:
            raise BlockingIOError
        self.sent.append(packet)

    def _collect(self) -> PacketBlock:
        return PacketBlock.of([])

    def _release(self) -> None:
        pass

    def come(self, *packets: bytes) -> None:
        """Packets arrive."""
        self._sort(PacketBlock.of(packets))


@pytest.fixture
def wires():
    return {name: Wire(name) for name in NODES}


def message(stream: Stream, number: int, words: int = 3) -> bytes:
    return pack(stream, number, bytes([number & 0xFF]) * 4 * words)


def test_everybody_gets_what_is_for_him_as_it_came(wires):
    relay = Relay(wires)
    to_clients = [message(s, n) for n in range(3) for s in (Stream.HERALD_CODE, Stream.PSI, Stream.LIVE)]
    others = [message(s, 0) for s in (Stream.TAG, Stream.STATUS, Stream.HERALD, Stream.PEER, Stream.PHASE)]
    wires["server"].come(*others, *to_clients[:4])
    wires["server"].come(*to_clients[4:], *others)
    of_alice = [message(Stream.PEER, n, words=n + 1) for n in range(4)]
    wires["alice"].come(message(Stream.SIFTED, 0), *of_alice, message(Stream.HERALD_CODE, 0))
    of_bob = [message(Stream.PEER, n) for n in (7, 8)]
    wires["bob"].come(*of_bob)
    assert wires["server"].sent == []
    assert wires["alice"].sent == to_clients + of_bob
    assert wires["bob"].sent == to_clients + of_alice
    told = relay.as_dict()
    assert told["carried"] == {
        "alice bob peer": 4,
        "bob alice peer": 2,
        **{f"server {to} {stream}": 3 for to in ("alice", "bob") for stream in ("herald_code", "live", "psi")},
    }
    assert not told["refused"]
    assert not told["missing"]
    assert told["fault"] is None


def test_what_comes_is_there_for_the_reader_too(wires):
    Relay(wires)
    packets = [message(Stream.PSI, 0), message(Stream.TAG, 0)]
    wires["server"].come(*packets)
    assert wires["server"].receive(0.0) == packets


def test_lost_heralds_are_counted_lost_peer_packets_end_the_run(wires):
    relay = Relay(wires)
    wires["server"].come(message(Stream.HERALD_CODE, 0xFFFFFFFE), message(Stream.HERALD_CODE, 1))
    assert relay.missing == {("server", "herald_code"): 2}
    assert relay.fault is None
    wires["bob"].come(message(Stream.PEER, 5), message(Stream.PEER, 6))
    assert relay.fault is None
    wires["bob"].come(message(Stream.PEER, 9))
    assert relay.fault == (
        "2 PEER packets of bob were lost on their way to this computer, and each client now waits for the other: run the pair anew"
    )
    assert relay.missing["bob", "peer"] == 2


def test_repeated_and_late_packets_are_not_lost_ones(wires):
    relay = Relay(wires)
    wires["server"].come(*(message(Stream.PSI, n) for n in (3, 4, 4, 3, 5)))
    assert not relay.missing


def test_a_link_without_room_is_told(wires):
    relay = Relay(wires)
    wires["alice"].full = True
    wires["server"].come(message(Stream.PSI, 0))
    assert relay.refused == {("server", "alice", "psi"): 1}
    assert relay.fault is None
    wires["bob"].come(message(Stream.PEER, 0))
    assert relay.fault is not None
    assert relay.fault.startswith("a PEER packet of bob could not be sent to alice")
    assert len(wires["bob"].sent) == 1


def test_short_packets_go_nowhere(wires):
    Relay(wires)
    wires["alice"].come(b"", message(Stream.PEER, 0)[:28], b"\x07")
    assert wires["bob"].sent == []


def test_a_recording_carries_nothing():
    with pytest.raises(DeviceError, match="on no link that carries messages"):
        on_link(type("Recording", (), {"url": "run1/bob"})())


def test_send_is_whole_from_any_thread():
    """Of the bytes of two packets none are mixed: the lock is held for a whole packet."""

    class Slow(Wire):
        def _send(self, packet: bytes) -> None:
            for byte in packet:
                self.sent.append(bytes([byte]))

    wire = Slow("slow")
    packets = [bytes([k]) * 200 for k in range(8)]
    threads = [threading.Thread(target=lambda p=packet: [wire.send(p) for _ in range(20)]) for packet in packets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream = b"".join(wire.sent)
    assert len(stream) == 8 * 20 * 200
    assert all(len(set(stream[at : at + 200])) == 1 for at in range(0, len(stream), 200))
