"""What a proof is to reject: parts with other code in one place, in simulated runs, as a solver takes long to find one."""

import inspect
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

from amaranth.sim import Simulator

RUNS, RUN_CLOCKS = 80, 40


def wrong(module: ModuleType, name: str, right: str, instead: str) -> Any:
    """The class ``name`` of a module with other code in one place."""
    source = inspect.getsource(module)
    assert source.count(right) == 1, f"{right} occurs {source.count(right)} times"
    names = {"__name__": module.__name__, "__package__": module.__package__}
    exec(compile(source.replace(right, instead), str(module.__file__), "exec"), names)
    return names[name]


def rejected(
    proof: Any,
    drive: Callable[[random.Random, Any], Callable[[Any], None]],
    *,
    runs: int = RUNS,
    clocks: int = RUN_CLOCKS,
) -> bool:
    """An assertion fails in one of some random runs from reset: a solver takes long to find one."""
    draw = random.Random(1)
    simulator = Simulator(proof)
    simulator.add_clock(8e-9)

    async def bench(context: Any) -> None:
        step = drive(draw, proof)
        for _ in range(clocks):
            step(context)
            await context.tick()

    simulator.add_testbench(bench)
    for run in range(runs):
        if run:
            simulator.reset()
        try:
            simulator.run()
        except AssertionError:
            return True
    return False
