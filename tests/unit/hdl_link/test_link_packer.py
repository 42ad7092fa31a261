"""Packers: packet boundaries, headers, losses, heartbeats, T2 words."""

import numpy as np
import pytest
from link_bench import collect, header, packet, run, send, split, word, words_of

from twinphase_hdl.link.arbiter import PacketArbiter
from twinphase_hdl.link.packer import QUEUED_PACKETS, StreamPacker
from twinphase_hdl.link.t2 import TagPacker
from twinphase_spec import packets
from twinphase_spec.packets import Stream


def clocked(dut, start, clocks, *, each=None):
    """Testbench that counts i_clock up from ``start``; ``each(context, clock)`` sets the rest."""

    async def process(context):
        context.set(dut.i_enable, 1)
        for clock in range(start, start + clocks):
            context.set(dut.i_clock, clock)
            if each:
                each(context, clock)
            await context.tick()

    return process


def test_records_are_packed_whole_and_flushed_on_the_tick():
    dut = StreamPacker(Stream.HERALD)
    records = [[n, 2 * n, 3 * n] for n in range(200)]
    flush = 5 << packets.FLUSH_BITS[Stream.HERALD]
    out: list = []
    run(
        dut, clocked(dut, flush - 2000, 2400), send(dut.i, records, idle=0.3), collect(dut.o, out, pause=0.3, read=word)
    )
    found = split(out)
    heads = [header(p) for p in found]
    assert [h["words"] for h in heads] == [255, 255, 90]
    assert [h["sequence"] for h in heads] == [0, 1, 2]
    assert [h["first_record"] for h in heads] == [0, 85, 170]
    assert heads[2]["base_ticks"] == flush * 8192
    assert [w for p in found for w in p[8:]] == [w for record in records for w in record]


def test_a_tick_inside_a_record_waits_for_its_end():
    dut = StreamPacker(Stream.HERALD)
    flush = 3 << packets.FLUSH_BITS[Stream.HERALD]
    for offset in range(5):
        out: list = []

        def each(context, clock, offset=offset):
            context.set(dut.i.valid, clock == flush - offset)
            context.set(dut.i.payload, [7, 8, 9])

        run(dut, clocked(dut, flush - 20, 60, each=each), collect(dut.o, out, read=word))
        # A record that is taken at the tick is the first of the next packet.
        assert [p[8:] for p in split(out)] == ([[7, 8, 9]] if offset else [])


def test_overfull_buffer_counts_every_lost_record():
    dut = StreamPacker(Stream.PHASE)
    total = 400
    out: list = []

    def each(context, clock):
        context.set(dut.i.valid, clock < 100 + 8 * total)
        context.set(dut.i.payload, [clock] * 8)

    stalled = clocked(dut, 100, 8 * total + 20, each=each)
    drained: list = []

    async def process(context):
        await stalled(context)
        context.set(dut.o.ready, 1)
        beat = 1 << packets.HEARTBEAT_BITS
        for clock in (*range(beat - 2000, beat + 20), *range(2 * beat - 20, 2 * beat + 100)):
            context.set(dut.i_clock, clock)
            _, _, valid, payload = await context.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                drained.append(word(payload))
        out.extend(split(drained))

    run(dut, process)
    heads = [header(p) for p in out]
    records = sum(h["words"] for h in heads) // 8
    # 512 words of buffer and what the output stage holds; an empty packet tells the rest at the heartbeat tick.
    assert records == 64
    assert heads[-1]["words"] == 0
    assert heads[-1]["lost"] == total - records
    assert heads[-1]["first_record"] == records
    assert [h["sequence"] for h in heads] == list(range(len(heads)))


def test_lossless_packer_waits():
    dut = StreamPacker(Stream.PEER, lossless=True)
    records = [[1, n, ~n & 0xFFFFFFFF] for n in range(500)]
    out: list = []
    flush = 4 << packets.FLUSH_BITS[Stream.PEER]
    run(
        dut,
        clocked(dut, flush - 6000, 7000),
        send(dut.i, records),
        collect(dut.o, out, pause=0.7, read=word),
        clocks=20000,
    )
    found = split(out)
    assert [w for p in found for w in p[8:]] == [w for record in records for w in record]
    assert {header(p)["lost"] for p in found} == {0}


