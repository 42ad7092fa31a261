"""Bias of the lock point by unequal ports and dead times: where reference steps cancel it, and where angles told make up for it.

Judged on the bit-exact model of the click tracker; what is asserted of a bias holds for all of its 95 % interval. The issue's figure is
5 mrad; the worst interval of these runs ends at 3.4 mrad.
"""

from __future__ import annotations

import math

import pytest

from twinphase_sim.tracking.estimators.fixed import fixed
from twinphase_sim.tracking.judge import judge
from twinphase_sim.tracking.scenario import FOUR_PHASE, STEERED, Scenario, Scheme
from twinphase_spec.port_balance import dead_time_balance, told_angle_rad

SEED = 3
MOST_RAD = 5e-3
SLOW, FAST = {"diffusion_rad2_per_s": 10.0, "count_rate_hz": 1e6}, {"diffusion_rad2_per_s": 100.0, "count_rate_hz": 1e7}
UNEQUAL = (
    {"port_imbalance": 0.1},
    {"port_imbalance": -0.02, "dead_time_s": 20e-9},
    {"dead_time_s": 48e-9},
    {"port_imbalance": 0.1, "dead_time_s": 36e-9, "dead_time_skew_s": -24e-9},
)
"""u up to 0.1; dead times of 20 to 48 ns, or of 24 ns and 48 ns."""


def bias(scenario: Scenario, told_rad: float = 0.0, time_constants: float = 10_000) -> tuple[float, float]:
    """Ends of the bias' 95 % interval; ``told_rad``: what the tracker is told of step 1 more than there is."""
    verdict = judge(
        scenario,
        fixed(scenario),
        seed=SEED,
        time_constants=time_constants,
        offsets_rad=(0.0, told_rad, 0.0, 0.0),
    )
    low, high = verdict.bias_ci95_rad
    print(
        f"{scenario}\n told {told_rad * 1e3:.1f}: bias {verdict.bias_rad * 1e3:.2f} ({low * 1e3:.2f} to {high * 1e3:.2f}) mrad"
    )
    return low, high


def told(scenario: Scenario) -> float:
    """By the closed form, from efficiencies and dead times."""
    left_hz, right_hz = scenario.port_rates_hz
    balance = dead_time_balance(scenario.port_imbalance, left_hz, right_hz, scenario.dead_times_s)
    return told_angle_rad(math.pi / 2, balance, scenario.mean_visibility) - math.pi / 2


def test_of_one_step_ports_pull_the_lock_point_until_the_angle_is_told() -> None:
    """asin(u/V) = 51 mrad before."""
    scenario = Scenario(**SLOW, scheme=STEERED, mid_steps=1, port_imbalance=0.05)
    angle = told(scenario)
    assert angle == pytest.approx(-math.asin(0.05 / 0.98))
    low, high = bias(scenario, time_constants=3000)
    assert low < angle < high
    low, high = bias(scenario, angle, time_constants=3000)
    assert low < 0 < high
    assert high - low < 2 * MOST_RAD


@pytest.mark.long
@pytest.mark.parametrize("light", [SLOW, FAST], ids=["1e6/s", "1e7/s"])
@pytest.mark.parametrize("ports", UNEQUAL, ids=["u", "u and dead time", "dead time", "all"])
@pytest.mark.parametrize("scheme", [FOUR_PHASE, STEERED])
def test_steps_half_a_turn_apart_cancel_it(scheme: Scheme, ports: dict[str, float], light: dict[str, float]) -> None:
    """Untold. Four steps in both orders: see below."""
    low, high = bias(Scenario(**light, **ports, scheme=scheme, both_ways=True))
    assert -MOST_RAD < low < high < MOST_RAD


@pytest.mark.long
@pytest.mark.parametrize("light", [SLOW, FAST], ids=["1e6/s", "1e7/s"])
@pytest.mark.parametrize("ports", UNEQUAL, ids=["u", "u and dead time", "dead time", "all"])
def test_told_angles_make_up_for_it(ports: dict[str, float], light: dict[str, float]) -> None:
    scenario = Scenario(**light, **ports, scheme=STEERED, mid_steps=1)
    angle = told(scenario)
    before, after = bias(scenario), bias(scenario, angle)
    assert before[0] - 0.15 * abs(angle) < angle < before[1] + 0.15 * abs(angle)
    assert -MOST_RAD < after[0] < after[1] < MOST_RAD


@pytest.mark.long
def test_steps_that_only_go_up_shadow_one_side() -> None:
    """A dead time t reaches into the next step: in slots of T the bias is r t^2 V^2/(3.2 T) / (1 + r t)^2, r the rate of a port.

    8.4 mrad of 48 ns at 5e6/s in 256 ns; 0.1 of that at 5e5/s.
    """
    ports = {"dead_time_s": 48e-9}
    r, t, length_s = 5e6, 48e-9, 32 / 125e6
    low, high = bias(Scenario(**FAST, **ports, scheme=FOUR_PHASE))
    assert low < r * t**2 * 0.98**2 / (3.2 * length_s) / (1 + r * t) ** 2 < high
    assert low > 2e-3
