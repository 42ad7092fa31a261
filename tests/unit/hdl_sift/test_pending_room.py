"""No herald enters a psi queue without room, however long it and the strobes travel; all of the room is used; numbers are kept."""

from collections import deque
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from twinphase_hdl.sift.heraldnumbers import ENDS, HeraldNumbers
from twinphase_hdl.sift.pendingroom import PendingRoom

MOST = (5, 12)


def simulate(dut: wiring.Component, bench: Any) -> None:
    """Until the bench ends."""
    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("choice", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_it_counts_what_waits_and_what_is_on_its_way(choice: int, seed: int) -> None:
    """A queue with a herald per clock on its way in and strobes on their way back; bursts, droughts and a queue that never empties."""
    rng = np.random.default_rng(seed)
    room = PendingRoom(most=MOST)
    most = MOST[choice]
    there, back = (int(delay) for delay in rng.integers(0, 4, 2))
    entered = skipped = longest = 0

    async def bench(context) -> None:
        nonlocal entered, skipped, longest
        coming, leaving, waiting, counted = [0] * (there + 1), [0] * (back + 1), 0, 0
        closed = passed = False
        context.set(room.i_choice, choice)
        for clock in range(1200):
            wanted, takes = (0.9, 0.1) if clock % 200 < 100 else (0.5, 0.6)
            comes = bool(rng.random() < wanted)
            leaves = waiting > 0 and rng.random() < takes
            context.set(room.i_comes, comes)
            leaving = [leaves, *leaving[:-1]]
            context.set(room.i_leaves, leaving[-1])
            enters, resumes, over = (context.get(s) for s in (room.o_enters, room.o_resumes, room.o_skipped))
            assert (enters, over) == (comes and not closed, comes and closed), f"clock {clock}"
            assert not enters or resumes == passed
            passed = closed if comes else passed
            coming = [enters, *coming[:-1]]
            waiting += coming[-1] - leaves
            # Closed when it is full; open again in the clock after which it was seen to have a quarter free.
            closed = counted > most - most // 4 if closed else counted + enters - leaving[-1] == most
            counted += enters - leaving[-1]
            entered, skipped, longest = entered + enters, skipped + over, max(longest, waiting)
            assert waiting <= counted <= most
            await context.tick()

    simulate(room, bench)
    assert entered > 100
    assert skipped > 50
    assert longest == most


@pytest.mark.parametrize("most", [(0, 4), (4, 0)])
def test_it_refuses_no_room(most: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="allowed: 1 or more each"):
        PendingRoom(most=most)


class Numbered(wiring.Component):
    """A room and the numbers of what it lets in."""

    i_run: In(1)
    i_comes: In(1)
    i_number: In(32)
    i_leaves: In(1)
    i_resumes: In(1)
    o_enters: Out(1)
    o_resumes: Out(1)
    o_number: Out(32)

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.room = room = PendingRoom(most=(self.most, self.most))
        m.submodules.numbers = numbers = HeraldNumbers()
        m.d.comb += [
            *(room.i_comes.eq(self.i_comes), room.i_leaves.eq(self.i_leaves)),
            *(self.o_enters.eq(room.o_enters), self.o_resumes.eq(room.o_resumes), self.o_number.eq(numbers.o_number)),
            *(numbers.i_end.eq(room.o_enters & room.o_resumes), numbers.i_number.eq(self.i_number)),
            *(numbers.i_leaves.eq(self.i_leaves), numbers.i_resumes.eq(self.i_resumes)),
        ]
        m.d.sync += Signal(name="clocked").eq(1)
        return m


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 16, 100])
def test_heralds_leave_with_the_numbers_with_which_they_entered(most: int) -> None:
    """With long and short runs of heralds passed over, from before the wrap of the numbers on."""
    rng = np.random.default_rng(most)
    rig = Numbered(most)
    # k ends in the queue: a quarter of it entered between two, and three quarters were in it when the last entered.
    quarter = max(1, most // 4)
    most_ends = 1 + (most - quarter) // quarter
    assert most_ends <= ENDS
    left = ends = 0

    async def bench(context) -> None:
        nonlocal left, ends
        queue: deque[tuple[int, int]] = deque()
        number, jump = 0, (1 << 32) - 300
        for clock in range(4000):
            comes = bool(rng.random() < rng.choice([0.2, 0.9, 1.0]))
            leaves = bool(queue) and bool(rng.random() < (0.1 if clock % 400 < 300 else 0.9))
            context.set(rig.i_comes, comes)
            context.set(rig.i_number, number)
            context.set(rig.i_leaves, leaves)
            if leaves:
                expected, resumes = queue.popleft()
                context.set(rig.i_resumes, resumes)
                assert context.get(rig.o_number) == expected, f"clock {clock}"
                left += 1
            if context.get(rig.o_enters):
                queue.append((number, context.get(rig.o_resumes)))
                ends += context.get(rig.o_resumes)
            elif comes and not left % 7:
                number = (number + jump) & 0xFFFF_FFFF  # as if many were passed over
                jump = 0
            number = (number + comes) & 0xFFFF_FFFF
            assert sum(resumes for _, resumes in queue) <= most_ends
            await context.tick()

    simulate(rig, bench)
    assert left > 300
    assert ends > 5
