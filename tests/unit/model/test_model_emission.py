"""What corrections promise, whatever is written: pulses in their order and once, nothing late, nothing in between."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.model.sift.emission import Correction, EmissionSchedule, emitted_codes
from twinphase_sim.model.sift.symbols import modulator_codes
from twinphase_spec.emission import APART_SLOTS, DARK_SLOTS, LEAD_SLOTS, MOST_STEP
from twinphase_spec.frame import FrameConfig, SlotClass, slot_byte
from twinphase_spec.symbols import SymbolConfig

CONFIG = SymbolConfig(key=(1, 2, 3, 4), sent_below=500, z_below=2000, vacuum_below=2500, mu1_below=3300)
FRAME = FrameConfig(
    period_q32=1024 << 32,
    slot_pulses=8,
    table=tuple(slot_byte(SlotClass(k % 8), SlotClass((k * 5 + 4) % 8)) for k in range(24)),
    frames_per_window=1 << 16,
    windows_per_dwindow=2,
)
WRITES = st.lists(
    st.tuples(
        st.integers(0, 3 * APART_SLOTS),
        st.integers(-2 * LEAD_SLOTS, 4 * APART_SLOTS),
        st.one_of(st.integers(-3, 3), st.integers(-MOST_STEP - 2, MOST_STEP + 1)),
        st.integers(0, 1100),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(lanes=st.sampled_from([1, 2, 4, 8]), writes=WRITES, start=st.sampled_from([0, (1 << 56) - 2 * APART_SLOTS]))
def test_pulses_are_emitted_in_order_and_once(lanes: int, writes: list[tuple[int, int, int, int]], start: int) -> None:
    schedule = EmissionSchedule(lanes=lanes)
    slot, pulses = start // 8 * 8, 0
    taken: list[tuple[int, int, int]] = []
    for later, ahead, change, fraction in writes:
        slot += later // 8 * 8
        named = slot + ahead
        if schedule.write(Correction(slot=named % (1 << 56), pulses=pulses + change, fraction=fraction), slot):
            assert named // 8 * 8 - slot >= LEAD_SLOTS
            assert not taken or named // 8 * 8 - taken[-1][0] >= APART_SLOTS
            assert fraction < 8192 // lanes
            pulses += change
            taken.append((named // 8 * 8, pulses, fraction))
    assert (schedule.taken, schedule.refused) == (len(taken), len(writes) - len(taken))
    before = 0
    for begin, of_it, fraction in taken:
        around = np.arange(begin - 200, begin + MOST_STEP + 200)
        emitted = schedule.at(around)
        sent = emitted.pulse[emitted.light]
        assert (np.diff(sent) >= 1).all()
        old, new = around < begin, around >= begin
        assert (emitted.pulse[old] == around[old] - before).all()
        assert (emitted.pulse[new] == around[new] - of_it).all()
        assert (emitted.fraction[new] == fraction).all()
        change = of_it - before
        dark = around[~emitted.light]
        if not change:
            assert not dark.size
        else:
            assert dark[0] == begin - lanes
            assert (np.diff(dark) == 1).all()
            light = int(dark[-1]) + 1
            assert light % 8 == 0
            needed = max(begin + DARK_SLOTS, begin - lanes + change)
            assert needed <= light < needed + 8
        before = of_it


def test_codes_are_those_of_the_pulses() -> None:
    schedule = EmissionSchedule(lanes=8)
    slots = np.arange(8000, 12_000)
    straight = emitted_codes(schedule, FRAME, "bob", CONFIG, slots)
    for got, want in zip(straight, modulator_codes(FRAME, "bob", CONFIG, slots.astype(np.uint64)), strict=True):
        np.testing.assert_array_equal(got, want)
    assert schedule.write(Correction(slot=9000, pulses=-5, fraction=0), 1000)
    emitted = schedule.at(slots)
    for got, want in zip(
        emitted_codes(schedule, FRAME, "bob", CONFIG, slots),
        modulator_codes(FRAME, "bob", CONFIG, emitted.pulse.astype(np.uint64)),
        strict=True,
    ):
        np.testing.assert_array_equal(got, np.where(emitted.light, want, 0))
    assert np.count_nonzero(~emitted.light) == 8 + DARK_SLOTS
    schedule.stop()
    assert schedule.at(slots).pulse.tolist() == slots.tolist()
