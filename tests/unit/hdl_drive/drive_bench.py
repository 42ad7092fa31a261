"""What the tests of this folder share: a component played clock by clock, and settings by clock."""

from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.sim import Simulator

from twinphase_spec.actuator import LIMIT_BITS, SETTLE_BITS, SLEW_BITS

MASK = (1 << 32) - 1
TURN = 1 << 32


def play(component, inputs: Mapping, outputs: Sequence[str], clocks: int) -> dict[str, np.ndarray]:
    """Drives ``inputs`` (name with dots: values by clock, or one for all) from reset; outputs by clock, before each clock edge.

    An ``i_clock`` that is not given counts from 0.
    """
    if "i_clock" in component.signature.members and "i_clock" not in inputs:
        inputs = {**inputs, "i_clock": np.arange(clocks) % (1 << len(component.i_clock))}

    def port(name):
        value = component
        for part in name.split("."):
            value = getattr(value, part)
        return value

    by_clock = {name: value for name, value in inputs.items() if np.ndim(value)}
    seen = {name: [] for name in outputs}

    async def bench(ctx):
        for name in inputs.keys() - by_clock.keys():
            ctx.set(port(name), int(inputs[name]))
        ports = [(port(name), [int(v) for v in values]) for name, values in by_clock.items()]
        watched = [(port(name), seen[name]) for name in outputs]
        for clock in range(clocks):
            for signal, values in ports:
                ctx.set(signal, values[clock])
            for signal, values in watched:
                values.append(ctx.get(signal))
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return {name: np.array(values, dtype=np.int64) for name, values in seen.items()}


def held_values(rng: np.random.Generator, clocks: int, draw, mean: int = 200) -> np.ndarray:
    """Values that change at random clocks, ``draw(count)`` of them."""
    starts = rng.random(clocks) < 1 / mean
    starts[0] = True
    return np.asarray(draw(int(starts.sum())))[np.cumsum(starts) - 1].astype(np.int64)


def window_settings(rng: np.random.Generator, clocks: int, *, hostile: bool, settle: int) -> dict[str, np.ndarray]:
    """Window, slew, settle and lock by clock; hostile ones are any numbers at all."""
    if hostile:
        limits = {
            name: held_values(rng, clocks, lambda n: rng.integers(0, 1 << LIMIT_BITS, n))
            for name in ("low", "high", "top")
        }
        slews = [0, 1, (1 << SLEW_BITS) - 1, 1 << 30]
    else:
        low = int(rng.integers(0, 6000))
        high = low + 65537 + int(rng.integers(0, 20000))
        top = min(high + int(rng.integers(0, 6000)), 130943)
        limits = {name: np.full(clocks, value) for name, value in (("low", low), ("high", high), ("top", top))}
        slews = [1 << 22, 1 << 26, 1 << 28, (1 << SLEW_BITS) - 1]
    assert settle < 1 << SETTLE_BITS
    return limits | {
        "slew": held_values(rng, clocks, lambda n: rng.choice(slews, n)),
        "settle": np.full(clocks, settle),
        "lock": held_values(rng, clocks, lambda n: rng.integers(0, 1 << 16, n), 600),
    }


def wandering(rng: np.random.Generator, clocks: int, *, rate: float, noise: float) -> np.ndarray:
    """An unwrapped phase in 2^-32 turn that drifts (turns per clock), changes direction, and is noisy (turns)."""
    direction = held_values(rng, clocks, lambda n: rng.choice([-1, 1], n), clocks // 3 + 1)
    phase = np.cumsum(direction * rate) + rng.normal(0, noise, clocks) + rng.uniform(-1e5, 1e5)
    return (phase * TURN).astype(np.int64)
