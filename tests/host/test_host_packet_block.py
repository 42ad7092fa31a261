"""Packets in one array: the same as one by one, whatever comes, and through a socket the same with one system call or many."""

import socket
import struct
import time

import numpy as np
import pytest
from fake_node import SERVER, FakeNode, heralds, phases, random_tags, record_packets, tag_packets
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase import packets as packets_module
from twinphase.device import open_device
from twinphase.packet_block import PacketBlock
from twinphase.packets import Decoder, pack
from twinphase.transport import link
from twinphase.transport.datagrams import AT_ONCE, SLOT_BYTES, SLOTS, DatagramReader
from twinphase.transport.udp import UdpDevice
from twinphase_spec.packets import MAX_PACKET_BYTES, MAX_PAYLOAD_WORDS, Stream

OVERFLOW = 1 << 31 | 63 << 25


def plain_tags(packet):
    """Tags of a TAG packet, word by word as the contract says; None if it holds a word that is neither tag nor overflow."""
    words = struct.unpack(f"<{len(packet) // 4}I", packet)
    period, tags = words[3] >> 25 | words[4] << 7, []
    for word in words[8:]:
        if word >> 25 == 127:
            period += word & 0x1FFFFFF
        elif word >> 31:
            return None
        else:
            tags.append(((period << 25 | word & 0x1FFFFFF), word >> 25))
    return tags


word = st.one_of(
    st.integers(0, (1 << 31) - 1),
    st.integers(0, 5).map(lambda periods: OVERFLOW | periods),
    st.integers(0, (1 << 31) - 1).map(lambda low: low | 1 << 31),
)
payloads = st.lists(
    st.one_of(
        st.lists(word, max_size=MAX_PAYLOAD_WORDS),
        st.lists(st.integers(0, (1 << 31) - 1), min_size=200, max_size=MAX_PAYLOAD_WORDS),  # a run worth copying
        st.lists(st.just(OVERFLOW | 1), max_size=9),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60)
@given(payloads, st.lists(st.integers(0, 1 << 17), min_size=12, max_size=12), st.integers(0, 3))
def test_tags_are_those_of_the_words_one_by_one(contents, periods, gap):
    """Runs of every length between overflow words, unknown words anywhere, packets in one block with junk between them."""
    packets, first = [], 0
    for sequence, (words, period) in enumerate(zip(contents, periods, strict=False)):
        packet = pack(
            Stream.TAG,
            sequence,
            np.array(words, "<u4").tobytes(),
            base_ticks=(1 << 40) + (period << 25),
            first_record=first,
        )
        tags = plain_tags(packet)
        packets.append(packet)
        first += 0 if tags is None else len(tags)  # the next packet goes on where a sound one ended
    whole = PacketBlock.of(packets)
    words = np.full(len(whole.words) + gap * len(packets), 0xFFFFFFFF, np.uint32)
    starts = whole.starts + gap * np.arange(len(packets))
    for packet, start in zip(packets, starts.tolist(), strict=True):
        words[start : start + len(packet) // 4] = np.frombuffer(packet, "<u4")
    block = PacketBlock(words, starts, whole.sizes)
    assert block.packets() == packets
    sound = [tags for tags in map(plain_tags, packets) if tags is not None]
    decoder = Decoder(SERVER)
    batch = decoder.decode(block, now_s=0.0)
    rest = decoder.finish()
    got = [tag for part in (batch, rest) for tag in part.records.get(Stream.TAG, np.zeros(0)).tolist()]
    assert got == [tag for tags in sound for tag in tags]
    assert decoder.damage["content"] == len(packets) - len(sound)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=40), st.integers(0, 99))
def test_long_runs_and_short_ones_are_gathered_alike(runs, seed):
    words = np.random.default_rng(seed).integers(0, 1 << 32, 200, np.uint32)
    begin = np.array([at for at, _ in runs], np.int64)
    length = np.array([size for _, size in runs], np.int64)
    expected = [value for at, size in runs for value in words[at : at + size].tolist()]
    for threshold in (0, 32, 1 << 20):  # copies, whichever is cheaper, indices
        kept, packets_module.LONG_RUN_WORDS = packets_module.LONG_RUN_WORDS, threshold
        try:
            got = packets_module._gather(words, begin, length).tolist()
        finally:
            packets_module.LONG_RUN_WORDS = kept
        assert got == expected


