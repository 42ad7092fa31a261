"""Emitters under corrections: codes of every slot around each take-over, with symbols of the key stream, are the model's."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from bench_emitter import PULSE_MASK, offset_of, random_config, random_frame, settle, table_words
from lockstep import Lockstep
from sift_rigs import SymbolEmitter
from twinphase_hdl.types import Anchor, GridConfig
from twinphase_sim.model.sift.emission import Correction, EmissionSchedule, emitted_codes
from twinphase_spec.emission import APART_SLOTS, DARK_SLOTS, LEAD_SLOTS, MOST_STEP
from twinphase_spec.frame import SLOT_RECIPROCAL_SHIFT
from twinphase_spec.symbols import CODE_BITS

CODE_MASK = (1 << CODE_BITS) - 1
AFTER_JUMP = 40
"""Clocks in which what was passed may not be in force, and a block of the key stream has not begun yet."""
CHANGES = (1, -1, 8, -3, 0, 5, 41, -MOST_STEP, 12, MOST_STEP - 1)


class Emission:
    """The emitter's clocks from a slot on: what it is given, and what it has to give ``latency`` clocks later."""

    def __init__(self, dut: Any, lanes: int, first: int) -> None:
        self.loop, self.lanes, self.slot = Lockstep(dut), lanes, first
        self.port = lambda member: getattr(dut, f"emitter{lanes}__{member}")
        self.schedule = EmissionSchedule(lanes=lanes)
        self.slots: list[int] = []
        self.known: list[bool] = []
        self.seen: list[tuple[int, ...]] = []
        self.ports = [self.port(member) for member in ("o_valid", "o_pulse", "o_fraction", "o_q", "o_r")]

    async def run(self, clocks: int, length: int, *, known: bool = True) -> None:
        pulse_at, frame_at = offset_of(Anchor, "pulse"), offset_of(Anchor, "frame_pulse")
        for _ in range(clocks):
            self.port("i_anchor").value = (self.slot & PULSE_MASK) << pulse_at | self.slot % length << frame_at
            await self.loop.step()
            self.slots.append(self.slot)
            self.known.append(known)
            self.slot += self.lanes

    async def jump(self, to: int, length: int) -> None:
        """As a node that is idle skips."""
        while to - self.slot > 100 * self.lanes:
            assert self.port("o_idle").value == 1
            self.known[-1] = False
            self.slot = min(to, self.slot + APART_SLOTS // 2) // 8 * 8
            await self.run(AFTER_JUMP, length, known=False)

    async def write(self, correction: Correction, length: int) -> bool:
        for member, value in (("i_from", correction.slot & PULSE_MASK), ("i_fraction", correction.fraction)):
            self.port(member).value = value
        self.port("i_pulses").value = correction.pulses & 0xFFFFFFFF
        self.port("i_correct").value = 1
        taken = self.schedule.write(correction, self.slot)
        await self.run(1, length)
        self.port("i_correct").value = 0
        await self.run(9, length)
        told = tuple(int(self.port(member).value) for member in ("o_taken", "o_refused"))
        assert told == (self.schedule.taken, self.schedule.refused)
        return taken


@cocotb.test()
@cocotb.parametrize((("lanes", "slots", "slot_pulses"), [(8, 48, 1), (8, 50, 24), (1, 61, 3)]))
async def test_corrected_emission(dut: Any, lanes: int, slots: int, slot_pulses: int) -> None:
    """Each change of whole pulses, as soon behind the one before as it may be, across 2^56 slots, while heralds are recalled."""
    draw = random.Random(f"{lanes} {slots}")
    frame, config = random_frame(draw, slots, slot_pulses), random_config(draw)
    role = draw.choice(["alice", "bob"])
    length = frame.frame_pulses
    emission = Emission(dut, lanes, ((1 << 56) - 4 * APART_SLOTS) // 8 * 8)
    loop, port = emission.loop, emission.port
    entry_pulses = max(slot_pulses, lanes)
    grid = entry_pulses << offset_of(GridConfig, "slot_pulses") | length << offset_of(GridConfig, "frame_pulses")
    grid |= (1 << SLOT_RECIPROCAL_SHIFT) // entry_pulses << offset_of(GridConfig, "slot_reciprocal")
    driven = {
        "i_grid": grid,
        "i_role": int(role == "bob"),
        "i_stop": 0,
        "i_framing": 0,
        "i_anchor": 0,
        "i_write": 0,
        "i_correct": 0,
    }
    for member, value in driven.items():
        port(member).value = value
    source = loop.source(f"emitter{lanes}__i_recall", idle=0.5)
    await loop.start()
    await settle(dut, loop, f"emitter{lanes}", config)
    port("i_write").value = 1
    for address, word in enumerate(table_words(frame, lanes)):
        port("i_address").value = address
        port("i_data").value = word
        await loop.step()
    port("i_write").value = 0
    source.send(draw.getrandbits(56) for _ in range(1000))
    loop.after.append(lambda _: emission.seen.append(tuple(int(p.value) for p in emission.ports)))
    first_cycle = len(emission.seen)
    port("i_framing").value = 1

    await emission.run(AFTER_JUMP, length, known=False)
    named = emission.slot + LEAD_SLOTS + 32 * lanes
    pulses = 0
    for number, change in enumerate(CHANGES):
        pulses += change
        named = named if not number else named + APART_SLOTS
        fraction = draw.randrange(8192 // lanes)
        assert not await emission.write(Correction(slot=emission.slot + 8, pulses=pulses, fraction=fraction), length)
        assert await emission.write(
            Correction(slot=named + draw.randrange(8), pulses=pulses, fraction=fraction), length
        )
        await emission.run(MOST_STEP // length + 16, length)
        light = named + max(DARK_SLOTS + 8, change)
        await emission.jump(named - 100 * lanes, length)
        await emission.run((named + DARK_SLOTS + 40 * lanes - emission.slot) // lanes, length)
        await emission.jump(light - 60 * lanes, length)
        await emission.run((light - emission.slot) // lanes + 60, length)

    latency = SymbolEmitter(lanes=lanes).latency
    await emission.run(latency, length, known=False)
    got = emission.seen[first_cycle + latency :]
    places = np.array(emission.slots)[:, None] + np.arange(lanes)
    emitted = emission.schedule.at(places)
    want_q, want_r = emitted_codes(emission.schedule, frame, role, config, places)  # type: ignore[arg-type]
    compared = 0
    for k, (valid, pulse, late, q, r) in enumerate(got):
        if not emission.known[k]:
            continue
        told = [[code >> CODE_BITS * lane & CODE_MASK for lane in range(lanes)] for code in (q, r)]
        where = f"slot {emission.slots[k] - named} from the last correction's"
        assert (valid, pulse) == (1, int(emitted.pulse[k, 0]) & PULSE_MASK), where
        assert late == emitted.fraction[k, 0], where
        assert told == [want_q[k].tolist(), want_r[k].tolist()], where
        compared += 1
    assert compared > 1000
