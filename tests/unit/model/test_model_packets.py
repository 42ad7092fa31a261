"""T2 words and the reference packer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinphase_sim.model.link.packets import TAG_DTYPE, pack, unpack
from twinphase_sim.model.link.slip import decode, encode
from twinphase_sim.model.link.t2 import decode_t2, t2_words
from twinphase_spec.packets import (
    FLUSH_BITS,
    HEARTBEAT_BITS,
    MAX_PAYLOAD_WORDS,
    PEER_DTYPE,
    PHASE_DTYPE,
    RECORD_DTYPES,
    Stream,
)

PERIOD = 1 << 25


@given(
    base=st.integers(0, 2**39 - 1),
    steps=st.lists(
        st.one_of(st.integers(0, 100), st.integers(PERIOD - 2, PERIOD + 2), st.integers(0, 2**49)), max_size=30
    ),
)
def test_t2_words_bring_back_times_and_channels(base: int, steps: list[int]) -> None:
    base *= PERIOD
    times = np.array([(base + t) % 2**64 for t in np.cumsum(steps, dtype=object)], dtype=np.uint64)
    channels = (np.arange(times.size) % 4).astype(np.uint8)
    words = t2_words(times, channels, base)
    back_times, back_channels = decode_t2(words, base)
    assert (back_times == times).all()
    assert (back_channels == channels).all()


def test_t2_layout() -> None:
    words = t2_words(np.array([5, 3 * PERIOD + 7], dtype=np.uint64), np.array([0, 3], dtype=np.uint8), 0)
    assert [hex(word) for word in words] == ["0x5", hex(1 << 31 | 63 << 25 | 3), hex(3 << 25 | 7)]
    split = np.array([1 << 31 | 63 << 25 | 1, 1 << 31 | 63 << 25 | 2, 3 << 25 | 7], dtype=np.uint32)
    assert decode_t2(split, 0)[0].tolist() == [3 * PERIOD + 7]
    for base, message in ((1, "multiples"), (4 * PERIOD, "before the base")):
        with pytest.raises(ValueError, match=message):
            t2_words(np.array([5], dtype=np.uint64), np.array([0], dtype=np.uint8), base)


def reference_packets(
    words_of: list[list[int]], clocks: list[int], flush_bits: int, until: int, largest: int
) -> list[tuple[int, int, int]]:
    """(first record, records, closing clock), clock by clock over the clocks at which something happens."""
    packets, first, open_words, sent = [], 0, 0, False
    step = 1 << min(flush_bits, HEARTBEAT_BITS)
    events = sorted({*clocks, *range(step, until + 1, step)})
    position = 0
    for clock in events:
        if clock > until:
            break
        if clock and clock % (1 << flush_bits) == 0 and position > first:
            packets.append((first, position - first, clock))
            first, open_words, sent = position, 0, True
        if clock and clock % (1 << HEARTBEAT_BITS) == 0:
            if not sent:
                packets.append((first, 0, clock))
            sent = False
        while position < len(clocks) and clocks[position] == clock:
            open_words += len(words_of[position])
            position += 1
            if open_words + largest > MAX_PAYLOAD_WORDS:
                packets.append((first, position - first, clock))
                first, open_words, sent = position, 0, True
    return packets


@given(
    stream=st.sampled_from([Stream.PHASE, Stream.PSI, Stream.PEER, Stream.HERALD]),
    bursts=st.lists(st.tuples(st.integers(0, 3 << 17), st.integers(1, 150)), max_size=6),
    idle=st.integers(0, 3 << HEARTBEAT_BITS),
)
def test_packets_of_fixed_records(stream: Stream, bursts: list[tuple[int, int]], idle: int) -> None:
    clocks: list[int] = []
    now = 1
    for gap, count in bursts:
        now += gap
        clocks += range(now, now + 2 * count, 2)
        now = clocks[-1]
    until = now + idle
    dtype = RECORD_DTYPES[stream]
    records = np.random.default_rng(1).integers(0, 256, len(clocks) * dtype.itemsize, dtype=np.uint8).view(dtype)
    packets = [unpack(data) for data in pack(stream, records, np.array(clocks), until_clock=until)]
    size = dtype.itemsize // 4
    expected = reference_packets([[0] * size] * len(clocks), clocks, FLUSH_BITS[stream], until, size)
    got = [(int(p.header["first_record"]), p.records.size, int(p.header["base_ticks"]) >> 13) for p in packets]
    assert got == expected
    assert [int(p.header["sequence"]) for p in packets] == list(range(len(packets)))
    sent = np.concatenate([p.records for p in packets]) if packets else records[:0]
    assert (sent == records[: sent.size]).all()


@given(
    steps=st.lists(st.sampled_from([0, 1, 1000, PERIOD, 5 * PERIOD]), min_size=0, max_size=700),
    start=st.integers(0, 2**64 - 2**45),
)
def test_packets_of_tags(steps: list[int], start: int) -> None:
    times = np.uint64(start) + np.cumsum(np.array(steps, dtype=np.uint64), dtype=np.uint64)
    records = np.zeros(len(steps), dtype=TAG_DTYPE)
    records["time"], records["channel"] = times, np.arange(len(steps)) % 4
    clocks = 10 + np.arange(len(steps))
    packets = [unpack(data) for data in pack(Stream.TAG, records, clocks, until_clock=1 << 17)]
    sent = np.concatenate([records[:0], *[p.records for p in packets]])
    assert (sent == records).all()
    for packet in packets:
        assert int(packet.header["base_ticks"]) % PERIOD == 0
        assert int(packet.header["words"]) <= MAX_PAYLOAD_WORDS
    for packet in packets[:-1]:
        assert int(packet.header["words"]) + 2 > MAX_PAYLOAD_WORDS


def test_lost_records_are_counted_and_in_no_packet() -> None:
    records = np.zeros(4, dtype=PEER_DTYPE)
    records["number"] = range(4)
    clocks = np.array([5, 6, 9000, 9001])
    lost = np.array([False, True, True, False])
    packets = [unpack(d) for d in pack(Stream.PEER, records, clocks, until_clock=1 << 15, lost=lost)]
    assert [p.records["number"].tolist() for p in packets] == [[0], [3]]
    assert [int(p.header["lost"]) for p in packets] == [1, 2]
    assert [int(p.header["first_record"]) for p in packets] == [0, 1]


def test_idle_heartbeats() -> None:
    records = np.zeros(2, dtype=PHASE_DTYPE)
    packets = pack(Stream.PHASE, records, np.array([100, 200]), until_clock=3 << HEARTBEAT_BITS)
    unpacked = [unpack(data) for data in packets]
    assert [p.records.size for p in unpacked] == [2, 0, 0]
    assert [int(p.header["base_ticks"]) >> 13 for p in unpacked[1:]] == [2 << HEARTBEAT_BITS, 3 << HEARTBEAT_BITS]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="one rising clock per record"):
        pack(Stream.PHASE, np.zeros(2, dtype=PHASE_DTYPE), np.array([2, 1]), until_clock=10)
    good = pack(Stream.PHASE, np.zeros(1, dtype=PHASE_DTYPE), np.array([1]), until_clock=1 << 17)[0]
    for bad in (good[:-4], b"", b"\0" * 32):
        with pytest.raises(ValueError, match="not a Twinphase packet"):
            unpack(bad)


@given(
    packets=st.lists(
        st.lists(st.sampled_from([0, 1, 0xC0, 0xDB, 0xDC, 0xDD]), min_size=1, max_size=20).map(bytes), max_size=5
    ),
    hit=st.integers(0, 10**6),
)
def test_slip_frames_any_bytes_and_finds_damage(packets: list[bytes], hit: int) -> None:
    line = b"".join(encode(packet) for packet in packets)
    assert decode(line) == (packets, 0)
    if packets:
        spoilt = bytearray(encode(packets[0]))
        spoilt[1 + hit % (len(spoilt) - 2)] ^= 0x20
        whole, damaged = decode(bytes(spoilt))
        assert not whole
        assert damaged >= 1
