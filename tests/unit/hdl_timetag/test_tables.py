"""The tables of two lanes, with a copy per lane and with one that is read twice per clock, against a list."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.timetag.table import Tables
from twinphase_spec import tdc

CODE_BITS = 5
DEPTH = 4 << CODE_BITS
BEHIND = 4
"""Clocks before the halves of a clock are known, and after the last address."""

Clock = tuple[int, int, int, int, int]
"""Addresses of both lanes; the calibrator's address, whether it writes, and what."""


class Bench:
    """Both kinds side by side, each lane's word in a register at the end of the clock, as the multiplier takes it."""

    def __init__(self) -> None:
        m = Module()
        m.domains.sync, m.domains.tdc = ClockDomain("sync"), ClockDomain("tdc")
        self.tables = [Tables(code_bits=CODE_BITS, lanes=2, twice=twice) for twice in (False, True)]
        self.words: list[list[Signal]] = []
        for number, tables in enumerate(self.tables):
            m.submodules[f"tables_{number}"] = tables
            self.words.append([Signal(tdc.X_BITS, name=f"word_{number}_{lane}") for lane in range(2)])
            m.d.sync += [word.eq(tables.o_word[lane]) for lane, word in enumerate(self.words[-1])]
        self.simulator = Simulator(m)
        # The first edges coincide.
        self.simulator.add_clock(8e-9, phase=8e-9)
        self.simulator.add_clock(4e-9, phase=8e-9, domain="tdc")
        self.simulator.add_testbench(self._play)
        self.used = False

    async def _play(self, ctx: Any) -> None:
        self.seen = []
        silence: list[Clock] = [(0, 0, 0, 0, 0)] * BEHIND
        for first, second, address, write, word in silence + self.clocks + silence:
            for tables in self.tables:
                ctx.set(tables.i_read[0], first)
                ctx.set(tables.i_read[1], second)
                ctx.set(tables.i_address, address)
                ctx.set(tables.i_write, write)
                ctx.set(tables.i_data, word)
            await ctx.tick()
            self.seen.append(
                [
                    [*(ctx.get(word) for word in words), ctx.get(tables.o_data)]
                    for words, tables in zip(self.words, self.tables, strict=True)
                ]
            )

    def run(self, clocks: list[Clock]) -> list[list[list[int]]]:
        """Per clock and kind: both words that a register has taken at its end, and what the calibrator reads."""
        self.clocks = clocks
        if self.used:
            self.simulator.reset()
        self.used = True
        self.simulator.run()
        return self.seen[BEHIND:]


bench = cache(Bench)


@st.composite
def traffic(draw: st.DrawFn) -> list[Clock]:
    """Hits in every clock and lane, writes right before and behind them: never of a word in the very clock that asks for it."""
    rng = draw(st.randoms(use_true_random=False))
    few = draw(st.sampled_from([2, 5, DEPTH]))
    places = [rng.randrange(DEPTH) for _ in range(few)]
    clocks = []
    for _ in range(draw(st.integers(1, 60))):
        reads = [rng.choice(places) for _ in range(2)]
        address = rng.choice(places)
        write = rng.random() < 0.5 and address not in reads
        clocks.append((*reads, address, int(write), rng.getrandbits(tdc.X_BITS)))
    return clocks


@settings(max_examples=30, deadline=None)
@given(clocks=traffic())
def test_both_kinds_give_every_lane_its_word(clocks: list[Clock]) -> None:
    seen = bench().run(clocks)
    content = [0] * DEPTH
    for number, (first, second, address, write, word) in enumerate(clocks):
        for kind in (0, 1):
            # Two clocks later it is there, and taken at that clock's end; the calibrator looks without a register.
            assert seen[number + 2][kind][:2] == [content[first], content[second]], f"clock {number}, kind {kind}"
            if not write:
                assert seen[number + 1][kind][2] == content[address], f"clock {number}, kind {kind}: read back"
        if write:
            content[address] = word


def test_one_lane_is_not_read_twice() -> None:
    with pytest.raises(ValueError, match="twice with lanes 1; allowed: 2"):
        Tables(code_bits=8, lanes=1, twice=True)
