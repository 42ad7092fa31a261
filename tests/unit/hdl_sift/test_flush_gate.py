"""A flush waits for the heralds before it, and for no others."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from twinphase_hdl.sift.flushgate import FlushGate


@pytest.mark.parametrize("seed", range(6))
def test_flush_waits_for_what_waited(seed: int) -> None:
    """A queue whose heralds enter and leave at random, packers that hold them for a while: a flush is done at last, and not before all
    that had come have been flushed out of the packers."""
    rng = np.random.default_rng(seed)
    gate = FlushGate(waiting_max=20)
    leaving, asking = float(rng.choice([0.1, 0.5, 1.0])), float(rng.choice([0.01, 0.1, 0.4]))
    done = 0

    async def bench(context) -> None:
        nonlocal done
        waiting, entered, left, packed, busy = 0, 0, 0, 0, 0
        wanted, open_flush = 0, False
        for clock in range(1500):
            enters = waiting < 20 and rng.random() < 0.4 and clock < 1200
            leaves = waiting > 0 and rng.random() < leaving
            flush = rng.random() < asking and clock < 1300
            context.set(gate.i_waiting, waiting)
            context.set(gate.i_left, leaves)
            context.set(gate.i_flush, flush)
            context.set(gate.i_flushed, busy == 0)
            if open_flush and context.get(gate.o_flushed):
                assert packed >= wanted, f"clock {clock}: {packed} of {wanted} heralds had been flushed"
                done += 1
                open_flush = False
            if context.get(gate.o_flush):
                assert left >= wanted
                packed, busy = left, int(rng.integers(1, 6))
            elif busy:
                busy -= 1
            if flush:
                wanted, open_flush = entered, True
            entered, waiting, left = entered + enters, waiting + enters - leaves, left + leaves
            await context.tick()
        assert not open_flush

    simulator = Simulator(gate)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert done >= 3


def test_size() -> None:
    with pytest.raises(ValueError, match="allowed: 1 and more"):
        FlushGate(waiting_max=0)
