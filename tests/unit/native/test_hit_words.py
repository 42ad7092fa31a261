"""Hits of delay lines as the harness presents them to a node: polarity and the codes of 4 and of 8 chains, each at its place."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from standin import WIDTHS

from twinphase_sim.native import NativeNode
from twinphase_spec.tdc import HIT_WORD_CHAINS, code_bits

CHANNELS, TAPS = 2, 512
BITS = code_bits(TAPS)


class HitEcho(wiring.Component):
    """A node's ports; each clock with a hit gives a packet: valid and polarity, the clock's low bits, then all of ``i_code``."""

    def __init__(self, chains: int) -> None:
        self._codes = CHANNELS * chains * BITS
        inputs = {"rx_data": 32, "rx_last": 1, "rx_valid": 1, "tx_ready": 1, "sim_load": 1}
        inputs |= {"i_valid": CHANNELS, "i_polarity": CHANNELS, "i_code": self._codes}
        outputs = {
            "rx_ready": 1,
            "tx_data": 32,
            "tx_last": 1,
            "tx_valid": 1,
            "o_idle": 1,
            "o_clock": 51,
            "o_source": CHANNELS,
        }
        super().__init__(
            {name: In(width) for name, width in inputs.items()}
            | {name: Out(width) for name, width in outputs.items()}
            | {f"sim_anchor_{name}": In(width) for name, width in WIDTHS.items()}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        number = 2 + -(-self._codes // 32)
        m.submodules.queue = queue = SyncFIFOBuffered(width=32 * number, depth=64)
        word = Signal(range(number))
        m.d.sync += self.o_clock.eq(Mux(self.sim_load, self.sim_anchor_clock, self.o_clock + 1))
        m.d.comb += [
            queue.w_data.eq(
                Cat(self.i_valid, self.i_polarity, Signal(32 - 2 * CHANNELS), self.o_clock[:32], self.i_code)
            ),
            queue.w_en.eq(self.i_valid.any()),
            self.tx_data.eq(queue.r_data.word_select(word, 32)),
            self.tx_valid.eq(queue.r_rdy),
            self.tx_last.eq(word == number - 1),
            queue.r_en.eq(self.tx_ready & self.tx_last),
            self.rx_ready.eq(1),
            self.o_idle.eq(queue.level == 0),
        ]
        with m.If(self.tx_valid & self.tx_ready):
            m.d.sync += word.eq(Mux(self.tx_last, 0, word + 1))
        return m


@pytest.fixture(scope="module", params=[4, 8])
def node(request: pytest.FixtureRequest) -> NativeNode:
    text = verilog.convert(
        HitEcho(request.param), name="twinphase_timetagger", emit_src=False, strip_internal_attrs=True
    )
    options = {"channels": CHANNELS, "frontend": "delay line", "chains": request.param, "taps": TAPS}
    return NativeNode.from_verilog("timetagger", text, skip=False, progress=False, **options)


def test_codes_come_to_their_places(node: NativeNode) -> None:
    rng = np.random.default_rng(node.inputs.chains)
    chains, hits = node.inputs.chains, 200
    codes = rng.integers(0, 1 << BITS, (hits, chains))
    codes[:4] = [[0] * chains, [(1 << BITS) - 1] * chains, [0, 511] * (chains // 2), [511, 0] * (chains // 2)]
    polarities, channels = rng.integers(0, 2, hits), rng.integers(0, CHANNELS, hits).astype(np.uint8)
    words = np.zeros((hits, chains // HIT_WORD_CHAINS), np.uint64)
    for k, row in enumerate(codes.tolist()):
        for chain, code in enumerate(row):
            words[k, chain // 4] |= np.uint64(code << 1 + BITS * (chain % 4))
    words[:, 0] |= polarities.astype(np.uint64)
    clocks = node.clock + 10 + 16 * np.arange(hits)
    output = node.run(int(clocks[-1]) + 100, clocks << 13, channels, hits=words if chains == 8 else words[:, 0])
    packets = [np.frombuffer(packet, "<u4") for _, packet in output.packets]
    assert len(packets) == hits
    for packet, clock, channel, polarity, row in zip(packets, clocks, channels, polarities, codes, strict=True):
        assert int(packet[1]) == int(clock)
        assert int(packet[0]) & 3 == 1 << channel
        assert int(packet[0]) >> CHANNELS + channel & 1 == polarity
        shown = int.from_bytes(packet[2:].tobytes(), "little") >> BITS * chains * int(channel)
        assert [shown >> BITS * chain & (1 << BITS) - 1 for chain in range(chains)] == row.tolist()


def test_words_that_do_not_fit_the_chains_are_refused(node: NativeNode) -> None:
    chains = node.inputs.chains
    wrong = [1] if chains == 8 else [[1, 0]]
    with pytest.raises(
        ValueError, match=rf"hits have shape .*; allowed with {chains} chains: {chains // 4} words each"
    ):
        node.run(node.clock + 100, [(node.clock + 10) << 13], [0], hits=wrong)
