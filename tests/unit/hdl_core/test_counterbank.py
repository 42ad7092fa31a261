"""The counter bank against sums made in Python."""

import random

import pytest
from hdl_core_bench import simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.core.counterbank import CounterBank
from twinphase_hdl.core.shortbank import EarlyBalanceBank, ShortBank
from twinphase_hdl.core.steps import Balance
from twinphase_spec import packets

STEPS = {
    "strobe": range(0, 2),
    "two": range(0, 3),
    "level": range(-2, 3),
    "falls": range(-3, 1),
    "left": Balance(came=("strobe", "two"), went=("level", "falls")),
    **{f"many_{k}": range(0, 2) for k in range(8)},
    "rest": Balance(came=("many_0",), went=("many_7", "many_1")),
}
RANGES = {name: step for name, step in STEPS.items() if isinstance(step, range)}
TICK = 1 << packets.STATUS_BITS
every_bank = pytest.mark.parametrize("bank", [CounterBank, EarlyBalanceBank])


async def read_all(ctx, dut: CounterBank, counters: int) -> list[int]:
    """The counters as COUNTERS shows them; takes clocks."""
    words = []
    for address in range(2 * counters):
        ctx.set(dut.i_address, address)
        await ctx.tick()
        words.append(ctx.get(dut.o_data))
    bits = len(dut.o_data)
    return [low | high << bits for low, high in zip(words[::2], words[1::2], strict=True)]


class Run:
    """Steps a bank through its stimulus and keeps what every counter must be before each clock count."""

    def __init__(self, dut: CounterBank, width: int, clock: int):
        self.dut, self.mask, self.clock = dut, (1 << width) - 1, clock
        self.sums = dict.fromkeys(RANGES, 0)
        self.before: dict[int, list[int]] = {}
        self.records: list[list[int]] = []
        self._record: list[int] = []
        self._reading = False

    async def step(self, ctx, values: dict[str, int], ready: bool = True, **inputs: int) -> None:
        dut = self.dut
        ctx.set(dut.i_clock, self.clock)
        self.before[self.clock & self.mask] = [self.clock & self.mask, *self.counters]
        for name in RANGES:
            ctx.set(dut.i_steps[name], values.get(name, 0))
            self.sums[name] += values.get(name, 0)
        for name in ("i_snapshot", "i_status_enable"):
            ctx.set(getattr(dut, name), inputs.get(name, 0))
        await self._send(ctx, ready)
        self.clock += 1
        await ctx.tick()

    @property
    def counters(self) -> list[int]:
        """All but the clock; a balance has half of the bits."""
        counters = {name: value & self.mask for name, value in self.sums.items()}
        half = (1 << len(self.dut.o_data)) - 1
        for name, step in STEPS.items():
            if isinstance(step, Balance):
                counters[name] = sum(self.sums[n] for n in step.came) - sum(self.sums[n] for n in step.went) & half
        return [counters[name] for name in STEPS]

    async def _send(self, ctx, ready: bool) -> None:
        """Reads a word of a record that waits, if ``ready``."""
        port, place, words = self.dut.status, len(self._record), 2 * (1 + len(STEPS))
        if self._reading:
            self._record.append(ctx.get(port.data))
            place += 1
        self._reading = bool(ctx.get(port.waits)) and ready and place < words
        ctx.set(port.read, self._reading)
        ctx.set(port.address, place)
        ctx.set(port.sent, self._reading and place == words - 1)
        if place == words:
            assert ctx.get(port.clock) & self.mask == self.values(self._record)[0]
            self.records.append(self._record)
            self._record = []

    def values(self, words: list[int]) -> list[int]:
        bits = len(self.dut.o_data)
        return [low | high << bits for low, high in zip(words[::2], words[1::2], strict=True)]


@every_bank
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_snapshots_show_every_step_before_their_clock(bank: type[CounterBank], data) -> None:
    """Any density of steps, snapshots and ticks at any clock, pauses of the link; short counters, so that they wrap often."""
    seed = data.draw(st.integers(0, 2**32))
    width = data.draw(st.sampled_from([18, 22, 64]))
    density = data.draw(st.sampled_from([0.0, 0.02, 1.0]))
    pauses = data.draw(st.sampled_from([0.0, 0.9]))
    asks = data.draw(st.lists(st.integers(0, 390), max_size=8))
    extreme = data.draw(st.sampled_from([None, min, max]))
    rng = random.Random(seed)
    dut = bank(steps=STEPS, width=width)
    run = Run(dut, width, TICK - data.draw(st.integers(1, 300)))
    counters = 1 + len(STEPS)

    async def bench(ctx):
        count = 0
        for k in range(400):
            values = {
                name: (extreme(step) if extreme else rng.choice(step))
                for name, step in RANGES.items()
                if rng.random() < density
            }
            await run.step(ctx, values, rng.random() >= pauses, i_snapshot=k in asks, i_status_enable=1)
            count = ctx.get(dut.o_snapshot_count)
        while not ctx.get(dut.o_idle):
            await run.step(ctx, {}, i_status_enable=1)
        await run.step(ctx, {}, i_status_enable=1)  # the record's last word
        assert count <= ctx.get(dut.o_snapshot_count) <= 1 + len(set(asks))
        shown = await read_all(ctx, dut, counters)
        assert shown == run.before[shown[0]]
        assert len(run.records) == 1
        sent = run.values(run.records[0])
        assert sent == run.before[sent[0]]
        # At rest nothing is left in accumulators: one more snapshot has all sums.
        await run.step(ctx, {}, i_snapshot=1)
        while not ctx.get(dut.o_idle):
            await run.step(ctx, {})
        shown = await read_all(ctx, dut, counters)
        assert shown[1:] == run.counters

    simulate(dut, bench)


