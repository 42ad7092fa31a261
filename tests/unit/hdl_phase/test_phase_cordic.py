"""CORDIC and phase scaler, bit for bit against the plain statement; the angle also against atan2."""

import math
import random

from phase_oracle import rotation, scaled, simulate, vectoring

from twinphase_hdl.phase.cordic import Cordic
from twinphase_hdl.phase.multiply import PhaseScaler

SEED = 5


async def run(ctx, dut, request, rng):
    """One request with a random pause before the result is taken; (result, clocks from the transfer to o.valid)."""
    ctx.set(dut.i.payload, request)
    ctx.set(dut.i.valid, 1)
    while not ctx.get(dut.i.ready):
        await ctx.tick()
    await ctx.tick()
    ctx.set(dut.i.valid, 0)
    clocks = 1
    while not ctx.get(dut.o.valid):
        await ctx.tick()
        clocks += 1
    result = ctx.get(dut.o.payload)
    for _ in range(rng.choice([0, 0, 1, 3])):
        await ctx.tick()
        assert ctx.get(dut.o.valid)
        again = ctx.get(dut.o.payload)
        assert again == result if isinstance(result, int) else again.as_bits() == result.as_bits()
    ctx.set(dut.o.ready, 1)
    await ctx.tick()
    ctx.set(dut.o.ready, 0)
    return result, clocks


def test_vectoring_equals_spec_and_bounds_atan2():
    rng = random.Random(SEED)
    top = 1 << 47
    vectors = [(x, y) for x in (-top, -1, 0, 1, top - 1) for y in (-top, -1, 0, 1, top - 1)]
    vectors += [(s * (1 << b) + e, t) for b in (21, 22, 23) for s in (1, -1) for e in (-1, 0, 1) for t in (0, 5)]
    for _ in range(150):
        bits = rng.randrange(2, 48)
        vectors.append((rng.randrange(-(1 << bits), 1 << bits), rng.randrange(-(1 << bits), 1 << bits)))
    dut = Cordic()

    async def bench(ctx):
        for x, y in vectors:
            result, clocks = await run(ctx, dut, {"x": x, "y": y, "angle": 0x1234, "rotate": 0}, rng)
            expected = vectoring(x, y)
            assert result.zero == (expected is None)
            assert result.angle == (expected or 0), (x, y)
            assert clocks <= dut.vectoring_latency
            if expected is None:
                assert clocks == 5
                continue
            exact = math.atan2(y, x) / (2 * math.pi) * 65536
            error = (result.angle - exact + 32768) % 65536 - 32768
            # Half a unit of rounding; 18 stages whose table is rounded to 2^-4 / 2 unit each, mostly cancelling, and the last
            # angle left over, atan(2^-17) = 0.08 unit, stay below 1.1 in all (18 / 32 + 0.08 + 0.5 = 1.14 at the very worst).
            assert abs(error) < 1.15, (x, y, error)

    simulate(dut, bench)


def test_rotation_equals_spec():
    rng = random.Random(SEED)
    top = 1 << 26
    cases = [
        (x, y, a)
        for x in (-top, top - 1)
        for y in (-top, top - 1)
        for a in (0, 8192, 16383, 16384, 32768, 49151, 49152)
    ]
    cases += [(rng.randrange(-top, top), rng.randrange(-top, top), rng.getrandbits(16)) for _ in range(120)]
    dut = Cordic()

    async def bench(ctx):
        for x, y, a in cases:
            result, clocks = await run(ctx, dut, {"x": x, "y": y, "angle": a, "rotate": 1}, rng)
            assert (result.x, result.y) == rotation(x, y, a), (x, y, a)
            assert clocks == dut.rotation_latency
            turned = (
                complex(x, y) * complex(math.cos(a * math.tau / 65536), math.sin(a * math.tau / 65536)) * 1.6467602581
            )
            # Each of 18 stages floors twice (up to 1, grown by at most the gain); the angle is off by less than 0.7 unit.
            assert abs(complex(result.x, result.y) - turned) < 18 * 2.4 + abs(turned) * 0.7 * math.tau / 65536

    simulate(dut, bench)


def test_scaler_equals_full_product():
    rng = random.Random(SEED)
    u_edges, c_edges = (-(1 << 47), -1, 0, 1, (1 << 47) - 1), (-(1 << 31), -1, 0, 1, (1 << 31) - 1)
    cases = [(u, c) for u in u_edges for c in c_edges]
    cases += [(rng.randrange(-(1 << 47), 1 << 47), rng.randrange(-(1 << 31), 1 << 31)) for _ in range(100)]
    dut = PhaseScaler()

    async def bench(ctx):
        for u, c in cases:
            result, clocks = await run(ctx, dut, {"unwrapped": u, "ratio": c}, rng)
            assert result == scaled(u, c), (u, c)
            assert clocks == dut.latency

    simulate(dut, bench)
