"""The queue behind a QRNG's pins, at clocks of any ratio: every word once and in order, for any pause that keeps the slack."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.sift.qrngqueue import DEPTH, SLACK_WORDS, QrngQueue

WIDTH = 16
CLOCK_PS = 8000


class Pins(wiring.Component):
    """The queue behind the registers of its pins: two in the inputs' way, one in that of ready."""

    def __init__(self) -> None:
        super().__init__({"valid": In(1), "word": In(WIDTH), "ready": Out(1), "o": Out(stream.Signature(WIDTH))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = QrngQueue(width=WIDTH, source="qrng")
        valid, word = Signal(), Signal(WIDTH)
        m.d.qrng += [
            *(valid.eq(self.valid), word.eq(self.word), queue.i_valid.eq(valid), queue.i_word.eq(word)),
            self.ready.eq(queue.o_go),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m


def play(
    *,
    period_ps: int,
    phase_ps: int,
    clocks: int,
    sends: Any,
    takes: Any,
    drain: int = 4 * DEPTH,
) -> tuple[list[int], list[int], list[bool]]:
    """Words sent and received, and whether there was one, by the reader's clocks. ``sends(ready, since)``: whether a word is sent,
    ``since``: words since ready fell; ``takes()``: whether the reader takes one."""
    unit = Pins()
    sent: list[int] = []
    received: list[int] = []
    offered: list[bool] = []
    counted = random.Random(period_ps)

    async def source(ctx: Any) -> None:
        since = 0
        for _ in range(clocks):
            ready = bool(ctx.get(unit.ready))
            since = 0 if ready else since
            valid = bool(sends(ready, since))
            word = counted.getrandbits(WIDTH)
            ctx.set(unit.valid, valid)
            ctx.set(unit.word, word)
            if valid:
                sent.append(word)
                since += not ready
            await ctx.tick("qrng")
        ctx.set(unit.valid, 0)

    async def reader(ctx: Any) -> None:
        total = clocks * period_ps // CLOCK_PS + drain
        for clock in range(total):
            ready = clock >= total - drain or bool(takes())
            ctx.set(unit.o.ready, ready)
            offered.append(bool(ctx.get(unit.o.valid)))
            if ready and offered[-1]:
                received.append(ctx.get(unit.o.payload))
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(CLOCK_PS * 1e-12)
    simulator.add_clock(period_ps * 1e-12, phase=phase_ps * 1e-12, domain="qrng")
    simulator.add_testbench(source)
    simulator.add_testbench(reader)
    simulator.run()
    return sent, received, offered


@settings(max_examples=12, deadline=None)
@given(
    period_ps=st.sampled_from([2500, 7500, 7999, 8000, 8001, 9000, 21_000]),
    phase_ps=st.integers(0, 7999),
    seed=st.integers(0, 1 << 16),
    eager=st.sampled_from([0.3, 0.9, 1.0]),
    taken=st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]),
)
def test_every_word_once_and_in_order(period_ps: int, phase_ps: int, seed: int, eager: float, taken: float) -> None:
    """A generator that sends what it has at once, and after each pause as much as it may; a reader that stops for long."""
    draw = random.Random(seed)
    begun, goes = [False], [0, True]

    def sends(ready: bool, since: int) -> bool:
        begun[0] |= ready
        return begun[0] and (ready or since < SLACK_WORDS) and draw.random() < eager

    def takes() -> bool:
        if goes[0] == 0:
            goes[0], goes[1] = draw.randint(1, 150), draw.random() < 0.5
        goes[0] -= 1
        return bool(goes[1]) and draw.random() < taken

    sent, received, _ = play(period_ps=period_ps, phase_ps=phase_ps, clocks=700, sends=sends, takes=takes)
    assert len(sent) >= SLACK_WORDS
    assert received == sent


def test_the_slack_is_used_up_to_the_last_word() -> None:
    """Nobody reads, and the generator goes on for as long as it may: all places are taken, and nothing is lost."""
    began = [False]

    def sends(ready: bool, since: int) -> bool:
        began[0] |= ready
        return began[0] and (ready or since < SLACK_WORDS)

    sent, received, _ = play(period_ps=8000, phase_ps=3000, clocks=120, sends=sends, takes=lambda: False)
    assert received == sent
    assert len(sent) == DEPTH + 1  # one waits in the reader's register


def test_what_comes_beyond_the_slack_is_dropped_whole() -> None:
    """A generator that does not pause: what arrives is in order, each word once, and only so much is missing as did not fit."""
    sent, received, _ = play(
        period_ps=7500, phase_ps=0, clocks=400, sends=lambda ready, since: True, takes=lambda: False
    )
    rest = iter(sent)
    assert all(word in rest for word in received)
    assert len(received) == DEPTH + 1 < len(sent)


@pytest.mark.parametrize("period_ps", [7500, 8000])
def test_a_fast_generator_that_answers_late_never_starves(period_ps: int) -> None:
    """It follows ready 16 of its clocks late, and a word is there in every clock of the reader."""
    seen = [False] * SLACK_WORDS

    def sends(ready: bool, since: int) -> bool:
        seen.append(ready)
        return seen.pop(0)

    _, received, offered = play(
        period_ps=period_ps,
        phase_ps=1000,
        clocks=1500,
        sends=sends,
        takes=iter([False] * 100 + [True] * 2000).__next__,
        drain=0,
    )
    assert all(offered[100:])
    assert len(received) == len(offered) - 100


@pytest.mark.parametrize(
    ("depth", "slack", "sentence"),
    [
        (48, 4, "depth is 48; allowed: powers of two from 16"),
        (8, 0, "depth is 8; allowed: powers of two from 16"),
        (64, 28, "slack is 28 of 64 words; allowed: 0 to 27"),
        (64, -1, "slack is -1 of 64 words; allowed: 0 to 27"),
    ],
)
def test_sizes_are_refused(depth: int, slack: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        QrngQueue(width=16, source="qrng", depth=depth, slack=slack)