@every_bank
def test_every_snapshot_of_a_busy_bank(bank: type[CounterBank]) -> None:
    """Snapshots as fast as they come, read while sweeps go on; between two of them the memory does not change."""
    dut = bank(steps=STEPS)
    run = Run(dut, 64, 5)
    rng = random.Random(3)
    counters = 1 + len(STEPS)

    async def bench(ctx):
        def values():
            return {name: rng.choice(step) for name, step in RANGES.items()}

        clocks = []
        for number in range(6):
            await run.step(ctx, values(), i_snapshot=1)
            waited = 0
            while ctx.get(dut.o_snapshot_count) == number:
                await run.step(ctx, values())
                waited += 1
            assert waited <= 2 * dut.sweep_clocks + 3
            for _ in range(2):
                words = []
                for address in range(2 * counters):
                    ctx.set(dut.i_address, address)
                    await run.step(ctx, values())
                    words.append(ctx.get(dut.o_data))
                assert run.values(words) == run.before[run.values(words)[0]]
                clocks.append(run.values(words)[0])
        assert clocks[::2] == clocks[1::2]
        assert clocks[::2] == sorted(set(clocks))

    simulate(dut, bench)


@every_bank
def test_both_requests_share_a_snapshot_whose_clock_is_the_ticks_third(bank: type[CounterBank]) -> None:
    dut = bank(steps=STEPS)
    run = Run(dut, 64, TICK - 60)

    async def bench(ctx):
        while run.clock < TICK - 1:
            await run.step(ctx, {}, i_status_enable=1)
        assert ctx.get(dut.o_idle)
        for k in range(400):
            # In the clock in which the tick is known the strobe comes, too. Steps begin with it, so that no sweep is under way.
            await run.step(ctx, {"strobe": k >= 2}, i_status_enable=1, i_snapshot=k == 2)
        assert ctx.get(dut.o_snapshot_count) == 1
        sent = run.values(run.records[0])
        assert sent[:2] == [TICK + 3, 2]
        ctx.set(dut.i_address, 2)
        await ctx.tick()
        assert ctx.get(dut.o_data) == 2

    simulate(dut, bench)


@every_bank
def test_a_waiting_link_delays_snapshots_but_no_sweep(bank: type[CounterBank]) -> None:
    """The record stays whole for as long as the link likes, and nothing that is counted meanwhile is lost."""
    dut = bank(steps=STEPS)
    run = Run(dut, 64, TICK - 10)

    async def bench(ctx):
        for k in range(1500):
            await run.step(
                ctx, {n: s.stop - 1 for n, s in RANGES.items()}, ready=k > 1200, i_status_enable=1, i_snapshot=k == 300
            )
        while not ctx.get(dut.o_idle):
            await run.step(ctx, {})
        await run.step(ctx, {})
        assert ctx.get(dut.o_snapshot_count) == 2
        (record,) = run.records
        sent = run.values(record)
        assert sent == run.before[sent[0]]
        assert TICK + 3 <= sent[0] <= TICK + 3 + dut.sweep_clocks
        shown = await read_all(ctx, dut, 1 + len(STEPS))
        assert shown == run.before[shown[0]]
        assert shown[0] > TICK + 1190
        ctx.set(dut.i_address, 255)
        await ctx.tick()
        assert ctx.get(dut.o_data) == 0

    simulate(dut, bench)


def test_counters_that_a_build_does_not_have_read_0() -> None:
    """In the whole address space, over the registers and in the record."""
    dut = ShortBank(steps=STEPS)
    run = Run(dut, 64, TICK - 40)

    async def bench(ctx):
        for _ in range(300):
            await run.step(ctx, {name: step.stop - 1 for name, step in RANGES.items()}, i_status_enable=1)
        assert ctx.get(dut.o_snapshot_count) == 1
        sent = run.values(run.records[0])
        assert sent == run.before[sent[0]]
        assert await read_all(ctx, dut, 128) == [*sent, *[0] * (128 - len(sent))]
        for address in range(256):
            ctx.set(dut.status.read, 1)
            ctx.set(dut.status.address, address)
            await ctx.tick()
            # The next address is there, but not read.
            ctx.set(dut.status.read, 0)
            ctx.set(dut.status.address, 255 - address)
            await ctx.tick()
            value = sent[address // 2] >> 32 * (address % 2) & 0xFFFFFFFF if address < 2 * len(sent) else 0
            assert ctx.get(dut.status.data) == value

    simulate(dut, bench)


def test_bad_configuration() -> None:
    with pytest.raises(ValueError, match="0 counters beside the clock"):
        CounterBank(steps={})
    with pytest.raises(ValueError, match="128 counters beside the clock"):
        CounterBank(steps={f"c{k}": range(2) for k in range(128)})
    with pytest.raises(ValueError, match="odd has the steps"):
        CounterBank(steps={"odd": range(0, 4, 2)})
    with pytest.raises(
        ValueError, match="the balance rest is over other; allowed: counters between the last balance and this one"
    ):
        CounterBank(steps={"c": range(2), "rest": Balance(came=("c", "other"), went=())})
    with pytest.raises(ValueError, match="the balance second is over c"):
        CounterBank(
            steps={"c": range(2), "first": Balance(came=(), went=("c",)), "second": Balance(came=("c",), went=())}
        )
    with pytest.raises(ValueError, match="width is 7"):
        CounterBank(steps={"c": range(2)}, width=7)
    with pytest.raises(ValueError, match="half of the width"):
        CounterBank(steps={"c": range(2)}, width=6)
