"""Events of the tracker's outputs against the page, whatever the outputs are."""

import random

import pytest
from phase_oracle import simulate

from twinphase_hdl.phase.trackevents import EVENTS, TrackEvents
from twinphase_spec.tracking import ACQUIRING, IGNORED, STARTING, TRACKING, TURN


class Channel:
    """The page, line by line."""

    def __init__(self) -> None:
        self.locked = self.broke = 0

    def events(self, kind: int, locked: int, broke: int) -> set[str]:
        was_locked, was_broke = self.locked, self.broke
        self.locked, self.broke = locked, 0 if kind == TURN else broke
        found = set()
        if kind == STARTING:
            found.add("starts")
        if kind == TURN and was_locked and not locked:
            found.add("lost")
        if kind != TURN and was_locked and not locked:
            found.add("faded")
        if was_locked and locked and not was_broke and broke and kind != STARTING:
            found.add("jumps")
        if kind == TURN and not locked:
            found.add("unlocked")
        return found


@pytest.mark.parametrize("seed", range(4))
def test_events_of_any_outputs(seed: int) -> None:
    """Outputs in every clock or few, states that turn over at any of them, runs that stop with a channel in lock."""
    rng = random.Random(seed)
    dut = TrackEvents()
    clocks = 1500
    density, flips = rng.choice([1.0, 0.3]), rng.choice([0.05, 0.5])
    counted = dict.fromkeys((name, c) for c in range(2) for name in EVENTS)
    counted = dict.fromkeys(counted, 0)

    async def bench(ctx):
        channels = [Channel(), Channel()]
        state = [[0, 0], [0, 0]]
        told: list[tuple[set, list[int]]] = []
        for clock in range(clocks):
            run = not 700 <= clock < 705
            came = rng.random() < density
            c = rng.randrange(2)
            kind = rng.choice([TURN, ACQUIRING, STARTING, IGNORED, TRACKING, TRACKING, TRACKING])
            state[c] = [bit ^ (rng.random() < flips) for bit in state[c]]
            ctx.set(dut.i_run, run)
            ctx.set(dut.i_valid, came)
            ctx.set(dut.i, {"channel": c, "kind": kind, "locked": state[c][0], "broke": state[c][1]})
            found = {(name, c) for name in channels[c].events(kind, *state[c])} if came and run else set()
            if not run:
                channels = [Channel(), Channel()]
            told.append((found, [each.locked for each in channels]))
            if came:
                assert not ctx.get(dut.o_idle)
            await ctx.tick()
            if 695 < clock < 710:
                continue  # what was under way when the run stopped is forgotten
            if clock >= TrackEvents.latency - 1:
                events, locked = told[clock - TrackEvents.latency + 1]
                got = ctx.get(dut.o_events)
                got = {(EVENTS[k % 5], k // 5) for k in range(10) if got >> k & 1}
                assert got == events, clock
                assert ctx.get(dut.o_locked) == locked[0] | locked[1] << 1
                for event in events:
                    counted[event] += 1
        ctx.set(dut.i_valid, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o_idle)

    simulate(dut, bench)
    assert min(counted.values()) > 0
