"""AES-128 in gateware against the published vectors, with keys that change and blocks that queue."""

import random

import pytest
from aes_vectors import COUNTER_BLOCKS, COUNTER_OUTPUTS, PAIRS, SCHEDULE, SP800_KEY
from amaranth.hdl import Module
from amaranth.sim import Simulator

from twinphase_hdl.sift.aes import AesCore, AesPipeline
from twinphase_hdl.sift.keyschedule import SETTLE_CLOCKS, KeySchedule
from twinphase_hdl.sift.subbytes import SubBytes, s_box


def words_of(key: bytes) -> list[int]:
    return [int.from_bytes(key[4 * k : 4 * k + 4], "big") for k in range(4)]


def simulate(m, *benches):
    simulator = Simulator(m)
    simulator.add_clock(8e-9)
    for k, bench in enumerate(benches):
        simulator.add_testbench(bench, background=k > 0)
    simulator.run()


def with_schedule(dut):
    """The cipher and its key schedule."""
    m = Module()
    m.submodules.schedule = schedule = KeySchedule()
    m.submodules.dut = dut
    m.d.comb += dut.i_word.eq(schedule.o_word)
    if hasattr(dut, "i_key"):
        m.d.comb += dut.i_key.eq(schedule.i_key)
    return m, schedule


async def set_key(ctx, schedule, key: bytes):
    """Sets a key and waits for its schedule; says how long that took."""
    ctx.set(schedule.i_key, words_of(key))
    clocks = 0
    await ctx.tick().repeat(2)
    while not ctx.get(schedule.o_ready):
        await ctx.tick()
        clocks += 1
        assert clocks <= schedule.latency
    return clocks + 2


def test_s_box_is_a_permutation_with_the_published_corners():
    """First, second and last byte of the standard's table, and the example in its text: S(53) = ed."""
    table = s_box()
    assert sorted(table) == list(range(256))
    assert (table[0], table[1], table[0x53], table[0xFF]) == (0x63, 0x7C, 0xED, 0x16)


def test_schedule_is_that_of_the_appendix_and_starts_anew_with_every_change():
    schedule = KeySchedule()
    words = []

    async def bench(ctx):
        ctx.set(schedule.i_key, words_of(bytes(16)))
        await ctx.tick().repeat(SETTLE_CLOCKS + 10)
        # In the midst of the expansion of a first key, a second one comes word by word.
        for k, word in enumerate(words_of(SP800_KEY)):
            ctx.set(schedule.i_key[k], word)
            await ctx.tick().repeat(3)
        for _ in range(schedule.latency):
            assert not (ctx.get(schedule.o_ready) and len(words) < 44)
            if ctx.get(schedule.o_word.valid):
                if ctx.get(schedule.o_word.index) == 0:
                    words.clear()
                assert ctx.get(schedule.o_word.index) == len(words)
                words.append(ctx.get(schedule.o_word.word))
            await ctx.tick()
        assert ctx.get(schedule.o_ready)
        # No word of a new schedule comes while blocks under the old one may still be on their way.
        ctx.set(schedule.i_key[3], 0)
        await ctx.tick().repeat(2)
        assert not ctx.get(schedule.o_ready)
        for _ in range(SETTLE_CLOCKS - 2):
            assert not ctx.get(schedule.o_word.valid)
            await ctx.tick()

    simulate(schedule, bench)
    assert words == SCHEDULE


def test_pipeline_gives_the_published_blocks_one_per_clock():
    dut = AesPipeline()
    m, schedule = with_schedule(dut)

    async def bench(ctx):
        for key in {key for key, _, _ in PAIRS}:
            await set_key(ctx, schedule, key)
            blocks = [(plain, cipher) for own, plain, cipher in PAIRS if own == key]
            if key == SP800_KEY:
                blocks += list(zip(COUNTER_BLOCKS, COUNTER_OUTPUTS, strict=True))
            blocks *= 3
            got = []
            for plain, _ in [*blocks, *[(bytes(16), None)] * dut.latency]:
                ctx.set(dut.i_block, list(plain))
                got.append(bytes(ctx.get(dut.o_block)))
                await ctx.tick()
            assert got[dut.latency :] == [cipher for _, cipher in blocks]

    simulate(m, bench)


@pytest.mark.parametrize("idle", [0.0, 0.5, 0.97])
def test_core_gives_the_published_blocks_in_order(idle):
    """Without gaps four blocks leave in 40 clocks; alone, one takes its latency."""
    dut = AesCore(tag_bits=6)
    m, schedule = with_schedule(dut)
    rng = random.Random(idle)
    blocks = [(plain, cipher) for key, plain, cipher in PAIRS if key == SP800_KEY]
    blocks = (blocks + list(zip(COUNTER_BLOCKS, COUNTER_OUTPUTS, strict=True))) * 4
    got, came, left = [], [], []

    async def bench(ctx):
        await set_key(ctx, schedule, SP800_KEY)
        for number, (plain, _) in enumerate(blocks):
            while rng.random() < idle:
                await ctx.tick()
            ctx.set(dut.i_block, list(plain))
            ctx.set(dut.i_tag, number)
            ctx.set(dut.i_valid, 1)
            await ctx.tick().until(dut.o_ready)
            ctx.set(dut.i_valid, 0)
            ctx.set(dut.i_block, [0] * 16)
        await ctx.tick().repeat(2 * dut.latency)

    async def watch(ctx):
        clock = 0
        ports = (dut.i_valid, dut.o_ready, dut.o_valid, dut.o_block, dut.o_tag)
        while True:
            _, _, valid, ready, leaves, block, tag = await ctx.tick().sample(*ports)
            clock += 1
            if valid and ready:
                came.append(clock)
            if leaves:
                got.append((bytes(block), tag))
                left.append(clock)

    simulate(m, bench, watch)
    assert got == [(cipher, number) for number, (_, cipher) in enumerate(blocks)]
    if idle == 0:
        assert left[-1] - left[3] == (len(blocks) // 4 - 1) * 40
    if idle == 0.97:
        alone = {b - a for a, b, before in zip(came[1:], left[1:], left, strict=False) if a > before}
        assert alone == {dut.latency}


def test_core_drops_its_blocks_with_a_reset():
    from amaranth.hdl import ResetInserter, Signal

    dut = AesCore(tag_bits=1)
    m = Module()
    reset = Signal()
    m.submodules.dut = ResetInserter(reset)(dut)
    seen = []

    async def bench(ctx):
        ctx.set(dut.i_valid, 1)
        await ctx.tick().repeat(6)
        ctx.set(dut.i_valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        for _ in range(2 * dut.latency):
            seen.append(ctx.get(dut.o_valid))
            await ctx.tick()

    simulate(m, bench)
    assert not any(seen)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_odd_numbers_of_bytes_are_refused(count):
    with pytest.raises(ValueError, match=f"count is {count}; allowed: an even number from 2"):
        SubBytes(count=count, with_double=False)


def test_core_without_tags_is_refused():
    with pytest.raises(ValueError, match="tag_bits is 0; allowed: from 1"):
        AesCore(tag_bits=0)
