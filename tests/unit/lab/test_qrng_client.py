"""A Verilated client with a ring of symbols: what it emits while its QRNG has gaps, and what it does with heralds of every kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from twinphase.packets import pack
from twinphase_hdl.nodes.client import ClientNode
from twinphase_hdl.sift.emitter import SHIFT_CLOCKS
from twinphase_hdl.sift.turns import GroupTurns
from twinphase_sim.lab.keys import client_generator, pair_digest, source_options
from twinphase_sim.model.client import block_sifter
from twinphase_sim.model.sift import block
from twinphase_sim.model.sift.block import BlockSifter
from twinphase_sim.model.sift.herald import herald_pulses, herald_records
from twinphase_sim.model.sift.heraldcode import payload
from twinphase_sim.model.sift.qrng import qrng_words
from twinphase_sim.model.sift.symbolring import SymbolRing
from twinphase_sim.model.sift.symbols import Symbols, codes_of, slot_bytes
from twinphase_sim.native import NativeNode, NodeOutput, NodeRegisters, write_requests
from twinphase_spec.configure import client_registers, client_table, frame_config
from twinphase_spec.herald_code import FIRST
from twinphase_spec.lab import Lab, LabError, load_lab
from twinphase_spec.lab_arms import Arms
from twinphase_spec.packets import PEER_DTYPE, PSI_DTYPE, SIFTED_DTYPE, Stream
from twinphase_spec.registers import CLIENT
from twinphase_spec.symbol_ring import RingConfig

SEED, EVERY = 5, 7
"""Of the generator; it offers no word in every 7th clock."""
EMISSION = 60_000
"""Clock of pulse 0."""
BLOCK = 32


def small_blocks() -> Lab:
    lab = load_lab("metro-50km-qrng")
    return lab.model_copy(update={"protocol": lab.protocol.model_copy(update={"block_heralds": BLOCK})})


@dataclass
class Client:
    """Alice, running from EMISSION on."""

    lab: Lab
    node: NativeNode
    registers: dict[str, int]

    def run(self, clocks: int, packets: list[bytes], codes: tuple[int, int] | None = None) -> NodeOutput:
        start = self.node.clock
        return self.node.run(start + clocks, rx=[(start + 1000 * k, p) for k, p in enumerate(packets)], codes=codes)

    def counters(self) -> dict[str, int]:
        """A snapshot of all."""
        registers = NodeRegisters(self.node)
        registers.write("SNAPSHOT", 1)
        self.node.run(self.node.clock + 20_000)
        words = registers.read_memory("COUNTERS", count=2 * len(CLIENT.counter_names))
        values = np.array(words, "<u4").view("<u8")
        return dict(zip(CLIENT.counter_names, values.tolist(), strict=True))


@pytest.fixture(scope="module")
def client() -> Client:
    lab = small_blocks()
    node = NativeNode("client", progress=False, lanes=lab.lanes, **source_options(lab))
    node.set_qrng(SEED, starved_every=EVERY)
    registers = client_registers(lab, "alice", (0, 0, 0, 0), EMISSION, digest=pair_digest(SEED))
    writes = write_requests(CLIENT, registers, {"FRAME_TABLE": client_table(lab)}, first_id=1)
    writes += write_requests(CLIENT, {"CONTROL": 1}, first_id=9000)
    node.run(EMISSION - 500, rx=[(10 + 40 * k, packet) for k, packet in enumerate(writes)])
    return Client(lab, node, registers)


def only(drawn: Symbols, pulses: NDArray[np.int64]) -> Symbols:
    """Those of some pulses; of one that has not come, any."""
    places = np.minimum(pulses, np.uint64(drawn.x.size - 1)).astype(np.intp)
    return Symbols(**{name: value[places] for name, value in vars(drawn).items()})


def reference(lab: Lab, pulses: int) -> tuple[SymbolRing, NDArray[np.bool_], Symbols]:
    """The ring's model after so many pulses, which of them had bits, and the symbols of all."""
    drawn_at = EMISSION + np.arange(pulses) + SHIFT_CLOCKS + GroupTurns.latency
    has = drawn_at % EVERY != 0
    ring = SymbolRing(
        config=client_generator(lab, 1, "alice"), lanes=1, ring=RingConfig(symbols=lab.clients.ring_symbols)
    )
    emitted, _ = ring.ask(0, qrng_words(SEED, np.arange(pulses, dtype=np.uint64))[:, None], has)
    assert ring.starved == np.count_nonzero(~has)
    return ring, has, Symbols(**{name: value[:, 0] for name, value in vars(emitted).items()})


