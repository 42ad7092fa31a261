"""Field, pads and digest in gateware against integers and the `cryptography` package, with published vectors of AES-128."""

import random

import pytest
from aes_vectors import PAIRS, SP800_KEY
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from digest_oracle import MODULUS, Pair, herald_words, polynomial, times
from twinphase_hdl.sift.digest import BlockDigest, KeyedHash
from twinphase_hdl.sift.field import FieldMultiplier
from twinphase_hdl.sift.halves import HalvedMemory
from twinphase_hdl.sift.pads import DigestPads
from twinphase_hdl.sift.serialaes import SerialAes

ELEMENT = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2, 1 << 63, 2**64 - 1, 0x1B]))
KEYS = st.builds(
    Pair, key=st.tuples(*[st.integers(0, 2**32 - 1)] * 4), nonce=st.tuples(*[st.integers(0, 2**32 - 1)] * 2)
)


def simulate(m, *benches):
    simulator = Simulator(m)
    simulator.add_clock(8e-9)
    for k, bench in enumerate(benches):
        simulator.add_testbench(bench, background=k > 0)
    simulator.run()


async def wait(ctx, clocks):
    for _ in range(clocks):
        await ctx.tick()


def test_the_oracle_s_field_is_one():
    """x^64 = x^4 + x^3 + x + 1, one is neutral, and the modulus is irreducible (Rabin's test: 2 is the only prime in 64)."""
    assert times(1 << 63, 2) == 0x1B
    assert times(0x123456789ABCDEF0, 1) == 0x123456789ABCDEF0
    squared = [2]
    for _ in range(64):
        squared.append(times(squared[-1], squared[-1]))
    assert squared[64] == 2
    a, b = MODULUS, squared[32] ^ 2
    while b:
        while a.bit_length() >= b.bit_length():
            a ^= b << a.bit_length() - b.bit_length()
        a, b = b, a
    assert a == 1


@pytest.mark.parametrize("digit_bits", [1, 8, 10, 16, 32])
@settings(max_examples=8, deadline=None)
@given(factors=st.lists(st.tuples(ELEMENT, ELEMENT, st.booleans()), min_size=1, max_size=12))
def test_products(digit_bits, factors):
    dut = FieldMultiplier(digit_bits=digit_bits)

    async def bench(ctx):
        for a, b, clears in factors:
            ctx.set(dut.i_a, a)
            ctx.set(dut.i_b, b)
            ctx.set(dut.i_start, 1)
            await ctx.tick()
            ctx.set(dut.i_start, 0)
            ctx.set(dut.i_a, 0)
            for _ in range(dut.latency):
                assert ctx.get(dut.o_busy)
                await ctx.tick()
            assert not ctx.get(dut.o_busy)
            assert ctx.get(dut.o_product) == times(a, b)
            if clears:
                ctx.set(dut.i_clear, 1)
                await ctx.tick()
                ctx.set(dut.i_clear, 0)
                assert ctx.get(dut.o_product) == 0

    simulate(dut, bench)


@pytest.mark.parametrize("digit_bits", [0, 33])
def test_digits_that_are_refused(digit_bits):
    with pytest.raises(ValueError, match=f"digit_bits is {digit_bits}; allowed: 1 to 32"):
        FieldMultiplier(digit_bits=digit_bits)


async def serve_bytes(ctx, dut, source):
    """Gives byte ``o_place`` of what is in ``source`` two clocks later."""
    asked = [0, 0]
    while True:
        asked = [*asked[1:], ctx.get(dut.o_place)]
        await ctx.tick()
        ctx.set(dut.i_byte, source[0][asked[0]])


def test_serial_aes_gives_the_published_blocks():
    """Also when it is started anew in the middle of a block or of an expansion, and when it is held before the last round."""
    dut = SerialAes()
    given_bytes = [bytes(16)]
    got = []

    async def begin(ctx, source, expands):
        given_bytes[0] = source
        ctx.set(dut.i_expands, int(expands))
        ctx.set(dut.i_start, 1)
        await ctx.tick()
        ctx.set(dut.i_start, 0)

    async def finish(ctx, held=0):
        got.clear()
        clocks = 0
        while ctx.get(dut.o_busy):
            ctx.set(dut.i_hold, held > 0)
            held -= ctx.get(dut.o_holds)
            if ctx.get(dut.o_valid):
                got.append(ctx.get(dut.o_byte))
            await ctx.tick()
            clocks += 1
        ctx.set(dut.i_hold, 0)
        return clocks

    async def bench(ctx):
        rng = random.Random(3)
        for turn, (key, plain, cipher) in enumerate([*PAIRS, *PAIRS[:2]]):
            if turn % 2:
                await begin(ctx, rng.randbytes(16), turn % 4 == 1)
                await wait(ctx, rng.randrange(260))
            await begin(ctx, key, True)
            assert await finish(ctx) == dut.latency
            assert not got
            await begin(ctx, bytes(16), False)
            await wait(ctx, rng.randrange(200))
            await begin(ctx, plain, False)
            held = (0, 1, 40)[turn % 3]
            assert await finish(ctx, held) == dut.latency + held
            assert bytes(got) == cipher

    async def serve(ctx):
        await serve_bytes(ctx, dut, given_bytes)

    simulate(dut, bench, serve)


