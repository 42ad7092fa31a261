"""Counts of one-sided slots against a plain statement of the page: bins, banks, bursts, lost records, stops."""

from __future__ import annotations

import random

import numpy as np
import pytest
from arrival_bench import simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.sift.arrival import READ_CLOCKS, ArrivalCounts
from twinphase_hdl.sift.bankedsums import BankedSums
from twinphase_spec.arrival import BINS, COUNT_BITS, SUM_BITS
from twinphase_spec.frame import MIN_PERIOD_TICKS, SlotClass
from twinphase_spec.packets import ARRIVAL_DTYPE

PERIODS = (MIN_PERIOD_TICKS << 32, 1024 << 32, (1031 << 32) + 12345, 8192 << 32, ((1 << 17) - 1 << 32) + 1)
LENGTH = 160
"""Clocks of a window here; the part needs its latency, the node 8192."""


def eighth(position: int, period_q32: int) -> int:
    """A position's bin, as docs/alignment.md says."""
    x, bits = position, 0
    for i in range(3):
        half = (period_q32 >> 32) >> i + 1
        bits = bits << 1 | (x >= half)
        x -= half * (x >= half)
    return bits


class Page:
    """Intervals of one run."""

    def __init__(self, period_q32: int, windows: int) -> None:
        self.period, self.windows = period_q32, windows
        self.bins: dict[tuple[int, int], list[int]] = {}
        self.sums: dict[tuple[int, int], int] = {}

    def click(self, click: dict[str, int], window: int) -> None:
        """``window``: not wrapped."""
        if not self.windows or not click["framed"] or click["slot_class"] not in (SlotClass.REF_A, SlotClass.REF_B):
            return
        key = window // self.windows, 2 * (click["channel"] >> 1) + (click["slot_class"] == SlotClass.REF_B)
        self.bins.setdefault(key, [0] * BINS)[eighth(click["position"], self.period)] += 1
        self.sums[key] = self.sums.get(key, 0) + click["position"]

    def records(self, interval: int) -> list[list[int]]:
        """Words of the four records of an interval."""
        end = (interval * self.windows + self.windows - 1) % (1 << 32)
        rows = []
        for place in range(4):
            total = self.sums.get((interval, place), 0) % (1 << SUM_BITS)
            rows.append([end, place, total & 0xFFFFFFFF, total >> 32, *self.bins.get((interval, place), [0] * BINS)])
        return rows


def random_click(rng: random.Random, window: int, period_q32: int) -> dict[str, int]:
    whole = period_q32 >> 32
    edge = rng.randrange(9) * whole // 8 + rng.randrange(-1, 2)
    position = rng.choice([rng.randrange(whole + 1), edge, 0, whole, 5])
    return {
        "channel": rng.randrange(4),
        "framed": rng.random() < 0.9,
        "gated": rng.randrange(2),
        "slot_class": rng.choice([SlotClass.REF_A, SlotClass.REF_B, SlotClass.REF_B, rng.randrange(9)]),
        "position": min(max(position, 0), whole),
        "window": window % (1 << 32),
    }


async def take(ctx, dut, got: list, ready: bool) -> None:
    """A clock, in which a record may be taken."""
    ctx.set(dut.o.ready, ready)
    if ready and ctx.get(dut.o.valid):
        got.append([ctx.get(dut.o.payload[k]) for k in range(12)])
    await ctx.tick()


def play(rng: random.Random, *, windows: int, count: int, rate: float, period_q32: int) -> tuple[list, list]:
    """(records, those of the page): clicks of the open and of the next window, the last in the clock of the close."""
    dut, page, got = ArrivalCounts(), Page(period_q32, windows), []

    async def bench(ctx) -> None:
        ctx.set(dut.i_period, period_q32)
        ctx.set(dut.i_windows, windows)
        await ctx.tick().repeat(3)
        ctx.set(dut.i_run, 1)
        await ctx.tick().repeat(3)
        for window in range(count):
            for clock in range(LENGTH):
                closes = clock == LENGTH - 1
                # Clicks of the next window come when the bank of the interval before has been read; in the node much later.
                early = rng.randrange(2) if clock >= dut.latency + READ_CLOCKS else 0
                click = random_click(rng, window + early, period_q32)
                valid = rng.random() < rate
                if valid:
                    page.click(click, window + early)
                ctx.set(dut.i, click)
                ctx.set(dut.i_valid, valid)
                ctx.set(dut.i_close, closes)
                await take(ctx, dut, got, rng.random() < 0.7)
            ctx.set(dut.i_close, 0)
        ctx.set(dut.i_valid, 0)
        for _ in range(dut.latency + READ_CLOCKS):
            await take(ctx, dut, got, True)
        assert ctx.get(dut.o_idle)

    simulate(dut, bench)
    intervals = count // windows if windows else 0
    return got, [row for k in range(intervals) for row in page.records(k)]


@pytest.mark.parametrize("rate", [1.0, 0.1])
@pytest.mark.parametrize(
    ("windows", "period_q32"), [(1, PERIODS[0]), (2, PERIODS[3]), (3, PERIODS[1]), (0, PERIODS[2])]
)
def test_counts_of_intervals(windows: int, period_q32: int, rate: float) -> None:
    rng = random.Random(f"{windows}{rate}")
    got, expected = play(rng, windows=windows, count=7, rate=rate, period_q32=period_q32)
    assert got == expected
    if windows and rate == 1.0:
        assert all(any(row[4:]) for row in got)


