"""Lists of LIVE records in the block digest against integers: any order of arrival, losses, wrong records, a full queue, silence."""

import random
from itertools import pairwise

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from digest_oracle import Pair, first_of, live_lists, live_words, polynomial
from twinphase_hdl.sift.digest import BlockDigest
from twinphase_hdl.sift.halves import HalvedMemory
from twinphase_hdl.sift.livelists import LiveLists

PAIR = Pair(key=(0x0F0E0D0C, 0x0B0A0908, 7, 0xFFFFFFFF), nonce=(1, 2))
SIZE = 4
SPOILT = 1 << 64


class Joined:
    """Lists and digest as `BlockSifter` joins them, and what drives them."""

    def __init__(self, *, depth: int = 512, enable: bool = True) -> None:
        self.lists, self.digest, self.stop = LiveLists(depth=depth), BlockDigest(), Signal()
        self.enable = enable
        self.m = m = Module()
        m.submodules.lists = ResetInserter(self.stop)(self.lists)
        m.submodules.digest = ResetInserter(self.stop)(self.digest)
        lists, digest = self.lists, self.digest
        m.d.comb += [
            *(
                getattr(lists, f"i_{name}").eq(getattr(digest, f"i_{name}"))
                for name in ("herald_valid", "pulse", "missing")
            ),
            lists.i_boundary.eq(digest.o_boundary),
            *(
                getattr(digest, f"i_{name}").eq(getattr(lists, f"o_{name}"))
                for name in ("boundary_valid", "boundary", "list_valid", "list")
            ),
            digest.i_list_index.eq(lists.o_index),
            digest.i_lists.eq(lists.o_blocks),
            *(part.i_block_heralds.eq(SIZE) for part in (lists, digest)),
            lists.i_key.eq(PAIR.live_key()),
            *(lists.i_enable.eq(enable), digest.i_live.eq(enable)),
            *(digest.i_herald_key.eq(PAIR.keys()[0]), digest.i_psi_key.eq(PAIR.keys()[1])),
        ]
        self.counted = {"o_taken": 0, "o_overflow": 0}
        self.dropped: list[bool] = []
        """Of each record that was given."""

    async def herald(self, ctx, herald):
        dut = self.digest
        while not ctx.get(dut.o_herald_ready):
            await ctx.tick()
        ctx.set(dut.i_missing, herald is None)
        ctx.set(dut.i_pulse, herald[0] if herald else random.getrandbits(56))
        ctx.set(dut.i_detector, herald[1] if herald else 1)
        ctx.set(dut.i_herald_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_herald_valid, 0)
        # The psi at once: the lists do not look at them.
        while not ctx.get(dut.o_psi_ready):
            await ctx.tick()
        await ctx.tick().repeat(3)
        ctx.set(dut.i_psi, 0)
        ctx.set(dut.i_present, herald is not None)
        ctx.set(dut.i_psi_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_psi_valid, 0)

    async def live(self, ctx, record):
        ctx.set(self.lists.i_live.payload, list(record))
        ctx.set(self.lists.i_live.valid, 1)
        assert ctx.get(self.lists.i_live.ready)
        await ctx.tick()
        self.dropped.append(bool(ctx.get(self.lists.o_overflow)))
        for name in self.counted:
            self.counted[name] += ctx.get(getattr(self.lists, name))
        ctx.set(self.lists.i_live.valid, 0)

    async def rest(self, ctx, limit=4000):
        for _ in range(limit):
            if ctx.get(self.lists.o_idle) and not ctx.get(self.digest.o_busy):
                return
            await ctx.tick()
        raise AssertionError("the lists do not come to rest")

    async def words(self, ctx):
        """(digest, spoilt) of the blocks whose digest is complete."""
        found = []
        for block in range(ctx.get(self.digest.o_blocks)):
            ctx.set(self.digest.i_index, block % 256)
            await ctx.tick().repeat(BlockDigest.latency)
            found.append((ctx.get(self.digest.o_digest), ctx.get(self.digest.o_spoilt)))
        return found

    def run(self, bench):
        async def begun(ctx):
            await ctx.tick()  # settings are there
            await bench(ctx)

        simulator = Simulator(self.m)
        simulator.add_clock(8e-9)
        simulator.add_testbench(begun)
        simulator.run()


def blocks_of(heralds):
    return [heralds[at : at + SIZE] for at in range(0, len(heralds) - SIZE + 1, SIZE)]


def expected(heralds, records):
    """Digests of the blocks whose lists are complete."""
    blocks = blocks_of(heralds)
    return [
        PAIR.digest(block, [(0, 0)] * SIZE, live)
        for block, live in zip(blocks, live_lists(blocks, records), strict=False)
    ]


def record_at(first, length, spare=0):
    return (first & 0xFFFFFFFF, first >> 32 | spare << 24, length)


