"""Herald finder: single, multiple, full queues, numbers, hold time."""

import random
from functools import partial

import pytest
from phase_oracle import click, marked, simulate

from twinphase_hdl.sift.herald import HeraldFinder, causal_record, herald_record
from twinphase_spec.frame import MIN_PERIOD_TICKS, SlotClass

PERIOD = MIN_PERIOD_TICKS << 32


def hold_clocks(period: int) -> int:
    return 9 * (period >> 45) + 16


async def take(ctx, dut, heralds, rng):
    """Background sink with back-pressure."""
    while True:
        ctx.set(dut.o.ready, rng.random() < 0.8)
        _, _, transfer, herald = await ctx.tick().sample(dut.o.valid & dut.o.ready, dut.o.payload)
        if transfer:
            heralds.append((herald.number, herald.pulse, herald.detector, herald.psi, herald.flags))


@pytest.mark.parametrize("swap", [0, 1])
@pytest.mark.parametrize("pause", [0.0, 0.5, 0.9])
def test_random_clicks(swap, pause):
    """Pulses of one to four clicks, in rising order, in bursts and far apart, among clicks that do not count."""
    rng = random.Random(f"{swap}{pause}")
    dut = HeraldFinder(queue_heralds=512)
    heralds, pending, strobes = [], [], {"heralds": 0, "multiple": 0, "unjoined": 0}
    singles, several = [], 0
    stream = []
    pulse = (1 << 55) + 3
    for _ in range(200):
        pulse += rng.choice([1, 1, 2, 9, 1 << 16, 1 << 32])
        window, dwindow = rng.getrandbits(32), rng.getrandbits(32)
        count = rng.choice([0, 1, 1, 1, 2, 3])
        detectors = [rng.randrange(2) for _ in range(count)]
        for d in detectors:
            time, psi, applied_q = rng.getrandbits(26), rng.getrandbits(16), rng.getrandbits(16)
            r_valid, d_valid, blank = (rng.randrange(2) for _ in range(3))
            mark = {"psi": psi, "r_valid": r_valid, "d_valid": d_valid, "applied_q": applied_q, "blank": blank}
            mark |= {"rq": rng.getrandbits(16), "applied": rng.getrandbits(16)}
            stream.append(marked(click(d, SlotClass.SIG, window, pulse=pulse, dwindow=dwindow), time=time, **mark))
            if count == 1:
                causal = (0, 0) if blank else (psi, r_valid | d_valid << 1)
                singles.append((pulse, d ^ swap, *causal, (window & 1023, dwindow & 1023, time, applied_q, blank)))
        several += count > 1
        for _ in range(rng.randrange(3)):  # background: the other band, other classes, outside of the gate, unframed
            other = rng.choice([{"channel": 2 + rng.randrange(2)}, {"slot_class": 4}, {"gated": 0}, {"framed": 0}])
            none = {**click(0, SlotClass.SIG, window, pulse=pulse, dwindow=dwindow), **other}
            stream.append(marked(none, time=rng.getrandbits(26), psi=rng.getrandbits(16), r_valid=1, d_valid=1))

    async def bench(ctx):
        ctx.set(dut.i_run, 1)
        ctx.set(dut.i_swap, swap)
        ctx.set(dut.i_period, PERIOD)
        last = None
        for c in stream:
            # Clicks of one pulse come within the hold time.
            while rng.random() < pause and c["click"]["pulse"] != last:
                ctx.set(dut.i_valid, 0)
                await ctx.tick()
            last = c["click"]["pulse"]
            ctx.set(dut.i, c)
            ctx.set(dut.i_valid, 1)
            await ctx.tick()
            ctx.set(dut.i_valid, 0)
        while not ctx.get(dut.o_idle):
            await ctx.tick()

    async def watch(ctx):
        while True:
            _, _, valid, payload, *flags = await ctx.tick().sample(
                dut.o_pending_valid, dut.o_pending, dut.o_heralds, dut.o_multiple, dut.o_unjoined
            )
            for name, flag in zip(strobes, flags, strict=True):
                strobes[name] += flag
            if valid:
                pending.append(
                    tuple(int(payload[name]) for name in ("window", "dwindow", "time", "applied_q", "blank"))
                )

    simulate(dut, bench, partial(take, dut=dut, heralds=heralds, rng=rng), watch)
    assert heralds == [(number, *single[:-1]) for number, single in enumerate(singles)]
    assert pending == [single[-1] for single in singles]
    assert strobes == {"heralds": len(singles), "multiple": several, "unjoined": 0}