def hostile(seed):
    """Three streams whose packets are lost, doubled, swapped, cut, prolonged, flipped, of no protocol, and of a node that restarts."""
    rng = np.random.default_rng(seed)
    lists = [
        tag_packets(random_tags(4000, seed, 1 << int(rng.integers(14, 26))), int(rng.integers(1, 100))),
        record_packets(Stream.PHASE, phases(400), 7, 1 << 17, 8192),
        record_packets(Stream.HERALD, heralds(900), 11, 1 << 17, 8192),
    ]
    packets = [packet for group in zip(*lists, strict=False) for packet in group]
    out = []
    for packet in packets:
        fate = rng.integers(0, 40)
        if fate == 0:
            continue
        if fate == 1:
            out.append(packet)
        if fate == 2:
            packet = packet[: int(rng.integers(0, len(packet)))]
        if fate == 3:
            packet = packet + rng.bytes(int(rng.integers(1, MAX_PACKET_BYTES)))
        if fate == 4:
            packet = bytearray(packet)
            packet[int(rng.integers(0, len(packet)))] ^= 1 << int(rng.integers(0, 8))
        if fate == 5:
            out.append(rng.bytes(int(rng.integers(0, 1200))))
        out.insert(len(out) - int(rng.integers(0, 3)) if fate == 6 and len(out) > 3 else len(out), bytes(packet))
    return out + packets[:60] if seed % 2 else out


@pytest.mark.parametrize("seed", range(12))
def test_a_block_is_decoded_as_its_packets_are(seed):
    """However they are cut into blocks and joined again: the same records, states and damage as from a list."""
    packets = hostile(seed)
    rng = np.random.default_rng(seed)
    one, other = Decoder(SERVER), Decoder(SERVER)
    at = 0
    while at < len(packets):
        chunk = packets[at : at + int(rng.integers(1, 60))]
        at += len(chunk)
        cuts = sorted(rng.integers(0, len(chunk) + 1, 3).tolist())
        parts = [PacketBlock.of(chunk[a:b]) for a, b in zip([0, *cuts], [*cuts, len(chunk)], strict=True)]
        block = PacketBlock.join(parts)
        assert block.packets() == chunk
        now = at * 1e-3
        a, b = one.decode(chunk, now_s=now), other.decode(block, now_s=now)
        assert a.records.keys() == b.records.keys()
        assert all(np.array_equal(a[stream], b[stream]) for stream in a.records)
        assert (a.gaps, a.time_ticks) == (b.gaps, b.time_ticks)
    a, b = one.finish(), other.finish()
    assert all(np.array_equal(a[stream], b[stream]) for stream in a.records)
    assert one.streams == other.streams
    assert one.damage == other.damage
    assert one.damaged > 0
    assert one.streams[Stream.TAG].lost_packets > 0


def test_a_mask_or_a_slice_of_a_block_are_those_packets():
    packets = [b"", b"a", b"bcde", b"f" * 1060, b"gh"]
    block = PacketBlock.of(packets)
    assert block[np.array([True, False, True, False, True])].packets() == [b"", b"bcde", b"gh"]
    assert block[1:3].packets() == [b"a", b"bcde"]
    assert block.first_words().tolist() == [0, 0, int.from_bytes(b"bcde", "little"), 0x66666666, 0]
    assert PacketBlock.join([]).packets() == PacketBlock.of([]).packets() == []


@pytest.fixture
def pair():
    """Two connected sockets on localhost."""
    left, right = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    left.bind(("127.0.0.1", 0))
    right.bind(("127.0.0.1", 0))
    left.connect(right.getsockname())
    right.connect(left.getsockname())
    right.setblocking(False)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    yield left, right
    left.close()
    right.close()


@pytest.mark.parametrize("many", [False, True])
def test_a_reader_takes_datagrams_as_they_are(pair, many):
    left, right = pair
    reader = DatagramReader(right, many=many)
    if many and not reader.many:
        pytest.skip("this system has no recvmmsg")
    rng = np.random.default_rng(2)
    packets = [rng.bytes(int(size)) for size in rng.integers(0, MAX_PACKET_BYTES + 200, 80)]
    for packet in packets:
        left.send(packet)
    blocks = [block for _ in range(3) if len(block := reader.read())]
    assert [len(block) for block in blocks] == ([80] if many else [AT_ONCE, 80 - AT_ONCE])
    got = PacketBlock.join(blocks).packets()
    assert got == [packet[:SLOT_BYTES] for packet in packets]  # a longer one shows by its length
    assert len(reader.read()) == 0
    left.send(b"next")  # the slots are free again, and earlier blocks untouched
    assert reader.read().packets() == [b"next"]
    assert PacketBlock.join(blocks).packets() == got