def server(rng, blocks, start=None):
    """Heralds and runs as docs/live.md has them: a run right behind each herald, others between; numbers are lost at times."""
    pulse = rng.getrandbits(40) if start is None else start
    heralds, records = [], []
    for _ in range(SIZE * blocks):
        for _ in range(rng.choice([0, 0, 1, 3])):
            pulse += rng.randrange(1, 40)
            records.append(record_at(pulse, rng.randrange(1, 30)))
            pulse += records[-1][2]
        pulse += rng.randrange(1, 40)
        heralds.append((pulse, rng.getrandbits(1)))
        records.append(record_at(pulse + 1, rng.randrange(1, 30)))
        pulse += records[-1][2] + 1
    return [herald if rng.random() < 0.9 else None for herald in heralds], records


def interleaved(rng, heralds, records, ahead):
    """Both streams in their own orders: ``ahead`` is the chance that a record comes next."""
    left = [[("herald", h) for h in heralds], [("live", r) for r in records]]
    while any(left):
        which = int(rng.random() < ahead)
        yield (left[which] or left[1 - which]).pop(0)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32), ahead=st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]), pause=st.sampled_from([0, 0, 2, 25])
)
def test_lists_in_any_order_of_arrival(seed, ahead, pause):
    """Nothing depends on which stream is ahead, or on wrong order, repeated and lost records in one of them; a stop begins anew."""
    rng = random.Random(seed)
    heralds, records = server(rng, rng.randrange(1, 5))
    for _ in range(rng.choice([0, 0, 1, 3])):
        at = rng.randrange(len(records))
        kind = rng.randrange(4)
        if kind == 0:
            del records[at]
        elif kind == 1:
            records.insert(at, records[rng.randrange(len(records))])
        elif kind == 2:
            records[at] = (*records[at][:2], rng.getrandbits(32))
        else:
            records[at] = record_at(rng.getrandbits(56), 5, rng.getrandbits(8))
    if rng.random() < 0.3:
        at = rng.randrange(len(heralds))
        heralds[at] = (rng.getrandbits(56), 0)
    both = Joined()

    async def bench(ctx):
        for turn in range(1 + (rng.random() < 0.3)):
            ctx.set(both.stop, 1)
            await ctx.tick()
            ctx.set(both.stop, 0)
            await ctx.tick()
            given_items = list(interleaved(rng, heralds, records, ahead))
            if turn == 0 and rng.random() < 0.3:
                given_items = given_items[: rng.randrange(len(given_items))]
            for name, item in given_items:
                await getattr(both, name)(ctx, item)
                for _ in range(rng.randint(0, pause)):
                    await ctx.tick()
        await both.rest(ctx)
        came = {kind: [item for name, item in given_items if name == kind] for kind in ("herald", "live")}
        wanted = expected(came["herald"], came["live"])
        assert await both.words(ctx) == [(digest, 0) for digest in wanted]
        assert both.counted["o_overflow"] == 0

    both.run(bench)


def test_a_list_is_complete_with_the_record_behind_its_block():
    """Silence: all heralds and psi are there, and the block waits for the run behind its last herald; then it is complete."""
    rng = random.Random(2)
    heralds, records = server(rng, 2, start=5)
    heralds = [herald or (first_of(record) - 1, 0) for herald, record in zip(heralds, records, strict=False)]
    heralds = sorted(heralds, key=lambda herald: herald[0])
    both = Joined()

    async def bench(ctx):
        for herald in heralds:
            await both.herald(ctx, herald)
        await both.rest(ctx)
        assert ctx.get(both.digest.o_blocks) == 0
        complete = 0
        for count, record in enumerate(records):
            await both.live(ctx, record)
            await both.rest(ctx)
            wanted = expected(heralds, records[: count + 1])
            assert ctx.get(both.digest.o_blocks) == len(wanted)
            complete = max(complete, len(wanted))
        assert complete == 2
        assert await both.words(ctx) == [(digest, 0) for digest in expected(heralds, records)]

    both.run(bench)


def test_without_live_nothing_waits():
    rng = random.Random(3)
    heralds, records = server(rng, 2)
    both = Joined(enable=False)

    async def bench(ctx):
        for herald, record in zip(heralds, records, strict=False):
            await both.live(ctx, record)
            await both.herald(ctx, herald)
        await both.rest(ctx)
        assert both.counted == {"o_taken": 0, "o_overflow": 0}
        assert await both.words(ctx) == [(PAIR.digest(block, [(0, 0)] * SIZE), 0) for block in blocks_of(heralds)]

    both.run(bench)


