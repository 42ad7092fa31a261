"""The divider against Python's divmod, in the three shapes that the framer uses."""

import random

import pytest
from hdl_core_bench import simulate

from twinphase_hdl.core.divide import ConstantDivide

SHAPES = {
    "pulse": ((4608 * 8192 + (1 << 17)) << 32, 409 << 32, 131071 << 32, 17, 58, 8),
    "frame": ((1 << 24) + (1 << 17), 16, (1 << 24) - 1, 13, 25, 9),
    "slot": (1 << 24, 1, (1 << 16) - 1, 15, 24, 9),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_divmod(shape: str) -> None:
    x_max, d_min, d_max, q_bits, shift, latency = SHAPES[shape]
    rng = random.Random(shape)
    dut = ConstantDivide(x_max=x_max, d_min=d_min, d_max=d_max, q_bits=q_bits, shift=shift, add_bits=q_bits + 1)
    assert dut.latency == latency

    async def bench(ctx):
        for _ in range(60):
            d = rng.choice(
                [d_min, d_max, d_min + 1, rng.randint(d_min, d_max), int(d_min * (d_max / d_min) ** rng.random())]
            )
            limit = min(x_max, d << q_bits)
            ctx.set(dut.i_d, d)
            ctx.set(dut.i_reciprocal, (1 << shift) // d)
            await ctx.tick()
            due = []
            for clock in range(30 + latency):
                assert ctx.get(dut.o_valid) == (len(due) >= latency and due[-latency] is not None)
                if ctx.get(dut.o_valid):
                    x, add = due[-latency]
                    assert ctx.get(dut.o_q) == (add + x // d) % (1 << (q_bits + 1)), (x, d)
                    assert ctx.get(dut.o_r) == x % d, (x, d)
                if clock < 30 and rng.random() < 0.8:
                    multiple = rng.randrange(limit // d + 1) * d
                    x = min(limit - 1, max(0, rng.choice([rng.randrange(limit), multiple, multiple - 1, limit - 1])))
                    add = rng.randrange(1 << (q_bits + 1))
                    due.append((x, add))
                    ctx.set(dut.i_x, x)
                    ctx.set(dut.i_add, add)
                else:
                    due.append(None)
                ctx.set(dut.i_valid, due[-1] is not None)
                await ctx.tick()

    simulate(dut, bench)


def test_refuses_bounds_without_a_reciprocal() -> None:
    with pytest.raises(ValueError, match="x_max is 33"):
        ConstantDivide(x_max=33, d_min=1, d_max=3, q_bits=6, shift=5)
    with pytest.raises(ValueError, match="d_min is 4"):
        ConstantDivide(x_max=16, d_min=4, d_max=3, q_bits=6, shift=5)
