"""Smooth join against its formula: times that wrap, covers of both channels, held-up records, a full queue, restarts."""

import random

import pytest
from phase_oracle import simulate
from smooth_oracle import wrap

from twinphase_hdl.sift.smoothjoin import SmoothJoin
from twinphase_hdl.sift.waiting import WaitingHeralds

BLOCK, QUARTER, TIMES = 16, 1 << 23, 1 << 26
KEPT, KEPT_OF_THE_LONGEST = 127, 63


class Bench:
    """Drives a SmoothJoin with whole clock counts and keeps what must come out, and what came."""

    def __init__(self, dut, seed, *, epoch_bits, steps, ready=1.0, flush=lambda rng: 0):
        self.dut, self.rng, self.ready, self.flush = dut, random.Random(seed), ready, flush
        self.epoch_bits, self.steps = epoch_bits, steps
        self.bits = [epoch_bits + step for step in steps]
        self.got, self.when, self.clock, self.stuck = [], [], 0, False
        self.forget()

    def forget(self):
        self.intervals, self.covers, self.quarters = ({}, {}), {}, 0
        self.asked, self.left = {}, {}
        self.heralds = []

    async def start(self, ctx):
        dut = self.dut
        ctx.set(dut.i_epoch_bits, self.epoch_bits)
        ctx.set(dut.i_step, list(self.steps))
        ctx.set(dut.i_run, 0)
        await ctx.tick().repeat(3)
        ctx.set(dut.i_run, 1)
        self.forget()
        self.got.clear()

    async def herald(self, ctx, t, *, blank=0):
        """Offers a herald if there is room; whether there was."""
        dut = self.dut
        room = not ctx.get(dut.o_full)
        if room:
            applied = self.rng.getrandbits(16)
            ctx.set(dut.i, {"time": t % TIMES, "applied_q": applied, "blank": blank})
            self.heralds.append((t, applied, blank, self.quarters))
        ctx.set(dut.i_valid, room)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        return room

    async def block(self, ctx, channel, b, *, empty=False):
        """Block b of a channel (its intervals, unless they do not matter) and its cover; returns with the cover's clock."""
        dut, rng = self.dut, self.rng
        for k in range(BLOCK * b + BLOCK - 1, BLOCK * b - 1, -1) if not empty else ():
            start, way = rng.getrandbits(32), rng.choice([rng.getrandbits(32), rng.getrandbits(20), 1 << 31, 0])
            way, valid = wrap(way), rng.randrange(4) > 0
            self.intervals[channel][k] = start, way, int(valid)
            ctx.set(
                dut.i_interval,
                {"channel": channel, "index": k % 2048, "start": start, "way": way, "valid": valid},
            )
            ctx.set(dut.i_interval_valid, 1)
            await ctx.tick()
        ctx.set(dut.i_interval_valid, 0)
        time = BLOCK * (b + 1) << self.bits[channel]
        ctx.set(dut.i_cover, {"channel": channel, "time": time % TIMES})
        ctx.set(dut.i_cover_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_cover_valid, 0)
        self.covers[channel] = time
        self.quarters += channel == 0 and time % QUARTER == 0

    async def idle(self, ctx):
        while not ctx.get(self.dut.o_idle):
            await ctx.tick()
        await ctx.tick()

    def value(self, herald):
        """psi and flags of a herald from its intervals."""
        t, applied, blank, _ = herald
        if blank:
            return 0, 0
        total = flags = 0
        for c, bits in enumerate(self.bits):
            start, way, valid = self.intervals[c][t >> bits]
            fraction = (t % (1 << bits) << 16) >> bits
            total += start + (way * fraction >> 16)
            flags |= valid << c
        return ((total % (1 << 32) >> 16) - applied) % (1 << 16), flags

    def kept(self, herald):
        """Whether its intervals are kept at the present covers."""
        most = [(KEPT_OF_THE_LONGEST if bits == 15 else KEPT) * BLOCK << bits for bits in self.bits]
        ages = [self.covers[c] - herald[0] <= most[c] for c in (0, 1)]
        return all(ages) and self.quarters - herald[3] < 2

    async def take(self, ctx):
        """Background: takes records, and checks that none comes before its herald is covered and all have left."""
        dut, rng = self.dut, self.rng
        leaving = 0
        ctx.set(dut.i_flushed, 1)
        while True:
            ctx.set(dut.o.ready, rng.random() < self.ready)
            _, _, valid, ready, payload, flush = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload, dut.o_flush
            )
            self.clock += 1
            if (leaving or not ctx.get(dut.i_flushed)) and not self.stuck:
                leaving = max(0, leaving - 1)
                if not leaving:
                    self.left = self.asked
                    ctx.set(dut.i_flushed, 1)
            if flush:
                assert ctx.get(dut.i_flushed), "asked again before the heralds have left"
                # A cover that comes in this very clock is not among those asked for; the bench notes it after this.
                self.asked = dict(self.covers)
                leaving = self.flush(rng)
                ctx.set(dut.i_flushed, not leaving and not self.stuck)
                if not leaving and not self.stuck:
                    self.left = self.asked
            if valid and ready:
                number, word = (int(w) for w in payload)
                self.when.append(self.clock)
                self.got.append((number, word & 0xFFFF, word >> 16))
                if number < len(self.heralds):
                    assert all(self.heralds[number][0] < self.left[c] for c in (0, 1)), number