@pytest.mark.parametrize("seed", range(4))
def test_records_without_room_spoil_the_blocks_that_they_may_belong_to(seed):
    """A queue of 4 that overflows before heralds come: what was dropped is known; the record after it spoils each block that it ends."""
    rng = random.Random(seed)
    heralds, records = server(rng, 6)
    both = Joined(depth=4)

    async def bench(ctx):
        for name, item in interleaved(rng, heralds, records, 0.75):
            await getattr(both, name)(ctx, item)
            await ctx.tick().repeat(rng.choice([1, 2, 40]))
        await both.rest(ctx)
        dropped = sum(both.dropped)
        assert dropped
        assert both.counted == {"o_taken": len(records) - dropped, "o_overflow": dropped}
        kept = [record for record, gone in zip(records, both.dropped, strict=True) if not gone]
        # Those right behind a gap.
        flagged = {
            at - sum(both.dropped[:at])
            for at in range(1, len(records))
            if both.dropped[at - 1] and not both.dropped[at]
        }
        lists = live_lists(blocks_of(heralds), kept)
        wanted, place = [], 0
        for block, live in zip(blocks_of(heralds), lists, strict=False):
            touched = range(place, place + len(live) + 1)  # the last one completes it
            wanted.append((PAIR.digest(block, [(0, 0)] * SIZE, live), int(any(at in flagged for at in touched))))
            place += len(live)
        assert len(wanted) > 1
        assert any(spoilt for _, spoilt in wanted)
        assert await both.words(ctx) == wanted

    both.run(bench)


def test_a_record_in_sixteen_clocks():
    """As long as the queue has room for what comes faster; a burst of 40 ahead of its heralds is hashed behind them."""
    records = [record_at(1 + 2 * k, 1) for k in range(40)]
    both = Joined()

    async def bench(ctx):
        for k in range(SIZE):
            await both.herald(ctx, (100 + k, 0))
        await both.rest(ctx)
        clocks = 0
        for record in records:
            await both.live(ctx, record)
            clocks += 1
        while not ctx.get(both.lists.o_idle):
            await ctx.tick()
            clocks += 1
        assert 16 * len(records) <= clocks < 16 * len(records) + 24

    both.run(bench)


@pytest.mark.parametrize("per_herald", [1, 3])
def test_the_end_of_a_list_takes_fourteen_clocks(per_herald):
    """Of blocks that have ended, with records waiting: what a stream of records must leave free for each block."""
    heralds = [(100 * k, 0) for k in range(1, 12 * SIZE + 1)]
    records = [record_at(pulse + 1 + k, 1) for pulse, _ in heralds for k in range(per_herald)]
    both = Joined()

    async def bench(ctx):
        for herald in heralds:
            await both.herald(ctx, herald)
        await both.rest(ctx)
        for record in records:
            await both.live(ctx, record)
        ends = []
        for clock in range(17 * len(records) + 14 * 12):
            if ctx.get(both.lists.o_blocks) != len(ends):
                ends.append(clock)
            await ctx.tick()
        assert len(ends) == 12
        assert {later - earlier for earlier, later in pairwise(ends[1:])} == {16 * SIZE * per_herald + 14}

    both.run(bench)


def test_lists_of_different_records_differ():
    """Lists of different lengths have different polynomials, whatever is in them; and every bit of a record counts."""
    one = record_at(7, 3)
    lists = [[], [one], [one, one], [one] * 3, [record_at(0, 0)], [record_at(0, 0)] * 2]
    lists += [[(one[0] ^ 1 << bit, *one[1:])] for bit in range(32)]
    lists += [[(one[0], one[1] ^ 1 << bit, one[2])] for bit in range(32)]
    lists += [[(*one[:2], one[2] ^ 1 << bit)] for bit in range(32)]
    assert len({polynomial(live_words(live), PAIR.live_key()) for live in lists}) == len(lists)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_two_tables_in_one_memory(seed):
    """Each is a memory of its own: what was written `latency` clocks ago is there, whatever the other one does."""
    rng = random.Random(seed)
    dut = HalvedMemory(width=9, depth=8)
    written = [{}, {}]

    async def bench(ctx):
        last = [-9, -9]
        held = [(0, 0), (0, 0)]  # index, since
        for clock in range(400):
            for k, least in enumerate((2, 4)):
                writes = clock - last[k] >= least and rng.random() < 0.6
                ctx.set(dut.i_write[k], writes)
                if writes:
                    last[k] = clock
                    place, word = rng.randrange(8), rng.getrandbits(9)
                    ctx.set(dut.i_write_index[k], place)
                    ctx.set(dut.i_word[k], word)
                    written[k].setdefault(place, []).append((clock, word))
                index, since = held[k]
                before = [(at, word) for at, word in written[k].get(index, [])]
                if before and clock - max(since, before[-1][0]) >= dut.latency:
                    assert ctx.get(dut.o_word[k]) == before[-1][1]
                if rng.random() < 0.1:
                    held[k] = rng.randrange(8), clock
                    ctx.set(dut.i_index[k], held[k][0])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("depth", [0, 1, 6])
def test_tables_that_are_refused(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}; allowed: a power of two from 2"):
        HalvedMemory(width=1, depth=depth)
