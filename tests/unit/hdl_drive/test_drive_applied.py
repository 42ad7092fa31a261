"""The ring of applied positions against the model: every age, jumps of the clock count, the ring's end, counts that wrap an address."""

import numpy as np
import pytest
from drive_bench import held_values, play

from twinphase_hdl.drive.applied import AppliedPhase
from twinphase_sim.model.drive.applied import applied_positions
from twinphase_spec.actuator import LIMIT_BITS, RING_ENTRIES, ring_clocks
from twinphase_spec.smoothing import CLOCK_LOW_BITS


@pytest.mark.parametrize(
    ("group_log", "clocks", "delay"), [(0, 2600, 0), (0, 1500, 317), (1, 4500, 40), (3, 1200, 9), (6, 1500, 60_000)]
)
def test_equals_model(group_log: int, clocks: int, delay: int) -> None:
    rng = np.random.default_rng(group_log)
    start, jumped = 123_456_789_013 + group_log, 400 if group_log else 200
    count = start + np.arange(clocks)
    count[jumped:] += (1 << 40) + 8190
    position = held_values(rng, clocks, lambda n: rng.integers(0, 1 << LIMIT_BITS, n), 9)
    blank = rng.random(clocks) < 0.02
    valid = rng.random(clocks) < 0.8
    # Most clicks of the ring's reach, some at its very ends, some as old as a click can be.
    reach = RING_ENTRIES << group_log
    oldest = (1 << CLOCK_LOW_BITS) - 1
    age = np.where(
        rng.random(clocks) < 0.6,
        rng.integers(0, min(reach, clocks), clocks),
        rng.integers(reach - 70, reach + 70, clocks),
    )
    ago = np.clip(age - delay, 0, oldest)
    ago = np.where(rng.random(clocks) < 0.1, rng.choice([0, 1, 2, oldest], clocks), ago)
    time = count - ago
    dut = AppliedPhase(group_log=group_log)
    drive = {"i_clock": count, "i_position": position, "i_blank": blank, "i_delay": delay, "i_valid": valid}
    drive |= {"i_time": time % (1 << CLOCK_LOW_BITS)}
    seen = play(dut, drive, ["o_valid", "o_position", "o_blank"], clocks)
    latency = dut.latency
    np.testing.assert_array_equal(seen["o_valid"][latency:], valid[:-latency])
    for stretch in (slice(0, jumped), slice(jumped, clocks)):
        # Nothing may be on its way when the count jumps.
        there = np.arange(stretch.start, min(stretch.stop, clocks) - latency)
        there = there[valid[there]]
        x, blanked = applied_positions(
            position[stretch],
            blank[stretch],
            first_clock=int(count[stretch.start]),
            looked_up=count[there],
            time=time[there],
            delay=delay,
            group_log=group_log,
        )
        np.testing.assert_array_equal(seen["o_position"][there + latency], x)
        np.testing.assert_array_equal(seen["o_blank"][there + latency], blanked)
    assert x.any()


def test_rest_is_the_same_as_time_passing() -> None:
    """A ring that is idle may miss clocks: clicks get the position that they would have got."""
    still = (RING_ENTRIES + 8) << 1
    moves, clocks = still + 50, still + 400
    position = np.where(np.arange(clocks) < moves, 77, 78 + np.arange(clocks))
    results = []
    for missed in (0, 5000):
        count = np.arange(clocks) + np.where(np.arange(clocks) >= moves - 20, missed, 0)
        valid = np.arange(clocks) >= moves - 20
        time = np.maximum(count - 13, 0)
        seen = play(
            AppliedPhase(group_log=1),
            {"i_clock": count, "i_position": position, "i_delay": 150, "i_valid": valid, "i_time": time % (1 << 14)},
            ["o_position", "o_blank", "o_idle"],
            clocks,
        )
        assert seen["o_idle"][moves - 25]
        assert not seen["o_idle"][100]
        assert not seen["o_idle"][moves + 5]
        results.append((seen["o_position"][moves:], seen["o_blank"][moves:]))
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0][0] == 77).any()
    assert (results[0][0] > 78).any()


def test_reach_and_configuration() -> None:
    assert ring_clocks(3) == 8152
    with pytest.raises(ValueError, match="group_log is 7; allowed: 0 to 6"):
        AppliedPhase(group_log=7)
