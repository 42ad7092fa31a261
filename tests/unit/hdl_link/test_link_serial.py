"""The serial link against zlib and a SLIP coder written here."""

import zlib

import numpy as np
import pytest
from link_bench import collect, packet, run, send, split, word, words_of

from twinphase_hdl.link.crc import CrcChecker
from twinphase_hdl.link.serial import SerialLink
from twinphase_spec.packets import SLIP_END, SLIP_ESC, SLIP_ESC_END, SLIP_ESC_ESC, Stream

DIVISOR = 4


def slip(packet_words):
    content = np.array(packet_words, "<u4").tobytes()
    content += zlib.crc32(content).to_bytes(4, "little")
    escaped = content.replace(bytes([SLIP_ESC]), bytes([SLIP_ESC, SLIP_ESC_ESC]))
    return bytes([SLIP_END]) + escaped.replace(bytes([SLIP_END]), bytes([SLIP_ESC, SLIP_ESC_END])) + bytes([SLIP_END])


def some_packets(count, seed=4):
    random = np.random.default_rng(seed)
    special = [SLIP_END * 0x01010101, SLIP_ESC * 0x01010101, 0, 0xFFFFFFFF]
    return [
        packet(Stream.TAG, [*random.choice(special, 2), *random.integers(0, 1 << 32, n)], sequence=n)
        for n in range(count)
    ]


def line_bits(content):
    for byte in content:
        yield from [0, *(byte >> i & 1 for i in range(8)), 1]


def test_sent_bytes_are_slip_with_a_good_crc():
    dut = SerialLink(divisor=DIVISOR)
    sent = some_packets(4)
    line = []

    async def listen(context):
        async for _, _, level in context.tick().sample(dut.o_line):
            line.append(level)

    listen.background = True
    run(dut, send(dut.tx, [w for p in sent for w in words_of(p)]), listen, clocks=30_000, settle=900)
    content, at = bytearray(), 0
    while 0 in line[at:]:
        at += line[at:].index(0)
        bits = line[at + DIVISOR // 2 : at + 10 * DIVISOR : DIVISOR]
        assert bits[9] == 1
        content.append(sum(bit << i for i, bit in enumerate(bits[1:9])))
        at += 10 * DIVISOR - 1
    assert bytes(content) == b"".join(slip(p) for p in sent)


def test_received_packets_and_damaged_ones():
    dut = SerialLink(divisor=DIVISOR)
    sent = some_packets(5)
    frames = [slip(p) for p in sent]
    frames[1] = frames[1][:9] + bytes([frames[1][9] ^ 4]) + frames[1][10:]
    frames[3] = frames[3][:17] + frames[3][18:]
    out, dropped = [], []

    async def drive(context):
        for bit in line_bits(b"".join(frames)):
            context.set(dut.i_line, bit)
            await context.tick().repeat(DIVISOR)
        context.set(dut.i_line, 1)

    async def count(context):
        async for _, _, strobe in context.tick().sample(dut.o_dropped):
            if strobe:
                dropped.append(1)

    count.background = True
    run(dut, drive, count, collect(dut.rx, out, pause=0.3, read=word), clocks=30_000)
    assert split(out) == [sent[0], sent[2], sent[4]]
    assert len(dropped) == 2


@pytest.mark.parametrize(("words", "good"), [(264, True), (265, False), (600, False), (0, False)])
def test_length_limits(words, good):
    dut = CrcChecker()
    content = np.arange(words, dtype="<u4").tobytes()
    content += zlib.crc32(content).to_bytes(4, "little")
    short = b"abcd" + zlib.crc32(b"abcd").to_bytes(4, "little")
    out, dropped = [], []

    async def drive(context):
        for frame in (content, b"", short):
            for value, last in [*((byte, 0) for byte in frame), (0, 1)]:
                context.set(dut.i.payload, {"data": value, "last": last})
                context.set(dut.i.valid, 1)
                await context.tick()
                dropped.append(context.get(dut.o_dropped))
        context.set(dut.i.valid, 0)

    run(dut, drive, collect(dut.o, out, read=word), settle=400)
    expected = [list(range(words))] if good else []
    assert split(out) == [*expected, [int.from_bytes(b"abcd", "little")]]
    assert sum(dropped) == (not good)
