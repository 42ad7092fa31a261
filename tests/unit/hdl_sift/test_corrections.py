"""Corrections and emitter against the model: every slot of every stretch around a correction, for any number of lanes."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator

from sift_rigs import CorrectedEmitter
from twinphase_hdl.sift.corrections import Corrections
from twinphase_hdl.sift.emitter import Emitter
from twinphase_sim.model.sift.emission import Correction, EmissionSchedule
from twinphase_sim.model.sift.symbols import Symbols, codes_of, slot_bytes
from twinphase_spec.emission import APART_SLOTS, DARK_SLOTS, LEAD_SLOTS, MOST_STEP
from twinphase_spec.frame import FrameConfig, SlotClass, slot_byte

WRAP = 1 << 56
CHANGES = (0, 0, 1, -1, 1, -1, 3, -5, 7, 8, -8, 9, 31, 40, 41, -40, MOST_STEP - 1, -MOST_STEP, 500, -777)
SETTLE = 16
"""Clocks after a jump in which what was passed may not be in force yet."""


def fake_symbols(pulses: np.ndarray) -> Symbols:
    """Cheap ones in the place of AES: any function of the pulse will do."""
    drawn = (pulses.astype(np.uint64) & np.uint64(WRAP - 1)) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
    none = np.zeros(pulses.shape, np.bool_)
    number = (drawn & np.uint64(15)).astype(np.uint8)
    return Symbols(none, none, (drawn >> np.uint64(4) & np.uint64(3)).astype(np.uint8), number, number << np.uint8(4))


class Run:
    """A client's emission: slots of its clocks, what it is told in them, and what is to come of it."""

    def __init__(self, lanes: int, seed: int, start: int) -> None:
        self.draw, self.lanes = random.Random(f"{lanes} {seed}"), lanes
        self.schedule = EmissionSchedule(lanes=lanes)
        slots = self.draw.choice([16, 48, 40, 1000])
        self.slot_pulses = self.draw.choice([lanes, 2 * lanes, 24])
        table = tuple(
            slot_byte(*self.draw.choices(list(SlotClass), [1, 9, 1, 1, 2, 2, 2, 2, 1], k=2)) for _ in range(slots)
        )
        self.frame = FrameConfig(
            period_q32=1024 << 32,
            slot_pulses=self.slot_pulses,
            table=table,
            frames_per_window=1 << 16,
            windows_per_dwindow=2,
        )
        self.slot = start // 8 * 8
        self.clocks: list[tuple[int, Correction | None, bool]] = []
        """(slot, write, whether the codes are as the model says)."""
        self.emitted: list[tuple[np.ndarray, ...]] = []
        self.waiting: deque[tuple[int, int]] = deque()
        self.named, self.pulses = self.slot, 0
        self.jumps: list[int] = []
        """Clocks before a jump."""

    def run(self, clocks: int, *, known: bool = True) -> None:
        for _ in range(clocks):
            self.clocks.append((self.slot, None, known))
            self.slot += self.lanes

    def jump(self, to: int) -> None:
        """Skip to ``to`` as a node that is idle: by less than APART_SLOTS at a time."""
        while to - self.slot > 30 * self.lanes:
            # The lanes of the clock before would need those after it.
            self.clocks[-1] = (*self.clocks[-1][:2], False)
            self.jumps.append(len(self.clocks) - 1)
            self.slot = min(to, self.slot + APART_SLOTS // 2) // self.lanes * self.lanes
            self.run(SETTLE, known=False)

    def write(self, correction: Correction) -> bool:
        taken = self.schedule.write(Correction(**{**vars(correction), "slot": correction.slot % WRAP}), self.slot)
        self.clocks.append((self.slot, correction, True))
        self.slot += self.lanes
        self.run(9)
        return taken

    def refusals(self) -> None:
        """Each for one reason, by as little as can be."""
        near, period = max(self.slot + LEAD_SLOTS + 8 & ~7, self.named + APART_SLOTS), 8192 // self.lanes
        draw = self.draw
        wrong = [
            Correction(slot=self.slot // 8 * 8 + LEAD_SLOTS - 8, pulses=self.pulses, fraction=0),
            Correction(slot=self.slot - draw.choice([8, 1 << 30, 1 << 54]), pulses=self.pulses, fraction=0),
            Correction(slot=near, pulses=self.pulses + MOST_STEP, fraction=0),
            Correction(slot=near, pulses=self.pulses - MOST_STEP - 1, fraction=0),
            *([Correction(slot=near, pulses=self.pulses, fraction=period)] if self.lanes > 1 else []),
        ]
        if self.schedule.taken:
            wrong.append(Correction(slot=self.named + APART_SLOTS - 8, pulses=self.pulses, fraction=0))
        for correction in draw.sample(wrong, 2):
            assert not self.write(correction)

    def correct(self, changes: list[int]) -> None:
        """Write corrections, as near to each other as can be, and look at the slots around each of them."""
        draw = self.draw
        for change in changes:
            apart = draw.choice([0, 0, draw.randrange(1 << 17)])
            first = not self.schedule.taken or (not self.waiting and self.named + APART_SLOTS < self.slot + LEAD_SLOTS)
            named = (self.slot + LEAD_SLOTS + 8 if first else self.named + APART_SLOTS) + apart
            if draw.random() < 0.3:  # at a border of the frame
                named = -(-named // self.frame.frame_pulses) * self.frame.frame_pulses
            named = -(-named // 8) * 8
            self.pulses += change
            fraction = draw.randrange(8192 // self.lanes)
            assert self.write(Correction(slot=named + draw.randrange(8), pulses=self.pulses, fraction=fraction))
            self.named = named
            self.waiting.append((named, change))
        while self.waiting:
            named, change = self.waiting.popleft()
            self.run(abs(change) // self.frame.frame_pulses + 12)  # no node skips clocks while it prepares a correction
            self.jump(named - 30 * self.lanes - 64)
            self.run((named - self.slot + DARK_SLOTS + 80) // self.lanes + 4)
            if change > 100:
                self.jump(named + change - 12 * self.lanes - 16)
                self.run((named + change + 40 - self.slot) // self.lanes + 4)


def simulate(run: Run) -> tuple[list, list[int], int, int]:
    """(what leaves for every clock; o_idle in every clock; taken; refused)."""
    dut = CorrectedEmitter(lanes=run.lanes, symbol_latency=3)
    got: list[tuple] = []
    idle: list[int] = []
    lanes, frame = run.lanes, run.frame
    counts = []

    async def bench(ctx):
        entry_pulses = max(run.slot_pulses, lanes)
        grid = {
            "frame_pulses": frame.frame_pulses,
            "slot_pulses": entry_pulses,
            "slot_reciprocal": (1 << 24) // entry_pulses,
        }
        ctx.set(dut.i_grid, grid)
        ctx.set(dut.i_role, 0)
        ctx.set(dut.i_write, 1)
        for entry, byte in enumerate(frame.table):
            for half in range(2):
                ctx.set(dut.i_address, 2 * entry + half)
                ctx.set(dut.i_data, byte * 0x01010101)
                await ctx.tick()
        ctx.set(dut.i_write, 0)
        asked: deque[int] = deque([0] * 3)
        for number in range(len(run.clocks) + dut.latency):
            slot, correction, _ = (
                run.clocks[number]
                if number < len(run.clocks)
                else (run.slot + (number - len(run.clocks)) * lanes, None, False)
            )
            ctx.set(dut.i_framing, 1)
            ctx.set(dut.i_anchor, {"pulse": slot % WRAP, "frame_pulse": slot % frame.frame_pulses})
            ctx.set(dut.i_correct, correction is not None)
            if correction is not None:
                ctx.set(dut.i_from, correction.slot % WRAP)
                ctx.set(dut.i_pulses, correction.pulses)
                ctx.set(dut.i_fraction, correction.fraction)
            asked.append(ctx.get(dut.o_ask_pulse))
            assert asked[-1] % lanes == 0
            drawn = fake_symbols(asked.popleft() + np.arange(lanes))
            for lane in range(lanes):
                ctx.set(dut.i_symbols[lane].intensity, int(drawn.intensity[lane]))
                ctx.set(dut.i_symbols[lane].phase, int(drawn.phase[lane]))
            codes = [(ctx.get(dut.o_q[lane]), ctx.get(dut.o_r[lane])) for lane in range(lanes)]
            idle.append(ctx.get(dut.o_idle))
            got.append((ctx.get(dut.o_valid), ctx.get(dut.o_pulse), ctx.get(dut.o_fraction), codes))
            await ctx.tick()
        counts.extend((ctx.get(dut.o_taken), ctx.get(dut.o_refused)))

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return got[dut.latency :], idle, counts[0], counts[1]


def expect(run: Run) -> list[tuple]:
    slots = np.array([slot for slot, _, _ in run.clocks])[:, None] + np.arange(run.lanes)
    emitted = run.schedule.at(slots)
    entries = slot_bytes(run.frame, np.mod(emitted.pulse, run.frame.frame_pulses).astype(np.uint64))
    q, r = (np.where(emitted.light, code, 0) for code in codes_of(entries, "alice", fake_symbols(emitted.pulse)))
    codes = [list(zip(a, b, strict=True)) for a, b in zip(q.tolist(), r.tolist(), strict=True)]
    fraction = emitted.fraction[:, 0].tolist()
    return [(1, n % WRAP, f, c) for n, f, c in zip(emitted.pulse[:, 0].tolist(), fraction, codes, strict=True)]


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
@pytest.mark.parametrize("start", [0, WRAP - 3 * APART_SLOTS])
def test_every_slot_is_the_models(lanes, start):
    check(lanes, start, start)


def check(lanes, seed, start):
    run = Run(lanes, seed, start)
    run.run(30)
    run.refusals()
    for burst in (1, 3, 2):
        run.correct(run.draw.choices(CHANGES, k=burst))
        run.refusals()
    got, idle, taken, refused = simulate(run)
    assert (taken, refused) == (run.schedule.taken, run.schedule.refused)
    assert all(idle[k] for k in run.jumps), "a clock that a node would not skip"
    want = expect(run)
    compared = lit = 0
    for (slot, _, known), here, there in zip(run.clocks, got, want, strict=True):
        if known:
            assert here == there, f"slot {slot - run.named} from the last correction's, L = {run.frame.frame_pulses}"
            compared, lit = compared + 1, lit + any(q or r for q, r in here[3])
    assert compared > 300
    assert lit > compared // 4


def test_sixteen_wait_and_a_stop_forgets_them():
    dut, seen = Corrections(lanes=8), []
    here = 1 << 40

    async def bench(ctx):
        slot = here

        async def write(named, pulses, clocks=10, at=0):
            nonlocal slot
            for clock in range(clocks):
                ctx.set(dut.i_slot, slot)
                ctx.set(dut.i_write, clock == at)
                ctx.set(dut.i_from, named)
                ctx.set(dut.i_pulses, pulses)
                await ctx.tick()
                slot += 8
            seen.append(
                (ctx.get(dut.o_taken), ctx.get(dut.o_refused), ctx.get(dut.o_shift.pulses), ctx.get(dut.o_idle))
            )

        ctx.set(dut.i_frame_pulses, 16)
        await write(here + 8000, 0)  # the frame does not run
        ctx.set(dut.i_framing, 1)
        for k in range(17):
            await write(here + 8000 + k * APART_SLOTS, k + 1)
        # The first is in force, the second is not yet when this is written.
        slot = here + 8000 + APART_SLOTS - 200
        await write(here + 8000 + 16 * APART_SLOTS, 17, 60, at=20)
        await write(here + 8000 + 17 * APART_SLOTS, 18)
        ctx.set(dut.i_framing, 0)
        await write(here, 0)
        ctx.set(dut.i_framing, 1)
        await write(slot + 8192, 100, 30)
        slot += 8192
        await write(slot + 8192, 100, 30)

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[0] == (0, 1, 0, 1)
    assert [entry[:2] for entry in seen[1:18]] == [(min(k, 16), 1 + (k == 17)) for k in range(1, 18)]
    assert seen[18:20] == [(17, 2, 2, 1), (18, 2, 2, 1)]
    assert seen[20] == (18, 3, 0, 1)
    assert [entry[:3] for entry in seen[21:]] == [(19, 3, 0), (19, 4, 100)]


@pytest.mark.parametrize(("pulses", "last"), [(0, 1), (4, 1), (-8, 1), (3, 0), (-1, 0)])
def test_the_last_clock_of_a_frame_needs_no_pulses_of_the_next(pulses, last):
    dut, valid = Emitter(lanes=4, symbol_latency=0), []

    async def bench(ctx):
        ctx.set(dut.i_shift.pulses, pulses)
        ctx.set(dut.i_grid, {"frame_pulses": 16, "slot_pulses": 4, "slot_reciprocal": 1 << 22})
        for clock in range(20 + dut.latency):
            ctx.set(dut.i_framing, 5 <= clock < 15)
            ctx.set(dut.i_anchor.pulse, 4 * clock)
            valid.append(ctx.get(dut.o_valid))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert valid[dut.latency :] == [0] * 5 + [1] * 9 + [last] + [0] * 5


def test_lanes_are_refused():
    with pytest.raises(ValueError, match="lanes is 3; allowed: 1, 2, 4 or 8"):
        Corrections(lanes=3)
