"""Slew limit, window and fly-back against the model, and what they promise, on hostile and on usual targets."""

import numpy as np
import pytest
from drive_bench import MASK, TURN, play, wandering, window_settings
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twinphase_hdl.drive.endless import EndlessDrive
from twinphase_sim.model.drive.endless import endless
from twinphase_spec.actuator import STEP_CLOCKS

OUTPUTS = ("position", "step", "blank", "flyback", "blanked", "limited")


def run(
    phase: np.ndarray, slot: np.ndarray, values: dict[str, np.ndarray], dut: EndlessDrive | None = None
) -> dict[str, np.ndarray]:
    """The gateware's outputs, equal to the model's."""
    dut = EndlessDrive() if dut is None else dut
    drive = {
        "i_phase": phase,
        "i_slot": slot,
        "i_lock": values["lock"],
        "i_slew": values["slew"],
        "i_settle": values["settle"],
    }
    drive |= {f"i_window.{name}": values[name] for name in ("low", "high", "top")}
    seen = play(dut, drive, [f"o_{name}" for name in OUTPUTS], phase.size)
    expected = endless(phase, slot, values)
    for name in OUTPUTS:
        np.testing.assert_array_equal(seen[f"o_{name}"], getattr(expected, name), name)
    return seen


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    hostile=st.booleans(),
    settle=st.sampled_from([0, 1, 2, 5, 40]),
    slot_clocks=st.sampled_from([1, 3, 4, 7, 64]),
)
@example(seed=1, hostile=True, settle=0, slot_clocks=1)
@example(seed=2, hostile=False, settle=5, slot_clocks=64)
def test_equals_model(seed: int, hostile: bool, settle: int, slot_clocks: int) -> None:
    rng, clocks = np.random.default_rng(seed), 900
    phase = rng.integers(0, TURN, clocks) if seed % 3 == 0 else wandering(rng, clocks, rate=0.003, noise=0.002) & MASK
    slot = rng.random(clocks) < 1 / slot_clocks if seed % 2 else np.arange(clocks) % slot_clocks == 0
    run(phase, slot, window_settings(rng, clocks, hostile=hostile, settle=settle))


def usual(clocks: int, **other: int) -> dict[str, np.ndarray]:
    values = {
        "low": 3000,
        "high": 3000 + 65536 + 5000,
        "top": 3000 + 65536 + 8000,
        "slew": 1 << 27,
        "settle": 6,
        "lock": 0,
    } | other
    return {name: np.full(clocks, value) for name, value in values.items()}


@pytest.mark.parametrize("direction", [-1, 1])
def test_endless_range(direction: int) -> None:
    """A drift of many turns: the position stays in the window and equal to the target modulo one turn, but for the step's lag;
    one fly-back per turn, at a slot's start, and exactly one slot of 64 clocks in blank for each."""
    clocks = 5000
    rate = TURN // 1500
    phase = direction * rate * np.arange(clocks) & MASK
    slot = np.arange(clocks) % 64 == 11
    seen = run(phase, slot, usual(clocks))
    settled = slice(600, None)
    position = seen["o_position"][settled]
    error = (phase[settled] - position + TURN // 2) % TURN - TURN // 2
    # A position is 5 clocks old when it appears and stays for 3 more.
    assert (error * direction >= 5 * rate).all()
    assert (error * direction <= 8 * rate).all()
    assert not seen["o_limited"].any()
    flights = np.flatnonzero(seen["o_flyback"])
    assert abs(flights.size - clocks / 1500) <= 1
    # The step takes a slot's start within 4 clocks and shows its result at its end.
    assert set((flights - 11) % 64) <= set(range(2, 6))
    assert seen["o_blanked"].sum() == flights.size
    assert abs(seen["o_blank"].sum() - 64 * flights.size) <= 64
    # Half a turn from the step before is no slew: it is a whole turn.
    jumps = np.abs(np.diff(seen["o_position"]))
    assert (np.sort(jumps)[-flights.size :] > TURN - (1 << 28)).all()
    assert np.sort(jumps)[-flights.size - 1] <= 1 << 27


def test_no_chatter_at_the_edge() -> None:
    """Noise below the hysteresis around the window's end: one fly-back, and none back."""
    rng, clocks = np.random.default_rng(3), 4000
    edge = 3000 + 65536 + 5000
    noise = rng.uniform(-2400, 2400, clocks // 8).repeat(8)
    slow = np.linspace(edge - 9000, edge, clocks)
    phase = ((slow + noise) * 65536).astype(np.int64) & MASK
    seen = run(phase, np.ones(clocks, dtype=bool), usual(clocks, slew=(1 << 31) - 1))
    assert seen["o_flyback"].sum() == 1


def test_slew_and_end_of_range() -> None:
    """Half a turn at the slew limit, in steps of exactly it; without a slot's start the range's end holds and says so."""
    clocks, slew = 4000, 1 << 24
    phase = np.where(np.arange(clocks) < 2200, TURN * 4 // 10, TURN * 7 // 10)
    seen = run(
        phase, np.zeros(clocks, dtype=bool), usual(clocks, slew=slew, high=3000 + 65536 + 1000, top=65536 + 30000)
    )
    position = seen["o_position"]
    moves = np.diff(position[STEP_CLOCKS::STEP_CLOCKS])
    assert moves.max() == slew
    assert position[2190] == TURN + TURN * 4 // 10  # beyond high, but no slot has started
    assert position[-1] == 65536 + 30000 << 16  # nor beyond top
    assert seen["o_limited"][2000:2200].sum() == 0
    assert seen["o_limited"][-400:].sum() == 100


def test_loss_in_the_middle_of_a_fly_back() -> None:
    """The target stops in the clock after a fly-back: its blank ends as ever and the position stays."""
    clocks = 3000
    rate = TURN // 1500
    moving = rate * np.arange(clocks) & MASK
    slot = np.arange(clocks) % 16 == 0
    values = usual(clocks, settle=6)
    at = np.flatnonzero(run(moving, slot, values)["o_flyback"])[0]
    seen = run(np.where(np.arange(clocks) <= at, moving, moving[at]), slot, values)
    assert seen["o_flyback"].sum() == 1
    assert seen["o_blank"][at : at + 28].all()
    assert not seen["o_blank"][at + 28 + 20 :].any()
    assert seen["o_position"][-1] & MASK == moving[at]


def test_latency() -> None:
    """A phase in the clock before a step is at o_position ``latency`` clocks later; one clock later it waits for the next step."""
    for late in range(STEP_CLOCKS):
        dut = EndlessDrive()
        clocks, at = 60, 19 + late
        phase = np.where(np.arange(clocks) >= at, 1 << 20, 0)
        seen = run(phase, np.zeros(clocks, dtype=bool), usual(clocks), dut)["o_position"]
        wait = (STEP_CLOCKS - 1 - at) % STEP_CLOCKS
        assert np.flatnonzero(seen != TURN)[0] == at + wait + dut.latency
