"""The link of small parts: tags that wait for their packer, frames without a memory."""

import zlib

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from link_bench import collect, header, run, send, split, word

from twinphase_hdl.core.shortbank import ShortBank
from twinphase_hdl.link.banks import BankedTagPacker
from twinphase_hdl.link.halvedsender import HalvedSender
from twinphase_hdl.link.paceddepacketizer import PacedDepacketizer
from twinphase_hdl.link.spoiler import CrcSpoiler
from twinphase_hdl.link.stage import Stage
from twinphase_hdl.types import Word, word_stream
from twinphase_spec import packets
from twinphase_spec.packets import Stream

PERIOD = 1 << packets.T2_TIME_BITS


def clocked(dut, start, clocks, *, enabled=lambda clock: True):
    """Testbench that counts i_clock up from ``start``."""

    async def process(context):
        for clock in range(start, start + clocks):
            context.set(dut.i_clock, clock)
            context.set(dut.i_enable, enabled(clock))
            await context.tick()

    return process


def tags_of(found):
    """(time, channel) of all tags, and each packet's header, whose losses and indices must fit together."""
    tags, heads = [], [header(packet) for packet in found]
    for head, packet in zip(heads, found, strict=True):
        assert head["stream"] == Stream.TAG
        assert head["first_record"] == len(tags)
        assert head["base_ticks"] % PERIOD == 0
        time = head["base_ticks"]
        for value in packet[8:]:
            if value >> 31:
                assert value >> 25 == 127
                assert value % PERIOD > 0
                time += value % PERIOD * PERIOD
            else:
                tags.append((time + value % PERIOD, value >> 25))
    assert [head["sequence"] for head in heads] == list(range(len(heads)))
    return tags, heads


def random_tags(rng, count, longest):
    """Tags with gaps from 0 to ``longest`` ticks, small and large alike often."""
    gaps = np.exp(rng.uniform(0, np.log(longest), count)).astype(np.int64) - 1
    times = (rng.integers(0, 1 << 60) + np.cumsum(gaps)).tolist()
    return [(time, int(channel)) for time, channel in zip(times, rng.integers(0, 2, count), strict=True)]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_tag_is_in_a_packet(seed):
    rng = np.random.default_rng(seed)
    tags = random_tags(rng, 700, 1 << 40)
    dut = BankedTagPacker()
    out: list = []
    flush = 3 << packets.FLUSH_BITS[Stream.TAG]
    run(
        dut,
        clocked(dut, flush - 11_000, 16_000),
        send(dut.i, [{"time": t, "channel": c} for t, c in tags], idle=0.2, seed=seed),
        collect(dut.o, out, pause=0.2, read=word),
    )
    got, heads = tags_of(split(out))
    assert got == tags
    assert all(head["lost"] == 0 for head in heads)
    assert max(head["words"] for head in heads) in (255, 256)


def test_lost_tags_are_counted():
    """The link stands still: two packets are full, all else is lost; then it goes on."""
    rng = np.random.default_rng(3)
    tags = random_tags(rng, 900, 1 << 12)
    far = (tags[-1][0] + (1 << 51), 1)  # more than 2^25 - 1 periods behind those before it
    dut = BankedTagPacker()
    out: list = []
    moves = []

    async def drain(context):
        while True:
            _, _, valid, payload = await context.tick().sample(dut.o.valid, dut.o.payload)
            if valid and context.get(dut.o.ready):
                out.append(word(payload))
            context.set(dut.o.ready, bool(moves))

    async def feed(context):
        items = [{"time": t, "channel": c} for t, c in [*tags, (tags[-1][0] + 5, 0), far, far]]
        await send(dut.i, items[:-3])(context)
        moves.append(1)
        await context.tick().repeat(2500)
        await send(dut.i, items[-3:])(context)
        await context.tick().repeat(800)

    drain.background = True
    flush = 7 << packets.FLUSH_BITS[Stream.TAG]
    run(dut, clocked(dut, flush - 11_500, 14_500), feed, drain)
    got, heads = tags_of(split(out))
    kept = heads[0]["words"] + heads[1]["words"]
    assert got[:kept] == tags[:kept]
    assert kept >= 510
    # The next packet tells of those lost; of its two far tags none can be reached from its first.
    assert got[kept:] == [(tags[-1][0] + 5, 0)]
    assert [head["lost"] for head in heads[:3]] == [0, len(tags) - kept, len(tags) - kept + 2]


def test_heartbeats_and_silence_when_disabled():
    beat = 1 << packets.HEARTBEAT_BITS
    for enabled in (True, False):
        dut = BankedTagPacker()
        out: list = []
        run(
            dut,
            clocked(dut, 5 * beat - 40, 200, enabled=lambda _, on=enabled: on),
            send(dut.i, [] if enabled else [{"time": 5, "channel": 0}] * 3),
            collect(dut.o, out, read=word),
        )
        found = split(out)
        assert len(found) == enabled
        if enabled:
            assert header(found[0])["words"] == 0
            assert abs(header(found[0])["base_ticks"] - 5 * beat * 8192) <= PERIOD