@pytest.mark.long
def test_emission_and_every_kind_of_herald(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, ring_symbols = client.lab, client.lab.clients.ring_symbols
    held = RingConfig(symbols=ring_symbols).held_symbols
    # Codes, over the ring's first wrap.
    span = 3000
    latency = ClientNode(lanes=lab.lanes, **source_options(lab)).latency
    first = ring_symbols - span // 2
    seen = client.node.run(
        EMISSION + first + 4 * span, codes=(EMISSION + latency + first, EMISSION + latency + first + span)
    )
    assert seen.codes is not None
    pulses = ring_symbols + 8 * span
    ring, has, emitted = reference(lab, pulses)
    np.testing.assert_array_equal(seen.codes.pulse, first + np.arange(span))
    drawn = only(emitted, np.arange(first, first + span))
    q, r = codes_of(slot_bytes(frame_config(lab), seen.codes.pulse), "alice", drawn)
    np.testing.assert_array_equal(seen.codes.q[:, 0], q)
    np.testing.assert_array_equal(seen.codes.r[:, 0], r)
    assert len(np.unique(q)) > 20

    # Heralds come at clock ``now``, when the last pulses that can be held have long been drawn.
    now = EMISSION + pulses
    client.node.run(now)
    rng = np.random.default_rng(2)
    good = np.flatnonzero(has)
    oldest, youngest = pulses - held + 100_000, pulses - 1000
    inside = np.sort(rng.choice(good[(good > oldest) & (good < youngest)], 6 * BLOCK, replace=False))
    blocks = np.split(inside, 6)
    forgotten = np.arange(BLOCK) * 50
    blocks[0] = np.concatenate([forgotten[: BLOCK // 2], blocks[0][BLOCK // 2 :]])
    starved = np.flatnonzero(~has)
    blocks[2][5] = starved[(starved > blocks[2][4]) & (starved < blocks[2][6])][0]
    blocks[5][-1] = pulses + 10_000_000
    named = np.concatenate(blocks).astype(np.uint64)
    assert (np.diff(named.astype(np.int64)) > 0).all()
    refused = {int(n) for n in named if ring.recall(int(n))[1]}
    assert refused == {*forgotten[: BLOCK // 2].tolist(), int(blocks[2][5]), pulses + 10_000_000}

    heralds = herald_records(np.arange(named.size), named, rng.integers(0, 2, named.size))
    psi = np.zeros(named.size, PSI_DTYPE)
    psi["number"], psi["psi_turns"], psi["flags"] = np.arange(named.size), rng.integers(0, 1 << 16, named.size), 3
    # The model asks for symbols by index; what Alice answers is what she emitted.
    counter_mode = block.symbols
    alice, bob = models(client, refused)
    monkeypatch.setattr(
        block, "symbols", lambda config, n: only(emitted, n) if config is alice.config else counter_mode(config, n)
    )
    said, answers = exchanged(alice, bob, heralds, psi)
    coded = payload(named, herald_pulses(heralds)[1], FIRST).tobytes()
    packets = [
        pack(Stream.HERALD_CODE, 0, coded, flags=named.size),
        *(pack(Stream.PSI, k, psi[k : k + BLOCK].tobytes()) for k in range(0, named.size, BLOCK)),
        *(pack(Stream.PEER, k, answers[k : k + 50].tobytes()) for k in range(0, answers.size, 50)),
    ]
    output = client.run(400_000, packets)

    def records(stream: Stream, dtype: np.dtype) -> NDArray[np.void]:
        found = [output.packet(k)[32:] for k in np.flatnonzero(output.streams == stream).tolist()]
        return np.frombuffer(b"".join(found), dtype)

    np.testing.assert_array_equal(records(Stream.PEER, PEER_DTYPE), said)
    np.testing.assert_array_equal(records(Stream.SIFTED, SIFTED_DTYPE), alice.take_sifted())
    counted = client.counters()
    assert counted["unrecalled"] == len(refused) == alice.counters["unrecalled"] == BLOCK // 2 + 2
    assert (counted["blocks_discarded"], counted["blocks_agreed"]) == (3, 3)
    assert bob.counters["blocks_discarded"] == 3
    assert counted["starved"] == pytest.approx((client.node.clock - EMISSION) / EVERY, rel=0.1)
    alike = ("heralds", "missing", "late", "overflow", "psi", "peer", "refused", "sifted_z", "sifted_x", "kept_x")
    assert {name: counted[name] for name in alike} == {name: alice.counters[name] for name in alike}
    of_discarded = np.isin(records(Stream.SIFTED, SIFTED_DTYPE)["number"] // BLOCK, (0, 2, 5))
    assert not of_discarded.any()


def models(client: Client, refused: set[int]) -> tuple[BlockSifter, BlockSifter]:
    """Alice as she is; Bob in counter mode, whom none of this meets."""
    alice = block_sifter(client.registers)
    alice.unrecalled |= refused
    return alice, block_sifter(client_registers(client.lab, "bob", (1, 2, 3, 4), EMISSION, digest=pair_digest(SEED)))


def exchanged(
    alice: BlockSifter, bob: BlockSifter, heralds: NDArray[np.void], psi: NDArray[np.void]
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """All that Alice and Bob say to each other."""
    said, answers = [], []
    for one in (alice, bob):
        one.push_heralds(heralds)
        one.push_psi(psi)
    while True:
        of_alice, of_bob = alice.take_peer(), bob.take_peer()
        if not of_alice.size and not of_bob.size:
            return np.concatenate(said), np.concatenate(answers)
        said.append(of_alice)
        answers.append(of_bob)
        bob.push_peer(of_alice)
        alice.push_peer(of_bob)


def test_a_lab_that_corrects_whole_pulses_has_no_qrng() -> None:
    lab = small_blocks().model_copy(update={"arms": Arms(align=True)})
    with pytest.raises(LabError, match="corrections leave pulses out"):
        client_generator(lab, 1, "alice")


def test_a_node_without_a_ring_takes_no_bits() -> None:
    node = object.__new__(NativeNode)
    node.kind, node._has_qrng = "client", False
    with pytest.raises(ValueError, match="without a ring"):
        node.set_qrng(1)