@pytest.mark.parametrize("enabled", [0, 1])
def test_heartbeats(enabled):
    dut = StreamPacker(Stream.PSI)
    tick = 1 << packets.HEARTBEAT_BITS
    out: list = []

    async def process(context):
        context.set(dut.i_enable, enabled)
        for beat in range(1, 5):
            for clock in range(beat * tick - 30, beat * tick + 30):
                context.set(dut.i_clock, clock)
                # Between the second and the third heartbeat tick a record is flushed.
                context.set(dut.i.valid, clock == 3 * tick - 25)
                context.set(dut.i.payload, [5, 6])
                await context.tick()

    run(dut, process, collect(dut.o, out, read=word))
    found = [(header(p)["base_ticks"] // 8192 // tick, header(p)["words"]) for p in split(out)]
    assert found == ([(1, 0), (2, 0), (3, 2), (4, 0)] if enabled else [])


def test_disabled_stream_loses_nothing():
    dut = StreamPacker(Stream.PSI)
    tick = 1 << packets.HEARTBEAT_BITS
    out: list = []

    async def process(context):
        context.set(dut.i_clock, 100)
        context.set(dut.i.valid, 1)
        await context.tick().repeat(50)
        context.set(dut.i.valid, 0)
        await context.tick().repeat(5)
        context.set(dut.i_enable, 1)
        context.set(dut.i_clock, tick)
        await context.tick()
        context.set(dut.i_clock, 101)
        await context.tick().repeat(30)

    run(dut, process, collect(dut.o, out, read=word))
    (head,) = [header(p) for p in split(out)]
    assert (head["lost"], head["first_record"], head["words"]) == (0, 0, 0)


def decode_tags(found):
    """(time, channel) of all tag words, by the text of packets.py."""
    for p in found:
        head = header(p)
        assert head["base_ticks"] % (1 << 25) == 0
        time = head["base_ticks"]
        for value in p[8:]:
            if value >> 25 == packets.T2_SPECIAL >> 25 | packets.T2_OVERFLOW_CHANNEL:
                time += (value & 0x1FFFFFF) << 25
            else:
                yield time + (value & 0x1FFFFFF), value >> 25 & 63


@pytest.mark.parametrize(("spacing_clocks", "pause"), [(1, 0.0), (2, 0.0), (2, 0.5)])
def test_tags_come_back_from_t2_words(spacing_clocks, pause):
    random = np.random.default_rng(3)
    dut = TagPacker()
    steps = random.choice(
        [1, 5, 900, 1 << 20, 1 << 25, (1 << 25) - 1, 77 << 25], size=1500, p=[0.1, 0.3, 0.3, 0.2, 0.04, 0.03, 0.03]
    )
    times = (1 << 60) + np.cumsum(steps)
    tags = [(int(t), int(c)) for t, c in zip(times, random.integers(0, 4, len(times)), strict=True)]
    feed = iter(tags)
    out: list = []
    flush = 9 << packets.FLUSH_BITS[Stream.TAG]

    def each(context, clock):
        tag = next(feed, None) if clock % spacing_clocks == 0 else None
        context.set(dut.i.valid, tag is not None)
        if tag:
            context.set(dut.i.payload, {"time": tag[0], "channel": tag[1]})

    run(dut, clocked(dut, flush - 1600 * spacing_clocks, 6000, each=each), collect(dut.o, out, pause=pause, read=word))
    found = split(out)
    lost = header(found[-1])["lost"]
    decoded = list(decode_tags(found))
    assert len(decoded) + lost == len(tags)
    assert set(decoded) <= set(tags)
    assert decoded == [t for t in tags if t in set(decoded)]
    if spacing_clocks == 1:
        # Sixteen tags can wait; here every tenth needs an overflow word and takes two clocks.
        assert 0 < lost < 200
    else:
        assert lost == 0
    assert max(len(p) for p in found) >= 8 + 255


def test_a_tag_per_clock_without_loss():
    dut = TagPacker()
    out: list = []
    start = 9 << packets.FLUSH_BITS[Stream.TAG]

    def each(context, clock):
        context.set(dut.i.valid, clock < start - 100)
        context.set(dut.i.payload, {"time": clock * 8192, "channel": clock & 3})

    run(dut, clocked(dut, start - 1900, 2400, each=each), collect(dut.o, out, read=word))
    decoded = list(decode_tags(split(out)))
    assert decoded == [(clock * 8192, clock & 3) for clock in range(start - 1900, start - 100)]


def test_full_packet_queue_loses_and_counts():
    dut = TagPacker()
    flush_bits = packets.FLUSH_BITS[Stream.TAG]
    out: list = []

    async def process(context):
        context.set(dut.i_enable, 1)
        for beat in range(1, QUEUED_PACKETS + 3):
            for clock in range((beat << flush_bits) - 12, (beat << flush_bits) + 4):
                context.set(dut.i_clock, clock)
                context.set(dut.i.valid, clock == (beat << flush_bits) - 10)
                context.set(dut.i.payload, {"time": clock << 13, "channel": 1})
                await context.tick()
        context.set(dut.i_clock, 5)
        context.set(dut.o.ready, 1)
        for _ in range(600):
            _, _, valid, payload = await context.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                out.append(word(payload))
        for clock in range(40 << flush_bits, (40 << flush_bits) + 50):
            context.set(dut.i_clock, clock)
            _, _, valid, payload = await context.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                out.append(word(payload))

    run(dut, process)
    decoded = [time >> 13 for time, _ in decode_tags(split(out))]
    # The packet that could not be queued stayed open and has the last two tags.
    assert decoded == [(beat << flush_bits) - 10 for beat in range(1, QUEUED_PACKETS + 3)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"inputs": 0}, "inputs is 0; allowed: at least 1"),
        ({"inputs": 3, "preferred": 3}, "preferred is 3; allowed: 0 to 2"),
        ({"inputs": 3, "preferred": -1}, "preferred is -1; allowed: 0 to 2"),
    ],
)
def test_arbiter_refuses_inputs_that_are_not_there(wrong, said):
    with pytest.raises(ValueError, match=said):
        PacketArbiter(**wrong)


def test_arbiter_keeps_packets_whole_and_is_fair():
    dut = PacketArbiter(inputs=3)
    sent = [[packet(Stream.TAG, [k] * (n % 5), sequence=n) for n in range(30)] for k in range(3)]
    out: list = []
    benches = [send(dut.i[k], [w for p in sent[k] for w in words_of(p)], idle=0.1 * k, seed=k) for k in range(3)]
    run(dut, *benches, collect(dut.o, out, pause=0.2, read=word))
    found = split(out)
    assert sorted(found) == sorted(p for port in sent for p in port)
    for k in range(3):
        assert [p for p in found if p[8:9] == [k]] == [p for p in sent[k] if p[8:]]
    # While all three ask, they take turns.
    assert sorted(header(p)["sequence"] for p in found[:45]) == sorted([*range(15)] * 3)
