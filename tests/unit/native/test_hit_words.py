"""Hits of delay lines as the harness presents them to a node: polarity and the codes of 4 and of 8 chains, each at its place.

With twins also the codes of the TDC clock behind a hit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray
from standin import WIDTHS

from twinphase_sim.native import NativeNode
from twinphase_spec.tdc import HIT_WORD_CHAINS, code_bits

CHANNELS, TAPS = 2, 512
BITS = code_bits(TAPS)


class HitEcho(wiring.Component):
    """A node's ports; each clock with a hit gives a packet: valid and polarity, the clock's low bits, then all of ``i_code``.

    With 2 lanes so does the clock behind one with a hit in lane 1.
    """

    def __init__(self, chains: int, lanes: int = 1) -> None:
        self._lanes = lanes
        self._codes = CHANNELS * chains * lanes * BITS
        inputs = {"rx_data": 32, "rx_last": 1, "rx_valid": 1, "tx_ready": 1, "sim_load": 1}
        inputs |= {"i_valid": CHANNELS * lanes, "i_polarity": CHANNELS * lanes, "i_code": self._codes}
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
        behind = Signal()
        if self._lanes == 2:
            m.d.sync += behind.eq(self.i_valid[1::2].any())
        m.d.sync += self.o_clock.eq(Mux(self.sim_load, self.sim_anchor_clock, self.o_clock + 1))
        m.d.comb += [
            queue.w_data.eq(
                Cat(
                    self.i_valid,
                    self.i_polarity,
                    Signal(32 - 2 * CHANNELS * self._lanes),
                    self.o_clock[:32],
                    self.i_code,
                )
            ),
            queue.w_en.eq(self.i_valid.any() | behind),
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


def node_of(chains: int, lanes: int, *, skip: bool = False) -> NativeNode:
    text = verilog.convert(
        HitEcho(chains, lanes), name="twinphase_timetagger", emit_src=False, strip_internal_attrs=True
    )
    options: dict[str, Any] = {
        "channels": CHANNELS,
        "frontend": "delay line",
        "lanes": lanes,
        "chains": chains,
        "taps": TAPS,
    }
    return NativeNode.from_verilog("timetagger", text, skip=skip, progress=False, **options)


@pytest.fixture(scope="module", params=[4, 8])
def node(request: pytest.FixtureRequest) -> NativeNode:
    return node_of(request.param, 1)


def words_of(codes: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Codes of shape (hits, chains) at their places, bit 0 free."""
    words = np.zeros((len(codes), -(-codes.shape[1] // HIT_WORD_CHAINS)), np.uint64)
    for chain in range(codes.shape[1]):
        words[:, chain // HIT_WORD_CHAINS] |= codes[:, chain].astype(np.uint64) << np.uint64(1 + BITS * (chain % 4))
    return words


def test_codes_come_to_their_places(node: NativeNode) -> None:
    rng = np.random.default_rng(node.inputs.chains)
    chains, hits = node.inputs.chains, 200
    codes = rng.integers(0, 1 << BITS, (hits, chains))
    codes[:4] = [[0] * chains, [(1 << BITS) - 1] * chains, [0, 511] * (chains // 2), [511, 0] * (chains // 2)]
    polarities, channels = rng.integers(0, 2, hits), rng.integers(0, CHANNELS, hits).astype(np.uint8)
    words = words_of(codes)
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


GROUP_CLOCKS, GROUP_SPACING = 3, 64
"""Clocks of a group of hits, and from one to the next: all packets of one are out before."""
PATTERNS = ((0,), (1,), (0, 1), (1, 2), (0, 1, 2, 3), (0, 2), (1, 3), (5,))
"""TDC clocks with a hit of the first groups; the others' are drawn."""


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("chains", [1, 8])
def test_echoes_come_behind_their_hits(chains: int, skip: bool) -> None:
    """Each TDC clock shows its hit's codes, or those behind the hit before; so it does when runs end in between."""
    node = node_of(chains, 2, skip=skip)
    rng = np.random.default_rng(chains)
    assert node.inputs.hit_words == 2 * -(-chains // HIT_WORD_CHAINS)
    expected: dict[tuple[int, int], list[int]] = {}  # by TDC clock and channel
    hits_at: dict[tuple[int, int], int] = {}  # polarity, likewise
    packets = []
    for group in range(100):
        first = node.clock + 3
        ends = [first + 1, first + 2, first + 3] if group % 2 else []
        pattern = np.zeros((2 * GROUP_CLOCKS, CHANNELS), np.bool_)
        if group < 2 * len(PATTERNS):
            pattern[list(PATTERNS[group // 2])] = True
        else:
            pattern[:] = rng.integers(0, 2, pattern.shape)
        within, channels = np.nonzero(pattern)
        tdc_clocks = 2 * first + within
        polarities = rng.integers(0, 2, within.size)
        codes, echoes = rng.integers(0, 1 << BITS, (2, within.size, chains))
        keys = list(zip(tdc_clocks.tolist(), channels.tolist(), strict=True))
        expected |= {(clock + 1, channel): row for (clock, channel), row in zip(keys, echoes.tolist(), strict=True)}
        expected |= dict(zip(keys, codes.tolist(), strict=True))
        hits_at |= dict(zip(keys, polarities.tolist(), strict=True))
        words = np.concatenate([words_of(codes), words_of(echoes)], axis=1)
        words[:, 0] |= polarities.astype(np.uint64)
        # The hits of a clock in whatever order.
        order = np.lexsort((rng.random(within.size), tdc_clocks // 2))
        for end in [*ends, first + GROUP_SPACING]:
            now = order[(tdc_clocks[order] // 2 >= node.clock) & (tdc_clocks[order] // 2 < end)]
            output = node.run(end, tdc_clocks[now] << 12, channels[now].astype(np.uint8), hits=words[now])
            packets += [np.frombuffer(packet, "<u4") for _, packet in output.packets]

    for packet in packets:
        shown = int.from_bytes(packet[2:].tobytes(), "little")
        for channel in range(CHANNELS):
            for lane in range(2):
                at, number = (2 * int(packet[1]) + lane, channel), 2 * channel + lane
                assert int(packet[0]) >> number & 1 == (at in hits_at)
                if at in hits_at:
                    assert int(packet[0]) >> 2 * CHANNELS + number & 1 == hits_at[at]
                if at in expected:
                    places = [((channel * chains + chain) * 2 + lane) * BITS for chain in range(chains)]
                    assert [shown >> place & (1 << BITS) - 1 for place in places] == expected.pop(at)
    assert not expected, "every hit and every TDC clock behind one was shown"
    assert (node.cycles_simulated < node.clock) == skip


def test_words_without_echoes_are_refused() -> None:
    node = node_of(8, 2)
    with pytest.raises(ValueError, match=r"hits have shape .*; allowed with 8 chains with twins: 4 words each"):
        node.run(node.clock + 100, [(node.clock + 10) << 13], [0], hits=[[1, 0]])
