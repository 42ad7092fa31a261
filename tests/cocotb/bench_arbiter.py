"""Arbiter of packet streams: whole packets, in order per input, nobody starved. The skid stage: every word once, one per clock."""

from __future__ import annotations

import random
from typing import Any

import cocotb

from bench_packer import LAST
from lockstep import Lockstep


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
    came: list[list[int]] = [[]]
    for word in sink.words:
        came[-1].append(word)
        if word & LAST:
            came.append([])
    assert came.pop() == []
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