def pair_of(key: bytes, nonce: bytes = bytes(8)) -> Pair:
    words = [int.from_bytes((key + nonce)[4 * k : 4 * k + 4], "big") for k in range(6)]
    return Pair(tuple(words[:4]), tuple(words[4:]))


async def set_pair(ctx, dut, pair: Pair, one_by_one=False):
    """Writes the registers, all in a clock or one after the other, and waits; says how long that took since the last."""
    words = [*pair.key, *pair.nonce]
    ports = [*(dut.i_settings.key[k] for k in range(4)), *(dut.i_settings.nonce[k] for k in range(2))]
    ctx.set(dut.i_written, 1)
    for port, word in zip(ports, words, strict=True):
        ctx.set(port, word)
        if one_by_one:
            await ctx.tick()
            assert not ctx.get(dut.o_ready)
    if not one_by_one:
        await ctx.tick()
    ctx.set(dut.i_written, 0)
    clocks = 0
    while not ctx.get(dut.o_ready):
        assert not ctx.get(dut.o_idle)
        assert not ctx.get(dut.o_valid)
        await ctx.tick()
        clocks += 1
    return clocks


async def next_pads(ctx, dut, limit):
    for _ in range(limit):
        if ctx.get(dut.o_valid):
            break
        await ctx.tick()
    assert ctx.get(dut.o_valid)
    return tuple(ctx.get(dut.o_pads[k]) for k in range(2))


def test_pads_of_the_published_vectors_and_of_others():
    """The pair's key is that of the published vectors. h | k of AES(0) is checked by the package, which is checked by the vectors."""
    assert pair_of(SP800_KEY).encrypted(PAIRS[0][1]) == PAIRS[0][2]
    dut = DigestPads()
    rng = random.Random(4)

    async def bench(ctx):
        ctx.set(dut.i_stop, 1)
        for turn, key in enumerate([SP800_KEY, PAIRS[1][0], bytes(16), b"\xff" * 16]):
            pair = pair_of(key, rng.randbytes(8))
            assert await set_pair(ctx, dut, pair, one_by_one=bool(turn % 2)) <= dut.latency
            assert (ctx.get(dut.o_herald_key), ctx.get(dut.o_psi_key)) == pair.keys()
            assert ctx.get(dut.o_live_key) == pair.live_key()
            assert ctx.get(dut.o_idle)
            assert not ctx.get(dut.o_valid)
            ctx.set(dut.i_stop, 0)
            for block in range(5):
                assert await next_pads(ctx, dut, 600) == pair.pads(block)
                await wait(ctx, rng.choice([0, 1, 300, 700]))
                assert ctx.get(dut.o_valid)
                assert tuple(ctx.get(dut.o_pads[k]) for k in range(2)) == pair.pads(block)
                ctx.set(dut.i_next, 1)
                await ctx.tick()
                ctx.set(dut.i_next, 0)
                assert not ctx.get(dut.o_valid)
            assert (ctx.get(dut.o_herald_key), ctx.get(dut.o_psi_key)) == pair.keys()
            assert ctx.get(dut.o_live_key) == pair.live_key()
            # A stop at any time begins with block 0 again.
            await wait(ctx, rng.randrange(560))
            ctx.set(dut.i_stop, 1)
            await wait(ctx, rng.choice([1, 2, 30]))
            ctx.set(dut.i_stop, 0)
            await ctx.tick()
            assert await next_pads(ctx, dut, 300) == pair.pads(0)
            # Ahead of time: the next block's are 26 clocks away.
            await ctx.tick().until(dut.o_idle)
            ctx.set(dut.i_next, 1)
            await ctx.tick()
            ctx.set(dut.i_next, 0)
            await ctx.tick()
            assert await next_pads(ctx, dut, 25) == pair.pads(1)
            ctx.set(dut.i_stop, 1)
            await ctx.tick()

    simulate(dut, bench)


def hashing(dut, records):
    """Feeds (input members) at the pace that ``o_ready`` allows, with pauses drawn by the caller."""

    async def bench(ctx):
        for pause, word in records:
            await wait(ctx, pause)
            while not ctx.get(dut.o_ready):
                await ctx.tick()
            ctx.set(dut.i_word, word)
            ctx.set(dut.i_valid, 1)
            await ctx.tick()
            ctx.set(dut.i_valid, 0)
            ctx.set(dut.i_word, 0)

    return bench


