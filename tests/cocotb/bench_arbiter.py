"""Arbiter of packet streams: whole packets, in order per input, nobody starved. The skid stage: every word once, one per clock."""

from __future__ import annotations

import random
from typing import Any

import cocotb

from bench_packer import LAST
from lockstep import Lockstep
from twinphase_hdl.link.arbiter import TURNS


def packets_of(words: list[int]) -> list[list[int]]:
    """Whole packets: the last word is the last of one."""
    came: list[list[int]] = [[]]
    for word in words:
        came[-1].append(word)
        if word & LAST:
            came.append([])
    assert came.pop() == []
    return came


@cocotb.test()
@cocotb.parametrize((("idle", "pause"), [(0.0, 0.0), (0.3, 0.5), (0.9, 0.0), (0.0, 0.8)]))
async def test_packets_pass_whole_and_in_turn(dut: Any, idle: float, pause: float) -> None:
    """Packets of 1 to 30 words of three inputs; under full load the inputs take turns, packet by packet."""
    draw = random.Random(f"{idle} {pause}")
    loop = Lockstep(dut)
    sources = [loop.source(f"arbiter__i{k}", idle=idle, seed=k) for k in range(3)]
    sink = loop.sink("arbiter__o", idle=pause)
    sent: list[list[list[int]]] = [[], [], []]
    for k, source in enumerate(sources):
        for n in range(40):
            words = [k << 28 | n << 16 | i for i in range(draw.choice([1, 1, 2, draw.randrange(1, 30)]))]
            words[-1] |= LAST
            sent[k].append(words)
            source.send(words)
    total = sum(len(words) for packets in sent for words in packets)
    await loop.start()
    await loop.until(lambda: len(sink.taken) >= total, 30 * total, "words")
    await loop.step(30)
    came = packets_of(sink.words)
    order = [packet[0] >> 28 & 3 for packet in came]
    for k in range(3):
        assert [packet for packet in came if packet[0] >> 28 & 3 == k] == sent[k]
    if not idle:
        assert order == [order[0], order[1], order[2]] * 40
        assert len(set(order[:3])) == 3
    else:
        # With pauses an input may miss its turn, never two packets of one other input in a row while it waits.
        starts = {packet[0]: cycle for cycle, word in sink.taken for packet in came if packet[0] == word}
        assert list(starts.values()) == sorted(starts.values())
    if not pause and not idle:
        clocks = sink.taken[-1][0] - sink.taken[0][0]
        assert clocks <= total + 2 * len(came), f"{clocks} clocks for {total} words in {len(came)} packets"


@cocotb.test()
@cocotb.parametrize((("idle", "pause", "load"), [(0.0, 0.0, 1.0), (0.0, 0.6, 1.0), (0.3, 0.4, 1.0), (0.0, 0.2, 0.05)]))
async def test_a_preferred_input_has_what_it_needs(dut: Any, idle: float, pause: float, load: float) -> None:
    """Input 1 has `TURNS` packets to one while all have some, the others take turns with the rest; what comes alone passes at once."""
    draw = random.Random(f"{idle} {pause} {load}")
    loop = Lockstep(dut)
    sources = [loop.source(f"preferring__i{k}", idle=idle, seed=k) for k in range(3)]
    sink = loop.sink("preferring__o", idle=pause)
    counts = (4, 8 * TURNS, 4)
    sent: list[list[list[int]]] = [[], [], []]
    waiting: list[tuple[int, list[int]]] = []
    for k in range(3):
        for n in range(counts[k]):
            words = [k << 28 | n << 16 | i for i in range(draw.randrange(2, 12))]
            words[-1] |= LAST
            sent[k].append(words)
            waiting.append((k, words))
    total = sum(len(words) for _, words in waiting)
    await loop.start()
    if load == 1.0:
        for k, words in waiting:
            sources[k].send(words)
    else:
        draw.shuffle(waiting)
        waiting.sort(key=lambda entry: entry[1][0] >> 16 & 0xFFF)
        for k, words in waiting:
            sources[k].send(words)
            await loop.step(draw.randrange(int(2 * len(words) / load)))
    await loop.until(lambda: len(sink.taken) >= total, 60 * total, "words")
    await loop.step(30)
    came = packets_of(sink.words)
    order = [packet[0] >> 28 & 3 for packet in came]
    for k in range(3):
        assert [packet for packet in came if packet[0] >> 28 & 3 == k] == sent[k]
    if load == 1.0 and not idle:
        rest = [k for k in order if k != 1]
        assert rest in ([0, 2] * 4, [2, 0] * 4)
        assert order == [each for k in rest for each in (*[1] * TURNS, k)]


@cocotb.test()
@cocotb.parametrize((("idle", "pause"), [(0.0, 0.0), (0.4, 0.6), (0.0, 0.7), (0.8, 0.0)]))
async def test_skid_passes_every_word(dut: Any, idle: float, pause: float) -> None:
    """Every word once, in order; without pauses each a clock after it came, so one per clock."""
    draw = random.Random(f"{idle} {pause}")
    loop = Lockstep(dut)
    source, sink = loop.source("skid__i", idle=idle), loop.sink("skid__o", idle=pause)
    words = [draw.getrandbits(33) for _ in range(500)]
    source.send(words)
    await loop.start()
    await loop.until(lambda: len(sink.taken) >= len(words), 30 * len(words), "words")
    await loop.step(5)
    assert sink.words == words
    if not pause and not idle:
        clocks = [cycle for cycle, _ in sink.taken]
        assert clocks == list(range(clocks[0], clocks[0] + len(words)))
