"""The parts of a delay line's calibration, each against plain integers: histogram, quotient, evenness, fine time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.timetag.calibration import Calibration, all_ones, decode_step
from twinphase_hdl.timetag.evenness import Evenness
from twinphase_hdl.timetag.finetime import SIGMA_CLOCKS, Y4_CLOCKS, FineTime
from twinphase_hdl.timetag.histogram import SCANNED, Histogram
from twinphase_hdl.timetag.quotient import Quotient
from twinphase_spec import tdc


class Bench:
    """A compiled simulation of one unit, started again for each example."""

    def __init__(self, make: Callable[[], wiring.Component]) -> None:
        self.dut: Any = make()
        self.simulator = Simulator(self.dut)
        self.simulator.add_clock(8e-9)
        self.simulator.add_testbench(self._play)
        self.used = False

    async def _play(self, ctx) -> None:
        await self.script(ctx, self.dut)

    def run(self, script: Callable[[Any, Any], Any]) -> None:
        self.script = script
        if self.used:
            self.simulator.reset()
        self.used = True
        self.simulator.run()


@cache
def histogram() -> Bench:
    return Bench(lambda: Histogram(bin_bits=3, count_bits=6))


@settings(max_examples=25, deadline=None)
@given(
    hits=st.lists(st.one_of(st.none(), st.sampled_from([2, 2, 3]), st.integers(0, 7)), max_size=150),
    passes=st.lists(st.sampled_from(["look", "halve", "keep", "clear"]), min_size=1, max_size=3),
)
def test_histogram(hits: list[int | None], passes: list[str]) -> None:
    """Repeats at every distance; counts wrap; each pass shows what it leaves."""

    async def script(ctx, dut) -> None:
        async def scan(what: str) -> list[int]:
            ctx.set(dut.i_rewrite, what != "look")
            ctx.set(dut.i_halve, what == "halve")
            ctx.set(dut.i_clear, what == "clear")
            seen = []
            for k in range(8 + SCANNED):
                ctx.set(dut.i_scan, k < 8)
                ctx.set(dut.i_scan_bin, k & 7)
                if ctx.get(dut.o_scanned):
                    assert ctx.get(dut.o_bin) == len(seen)
                    seen.append(ctx.get(dut.o_count))
                await ctx.tick()
            assert ctx.get(dut.o_scanned) == 0
            return seen

        await scan("clear")  # block RAM keeps what the example before left
        await ctx.tick().repeat(Histogram.SETTLED)
        ctx.set(dut.i_rewrite, 0)
        ctx.set(dut.i_clear, 0)
        await ctx.tick().repeat(2)
        counts = [0] * 8
        for place in hits:
            ctx.set(dut.i_hit, place is not None)
            ctx.set(dut.i_bin, place or 0)
            if place is not None:
                counts[place] = (counts[place] + 1) & 63
            await ctx.tick()
        ctx.set(dut.i_hit, 0)
        await ctx.tick().repeat(Histogram.SETTLED)
        assert ctx.get(dut.o_idle)
        for what in passes:
            counts = {"halve": [c >> 1 for c in counts], "clear": [0] * 8}.get(what, counts)
            assert await scan(what) == counts
            await ctx.tick().repeat(Histogram.SETTLED)

    histogram().run(script)


SUM_BITS, Q_BITS = 12, 8


@cache
def quotient() -> Bench:
    return Bench(lambda: Quotient(sum_bits=SUM_BITS, q_bits=Q_BITS))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_quotient(data: st.DataObject) -> None:
    """Sums of one divisor, some beyond its range; and the bits of a sum."""
    divisor = data.draw(st.one_of(st.integers(1, 1 << SUM_BITS - 3), st.just(1 << SUM_BITS - 3)))
    top = (1 << SUM_BITS) - 1
    near = st.integers(4 * divisor - 3, min(top, 4 * divisor + 3))
    sums = data.draw(st.lists(st.one_of(st.integers(0, top), near, st.just(top)), min_size=1, max_size=5))

    async def script(ctx, dut) -> None:
        ctx.set(dut.i_divisor, divisor)

        async def load(value: int) -> None:
            ctx.set(dut.i_sum, value)
            ctx.set(dut.i_load, 1)
            await ctx.tick()
            ctx.set(dut.i_load, 0)
            await ctx.tick()

        for value in sums:
            await load(value)
            ctx.set(dut.i_first, 1)
            await ctx.tick()
            ctx.set(dut.i_first, 0)
            ctx.set(dut.i_step, 1)
            await ctx.tick().repeat(Q_BITS)
            ctx.set(dut.i_step, 0)
            assert ctx.get(dut.o_q) == min((1 << Q_BITS) - 1, (value << Q_BITS) // (4 * divisor))
            await ctx.tick()
        value = sums[-1] & (1 << SUM_BITS - 2) - 1
        await load(value)
        bits = 0
        for _ in range(SUM_BITS - 2):
            bits = bits << 1 | ctx.get(dut.o_bit)
            await ctx.tick()
        assert bits == value

    quotient().run(script)


GROUP_BITS = 6


@cache
def evenness() -> Bench:
    return Bench(lambda: Evenness(bits=GROUP_BITS))


level = st.integers(1, 42)
groups_of = st.one_of(
    st.lists(st.integers(0, 63), max_size=9),
    level.flatmap(lambda n: st.lists(st.integers(n, min(63, (3 * n + 1) // 2)), min_size=4, max_size=9)),
    level.flatmap(
        lambda n: st.lists(st.sampled_from([n, 3 * n // 2, n]), min_size=5, max_size=8).map(lambda g: [0, *g, 5, 0])
    ),
)


@settings(max_examples=60, deadline=None)
@given(groups=groups_of)
def test_evenness(groups: list[int]) -> None:
    used = [k for k, count in enumerate(groups) if count]
    interior = groups[used[0] + 1 : used[-1]] if used else []
    even = len(interior) >= tdc.MIN_GROUPS and min(interior) > 0 and 2 * max(interior) <= 3 * min(interior)

    async def script(ctx, dut) -> None:
        async def strobe(port) -> None:
            ctx.set(port, 1)
            await ctx.tick()
            ctx.set(port, 0)

        async def turn(count: int) -> None:
            ctx.set(dut.i_turn, 1)
            for k in reversed(range(GROUP_BITS)):
                ctx.set(dut.i_place, k)
                ctx.set(dut.i_bit, count >> k & 1)
                await ctx.tick()
            ctx.set(dut.i_turn, 0)

        await strobe(dut.i_start)
        for count in groups:
            await turn(count)
            ctx.set(dut.i_commit, 1)
            await turn(count)
            await strobe(dut.i_done)
            ctx.set(dut.i_commit, 0)
        await turn(0)
        assert ctx.get(dut.o_even) == even

    evenness().run(script)


@cache
def fine_time(lanes: int, chains: int) -> Bench:
    return Bench(lambda: FineTime(lanes=lanes, chains=chains))


@pytest.mark.parametrize(("lanes", "chains"), [(1, 1), (2, 1), (1, 4), (2, 2), (1, 8), (2, 8)])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_fine_time(lanes: int, chains: int, data: st.DataObject) -> None:
    """Entries and scales at their limits, a hit in every clock; y4, the clamps at both ends and the latency."""
    assert fine_time(lanes, chains).dut.latency == 6 + {1: 0, 2: 1, 4: 2, 8: 3}[chains]
    span, full = tdc.span_ticks(lanes), tdc.full_scale(lanes)
    limits = [0, 1, 2, 3, full - 3, full - 2, full - 1, full, full + 1, full + 2, tdc.x_max(lanes)]
    entry = st.one_of(st.sampled_from(limits), st.integers(0, tdc.x_max(lanes)))
    sigma = st.one_of(st.sampled_from([0, -1, 1, -(1 << 15), (1 << 15) - 1]), st.integers(-(1 << 15), (1 << 15) - 1))
    clock = st.tuples(
        st.integers(0, (1 << lanes) - 1),
        st.lists(entry, min_size=chains * lanes, max_size=chains * lanes),
        st.lists(sigma, min_size=chains, max_size=chains),
    )
    rows = data.draw(st.lists(clock, min_size=1, max_size=20))

    async def script(ctx, dut) -> None:
        y4s = [[x + (x * s[i // lanes] >> tdc.SIGMA_SHIFT) for i, x in enumerate(xs)] for _, xs, s in rows]
        for now in range(len(rows) + dut.latency + 1):
            ctx.set(dut.i_valid, rows[now][0] if now < len(rows) else 0)
            if 0 <= now - SIGMA_CLOCKS < len(rows):
                _, xs, s = rows[now - SIGMA_CLOCKS]
                for i, x in enumerate(xs):
                    ctx.set(dut.i_x[i], x)
                for i, value in enumerate(s):
                    ctx.set(dut.i_sigma[i], value)
            if 0 <= now - Y4_CLOCKS < len(rows):
                assert [ctx.get(dut.o_y4[i]) for i in range(chains * lanes)] == y4s[now - Y4_CLOCKS]
            due = now - dut.latency
            inside = 0 <= due < len(rows)
            assert ctx.get(dut.o_valid) == (rows[due][0] if inside else 0)
            for lane in range(lanes if inside else 0):
                total = sum(y4s[due][lane::lanes])
                elapsed = max(1, min(span, (total + 2 * chains) // (4 * chains)))
                assert ctx.get(dut.o_fine[lane]) == (lane + 1) * span - elapsed
            await ctx.tick()

    fine_time(lanes, chains).run(script)


class StepRig(wiring.Component):
    """`all_ones` of a number of 25 bits."""

    def __init__(self) -> None:
        super().__init__({"i_number": wiring.In(25), "i_step": wiring.In(5), "o": wiring.Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o.eq(all_ones(self.i_number, *decode_step(self.i_step)))
        m.d.sync += Signal().eq(self.o)  # the bench has a clock
        return m


@cache
def step_rig() -> Bench:
    return Bench(StepRig)


@settings(max_examples=10, deadline=None)
@given(number=st.integers(0, (1 << 25) - 1))
def test_bits_below_every_step(number: int) -> None:
    """All ones below a step, that and the lowest bit zero, and one of them zero; and any number."""

    async def script(ctx, dut) -> None:
        for step in range(32):
            ones = (1 << min(step, 25)) - 1
            holes = [(number | ones) & ~(1 << k) for k in range(min(step, 25))]
            for value in (number, number | ones, (number | ones) & ~1, (number & ~(1 << step)) | ones, *holes):
                ctx.set(dut.i_number, value)
                ctx.set(dut.i_step, step)
                await ctx.delay(1e-9)
                assert ctx.get(dut.o) == ((value | 1) & ones == ones), (hex(value), step)

    step_rig().run(script)


def set_step(ctx: Any, dut: Any, step: int) -> None:
    ctx.set(dut.i_step_low, sum((step % 8 > k) << k for k in range(7)))
    ctx.set(dut.i_step_high, sum((step // 8 > k) << k for k in range(3)))


def test_a_busy_time_is_long_enough_for_the_fewest_codes() -> None:
    """Of 32 codes, with the longest passes: what is refused is zero when the busy time ends, and a dump fits in one."""
    words: dict[int, int] = {}
    hits = [(p, code) for p in range(2) for code in [*range(16)] * 2 + [31]]

    async def script(ctx, dut) -> None:
        set_step(ctx, dut, 25)
        ctx.set(dut.i_last, 25)

        async def busy() -> int:
            clocks = 0
            while ctx.get(dut.o_busy):
                clocks += 1
                if ctx.get(dut.o_bin_write):
                    words[ctx.get(dut.o_bin_address)] = ctx.get(dut.o_bin_data)
                await ctx.tick()
            return clocks

        async def hit(place: tuple[int, int]) -> None:
            ctx.set(dut.i_valid, 1)
            ctx.set(dut.i_polarity, place[0])
            ctx.set(dut.i_code[0], place[1])
            await ctx.tick()
            ctx.set(dut.i_valid, 0)

        for place in hits[:-1]:
            await hit(place)
        await ctx.tick().repeat(2)
        set_step(ctx, dut, 0)  # the next hit makes a table
        await hit(hits[-1])
        await ctx.tick()
        assert await busy() == tdc.busy_clocks(5)
        assert ctx.get(dut.o_nonuniform)
        set_step(ctx, dut, 25)
        for place in [(0, 3), (1, 31)]:
            await hit(place)
        ctx.set(dut.i_dump, 1)
        await ctx.tick()
        ctx.set(dut.i_dump, 0)
        await ctx.tick().repeat(1)
        assert await busy() == tdc.busy_clocks(5)

    Bench(lambda: Calibration(code_bits=5, lanes=1)).run(script)
    assert {address // 2: data for address, data in words.items() if not address & 1 and data} == {3: 1, 63: 1}
    assert len(words) == 128


@pytest.mark.long
def test_a_busy_time_is_long_enough_for_two_ends_of_the_span() -> None:
    """With echoes and both polarities: all entries are written, both ends found, and time is left to write all bins again."""
    written: list[tuple[int, int]] = []
    found: dict[int, int] = {}
    hits = [(p, code) for p in range(2) for code in range(200)]

    async def script(ctx, dut) -> None:
        ctx.set(dut.i_last, 25)
        for p, code in hits:
            # the last hit makes a table; each third bin has twice the echoes that it has hits
            set_step(ctx, dut, 0 if (p, code) == hits[-1] else 25)
            ctx.set(dut.i_valid, 1)
            ctx.set(dut.i_polarity, p)
            ctx.set(dut.i_code[0], code)
            ctx.set(dut.i_code[1], 511 if code % 3 else code)
            await ctx.tick()
            ctx.set(dut.i_valid, 0)
            await ctx.tick()
        clock = accepted = 0
        while ctx.get(dut.o_busy):
            clock += 1
            place = ctx.get(dut.o_table_address) & 1023
            if ctx.get(dut.o_table_write):
                written.append((clock, place))
            if ctx.get(dut.o_found):
                found[place] = ctx.get(dut.o_table_data)
            accepted += ctx.get(dut.o_accepted)
            await ctx.tick()
        assert accepted == 1
        assert clock == tdc.busy_clocks(9)

    Bench(lambda: Calibration(code_bits=9, lanes=2, group_codes=32, echo_taps=512)).run(script)
    assert sorted(place for _, place in written) == list(range(1024))
    assert written[-1][0] < tdc.busy_clocks(9) - 1024 - 64
    # of 200 hits and 67 echoes those up to code 149 are 200, those up to code 150 are 202
    assert found == {place: (2 * 200 + 2) * (1 << 14) // 400 for place in (150, 512 + 150)}


def test_echoes_are_of_two_lanes() -> None:
    with pytest.raises(ValueError, match="echo_taps is 512 with lanes 1; allowed: 0, or 2 lanes"):
        Calibration(code_bits=9, lanes=1, echo_taps=512)


@pytest.mark.long
@pytest.mark.parametrize("code_bits", [7, 9])
def test_a_busy_time_is_long_enough_for_the_most_codes_beyond_the_last(code_bits: int) -> None:
    """A chain that ends at code 80, both polarities: all entries are written, and time is left to write all bins again."""
    written: list[tuple[int, int]] = []
    hits = [(p, code) for p in range(2) for code in range(81)]

    async def script(ctx, dut) -> None:
        ctx.set(dut.i_last, 25)
        for place in hits:
            # the last hit makes a table
            set_step(ctx, dut, 0 if place == hits[-1] else 25)
            ctx.set(dut.i_valid, 1)
            ctx.set(dut.i_polarity, place[0])
            ctx.set(dut.i_code[0], place[1])
            await ctx.tick()
            ctx.set(dut.i_valid, 0)
            await ctx.tick()
        clock = accepted = 0
        while ctx.get(dut.o_busy):
            clock += 1
            if ctx.get(dut.o_table_write):
                written.append((clock, ctx.get(dut.o_table_address) & (2 << code_bits) - 1))
            accepted += ctx.get(dut.o_accepted)
            await ctx.tick()
        assert accepted == 1
        assert clock == tdc.busy_clocks(code_bits)

    Bench(lambda: Calibration(code_bits=code_bits, lanes=1)).run(script)
    assert sorted({place for _, place in written}) == list(range(2 << code_bits))
    assert written[-1][0] < tdc.busy_clocks(code_bits) - (2 << code_bits) - 64
