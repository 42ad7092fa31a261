"""Heralds never find a psi queue without room, however long they and their strobes travel, and use all of its room."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from twinphase_hdl.sift.pendingroom import PendingRoom

MOST = (5, 12)


@pytest.mark.parametrize("choice", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_it_counts_what_waits_and_what_is_on_its_way(choice: int, seed: int) -> None:
    """A queue with a herald per clock on its way in and strobes on their way back; bursts, droughts and a queue that never empties."""
    rng = np.random.default_rng(seed)
    room = PendingRoom(most=MOST)
    there, back = (int(delay) for delay in rng.integers(0, 4, 2))
    seen_full = longest = 0

    async def bench(context) -> None:
        nonlocal seen_full, longest
        coming, leaving, waiting, counted = [0] * (there + 1), [0] * (back + 1), 0, 0
        context.set(room.i_choice, choice)
        for clock in range(1200):
            full = context.get(room.o_full)
            assert full == (counted == MOST[choice]), f"clock {clock}"
            seen_full += full
            wanted, takes = (0.9, 0.1) if clock % 200 < 100 else (0.5, 0.6)
            enters = not full and rng.random() < wanted
            leaves = waiting > 0 and rng.random() < takes
            coming, leaving = [enters, *coming[:-1]], [leaves, *leaving[:-1]]
            context.set(room.i_enters, enters)
            context.set(room.i_leaves, leaving[-1])
            waiting += coming[-1] - leaves
            counted += enters - leaving[-1]
            longest = max(longest, waiting)
            assert waiting <= MOST[choice]
            await context.tick()

    simulator = Simulator(room)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen_full > 50
    assert longest == MOST[choice]


@pytest.mark.parametrize("most", [(0, 4), (4, 0)])
def test_it_refuses_no_room(most: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="allowed: 1 or more each"):
        PendingRoom(most=most)