def events(rng, *, bits, first, clocks, heralds):
    """Blocks and heralds of a stretch of real time, in their order: (clock, kind, what)."""
    found = []
    for c in (0, 1):
        size, later = BLOCK << bits[c], rng.choice([0, 6, 7, 16, 63]) << bits[c]
        for b in range(-(-first // size) - 2, (first + clocks) // size - 1):
            found.append(((b + 2) * size + later + 300 * (c + 1), "block", (c, b)))
    unit = 1 << min(bits)
    for _ in range(heralds):
        t = first + rng.randrange(clocks)
        t = rng.choice([t, t // unit * unit, t // unit * unit + unit - 1, t // (BLOCK * unit) * BLOCK * unit])
        t = max(first, t - rng.choice([0, 0, 1]))
        found.append((t + 700, "herald", t))
    return sorted(found)


CASES = [(9, 0, 0), (9, 2, 1), (10, 0, 3), (12, 0, 3), (13, 1, 2), (14, 0, 0), (15, 0, 0), (11, 2, 4)]


@pytest.mark.parametrize(
    ("epoch_bits", "g0", "g1", "slow"),
    [
        pytest.param(*case, slow, marks=[pytest.mark.long] if slow is bool(place % 2) else [])
        for place, case in enumerate(CASES)
        for slow in (False, True)
    ],
)
def test_random_times(epoch_bits, g0, g1, slow):
    """Heralds at any place of an interval, at its ends and its middle, while 26 bits of time wrap; slow output and slow packer."""
    dut = SmoothJoin(pending_heralds=400)
    bench = Bench(
        dut,
        f"{epoch_bits} {g0} {g1} {slow}",
        epoch_bits=epoch_bits,
        steps=(g0, g1),
        ready=0.05 if slow else 1.0,
        flush=(lambda rng: rng.choice([0, 5, 60])) if slow else (lambda rng: 0),
    )
    rng = bench.rng
    size = BLOCK << max(bench.bits)
    # Heralds from the first node on, a stretch across a wrap of 26 bits.
    first = rng.randrange(1, 1 << 20) * TIMES - rng.randrange(4 * size)
    what = events(rng, bits=bench.bits, first=first, clocks=7 * size, heralds=200)
    expected = []

    async def run(ctx):
        await bench.start(ctx)
        number = 0
        for _, kind, value in what:
            if kind == "herald":
                assert await bench.herald(ctx, value, blank=int(rng.random() < 0.1))
            else:
                await bench.block(ctx, *value)
            if not slow or kind == "block":
                await bench.idle(ctx)
            if len(bench.covers) < 2:
                continue
            # The records of this cover: with nothing held up, the covers are those that the join sees.
            while number < len(bench.heralds) and bench.heralds[number][0] < min(bench.covers.values()):
                herald = bench.heralds[number]
                expected.append((number, *(bench.value(herald) if bench.kept(herald) else (0, 0))))
                number += 1
            if kind == "block":
                assert len(bench.got) == number

    simulate(dut, run, bench.take)
    assert len(expected) > 100
    assert bench.got == expected
    assert any(flags == 3 for _, _, flags in expected) or max(bench.bits) - min(bench.bits) > 4


def test_latency_throughput_and_a_full_queue():
    """Exactly ``pending_heralds`` wait; when they are covered, the first record comes after `latency`, the others 8 clocks apart."""
    dut = SmoothJoin(pending_heralds=100)
    bench = Bench(dut, 1, epoch_bits=9, steps=(0, 1))

    async def run(ctx):
        await bench.start(ctx)
        room = [await bench.herald(ctx, 5 + 160 * k) for k in range(104)]
        assert room == [True] * 100 + [False] * 4
        await bench.idle(ctx)  # heralds that wait are no activity
        await bench.block(ctx, 0, 0)
        await bench.block(ctx, 0, 1)
        await bench.idle(ctx)
        assert not bench.got
        await bench.block(ctx, 1, 0)
        for _ in range(dut.latency - 1):
            assert not ctx.get(dut.o.valid)
            await ctx.tick()
        assert ctx.get(dut.o.valid)  # the cover's own clock is in block()
        await bench.idle(ctx)
        assert {after - before for before, after in zip(bench.when, bench.when[1:], strict=False)} == {8}
        assert bench.got == [(k, *bench.value(herald)) for k, herald in enumerate(bench.heralds)]

    simulate(dut, run, bench.take)


LONG_WAITS = (1, 63, 64, 129, 256, 520)


@pytest.mark.parametrize("bits", [12, 15])
@pytest.mark.parametrize("blocks", [17, 18, 127, 128, *(pytest.param(n, marks=pytest.mark.long) for n in LONG_WAITS)])
def test_held_up_records(bits, blocks):
    """Nothing is taken while blocks go by: phases whose intervals are kept still come, others are 0 with flags 0, never wrong."""
    dut = SmoothJoin(pending_heralds=64)
    bench = Bench(dut, f"{bits} {blocks}", epoch_bits=9, steps=(bits - 9, bits - 9), ready=0.0)
    size = BLOCK << bits
    first = 5 * (TIMES // size) - 2  # blocks; a quarter's end is near

    async def run(ctx):
        await bench.start(ctx)
        for k in range(12):
            await bench.herald(ctx, first * size + 100 * k)
        for b in range(first, first + blocks):
            for c in (0, 1):
                await bench.block(ctx, c, b)
        for k in range(5):  # these have just come, but may be older than the oldest
            await bench.herald(ctx, (first + blocks + 1) * size + k)
        await ctx.tick().repeat(20)  # the record at the output keeps it from being idle
        now = [bench.value(herald) if bench.kept(herald) else (0, 0) for herald in bench.heralds[:12]]
        # One in the output's register and MADE before it were made when nothing was old.
        early = [bench.value(herald) for herald in bench.heralds[:5]]
        bench.ready = 1.0
        await ctx.tick()
        await bench.idle(ctx)
        assert bench.got == [(k, *value) for k, value in enumerate(early + now[5:])]
        for b in range(first + blocks, first + blocks + 2):
            for c in (0, 1):
                await bench.block(ctx, c, b)
        await bench.idle(ctx)
        assert bench.got[12:] == [(12 + k, *bench.value(herald)) for k, herald in enumerate(bench.heralds[12:])]
        # Overwritten after 127 blocks; or a second end of a quarter has come, 2 and 18 blocks on.
        assert (now[-1] == (0, 0)) == (blocks >= (128 if bits == 12 else 18))

    simulate(dut, run, bench.take)


def test_heralds_that_do_not_leave_hold_up_their_records():
    """A packer that does not send: no record, however long it takes, though times wrap; after it the phases are gone, not wrong."""
    dut = SmoothJoin(pending_heralds=64)
    bench = Bench(dut, 3, epoch_bits=15, steps=(0, 0))
    bench.stuck = True
    size = BLOCK << 15

    async def run(ctx):
        await bench.start(ctx)
        for k in range(3):
            await bench.herald(ctx, k)
        for b in range(600):
            for c in (0, 1):
                await bench.block(ctx, c, b, empty=True)
            if b % 40 == 0:
                await bench.herald(ctx, (b + 2) * size)
        assert not bench.got
        assert not ctx.get(dut.o_idle)
        count = len(bench.heralds)
        # Those of the first covers leave, too late to tell times by; those of the latest are stuck again.
        bench.stuck = False
        while not ctx.get(dut.i_flushed):
            await ctx.tick()
        bench.stuck = True
        await ctx.tick().repeat(200)
        assert not bench.got
        assert not ctx.get(dut.o_idle)
        bench.stuck = False
        await bench.idle(ctx)
        assert bench.got == [(k, 0, 0) for k in range(count)]
        await bench.herald(ctx, 601 * size + 77)
        for b in (600, 601):
            for c in (0, 1):
                await bench.block(ctx, c, b)
        await bench.idle(ctx)
        assert bench.got[count:] == [(count, *bench.value(bench.heralds[count]))]

    simulate(dut, run, bench.take)


def test_restart_at_any_moment():
    """i_run = 0 for a clock: what was on its way is forgotten but for the output's register; numbers restart."""
    dut = SmoothJoin(pending_heralds=20)
    bench = Bench(dut, 4, epoch_bits=10, steps=(1, 0))

    async def run(ctx):
        for wait in range(45):
            await bench.start(ctx)
            for k in range(6):
                await bench.herald(ctx, (wait << 20) + 300 * k)
            b = (wait << 20) // (BLOCK << 11)
            await bench.block(ctx, 0, b)
            await bench.block(ctx, 1, 2 * b)
            await ctx.tick().repeat(wait + 1)
            ctx.set(dut.i_run, 0)
            await ctx.tick()
            ctx.set(dut.i_run, 1)
            await ctx.tick().repeat(40)
            made = [(k, *bench.value(herald)) for k, herald in enumerate(bench.heralds)]
            assert bench.got == made[: len(bench.got)]
            assert len(bench.got) <= max(0, (wait - 10) // 8)
            assert ctx.get(dut.o_idle)
        assert len(bench.got) > 2
        await bench.start(ctx)
        for k in range(20):
            assert await bench.herald(ctx, k)
        assert not await bench.herald(ctx, 20)
        for c in (0, 1):
            await bench.block(ctx, c, 0)
        await bench.idle(ctx)
        assert bench.got == [(k, *bench.value(herald)) for k, herald in enumerate(bench.heralds)]

    simulate(dut, run, bench.take)


def test_steps_beyond_26_bits_of_time():
    """With E + g above 15 an interval cannot be told by 26 bits: every record has psi 0 and flags 0, and comes in the end."""
    dut = SmoothJoin(pending_heralds=20)
    bench = Bench(dut, 6, epoch_bits=16, steps=(0, 1))

    async def run(ctx):
        await bench.start(ctx)
        for k in range(20):
            assert await bench.herald(ctx, k << 16)
        for b in range(1, 64):
            await bench.block(ctx, 0, b)
            if b % 2:
                await bench.block(ctx, 1, b // 2)
        await bench.idle(ctx)
        assert bench.got == [(k, 0, 0) for k in range(20)]

    simulate(dut, run, bench.take)


def test_refused_sizes():
    with pytest.raises(ValueError, match="pending_heralds is 0; allowed: 1 to 16384"):
        SmoothJoin(pending_heralds=0)
    with pytest.raises(ValueError, match="pending_heralds is 16385"):
        SmoothJoin(pending_heralds=16385)
    with pytest.raises(ValueError, match="most is 0; allowed: 1 or more"):
        WaitingHeralds(most=0)