def test_a_reader_takes_no_more_than_its_slots_at_once(pair):
    left, right = pair
    reader = DatagramReader(right)
    count = SLOTS + 20 if reader.many else AT_ONCE + 20
    for i in range(count):
        left.send(i.to_bytes(4, "little"))
    sizes, got = [], []
    while len(block := reader.read()):
        sizes.append(len(block))
        got += block.packets()
    assert sizes == [count - 20, 20]
    assert got == [i.to_bytes(4, "little") for i in range(count)]


@pytest.mark.parametrize("many", [False, True])
def test_a_reader_tells_a_refusal(pair, many):
    left, right = pair
    left.close()
    reader = DatagramReader(right, many=many)
    right.send(b"x")
    time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        reader.read()


@pytest.mark.parametrize("seed", range(4))
def test_a_device_decodes_hostile_packets_as_the_decoder_does(seed, monkeypatch):
    """Over a socket, by recvmmsg and one by one: the same records in all, and every packet accounted for."""
    monkeypatch.setattr("twinphase.stream_state.HOLD_S", 0.5)
    packets = [packet for packet in hostile(2 * seed) if packet[:1] != b"\x41"]  # an answer is no data
    reference = Decoder(SERVER)
    expected = [reference.decode(packets, now_s=0.0), reference.finish()]
    for many in (True, False):
        with FakeNode() as node:
            device = open_device(node.url)
            if not many:
                device._reader = DatagramReader(device._socket, many=False)
            with device:
                node.outbox, parts = packets, []
                for batch in device.batches(0.3):
                    parts.append(batch)
                    if not len(batch) and node._sent == len(packets) and not device.decoder.held:
                        break
                parts.append(device.decoder.finish())
                assert set(device.transport_losses.values()) == {0}
                for stream in (Stream.PHASE, Stream.HERALD, Stream.TAG):
                    got, want = (
                        np.concatenate([part[stream] for part in each if stream in part.records])
                        for each in (parts, expected)
                    )
                    assert np.array_equal(got, want), stream
                assert sum(device.damage.values()) == reference.damaged


def test_receive_and_receive_block_are_the_same_queue():
    packets = tag_packets(random_tags(3000, 1), 50)
    with FakeNode() as node, open_device(node.url) as device:
        node.outbox, got = packets, []
        for turn in range(400):
            part = device.receive(0.02) if turn % 2 else device.receive_block(0.02).packets()
            got += part
            if len(got) == len(packets):
                break
        assert got == packets


def test_a_long_queue_is_handed_out_in_parts(monkeypatch):
    monkeypatch.setattr(link, "MOST_PACKETS", 60)
    packets = tag_packets(random_tags(9000, 1), 30)
    with FakeNode() as node, open_device(node.url) as device:
        device.receive(0.0)
        node.outbox, parts = packets, []
        deadline = time.monotonic() + 10
        while device._queued < len(packets) and time.monotonic() < deadline:
            time.sleep(0.01)
        while sum(map(len, parts)) < len(packets):
            parts.append(device.receive(0.0))
        assert [packet for part in parts for packet in part] == packets
        assert len(parts) >= 2
        assert all(60 <= len(part) < 60 + SLOTS for part in parts[:-1])
        assert device._queued == 0
        assert device.receive(0.0) == []


def test_receipts_name_the_newest_number_of_whole_packets_only():
    device = UdpDevice.__new__(UdpDevice)
    device._sequences = {}

    def note(*numbers, stream=Stream.TAG):
        device._note_sequences(PacketBlock.of([pack(stream, number) for number in numbers]))
        return dict(device._sequences)

    assert note(5, 3, 4) == {Stream.TAG: 5}
    assert note(0xFFFFFFFE, 2) == {Stream.TAG: 5}  # late ones
    assert note(0x7FFFFFFF) == {Stream.TAG: 0x7FFFFFFF}
    assert note(0xFFFFFFFE) == {Stream.TAG: 0xFFFFFFFE}
    assert note(1, 0xFFFFFFFF, 0) == {Stream.TAG: 1}  # over the wrap
    assert note(9, stream=Stream.PSI) == {Stream.TAG: 1, Stream.PSI: 9}
    damaged = [pack(Stream.TAG, 77)[:28], bytes(32), b"", pack(Stream.HERALD, 1)[:4]]
    device._note_sequences(PacketBlock.of(damaged))
    assert device._sequences == {Stream.TAG: 1, Stream.PSI: 9}
