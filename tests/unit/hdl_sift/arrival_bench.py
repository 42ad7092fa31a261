"""How the benches of arrival times run."""

from collections.abc import Callable

from amaranth.sim import Simulator


def simulate(component: object, bench: Callable) -> None:
    """Runs the bench, an async function of the context, on ``component``."""
    simulator = Simulator(component)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
