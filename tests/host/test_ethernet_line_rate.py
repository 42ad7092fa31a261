"""A gigabit's worth of tags through the whole core in simulation: tagger, `UdpLink`, LiteEth at 62.5 MHz, bytes on GMII."""

from __future__ import annotations

import numpy as np
import pytest
from wire_peer import GAP_BYTES, Came, Peer
from wire_tagger import ALL, CHANNELS, MAC, tagger_wire

from twinphase.packets import Decoder, pack
from twinphase_sim.native.wire import CHECK_BYTES, PREAMBLE
from twinphase_spec.packets import HEADER_WORDS, MAX_PAYLOAD_WORDS, RegisterOp, Stream
from twinphase_spec.registers import TIMETAGGER
from twinphase_spec.units import CLOCK_HZ, TICKS_PER_CLOCK

pytestmark = pytest.mark.long
CLOCKS = 1_000_000
"""Of 125 MHz, 8 ms: some 890 datagrams."""
OVERHEAD_BYTES = len(PREAMBLE) + 14 + 20 + 8 + 4 * HEADER_WORDS + CHECK_BYTES + GAP_BYTES
FULL_BYTES = OVERHEAD_BYTES + 4 * MAX_PAYLOAD_WORDS
WORDS_PER_CLOCK = MAX_PAYLOAD_WORDS / FULL_BYTES
"""What a line of a byte per clock can carry of payload: 28.5 M words per second."""


def started(period: int, dividers: tuple[int, ...]) -> Peer:
    """A tagger that sends to a peer, channel c each ``dividers[c]``-th of the test pulser's edges."""
    peer = Peer(tagger_wire(), node_mac=MAC)
    peer.send(peer.frame(pack(Stream.SUBSCRIBE, 0)))
    peer.write(TIMETAGGER, **{f"DIVIDER_{channel}": divider for channel, divider in enumerate(dividers)})
    peer.write(TIMETAGGER, PULSER_PERIOD=period, PULSER_MASK=ALL, CHANNEL_ENABLE=ALL, STREAM_ENABLE=1 << Stream.TAG)
    peer.run(100_000)
    return peer


def measured(peer: Peer) -> tuple[Decoder, np.ndarray, float, float]:
    """What came in CLOCKS: the decoder, its tags, tags per clock, and the used share of the line."""
    peer.line_bytes = 0
    came: list[Came] = peer.run(CLOCKS)
    used = peer.line_bytes / CLOCKS
    decoder = Decoder(TIMETAGGER)
    tags = decoder.decode([datagram.data for datagram in came], now_s=0.0)[Stream.TAG]
    assert decoder.damaged == 0
    return decoder, tags, len(tags) / CLOCKS, used


def dropped(peer: Peer) -> int:
    """Edges that the node has lost in any of its queues, by a new snapshot of its counters."""
    peer.write(TIMETAGGER, SNAPSHOT=1)
    peer.run(5000)
    names = TIMETAGGER.counter_names
    memory = TIMETAGGER.memory("COUNTERS").address
    words = [word for at in range(0, 2 * len(names), 2) for word in peer.request(RegisterOp.READ, memory + at, 2)[:1]]
    return sum(word for name, word in zip(names, words, strict=True) if name.startswith(("dropped_", "overrun_")))


def test_28_million_tags_per_second_pass_without_loss() -> None:
    """Edges every 12 clocks of which four channels pass 1, 1, 1/2 and 1/5: 28.125 M tags/s, 98.8 % of the line."""
    dividers, period = (1, 1, 2, 5), 12
    peer = started(period, dividers)
    decoder, tags, rate, used = measured(peer)
    assert rate * CLOCK_HZ >= 28e6
    assert rate == pytest.approx(sum(1 / divider for divider in dividers) / period, rel=0.002)  # a packet in 890
    state = decoder.streams[Stream.TAG]
    assert (state.lost_packets, state.node_lost_records, state.duplicates) == (0, 0, 0)
    for channel, divider in enumerate(dividers):
        ticks = tags["time_ticks"][tags["channel"] == channel]
        assert set(np.diff(ticks).tolist()) == {period * divider * TICKS_PER_CLOCK}
    assert 0.98 < used < 1
    assert dropped(peer) == 0
    print(f"{rate * CLOCK_HZ / 1e6:.3f} M tags/s, {used:.2%} of the line")


def test_a_full_line_is_the_limit() -> None:
    """More tags than a gigabit carries: frames follow each other with the least gap, and what is too much the node counts."""
    peer = started(8, (1,) * CHANNELS)
    decoder, _, rate, used = measured(peer)
    assert used == pytest.approx(1, abs=0.002)
    words = rate * (1 + 1 / 512)  # with the overflow words
    assert words == pytest.approx(WORDS_PER_CLOCK, rel=0.004)
    state = decoder.streams[Stream.TAG]
    assert state.lost_packets == 0
    assert state.node_lost_records > 0
    print(f"{rate * CLOCK_HZ / 1e6:.3f} M tags/s, {used:.2%} of the line")