@pytest.mark.parametrize("period", [MIN_PERIOD_TICKS << 32, (8192 << 32) - 1, 8192 << 32, 131071 << 32])
def test_latency_and_last_moment(period):
    """A single click is announced after exactly the hold time; a second one a clock before its end still counts."""
    dut = HeraldFinder()
    hold = hold_clocks(period)
    clocks = period // (8192 << 32) + 1
    assert hold >= clocks + 2 * (4 * (clocks + 1) - 1)

    async def bench(ctx):
        ctx.set(dut.i_run, 1)
        ctx.set(dut.i_period, period)
        ctx.set(dut.i, marked(click(0, SlotClass.SIG, 0, pulse=5)))
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        await ctx.tick().repeat(hold + dut.latency - 2)
        assert not ctx.get(dut.o_heralds)
        await ctx.tick()
        assert ctx.get(dut.o_heralds)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.o.valid)
        await ctx.tick()
        assert ctx.get(dut.o.valid)

        ctx.set(dut.i, marked(click(0, SlotClass.SIG, 0, pulse=6)))
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        await ctx.tick().repeat(hold - 1)
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        multiple = announced = 0
        for _ in range(hold + 8):
            multiple += ctx.get(dut.o_multiple)
            announced += ctx.get(dut.o_heralds)
            await ctx.tick()
        assert (multiple, announced) == (1, 0)

    simulate(dut, bench)


def test_full_queues_take_no_number():
    """Refused, or without room in the queue to the output, a pulse is unjoined and the numbers have no gap."""
    dut = HeraldFinder(queue_heralds=4)
    accepted, got = [], []

    async def bench(ctx):
        ctx.set(dut.i_run, 1)
        ctx.set(dut.i_period, PERIOD)
        unjoined = 0
        for n in range(40):
            ctx.set(dut.i_refuse, 10 <= n < 14)
            ctx.set(dut.i, marked(click(0, SlotClass.SIG, 0, pulse=n)))
            ctx.set(dut.i_valid, 1)
            if ctx.get(dut.o_heralds):
                accepted.append(ctx.get(dut.o_heralds))
            unjoined += ctx.get(dut.o_unjoined)
            await ctx.tick()
        ctx.set(dut.i_valid, 0)
        for _ in range(60):
            accepted.extend([1] * ctx.get(dut.o_heralds))
            unjoined += ctx.get(dut.o_unjoined)
            await ctx.tick()
        ctx.set(dut.i_run, 0)  # what was announced still leaves
        await ctx.tick()
        ctx.set(dut.o.ready, 1)
        while not ctx.get(dut.o_idle):
            if ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload.number))
            await ctx.tick()
        assert unjoined == 40 - len(accepted)
        assert got == list(range(len(accepted)))
        assert 4 <= len(accepted) <= 6
        ctx.set(dut.i_run, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        while not ctx.get(dut.o.valid):
            await ctx.tick()
        assert ctx.get(dut.o.payload.number) == 0

    simulate(dut, bench)


def test_a_herald_per_clock_leaves():
    """Clicks of a pulse each in every clock, ten times as many as the queue holds: as many heralds, none unjoined, a clock apart."""
    dut = HeraldFinder(queue_heralds=64)
    clicks, when = 640, []

    async def bench(ctx):
        ctx.set(dut.i_run, 1)
        ctx.set(dut.i_period, PERIOD)
        ctx.set(dut.o.ready, 1)
        for clock in range(clicks + 100):
            ctx.set(dut.i, marked(click(0, SlotClass.SIG, 0, pulse=clock)))
            ctx.set(dut.i_valid, clock < clicks)
            assert not ctx.get(dut.o_unjoined)
            if ctx.get(dut.o.valid):
                assert ctx.get(dut.o.payload.number) == len(when)
                when.append(clock)
            await ctx.tick()
        assert ctx.get(dut.o_idle)

    simulate(dut, bench)
    # The last pulse is held for its whole time, the others until the next click.
    steady = when[: clicks - 1]
    assert len(when) == clicks
    assert steady == list(range(steady[0], steady[0] + clicks - 1))


def test_record_layout():
    dut = HeraldFinder()

    async def bench(ctx):
        ctx.set(dut.i_run, 1)
        single = click(1, SlotClass.SIG, 0, pulse=0xABCDEF12345678)
        ctx.set(dut.i, marked(single, psi=0x1234, r_valid=0, d_valid=1))
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        while not ctx.get(dut.o.valid):
            await ctx.tick()
        assert len(herald_record(dut.o.payload)) == 96
        assert ctx.get(herald_record(dut.o.payload)) == (1 << 31 | 0xABCDEF) << 64 | 0x12345678 << 32
        assert len(causal_record(dut.o.payload)) == 64
        assert ctx.get(causal_record(dut.o.payload)) == (2 << 16 | 0x1234) << 32

    simulate(dut, bench)
