"""Decoding: round trips, losses, order, damage."""

import struct

import numpy as np
import pytest
from fake_node import SERVER, heralds, phases, random_tags, record_packets, t2_packet, tag_packets
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.herald_code import HeraldCodeError, decode
from twinphase.packets import Decoder, pack
from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.model.sift.heraldcode import payloads
from twinphase_spec.herald_code import FIRST
from twinphase_spec.packets import MAGIC, PEER_DTYPE, PSI_DTYPE, RECORD_WORDS, VERSION, Stream


def decode_all(packets, chunk=37):
    decoder, batches = Decoder(SERVER), []
    for at in range(0, len(packets), chunk):
        batches.append(decoder.decode(packets[at : at + chunk], now_s=0.0))
    batches.append(decoder.finish())
    return decoder, batches


def joined(batches, stream):
    return np.concatenate([batch[stream] for batch in batches if stream in batch.records])


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(0, 1 << 28), min_size=1, max_size=400),
    channels=st.randoms(use_true_random=False),
    start=st.integers(0, 1 << 62),
    per_packet=st.integers(1, 120),
    chunk=st.integers(1, 9),
)
def test_tags_round_trip(steps, channels, start, per_packet, chunk):
    tags = random_tags(len(steps), 0)
    tags["time_ticks"] = start + np.cumsum(np.array(steps, np.int64))
    tags["channel"] = [channels.randrange(63) for _ in steps]
    decoder, batches = decode_all(tag_packets(tags, per_packet), chunk)
    assert np.array_equal(joined(batches, Stream.TAG), tags)
    assert decoder.damaged == 0
    assert decoder.streams[Stream.TAG].records == len(tags)
    assert decoder.streams[Stream.TAG].lost_packets == 0


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 500), per_packet=st.integers(1, 32), seed=st.integers(0, 1000))
def test_records_of_all_streams_round_trip(count, per_packet, seed):
    rng = np.random.default_rng(seed)
    streams = {Stream.PHASE: phases(count), Stream.HERALD: heralds(count)}
    for stream, dtype in ((Stream.PSI, PSI_DTYPE), (Stream.PEER, PEER_DTYPE)):
        streams[stream] = rng.integers(0, 1 << 32, (count, RECORD_WORDS[stream]), np.uint32).view(dtype)[:, 0]
    status = rng.integers(0, 1 << 62, (count, SERVER.status_words // 2), np.uint64)
    lists = [record_packets(stream, records, per_packet, 1000, 500) for stream, records in streams.items()]
    lists.append(record_packets(Stream.STATUS, status.reshape(count, -1), 2, 1000, 500))
    packets = [packet for group in zip(*lists, strict=False) for packet in group]
    packets += [packet for one in lists for packet in one[min(map(len, lists)) :]]
    decoder, batches = decode_all(packets)
    for stream, records in streams.items():
        assert np.array_equal(joined(batches, stream), records)
        ticks = np.concatenate([batch.packet_ticks[stream] for batch in batches if stream in batch.packet_ticks])
        assert np.array_equal(ticks, (1000 + np.arange(count) // per_packet * 500) << 13)
    got = joined(batches, Stream.STATUS)
    assert np.array_equal(got["clock"], status[:, 0])
    assert np.array_equal(got["unsent"], status[:, SERVER.counter_names.index("unsent")])
    assert decoder.damaged == 0


@settings(max_examples=60, deadline=None)
@given(lost=st.sets(st.integers(1, 58)), seed=st.integers(0, 99), chunk=st.integers(1, 60))
def test_a_lost_packet_shifts_no_time_and_is_counted_exactly(lost, seed, chunk):
    tags = random_tags(6000, seed)
    packets = tag_packets(tags)
    decoder, batches = decode_all([p for i, p in enumerate(packets) if i not in lost], chunk)
    kept = np.concatenate([tags[100 * i : 100 * i + 100] for i in range(60) if i not in lost])
    state = decoder.streams[Stream.TAG]
    assert np.array_equal(joined(batches, Stream.TAG), kept)
    assert (state.lost_packets, state.lost_records, decoder.damaged) == (len(lost), 100 * len(lost), 0)
    gaps = [gap for batch in batches for gap in batch.gaps.get(Stream.TAG, [])]
    assert sum(gap.records for gap in gaps) == 100 * len(lost)
    assert sum(gap.packets for gap in gaps) == len(lost)


@settings(max_examples=60, deadline=None)
@given(
    swaps=st.lists(st.integers(0, 57), max_size=12),
    doubles=st.lists(st.integers(0, 59), max_size=12),
    chunk=st.integers(1, 60),
)
def test_reordered_and_doubled_packets_change_nothing(swaps, doubles, chunk):
    tags = random_tags(6000, 5)
    packets = tag_packets(tags)
    first = packets.pop(0)  # the very first packet fixes where the stream begins
    for i in swaps:
        packets[i], packets[i + 1] = packets[i + 1], packets[i]
    for i in doubles:
        packets.insert(i, packets[i - 1] if i else first)
    decoder, batches = decode_all([first, *packets], chunk)
    state = decoder.streams[Stream.TAG]
    assert np.array_equal(joined(batches, Stream.TAG), tags)
    assert (state.lost_packets, state.lost_records, state.duplicates) == (0, 0, len(doubles))


def test_a_packet_that_never_comes_is_given_up_in_time_and_late_when_it_does():
    tags = random_tags(1000, 1)
    packets = tag_packets(tags)
    decoder = Decoder(SERVER)
    decoder.decode(packets[:3], now_s=0)
    assert not len(decoder.decode(packets[4:6], now_s=0.001))
    assert decoder.held == 2
    assert len(decoder.decode([], now_s=0.1)) == 200
    decoder.decode([packets[3], packets[6]], now_s=0.2)
    state = decoder.streams[Stream.TAG]
    assert (state.late, state.duplicates, state.lost_packets, state.lost_records) == (1, 0, 1, 100)


def test_a_packet_out_of_order_is_waited_for_although_an_earlier_one_is_given_up():
    """One number never comes; behind it more packets wait than may, the last two of which are swapped and come apart."""
    packets = tag_packets(random_tags(4000, 1), 10)
    decoder = Decoder(SERVER)
    batches = [decoder.decode([*packets[:5], *packets[6:300], packets[301]], now_s=0.0)]
    assert len(batches[0]) == 10 * 299
    batches.append(decoder.decode([packets[300], *packets[302:]], now_s=0.001))
    state = decoder.streams[Stream.TAG]
    assert (state.lost_packets, state.late, state.packets) == (1, 0, 399)
    assert len(batches[1]) == 10 * 100
    slow = Decoder(SERVER)  # the same where time gives up the first: the second has a time of its own
    slow.decode([*packets[:5], *packets[6:9]], now_s=0.0)
    assert len(slow.decode([*packets[9:12], packets[13]], now_s=0.015)) == 0
    assert len(slow.decode([packets[14]], now_s=0.025)) == 10 * 6
    assert len(slow.decode([packets[12]], now_s=0.03)) == 10 * 3
    assert (slow.streams[Stream.TAG].lost_packets, slow.streams[Stream.TAG].late) == (1, 0)


def test_node_losses_and_silence_are_counted_and_placed():
    def heartbeat(i, clock, lost):
        return pack(Stream.PSI, i, base_ticks=clock << 13, lost=lost)

    decoder = Decoder(SERVER)
    batch = decoder.decode([heartbeat(0, 0, 5), heartbeat(1, 1_000_000, 5), heartbeat(2, 3_000_000, 12)], now_s=0)
    state = decoder.streams[Stream.PSI]
    assert (state.node_lost_records, state.silences, state.heartbeats) == (7, 1, 3)
    assert [(gap.index, gap.records, gap.packets) for gap in batch.gaps[Stream.PSI]] == [(0, 7, 0)]


def test_numbers_wrap():
    tags = random_tags(3000, 2)
    packets = [
        t2_packet(0xFFFFFFF0 + i, tags["time_ticks"][at : at + 100], tags["channel"][at : at + 100], 0xFFFFFF00 + at)
        for i, at in enumerate(range(0, 3000, 100))
    ]
    decoder, batches = decode_all(packets[:20] + packets[21:])
    assert len(joined(batches, Stream.TAG)) == 2900
    assert (decoder.streams[Stream.TAG].lost_records, decoder.damaged) == (100, 0)


def test_a_restarted_node_is_followed():
    first, second = tag_packets(random_tags(5000, 1)), tag_packets(random_tags(6000, 2))
    decoder, batches = decode_all(first + second, 5)
    state = decoder.streams[Stream.TAG]
    assert state.restarts == 1
    assert len(joined(batches, Stream.TAG)) >= 5000 + 6000 - 20 * 100


@pytest.mark.parametrize("chunk", [1, 37])
@pytest.mark.parametrize("lost", [[], [19], [20], [19, 20]])
def test_heralds_of_a_new_run_begin_at_0_and_none_is_dropped(lost, chunk):
    """Two runs of 20 packets; the last or the first is lost. The one behind a lost first fits nothing: it is damage."""
    pulses = np.cumsum(np.random.default_rng(3).geometric(1e-3, 400)).astype(np.uint64)
    detectors = np.zeros(400, np.uint8)
    coded = list(payloads(pulses, detectors, np.arange(0, 400, 20), FIRST))
    packets = [
        pack(Stream.HERALD_CODE, i, coded[i % 20].tobytes(), base_ticks=i << 13, first_record=i % 20 * 20, flags=20)
        for i in range(40)
    ]
    decoder, batches = decode_all([packet for i, packet in enumerate(packets) if i not in lost], chunk)
    numbers = joined(batches, Stream.HERALD_CODE)["number"].reshape(-1, 20)[:, 0] // 20
    gone = {*lost, *({21} if 20 in lost else ())}
    assert numbers.tolist() == [i % 20 for i in range(40) if i not in gone]
    state = decoder.streams[Stream.HERALD_CODE]
    assert (decoder.damaged, state.lost_packets, state.restarts) == (len(gone) - len(lost), len(lost), 0)


def test_a_wild_number_costs_only_its_packet():
    tags = random_tags(6000, 7)
    packets = tag_packets(tags)
    wild = bytearray(packets[30])
    for at, value in ((4, 0x7FFFFF), (28, 99), (12, 1 << 60 - 4)):  # sequence, first record, time base
        changed = bytearray(wild)
        changed[at : at + (8 if at == 12 else 4)] = value.to_bytes(8 if at == 12 else 4, "little")
        decoder, batches = decode_all([*packets[:30], bytes(changed), *packets[31:]], 7)
        kept = np.concatenate([tags[:3000], tags[3100:]])
        assert np.array_equal(joined(batches, Stream.TAG), kept), at
        assert decoder.streams[Stream.TAG].lost_records == 100


def coded_heralds(packets, per_packet):
    """Packets of HERALD_CODE."""
    count = packets * per_packet
    pulses, detectors = herald_pulses(heralds(count))
    words = payloads(np.unique(pulses), detectors, np.arange(0, count, per_packet), FIRST)
    return [
        pack(Stream.HERALD_CODE, i, one.tobytes(), base_ticks=i << 26, first_record=per_packet * i, flags=per_packet)
        for i, one in enumerate(words)
    ]


def is_damaged(packet):
    """Oracle, packet by packet: whether it breaks the format of `twinphase_spec.packets`."""
    if not 32 <= len(packet) <= 1056 or len(packet) % 4:
        return True
    words = struct.unpack(f"<{len(packet) // 4}I", packet)
    stream, payload = words[0] & 255, words[8:]
    if words[0] >> 8 != MAGIC << 8 | VERSION or words[2] & 0xFFFF != len(payload):
        return True
    record_words = SERVER.status_words if stream == Stream.STATUS else RECORD_WORDS.get(stream, 0)
    if not record_words or len(payload) % record_words:
        return True
    base = words[3] | words[4] << 32
    if stream == Stream.TAG:
        return base % (1 << 25) != 0 or any(64 <= word >> 25 < 127 for word in payload)
    if stream == Stream.HERALD_CODE:
        try:
            decode(np.array(payload, np.uint32), words[7], words[2] >> 16)
        except HeraldCodeError:
            return True
    return base % 8192 != 0


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz(seed):
    """5e4 mutated packets each: no exception, every damaged one counted, every packet accounted for exactly once."""
    rng = np.random.default_rng(seed)
    clean = tag_packets(random_tags(20_000, seed), 20)
    clean += record_packets(Stream.HERALD, heralds(4000), 8, 200_000, 8192)
    clean += record_packets(Stream.PHASE, phases(1000), 4, 200_000, 8192)
    clean += coded_heralds(500, 10)
    decoder, fed, broken = Decoder(SERVER), 0, 0
    count = 50_000
    kinds = rng.integers(0, 6, count)
    picks = np.sort(rng.integers(0, len(clean), count))
    mutated = []
    for kind, pick in zip(kinds, picks, strict=True):
        packet = bytearray(clean[pick])
        if kind == 0:
            del packet[int(rng.integers(0, len(packet))) :]
        elif kind == 1:
            packet += rng.bytes(int(rng.integers(1, 9)))
        elif kind == 2:
            packet[int(rng.integers(0, 32))] ^= 1 << int(rng.integers(0, 8))
        elif kind == 3:
            for _ in range(4):
                packet[int(rng.integers(0, len(packet)))] = int(rng.integers(0, 256))
        elif kind == 4:
            packet = bytearray(rng.bytes(int(rng.integers(0, 1200))))
        else:
            packet[:32] = rng.bytes(32)
        mutated.append(bytes(packet))
    at = 0
    while at < count:
        size = int(rng.integers(1, 400))
        chunk = mutated[at : at + size]
        at += size
        decoder.decode(chunk, now_s=at * 1e-3)
        fed += len(chunk)
        broken += sum(map(is_damaged, chunk))
    decoder.finish()
    damage = decoder.damage
    assert damage["length"] + damage["header"] + damage["content"] == broken
    states = decoder.streams.values()
    accounted = sum(s.packets + s.duplicates + s.late + s.strays for s in states) + decoder.damaged + decoder.held
    assert accounted == fed == count
    assert broken > count // 2


def test_tags_of_undamaged_packets_survive_among_damaged_ones():
    tags = random_tags(40_000, 11)
    packets = tag_packets(tags, 40)
    rng = np.random.default_rng(3)
    hit = np.sort(rng.choice(np.arange(1, 1000), 200, replace=False))
    for i in hit:
        packets[i] = packets[i][: int(rng.integers(0, len(packets[i])))]
    decoder, batches = decode_all(packets)
    kept = np.ones(40_000, bool)
    for i in hit:
        kept[40 * i : 40 * i + 40] = False
    kept[39_960:] &= 999 not in hit
    assert np.array_equal(joined(batches, Stream.TAG), tags[kept])
    assert decoder.damaged == 200
    assert decoder.streams[Stream.TAG].lost_records == 40 * (200 - (999 in hit))


@pytest.mark.parametrize("gap", [1000, 70_000, 1 << 22])
def test_a_long_gap_is_counted_exactly(gap):
    """Longer than the window of numbers that are waited for: a node that goes on counting was not restarted."""
    before, after = random_tags(4000, 1), random_tags(8000, 2)
    after["time_ticks"] += before["time_ticks"][-1]
    packets = tag_packets(before, 20)
    shifted = []
    for packet in tag_packets(after, 20):
        words = np.frombuffer(packet, "<u4").copy()
        words[1] += 200 + gap
        words[7] += np.uint32(20 * (200 + gap))
        shifted.append(words.tobytes())
    decoder, batches = decode_all(packets + shifted, 7)
    state = decoder.streams[Stream.TAG]
    got = joined(batches, Stream.TAG)
    assert (state.restarts, decoder.damaged) == (0, 0)
    assert state.packets + state.lost_packets == 600 + gap  # strays before the gap was believed are lost with it
    assert state.records + state.lost_records == 12_000 + 20 * gap
    assert len(got) >= 12_000 - 20 * 40
    assert np.array_equal(got, np.concatenate([before, after])[np.r_[:4000, 12_000 - (len(got) - 4000) : 12_000]])
    assert state.strays == 600 - state.packets
