"""Serial framing against the reference: escapes, checksums, damaged and endless frames, the line itself."""

from __future__ import annotations

import random
import zlib
from typing import Any

import cocotb
import numpy as np

from bench_packer import LAST, packets_of
from lockstep import Lockstep
from twinphase_sim.model.link import slip
from twinphase_spec.packets import MAX_PACKET_BYTES, SLIP_END, SLIP_ESC, SLIP_ESC_END, SLIP_ESC_ESC

SPECIAL = (SLIP_END, SLIP_ESC, SLIP_ESC_END, SLIP_ESC_ESC)
DIVISOR = 4


def words_of(packet: bytes) -> list[int]:
    """A packet as words with ``last``."""
    words = np.frombuffer(packet, "<u4").tolist()
    return [*words[:-1], words[-1] | LAST]


def random_packet(draw: random.Random, words: int) -> bytes:
    """Half of the bytes are special ones."""
    return bytes(draw.choice(SPECIAL) if draw.random() < 0.5 else draw.randrange(256) for _ in range(4 * words))


def wholesome(packet: bytes) -> bool:
    """What the link takes off the line: whole words, at least one, no more than a packet has."""
    return 0 < len(packet) <= MAX_PACKET_BYTES and len(packet) % 4 == 0


@cocotb.test()
@cocotb.parametrize((("idle", "pause"), [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.4, 0.4)]))
async def test_framing(dut: Any, idle: float, pause: float) -> None:
    """The bytes are the reference's, also for packets made of special bytes only and the longest ones."""
    draw = random.Random(f"{idle} {pause}")
    loop = Lockstep(dut)
    source, sink = loop.source("framer__i", idle=idle), loop.sink("framer__o", idle=pause)
    packets = [bytes([byte]) * 4 for byte in SPECIAL] + [random_packet(draw, draw.randrange(1, 20)) for _ in range(12)]
    if not idle and not pause:
        packets += [random_packet(draw, MAX_PACKET_BYTES // 4), bytes([SLIP_ESC]) * 400]
    # A checksum that needs escapes is rare by chance.
    small = (n.to_bytes(4, "little") for n in range(4000))
    packets += [p for p in small if set(SPECIAL[:2]) <= set(zlib.crc32(p).to_bytes(4, "little"))][:2]
    for packet in packets:
        source.send(words_of(packet))
    await loop.start()
    want = b"".join(slip.encode(packet) for packet in packets)
    await loop.until(lambda: len(sink.taken) >= len(want), 20 * len(want), "bytes")
    await loop.step(20)
    assert bytes(sink.words) == want


@cocotb.test()
@cocotb.parametrize((("seed", "idle", "pause"), [(1, 0.0, 0.0), (2, 0.5, 0.5), (3, 0.0, 0.3)]))
async def test_deframing_damaged_lines(dut: Any, seed: int, idle: float, pause: float) -> None:
    """Flipped, lost, doubled bytes and spurious ENDs: what the reference finds whole comes out, every other frame is counted."""
    draw = random.Random(seed)
    loop = Lockstep(dut)
    source, sink = loop.source("deframer__i", idle=idle), loop.sink("deframer__o", idle=pause)
    dropped: list[int] = []
    loop.after.append(lambda cycle: dropped.append(cycle) if dut.deframer__o_dropped.value else None)
    line, sent = bytearray(), []
    for _ in range(60):
        sent.append(random_packet(draw, draw.choice([1, 2, 3, 8, 12])))
        frame = bytearray(slip.encode(sent[-1]))
        fate = draw.randrange(8)
        at = draw.randrange(1, len(frame) - 1)
        if fate == 0:
            frame[at] ^= 1 << draw.randrange(8)
        elif fate == 1:
            del frame[at]
        elif fate == 2:
            frame.insert(at, frame[at])
        elif fate == 3:
            frame.insert(at, SLIP_END)
        elif fate == 4:
            del frame[-1]  # one END between two frames
        line += frame
    line += bytes([SLIP_END])
    for packet in (bytes(MAX_PACKET_BYTES), bytes(MAX_PACKET_BYTES + 4), bytes(6), bytes(2048), random_packet(draw, 4)):
        sent.append(packet)
        line += slip.encode(packet)
    line += bytes([SLIP_END, 1, 2, 3, SLIP_END, SLIP_END, 0, 0, 0, 0, SLIP_END])
    sent.append(random_packet(draw, 5))
    line += slip.encode(sent[-1])
    source.send(line)
    await loop.start()
    await loop.until(lambda: not source.queue, 60_000, "line")
    await loop.step(2000)
    whole, damaged = slip.decode(bytes(line))
    want = [packet for packet in whole if wholesome(packet)]
    got = packets_of(sink.words)
    # Of an ESC that stands before no escape code either decoder may make what it likes: with a right checksum it is the packet.
    assert [packet for packet in got if packet in want] == want
    assert all(packet in sent and wholesome(packet) for packet in got), "a packet came that nobody sent, or too long"
    assert len(dropped) + len(got) == damaged + len(whole)
    assert damaged > 5
    assert len(want) > 20


@cocotb.test()
async def test_frames_without_room_are_dropped_whole(dut: Any) -> None:
    """The reader stands still: what fits into 512 words waits, later frames are dropped, and shorter ones still fit in."""
    draw = random.Random(4)
    loop = Lockstep(dut)
    source, sink = loop.source("deframer__i"), loop.sink("deframer__o", idle=1.0)
    dropped: list[int] = []
    loop.after.append(lambda cycle: dropped.append(cycle) if dut.deframer__o_dropped.value else None)
    packets = [random_packet(draw, words) for words in (264, 200, 264, 40, 60, 1, 2, 30, 3)]
    for packet in packets:
        source.send(slip.encode(packet))
    await loop.start()
    await loop.until(lambda: not source.queue, 60_000, "line")
    await loop.step(20)
    sink.idle = 0.2
    await loop.step(1500)
    later = random_packet(draw, 264)
    source.send(slip.encode(later))
    await loop.until(lambda: not source.queue, 60_000, "line")
    await loop.step(600)
    got = packets_of(sink.words)
    assert got[:2] == packets[:2]
    assert got[-1] == later
    assert len(got) + len(dropped) == len(packets) + 1
    places = [packets.index(packet) for packet in got[:-1]]
    assert places == sorted(places), "packets changed their order"
    assert 2 not in places, "264 words do not fit beside 464"
    assert {3, 8} <= set(places), "a packet that fits was dropped"


@cocotb.test()
async def test_the_line(dut: Any) -> None:
    """8N1 at a quarter of the clock, both ways at once, with a receiver's clock 2 % off and glitches between bytes."""
    draw = random.Random(6)
    loop = Lockstep(dut)
    source, sink = loop.source("serial__tx"), loop.sink("serial__rx")
    packets = [random_packet(draw, words) for words in (1, 8, 3)]
    sent: list[int] = []
    loop.after.append(lambda _: sent.append(int(dut.serial__o_line.value)))
    levels: list[int] = [1] * 9
    for byte in b"".join(slip.encode(packet) for packet in reversed(packets)):
        levels += [bit for bit in (0, *(byte >> i & 1 for i in range(8)), 1) for _ in range(DIVISOR)]
        # A pause of any length keeps no phase; a low of one clock is no start bit.
        levels += [1] * draw.randrange(3) + ([1, 1, 1, 0, 1, 1, 1, 1] if draw.random() < 0.1 else [])
    loop.before.append(lambda cycle: setattr(dut.serial__i_line, "value", levels[cycle] if cycle < len(levels) else 1))
    dut.serial__i_line.value = 1
    for packet in packets:
        source.send(words_of(packet))
    await loop.start()
    await loop.step(len(levels) + 200)
    assert packets_of(sink.words) == packets[::-1]
    got, at = bytearray(), 0
    while 0 in sent[at:]:
        at = sent.index(0, at)
        bits = sent[at : at + 10 * DIVISOR]
        assert all(len(set(bits[i : i + DIVISOR])) == 1 for i in range(0, len(bits), DIVISOR)), (
            "a bit is not 4 clocks long"
        )
        assert bits[-1] == 1, "no stop bit"
        got.append(sum(bits[DIVISOR * (i + 1)] << i for i in range(8)))
        at += 10 * DIVISOR
    assert bytes(got) == b"".join(slip.encode(packet) for packet in packets)
