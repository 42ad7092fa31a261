"""A client behind its link over UDP: heralds in few bits, final phases and the peer's records come as datagrams."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from wire_bench import NODE_IP, TIMER_HZ
from wire_peer import Peer

from twinphase.device import register_words
from twinphase.packets import pack
from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.ethernettop import gmii_verilog
from twinphase_hdl.link.liteethcore import NET_HZ, CoreOptions
from twinphase_hdl.nodes.client import RECEIVED, ClientNode
from twinphase_hdl.nodes.udp import UdpNode
from twinphase_sim.lab.keys import pair_digest
from twinphase_sim.model.client import block_sifter
from twinphase_sim.model.sift.block import BlockSifter
from twinphase_sim.model.sift.herald import herald_pulses, herald_records
from twinphase_sim.model.sift.heraldcode import payload
from twinphase_sim.native.wire import NativeWire
from twinphase_spec.configure import client_registers
from twinphase_spec.herald_code import FIRST, Divisor
from twinphase_spec.lab import load_lab
from twinphase_spec.packets import MAX_PAYLOAD_WORDS, PEER_DTYPE, PSI_DTYPE, SIFTED_DTYPE, RegisterOp, Stream
from twinphase_spec.registers import CLIENT
from twinphase_spec.sns import RING_HERALDS, Kind
from twinphase_spec.udp_registers import UDP_LINK

pytestmark = pytest.mark.long
ADDRESS = Address(ip=NODE_IP)
BLOCK, BLOCKS = 32, 4
NEVER = 1 << 40
"""Clock of pulse 0: heralds are sifted whether pulses are emitted or not."""


def registers_of(role: str) -> dict[str, int]:
    lab = load_lab("metro-50km-qrng")
    lab = lab.model_copy(update={"protocol": lab.protocol.model_copy(update={"block_heralds": BLOCK})})
    key = (1, 2, 3, 4) if role == "alice" else (5, 6, 7, 8)
    return client_registers(lab, role, key, NEVER, digest=pair_digest(1))


def exchanged(alice: BlockSifter, bob: BlockSifter) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """All that they say to each other."""
    said, answers = [], []
    while True:
        of_alice, of_bob = alice.take_peer(), bob.take_peer()
        if not of_alice.size and not of_bob.size:
            return np.concatenate(said), np.concatenate(answers)
        said.append(of_alice)
        answers.append(of_bob)
        bob.push_peer(of_alice)
        alice.push_peer(of_bob)


class Alice:
    """Verilated, on a line with one host."""

    def __init__(self) -> None:
        client = ClientNode(lanes=1, shared_recall=True)
        node = UdpNode(client, address=ADDRESS, net_hz=NET_HZ, streams=RECEIVED)
        text = gmii_verilog(node, options=CoreOptions(timer_hz=TIMER_HZ), address=ADDRESS)
        wire = NativeWire(text, title="a client on Ethernet")
        self.peer = Peer(wire, node_mac=bytes.fromhex(ADDRESS.mac.replace(":", "")))

    def write(self, name: str, value: int) -> None:
        words = register_words(CLIENT[name], value, "client")
        self.peer.request(RegisterOp.WRITE, CLIENT[name].address, len(words), words)

    def send(self, *packets: bytes) -> None:
        self.peer.send(*map(self.peer.frame, packets))

    def counters(self) -> dict[str, int]:
        self.write("SNAPSHOT", 1)
        self.peer.run(20_000)
        count = 2 * len(CLIENT.counter_names)
        words = self.peer.request(RegisterOp.READ, CLIENT.memory("COUNTERS").address, count)
        return dict(zip(CLIENT.counter_names, np.array(words, "<u4").view("<u8").tolist(), strict=True))

    def full(self) -> int:
        """Datagrams for which the link had no room."""
        self.peer.send(
            self.peer.frame(
                pack(Stream.REGISTER_REQUEST, 1, base_ticks=UDP_LINK["DROPPED_FULL"].address | 1 << 32), 9752
            )
        )
        (answer,) = [came.data for came in self.peer.run(20_000) if came.ports[0] == 9752]
        return int.from_bytes(answer[32:36], "little")


def test_heralds_psi_and_the_peers_records_by_datagrams() -> None:
    alice, peer = (node := Alice()), node.peer
    for name, value in registers_of("alice").items():
        alice.write(name, value)
    alice.write("CONTROL", 1)
    assert peer.request(RegisterOp.READ, CLIENT["KEY_READY"].address, 1) == [1]

    # What they do by the reference.
    rng = np.random.default_rng(3)
    pulses = np.cumsum(rng.integers(1, 400, BLOCKS * BLOCK)).astype(np.uint64)
    heralds = herald_records(np.arange(pulses.size), pulses, rng.integers(0, 2, pulses.size))
    psi = np.zeros(pulses.size, PSI_DTYPE)
    psi["number"], psi["psi_turns"], psi["flags"] = np.arange(psi.size), rng.integers(0, 1 << 16, psi.size), 3
    models = [block_sifter(registers_of(role)) for role in ("alice", "bob")]
    for model in models:
        model.push_heralds(heralds)
        model.push_psi(psi)
    said, answers = exchanged(*models)
    last = int(np.flatnonzero((answers["kind"] == Kind.DIGEST_LOW) & (answers["number"] == BLOCKS - 1))[0])
    assert models[0].counters["blocks_agreed"] == BLOCKS

    # A record of the last block is lost on the way.
    def peers(records: NDArray[np.void]) -> list[bytes]:
        return [pack(Stream.PEER, k, records[k : k + 80].tobytes()) for k in range(0, records.size, 80)]

    alice.send(
        pack(Stream.SUBSCRIBE, 0),
        pack(Stream.HERALD_CODE, 0, payload(pulses, herald_pulses(heralds)[1], FIRST).tobytes(), flags=pulses.size),
        *(pack(Stream.PSI, k, psi[k : k + BLOCK].tobytes()) for k in range(0, psi.size, BLOCK)),
        *peers(answers[:last]),
        *peers(answers[last + 1 :]),
    )
    came = [datagram.data for datagram in peer.run(400_000)]

    def records(stream: Stream, dtype: np.dtype) -> NDArray[np.void]:
        return np.frombuffer(b"".join(data[32:] for data in came if data[0] == stream), dtype)

    peer_records, sifted = records(Stream.PEER, PEER_DTYPE), models[0].take_sifted()
    np.testing.assert_array_equal(peer_records, said[: peer_records.size])
    assert peer_records["number"].max() >= (BLOCKS - 1) * BLOCK - 1
    whole = sifted[sifted["number"] < (BLOCKS - 1) * BLOCK]
    np.testing.assert_array_equal(records(Stream.SIFTED, SIFTED_DTYPE), whole)
    assert whole.size
    counted = alice.counters()
    assert (counted["heralds"], counted["psi"], counted["missing"]) == (pulses.size, pulses.size, 0)
    assert (counted["peer"], counted["refused"]) == (answers.size - 1, answers.size - last - 1)
    assert (counted["blocks_agreed"], counted["blocks_discarded"]) == (BLOCKS - 1, 0)
    assert alice.full() == counted["malformed"] == 0

    # Packets of the most heralds that there can be, in one burst, and a request behind them.
    each = (MAX_PAYLOAD_WORDS - 2) * 16
    burst = [
        pack(
            Stream.HERALD_CODE,
            k,
            payload(
                int(pulses[-1]) + 1 + k * each + np.arange(each, dtype=np.uint64),
                np.zeros(each, np.uint8),
                Divisor(0, 0),
            ).tobytes(),
            flags=each,
            first_record=pulses.size + k * each,
        )
        for k in range(12)
    ]
    alice.send(*burst)
    while peer.wire.waiting_bytes:
        peer.run(100)
    before = peer.wire.clock
    assert peer.request(RegisterOp.READ, CLIENT["BLOCK_HERALDS"].address, 1) == [BLOCK]
    print(f"answered {peer.wire.clock - before} clocks after a burst of {12 * each} heralds")
    assert peer.wire.clock - before < 250_000
    peer.run(600_000)
    counted = alice.counters()
    lost = alice.full()
    assert 0 < lost < 12
    # The peer is silent: the ring holds the heralds of the block that waits and of those behind it.
    first = (BLOCKS - 1) * BLOCK
    assert counted["heralds"] == first + RING_HERALDS
    assert counted["heralds"] + counted["overflow"] == pulses.size + (12 - lost) * each
