"""The four-phase angle of the last complete window: ``psi = atan2(S, C)`` of the sums of `acquisition`, held for a window."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase.theory import tracking
from twinphase_spec.units import CLOCK_HZ

from ..contract import Estimator
from ..scenario import FOUR_PHASE, Scenario
from .acquisition import add_click, angle

WINDOW, PHASE, VALID, SUMS, STATES = 0, 1, 2, 3, 5
NO_WINDOW = -1.0
C_CLOCKS = 0


@numba.njit
def update(state: NDArray[np.float64], c: NDArray[np.float64], clock: int, reference_rad: float, port: int) -> None:
    """See `contract`."""
    window = clock // c[C_CLOCKS]
    sums = state[SUMS : SUMS + 2]
    if window != state[WINDOW]:
        if state[WINDOW] != NO_WINDOW:
            state[PHASE] = angle(sums)
            state[VALID] = 1.0
        state[WINDOW] = window
        sums[:] = 0.0
    add_click(sums, reference_rad, port)


@numba.njit
def predict(state: NDArray[np.float64], c: NDArray[np.float64], clock: int) -> tuple[float, bool]:
    """See `contract`. A window that has ended counts although no click has come after it."""
    if state[WINDOW] != NO_WINDOW and clock >= (state[WINDOW] + 1) * c[C_CLOCKS]:
        return angle(state[SUMS : SUMS + 2]), True
    return state[PHASE], state[VALID] > 0


def windows(scenario: Scenario, *, window_s: float | None = None) -> Estimator:
    """Windows of ``window_s``, by default the best for the scenario's walk, in whole periods of the slots.

    A window that ends between the last click and the clock of use counts as complete, with a delay tau up to tau early: this favours
    the windows a little. ValueError for steered light, whose sums have no angle.
    """
    if scenario.scheme != FOUR_PHASE:
        raise ValueError("windows: the angle of sums needs the four-phase scheme")
    best = tracking.best_last_window_s(scenario.diffusion_rad2_per_s, scenario.click_rate_hz, scenario.mean_visibility)
    period = scenario.slot_steps().size * scenario.slot_clocks
    clocks = max(1, round((best if window_s is None else window_s) * CLOCK_HZ / period)) * period
    state = np.zeros(STATES)
    state[WINDOW] = NO_WINDOW
    return Estimator(
        name=f"windows of {clocks / CLOCK_HZ:.3g} s",
        update=update,
        predict=predict,
        state=state,
        constants=np.array([float(clocks)]),
    )
