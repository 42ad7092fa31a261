"""Ports that are not equal, and the reference angles that make up for them where light is steered.

With efficiencies (1 +- u)/2 of both ports, background, dead time and all else in it, a port balance ``M(theta) = (L - R)/(L + R)`` of
the clicks at theta is not ``V cos(theta)``, which is what the tracker takes it for: at mid-fringe M is u, not 0. Under steps k and k + 2
of equal parts the two errors are opposite and psi stays right, whatever u is. Under one of them alone psi settles where the ports are
equal, wrong by ``asin(u/V)``. Told in the place of theta the angle theta' with ``V cos(theta') = M(theta)``, the tracker expects just
what comes. Near the fringe's extremes M tells of V, not of psi, and the angle stays as it is.
"""

from __future__ import annotations

import math

import numpy as np

from .frame import SlotClass
from .fringe_phases import STEPS, fringe_phases, steered
from .lab import Lab
from .reference_light import port_rates, reference_light
from .units import TURN

Angles = tuple[int, int, int, int]
EQUAL_PORTS: Angles = (0, TURN // 4, TURN // 2, 3 * TURN // 4)
"""Registers STEP_R_k of ports that are equal."""
LEAST_SINE = 0.5
"""Where |sin(theta)| is less, it is an extreme: M moves by less than half of what it does at mid-fringe."""


def told_angle_rad(theta_rad: float, balance: float, visibility: float) -> float:
    """theta' on theta's side of the fringe; theta itself at an extreme."""
    if abs(math.sin(theta_rad)) < LEAST_SINE:
        return theta_rad
    away = math.acos(min(1.0, max(-1.0, balance / visibility)))
    nearest = away if math.sin(theta_rad) > 0 else -away
    return theta_rad + (nearest - theta_rad + math.pi) % (2 * math.pi) - math.pi


def dead_time_balance(imbalance: float, left_hz: float, right_hz: float, dead_s: tuple[float, float]) -> float:
    """M of ports whose efficiencies alone would give u: of each, 1/(1 + rate t_d) is left, at its own rate before dead time."""
    left, right = (1 + imbalance) / (1 + left_hz * dead_s[0]), (1 - imbalance) / (1 + right_hz * dead_s[1])
    return (left - right) / (left + right)


def step_registers(angles: Angles) -> dict[str, int]:
    """By their names in the server's map."""
    return {f"STEP_R_{k}": angle for k, angle in enumerate(angles)}


def step_angles(lab: Lab) -> Angles:
    """Registers STEP_R_k: what the tracker is told of REF(k) of the reference band, 2^-16 turn; k 2^14 of light that is not steered."""
    quarters = list(EQUAL_PORTS)
    if steered(lab, "r"):
        lock = fringe_phases(lab, "r").lock_rad
        assert lock is not None
        theta = lock + np.arange(len(STEPS), dtype=np.float64) * (math.pi / 2)
        visibility = reference_light(lab, "r").visibility
        for k, at in enumerate(theta.tolist()):
            left, right = port_rates(lab, "r", np.array([at]), step=SlotClass(SlotClass.REF0 + k))
            l_hz, r_hz = float(left[0]), float(right[0])
            if l_hz + r_hz > 0 and visibility > 0:
                more = told_angle_rad(at, (l_hz - r_hz) / (l_hz + r_hz), visibility) - at
                quarters[k] = round(quarters[k] + more / (2 * math.pi) * TURN) % TURN
    a, b, c, d = quarters
    return a, b, c, d
