"""Scenarios: what they refuse, their rates and their slots."""

import math

import numpy as np
import pytest

from twinphase.theory import tracking
from twinphase_sim.tracking.scenario import FOUR_PHASE, STEERED, Scenario

PLAIN = {"diffusion_rad2_per_s": 754.0, "count_rate_hz": 1e6}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"count_rate_hz": 0.0}, "count_rate_hz is 0.0; give a finite number above 0"),
        ({"diffusion_rad2_per_s": -1.0}, "diffusion_rad2_per_s is -1.0; give a finite number of 0 or above"),
        ({"drift_rad_per_s": math.nan}, "drift_rad_per_s is nan"),
        ({"visibility": 1.0}, "visibility is 1.0; give a number between 0 and 1"),
        ({"port_imbalance": -1.0}, "port_imbalance is -1.0"),
        ({"duty": 0.0}, "duty is 0.0"),
        ({"duty": 0.01}, "slots of 32 clocks with duty 0.01 are never open"),
        ({"scheme": "three-phase"}, "scheme is 'three-phase'; allowed: 'four-phase', 'steered'"),
        ({"orthogonal_fraction": 0.3}, "orthogonal_fraction is 0.3; give 1/n"),
        ({"count_rate_hz": 1e8}, "1e\\+08 clicks per second are too many"),
    ],
)
def test_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenario(**{**PLAIN, **setting})


def test_background_acts_through_the_visibility() -> None:
    s = Scenario(**PLAIN, background_hz=2.5e5)
    assert s.mean_visibility == pytest.approx(0.98 / 1.25)
    assert s.click_rate_hz == 1.25e6
    expected = tracking.fisher_rate(tracking.four_phase_mean_information(s.mean_visibility), s.click_rate_hz)
    assert s.mean_rate() == pytest.approx(expected, rel=1e-6)


def test_imbalance_and_dead_time_in_the_information() -> None:
    balanced, other = Scenario(**PLAIN), Scenario(**PLAIN, port_imbalance=0.2)
    theta = np.array([0.3, 1.2, 4.0])
    assert balanced.information_rate(theta) == pytest.approx(1e6 * tracking.port_information(0.98, theta))
    assert other.information_rate(theta + math.pi) == pytest.approx(
        Scenario(**PLAIN, port_imbalance=-0.2).information_rate(theta)
    )
    # mid-fringe clicks at 0.5 Mcps per port lose 1/(1 + 0.05) to a dead time of 100 ns
    dead = Scenario(**PLAIN, dead_time_s=1e-7).information_rate(np.array([math.pi / 2]))
    assert dead == pytest.approx(1e6 * 0.98**2 / 1.05)


def test_slots() -> None:
    assert Scenario(**PLAIN, scheme=FOUR_PHASE).slot_steps().tolist() == [0, 1, 2, 3]
    steps = Scenario(**PLAIN, scheme=STEERED).slot_steps()
    assert [int((steps == k).sum()) for k in range(4)] == [2, 30, 2, 30]
    assert steps[15::16].tolist() == [0, 2, 2, 0]
    # what follows an extreme: each of both after each of both
    assert [*steps[16::16].tolist(), int(steps[0])] == [3, 1, 3, 1]
    one = Scenario(**PLAIN, scheme=STEERED, mid_steps=1).slot_steps()
    assert [int((one == k).sum()) for k in range(4)] == [2, 60, 2, 0]
    with pytest.raises(ValueError, match="mid_steps is 3; allowed: 1, 2"):
        Scenario(**PLAIN, mid_steps=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"dead_time_skew_s is 1e-07 of a mean of 4e-08; give at most twice the mean"):
        Scenario(**PLAIN, dead_time_s=4e-8, dead_time_skew_s=1e-7)


def test_steered_bound_is_that_of_its_own_error() -> None:
    s = Scenario(**PLAIN, scheme=STEERED)
    error = math.sqrt(float(tracking.steady_covariance(754, s.mean_rate()).p11))
    assert s.steered_rate(error) == pytest.approx(s.mean_rate(), rel=1e-6)
    expected = 1e6 * tracking.steered_information(0.98, error_rms_rad=error)
    assert s.mean_rate() == pytest.approx(expected, rel=1e-6)