@pytest.mark.parametrize("pause", [0.0, 0.6])
def test_stage_passes_everything_on(pause):
    items = [{"data": n * 7, "last": n % 3 == 0} for n in range(60)]
    dut = Stage(Word)
    out: list = []
    run(dut, send(dut.i, items, idle=0.3), collect(dut.o, out, pause=pause, read=word))
    assert out == [(item["data"], item["last"]) for item in items]


@pytest.mark.parametrize("pause", [0.0, 0.8])
def test_every_record_is_sent_once(pause):
    """Ticks far apart and one while a record is being sent: each gives one packet, numbered."""
    tick = 1 << packets.STATUS_BITS

    class Status(Component):
        i_clock: In(51)
        o: Out(word_stream())

        def elaborate(self, platform):
            m = Module()
            m.submodules.bank = bank = ShortBank(steps={"events": range(2)})
            m.submodules.sender = sender = HalvedSender(Stream.STATUS, depth=256, single=True)
            m.submodules.stage = stage = Stage(Word)
            connect(m, sender.o, stage.i)
            connect(m, stage.o, flipped(self.o))
            m.d.comb += [
                bank.i_clock.eq(self.i_clock),
                bank.i_steps.events.eq(1),
                bank.i_status_enable.eq(1),
                sender.i_waiting.eq(bank.status.waits),
                sender.i_head.words.eq(4),
                sender.i_head.base_clock.eq(bank.status.clock),
                sender.i_data.eq(bank.status.data),
                bank.status.address.eq(sender.o_address),
                bank.status.read.eq(sender.o_read),
                bank.status.sent.eq(sender.o_sent),
            ]
            return m

    dut, out = Status(), []

    async def clock(context):
        for number, clocks in enumerate((400, 60, 400, 400)):
            for count in range((number + 1) * tick - 30, (number + 1) * tick - 30 + clocks):
                context.set(dut.i_clock, count)
                await context.tick()

    run(dut, clock, collect(dut.o, out, pause=pause, read=word))
    heads = [header(packet) for packet in split(out)]
    assert [head["sequence"] for head in heads] == [0, 1, 2, 3]
    assert [head["base_ticks"] >> 33 for head in heads] == [1, 2, 3, 4]
    assert [packet[8] for packet in split(out)] == [head["base_ticks"] >> 13 & 0xFFFFFFFF for head in heads]


def request(sequence, payload=()):
    """A register request's words."""
    first = packets.MAGIC << 16 | packets.VERSION << 8 | Stream.REGISTER_REQUEST
    return [first, sequence, len(payload), 0, 1, 0, 0, 0, *payload]


def test_wrong_frames_are_never_packets():
    """Frames through spoiler, stage and depacketizer: the good ones come out, each wrong one is counted once."""

    class Way(Component):
        def __init__(self):
            self.spoiler, self.depacketizer = CrcSpoiler(), PacedDepacketizer(depth=128)
            ports = {"i": In(self.spoiler.i.signature.flip()), "o_dropped": Out(1)}
            super().__init__({**ports, "request": self.depacketizer.signature.members["request"]})

        def elaborate(self, platform):
            m = Module()
            stage = Stage(Word)
            m.submodules += [self.spoiler, stage, self.depacketizer]
            connect(m, flipped(self.i), self.spoiler.i)
            connect(m, self.spoiler.o, stage.i)
            connect(m, stage.o, self.depacketizer.i)
            connect(m, self.depacketizer.request, flipped(self.request))
            m.d.comb += self.o_dropped.eq(self.depacketizer.o_dropped)
            return m

    def framed(words, *, spoil=None, cut=0):
        content = np.array(words, "<u4").tobytes()
        content += zlib.crc32(content).to_bytes(4, "little")
        if spoil is not None:
            content = content[:spoil] + bytes([content[spoil] ^ 16]) + content[spoil + 1 :]
        return content[: len(content) - cut] if cut else content

    good = [request(1), request(2, [7, 8]), request(3, range(64)), request(4)]
    # Cut by a word, the next word of a longer request stands where the checksum should: two words less than the header says.
    wrong = [
        framed(request(9), spoil=5),
        framed(request(9, [1, 2, 3]), cut=4),
        framed(request(9, [1]), cut=3),
        framed(request(9, range(65))),
        b"abc",
        framed([*request(9), 5]),
    ]
    order = [framed(good[0]), wrong[0], b"", framed(good[1]), *wrong[1:4], framed(good[2]), *wrong[4:], framed(good[3])]
    dut, out, dropped = Way(), [], []

    async def drive(context):
        for frame in order:
            for value, last in [*((byte, 0) for byte in frame), (0, 1)]:
                context.set(dut.i.payload, {"data": value, "last": last})
                context.set(dut.i.valid, 1)
                await context.tick()
                context.set(dut.i.valid, 0)
                await context.tick().repeat(7)
            await context.tick().repeat(3 * 128 + 10)

    async def count(context):
        async for _, _, strobe in context.tick().sample(dut.o_dropped):
            dropped.append(strobe)

    count.background = True
    run(dut, drive, count, collect(dut.request, out, pause=0.2, read=word), clocks=60_000)
    assert split(out) == [packet[1:] for packet in good]
    assert sum(dropped) == len(wrong)
