"""Target words at the modulator's wavelength, and in hold, against the model clock by clock."""

import numpy as np
import pytest
from drive_bench import MASK, TURN, held_values, play
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.drive.hold import TargetHold
from twinphase_hdl.drive.target import TargetScale
from twinphase_sim.model.drive.hold import hold
from twinphase_sim.model.drive.target import ScaledWords, TargetWords, scale_targets, scaled_phase
from twinphase_spec.actuator import SCALE_PERIOD

EDGES = [0, 1, -1, MASK, 1 << 32, -(1 << 32), (1 << 63) - 1, -(1 << 63), 0x0000FFFF_FFFF0000]
RATIOS = [0, 1, -1, (1 << 31) - 1, -(1 << 31), 0xFFFF, -0x10000]


@settings(deadline=None)
@given(
    u=st.one_of(st.sampled_from(EDGES), st.integers(-(1 << 63), (1 << 63) - 1)),
    c=st.integers(-(1 << 31), (1 << 31) - 1),
)
def test_model_is_the_full_product(u: int, c: int) -> None:
    assert int(scaled_phase(np.array([u]), np.array([c]))[0]) == (u + (u * c >> 32)) & MASK


@pytest.mark.parametrize("density", [1.0, 0.3, 0.06])
def test_scale_equals_model(density: float) -> None:
    rng, clocks = np.random.default_rng(1), 1500
    u = np.where(rng.random(clocks) < 0.2, rng.choice(EDGES, clocks), rng.integers(-(1 << 63), (1 << 63) - 1, clocks))
    ratio = held_values(
        rng,
        clocks,
        lambda n: np.where(rng.random(n) < 0.5, rng.choice(RATIOS, n), rng.integers(-(1 << 31), 1 << 31, n)),
        5,
    )
    words = TargetWords(valid=rng.random(clocks) < density, phase=u, locked=rng.random(clocks) < 0.7)
    drive = {"i.phase": u, "i.locked": words.locked, "i_valid": words.valid, "i_ratio": ratio}
    seen = play(TargetScale(), drive, ["o_valid", "o_phase", "o_locked"], clocks)
    expected = scale_targets(words, ratio)
    np.testing.assert_array_equal(seen["o_valid"], expected.valid)
    for name in ("phase", "locked"):
        np.testing.assert_array_equal(seen[f"o_{name}"][expected.valid], getattr(expected, name)[expected.valid])
    # What the contract promises, beside the model: nothing is lost at one word per SCALE_PERIOD clocks.
    assert expected.valid.sum() > (clocks / SCALE_PERIOD - 3 if density == 1.0 else 20)


def test_scale_latency_and_the_newest_word() -> None:
    dut = TargetScale()
    clocks = 60
    valid = np.zeros(clocks, dtype=bool)
    valid[[3, 5, 7, 30]] = True
    drive = {"i.phase": np.arange(clocks) << 32 | np.arange(clocks), "i.locked": 1, "i_valid": valid, "i_ratio": 0}
    seen = play(dut, drive, ["o_valid", "o_phase"], clocks)
    at = np.flatnonzero(seen["o_valid"])
    assert at.tolist() == [3 + dut.latency, 3 + dut.latency + SCALE_PERIOD, 30 + dut.latency]
    assert seen["o_phase"][at].tolist() == [3, 7, 30]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 30), slope_log=st.sampled_from([4, 5, 7]), loss=st.sampled_from([0.02, 0.2, 0.9]))
def test_hold_equals_model(seed: int, slope_log: int, loss: float) -> None:
    rng, clocks = np.random.default_rng(seed), 600
    phase = (np.cumsum(rng.integers(-(1 << 28), 1 << 29, clocks)) if seed % 2 else rng.integers(0, TURN, clocks)) & MASK
    words = ScaledWords(
        valid=rng.random(clocks) < 0.3,
        phase=phase,
        locked=held_values(rng, clocks, lambda n: rng.random(n) > loss, 60).astype(bool),
    )
    coast = held_values(rng, clocks, lambda n: rng.integers(0, 2, n), 150)
    seek = held_values(rng, clocks, lambda n: rng.integers(0, 2, n), 150)
    speed = held_values(rng, clocks, lambda n: rng.choice([0, 1, 687_194, (1 << 22) - 1], n), 150)
    drive = {"i_phase": phase, "i_valid": words.valid, "i_locked": words.locked, "i_coast": coast}
    drive |= {"i_seek": seek, "i_speed": speed}
    seen = play(TargetHold(slope_log=slope_log), drive, ["o_phase", "o_held"], clocks)
    expected_phase, expected_held = hold(words, coast.astype(bool), seek.astype(bool), speed, slope_log=slope_log)
    np.testing.assert_array_equal(seen["o_phase"], expected_phase)
    np.testing.assert_array_equal(seen["o_held"], expected_held)


@pytest.mark.parametrize("coast", [0, 1])
def test_hold_keeps_or_goes_on_straight(coast: int) -> None:
    """A steady drift, lost for 500 clocks: kept to the unit, or coasted within the slope's rounding and the first word's age."""
    clocks, lost, slope_log = 900, 400, 6
    rate = 123_456
    phase = (rate * np.arange(clocks) - 777) & MASK
    dut = TargetHold(slope_log=slope_log)
    drive = {"i_phase": phase, "i_valid": 1, "i_locked": np.arange(clocks) < lost, "i_coast": coast}
    seen = play(dut, drive, ["o_phase", "o_held"], clocks)["o_phase"]
    np.testing.assert_array_equal(seen[10:lost], phase[10 - dut.latency : lost - dut.latency])
    after = np.arange(lost + dut.latency, clocks)
    # Coasting begins in the clock behind the word that says so.
    exact = phase[lost - 1] + coast * rate * (after - lost - dut.latency)
    assert (np.abs((seen[after] - exact + TURN // 2) % TURN - TURN // 2) <= coast * 1).all()


def test_seeking_goes_round_from_where_it_was_until_a_phase_is_known() -> None:
    """Every clock ``speed`` further, from reset and after a loss alike, and never at rest; a locked word ends it."""
    clocks, speed, known = 600, 3_000_001, slice(200, 300)
    locked = np.zeros(clocks, dtype=bool)
    locked[known] = True
    dut = TargetHold(slope_log=5)
    drive = {"i_phase": 5, "i_valid": 1, "i_locked": locked, "i_coast": 1, "i_seek": 1, "i_speed": speed}
    seen = play(dut, drive, ["o_phase", "o_idle"], clocks)
    late, at = dut.latency, np.arange(clocks)
    assert not seen["o_idle"].any()
    np.testing.assert_array_equal(seen["o_phase"][2:200], speed * (at[2:200] - 2) & MASK)
    assert (seen["o_phase"][200 + late : 300 + late] == 5).all()
    after = at[300 + late :]
    np.testing.assert_array_equal(seen["o_phase"][after], 5 + speed * (after - 300 - late) & MASK)


def test_configuration() -> None:
    for bad in (3, 21):
        with pytest.raises(ValueError, match=f"slope_log is {bad}; allowed: 4 to 20"):
            TargetHold(slope_log=bad)