@settings(max_examples=12, deadline=None)
@given(
    key=ELEMENT,
    size=st.integers(1, 7),
    words=st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 7, 8, 9, 30]), ELEMENT), min_size=1, max_size=24),
)
def test_hash_of_each_run(key, size, words):
    dut = KeyedHash()
    runs = [[word for _, word in words[at : at + size]] for at in range(0, len(words) - size + 1, size)]

    async def bench(ctx):
        ctx.set(dut.i_words, size)
        ctx.set(dut.i_key, key)
        await wait(ctx, 2)
        await hashing(dut, words)(ctx)
        for _ in range(20):
            if not ctx.get(dut.o_busy):
                break
            await ctx.tick()
        assert not ctx.get(dut.o_busy)
        assert ctx.get(dut.o_blocks) == len(runs)
        for number, run in enumerate(runs):
            ctx.set(dut.i_index, number)
            await wait(ctx, HalvedMemory.latency)
            assert ctx.get(dut.o_hash) == polynomial(run, key)

    simulate(dut, bench)


def test_a_word_in_eight_clocks_and_one_for_each_run():
    dut = KeyedHash()
    size, count = 4, 24
    taken = []

    async def bench(ctx):
        ctx.set(dut.i_words, size)
        ctx.set(dut.i_key, 3)
        await wait(ctx, 2)
        await hashing(dut, [(0, 5)] * count)(ctx)

    async def watch(ctx):
        clock = 0
        while True:
            _, _, valid, ready = await ctx.tick().sample(dut.i_valid, dut.o_ready)
            clock += 1
            if valid:
                assert ready
                taken.append(clock)

    simulate(dut, bench, watch)
    assert taken[-1] - taken[2] == 8 * (count - 3) + (count - 3) // size


@settings(max_examples=6, deadline=None)
@given(pair=KEYS, seed=st.integers(0, 2**32), pause=st.sampled_from([0, 0, 3, 20]))
def test_digest_of_blocks(pair, seed, pause):
    """Heralds ahead of psi by up to a block and more; missing heralds and psi; a stop in between, after which blocks begin anew."""
    rng = random.Random(seed)
    size, blocks = rng.choice([2, 4, 6, 8]), 3
    dut = BlockDigest()
    m = Module()
    stop = Signal()
    m.submodules.dut = ResetInserter(stop)(dut)
    h, k = pair.keys()
    heralds = [None if rng.random() < 0.2 else (rng.getrandbits(56), rng.getrandbits(1)) for _ in range(size * blocks)]
    psis = [None if rng.random() < 0.2 else (rng.getrandbits(16), rng.getrandbits(2)) for _ in heralds]
    settled = [0]

    async def give_heralds(ctx, count):
        settled[0] = 0
        for herald in heralds[:count]:
            await wait(ctx, rng.randint(0, pause))
            while not ctx.get(dut.o_herald_ready):
                await ctx.tick()
            ctx.set(dut.i_missing, herald is None)
            pulse, detector = herald or (rng.getrandbits(56), rng.getrandbits(1))
            ctx.set(dut.i_pulse, pulse)
            ctx.set(dut.i_detector, detector)
            ctx.set(dut.i_herald_valid, 1)
            await ctx.tick()
            ctx.set(dut.i_herald_valid, 0)
            settled[0] += 1

    async def give_psis(ctx, count):
        for number, (herald, psi) in enumerate(zip(heralds[:count], psis[:count], strict=True)):
            while settled[0] <= number:
                await ctx.tick()
            await wait(ctx, rng.randint(0, pause))
            while not ctx.get(dut.o_psi_ready):
                await ctx.tick()
            value, flags = psi if psi and herald else (0, 0)
            await wait(ctx, 3)
            for port, part in ((dut.i_psi, value), (dut.i_flags, flags), (dut.i_present, herald is not None)):
                ctx.set(port, part)
            ctx.set(dut.i_psi_valid, 1)
            await ctx.tick()
            ctx.set(dut.i_psi_valid, 0)

    turn = [0, 0]
    counts = (rng.randrange(size * blocks), size * blocks)

    async def other(ctx):
        for number, count in enumerate(counts):
            while turn[0] <= number:
                await ctx.tick()
            await give_psis(ctx, count)
            turn[1] = number + 1
        while True:
            await ctx.tick()

    async def bench(ctx):
        ctx.set(dut.i_block_heralds, size)
        ctx.set(dut.i_herald_key, h)
        ctx.set(dut.i_psi_key, k)
        for number, count in enumerate(counts):
            ctx.set(stop, 1)
            await ctx.tick()
            ctx.set(stop, 0)
            await ctx.tick()
            turn[0] = number + 1
            await give_heralds(ctx, count)
            while turn[1] <= number:
                await ctx.tick()
            await wait(ctx, rng.randrange(3))
        while ctx.get(dut.o_busy):
            await ctx.tick()
        await ctx.tick()
        assert not ctx.get(dut.o_busy)
        assert ctx.get(dut.o_blocks) == blocks
        for block in range(blocks):
            ctx.set(dut.i_index, block)
            await wait(ctx, dut.latency)
            part = slice(block * size, block * size + size)
            assert ctx.get(dut.o_digest) == pair.digest(heralds[part], psis[part])

    simulate(m, bench, other)


def test_words_of_different_heralds_differ():
    """A missing herald is not one at pulse 0, nor one of the other detector."""
    assert len({*herald_words([None, (0, 0), (0, 1), (1 << 55, 0)])}) == 4