def test_record_is_what_the_spec_says() -> None:
    rng = random.Random(3)
    got, expected = play(rng, windows=1, count=1, rate=1.0, period_q32=PERIODS[3])
    records = np.array(got, "<u4").view(ARRIVAL_DTYPE)[:, 0]
    assert records["place"].tolist() == [0, 1, 2, 3]
    assert records["sum_ticks"].tolist() == [row[2] | row[3] << 32 for row in expected]
    assert [int(record["bin_7"]) for record in records] == [row[11] for row in expected]


def test_latency_lost_records_and_a_stop() -> None:
    """An untaken record stays as it is and costs what comes meanwhile; a stop forgets the open interval, not the record."""
    dut = ArrivalCounts()
    lost: list[int] = []

    async def click(ctx, window: int, position: int) -> None:
        values = {"channel": 2, "framed": 1, "slot_class": SlotClass.REF_A, "position": position, "window": window}
        ctx.set(dut.i, values)
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)

    async def close(ctx) -> None:
        ctx.set(dut.i_close, 1)
        await ctx.tick()
        ctx.set(dut.i_close, 0)

    async def words(ctx) -> list[int]:
        return [ctx.get(dut.o.payload[k]) for k in range(12)]

    async def bench(ctx) -> None:
        ctx.set(dut.i_period, 1024 << 32)
        ctx.set(dut.i_windows, 1)
        ctx.set(dut.i_run, 1)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.o_idle)
        await click(ctx, 0, 1000)
        assert not ctx.get(dut.o_idle)
        await close(ctx)
        clock, taken = 1, []
        while len(taken) < 4:
            ctx.set(dut.o.ready, 1)
            if ctx.get(dut.o.valid):
                taken.append((clock, (await words(ctx))[1]))
            await ctx.tick()
            clock += 1
        assert taken == [(dut.latency - (3 - g) * READ_CLOCKS, g) for g in range(4)]
        # Nothing is taken: the record of place 0 stays, the other three and those of the next interval are lost.
        ctx.set(dut.o.ready, 0)
        for window, position in ((1, 500), (2, 600)):
            await click(ctx, window, position)
            await close(ctx)
            for _ in range(dut.latency + 2):
                lost.append(ctx.get(dut.o_lost))
                await ctx.tick()
            assert (await words(ctx))[:2] == [1, 0]
        assert sum(lost) == 3 + 4
        # An open interval with a click, and the stop.
        await click(ctx, 3, 700)
        await ctx.tick().repeat(8)
        ctx.set(dut.i_run, 0)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.o.valid)
        assert (await words(ctx))[:2] == [1, 0]
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        ctx.set(dut.i_run, 1)
        await ctx.tick().repeat(4)
        await click(ctx, 0, 7)
        await close(ctx)
        again = []
        for _ in range(dut.latency + 2):
            if ctx.get(dut.o.valid):
                again.append(await words(ctx))
            await ctx.tick()
        assert [row[:4] for row in again] == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 2, 7, 0], [0, 3, 0, 0]]
        assert again[2][4:] == [1, 0, 0, 0, 0, 0, 0, 0]

    simulate(dut, bench)


@settings(max_examples=12, deadline=None)
@given(
    adds=st.lists(
        st.tuples(st.booleans(), st.integers(0, 1), st.integers(0, 3), st.integers(0, 7)), min_size=1, max_size=60
    )
)
def test_sums_wrap_and_follow_each_other(adds: list[tuple[bool, int, int, int]]) -> None:
    """Any addition in any clock, to the word of the clock before or of the one before that."""
    dut = BankedSums(words=4, bits=4, add_bits=3)
    sums = [[0] * 4 for _ in range(2)]

    async def bench(ctx) -> None:
        ctx.set(dut.i_run, 1)
        for valid, bank, word, add in adds:
            for port, value in ((dut.i_valid, valid), (dut.i_bank, bank), (dut.i_word, word), (dut.i_add, add)):
                ctx.set(port, value)
            await ctx.tick()
            if valid:
                sums[bank][word] = (sums[bank][word] + add) % 16
        ctx.set(dut.i_valid, 0)
        await ctx.tick().repeat(2)
        for forgotten in (False, True):
            for bank in range(2):
                for word in range(4):
                    ctx.set(dut.i_read_bank, bank)
                    ctx.set(dut.i_read_word, word)
                    await ctx.tick()
                    assert ctx.get(dut.o_data) == (0 if forgotten and bank == 0 else sums[bank][word])
            ctx.set(dut.i_read_bank, 0)
            ctx.set(dut.i_forget, 1)
            await ctx.tick()
            ctx.set(dut.i_forget, 0)

    simulate(dut, bench)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="powers of two from 2 up"):
        BankedSums(words=12, bits=COUNT_BITS, add_bits=1)
    with pytest.raises(ValueError, match="allowed: 1 to bits, 4"):
        BankedSums(words=8, bits=4, add_bits=5)
