"""The ring of applied phases against the model: every age, restarts, the ring's end, clock counts that wrap an entry's address."""

import numpy as np
import pytest
from drive_bench import held_values, play

from twinphase_hdl.drive.applied import AppliedPhase
from twinphase_sim.model.drive.applied import click_phases
from twinphase_spec.actuator import RING_ENTRIES, ring_clocks

NAMES = ("valid", "residual", "applied", "total", "blank", "known")


@pytest.mark.parametrize(
    ("group_log", "clocks", "delay"), [(0, 2600, 0), (0, 1500, 317), (1, 4500, 40), (3, 1200, 9), (6, 1500, 100)]
)
def test_equals_model(group_log: int, clocks: int, delay: int) -> None:
    rng = np.random.default_rng(group_log)
    start, restarted = 123_456_789_013 + group_log, 400 if group_log else 200
    jump = 1 << 40
    count = start + np.arange(clocks)
    count[restarted + 1 :] += jump
    phase = held_values(rng, clocks, lambda n: rng.integers(0, 1 << 16, n), 9)
    blank = rng.random(clocks) < 0.02
    valid = rng.random(clocks) < 0.8
    # Most clicks of the ring's reach, some at its very ends, some of any time at all, some of times before a jump.
    reach = RING_ENTRIES << group_log
    age = np.where(
        rng.random(clocks) < 0.6,
        rng.integers(0, min(reach, clocks), clocks),
        rng.integers(reach - 70, reach + 70, clocks),
    )
    age = np.where(rng.random(clocks) < 0.1, rng.choice([-3, 0, 1, jump, jump + 5], clocks), age)
    time = np.where(rng.random(clocks) < 0.05, rng.integers(0, 1 << 50, clocks), count - age + delay)
    residual = rng.integers(0, 1 << 16, clocks)
    dut = AppliedPhase(group_log=group_log)
    drive = {
        "i_clock": count,
        "i_restart": np.arange(clocks) == restarted,
        "i_phase": phase,
        "i_blank": blank,
        "i_delay": delay,
    }
    drive |= {"i_valid": valid, "i_time": time, "i_residual": residual}
    seen = play(dut, drive, [f"o_{name}" for name in NAMES], clocks)
    latency = dut.latency
    np.testing.assert_array_equal(seen["o_valid"][latency:], valid[:-latency])
    # A click is looked up one clock after it was there.
    for stretch in (slice(0, restarted), slice(restarted + 1, clocks)):
        first = stretch.start
        last = stretch.stop - 1 if stretch.start == 0 else clocks - latency
        there = np.arange(first, min(last, clocks - latency))
        there = there[valid[there]]
        expected = click_phases(
            phase[stretch],
            blank[stretch],
            first_clock=int(count[first]),
            looked_up=count[there + 1],
            time=time[there],
            residual=residual[there],
            delay=delay,
            group_log=group_log,
        )
        at = there + latency
        for name in ("applied", "total", "blank", "known"):
            np.testing.assert_array_equal(seen[f"o_{name}"][at], getattr(expected, name), name)
        np.testing.assert_array_equal(seen["o_residual"][at], residual[there])
        assert expected.known.any()
        assert not expected.known.all()


def test_reach_and_configuration() -> None:
    assert ring_clocks(3) == 8176
    with pytest.raises(ValueError, match="group_log is 7; allowed: 0 to 6"):
        AppliedPhase(group_log=7)
