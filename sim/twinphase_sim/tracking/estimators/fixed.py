"""The bit-exact click tracker as gateware has it, with its queue and its pipeline, behind the harness's contract.

A click is offered to the tracker in its own clock and issued at once, or in the next free clock. `predict` at a clock knows the outputs
that have left by that clock, OUTPUT clocks after their issue, in steps of 2^-16 turn: what a shifter can be set to, so that
the reference that comes back with a click is exact. So an estimate without delay misses the last clicks; a scenario with a delay of
`LATENCY_S` asks for what the tracker delivers.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase import clicktracker
from twinphase_sim.model.phase import clicktracker_kernel as model
from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import ChannelConfig, channel_config
from twinphase_spec.units import CLOCK_HZ, TURN, TURN_BITS

from ..contract import Estimator
from ..scenario import Scenario

LATENCY_S = t.OUTPUT / CLOCK_HZ
"""From a click to its output."""
OFFERED, WRITTEN, ISSUED, EPOCH, ROW = 0, 1, 2, 3, 4
WAYS = ROW + model.STATES
STATES = WAYS + model.RING * model.UNDERWAY
E = model.K_FOLLOWS + 1
"""Place of the epoch bits in an estimator's constants, behind the words of its configuration."""
RAD_PER_STEP = 2 * math.pi / TURN
STEP_SHIFT = t.A_FRACTION - TURN_BITS


@numba.njit
def _way(state: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    start = WAYS + number % model.RING * model.UNDERWAY
    return state[start : start + model.UNDERWAY]


@numba.njit
def _offer(
    state: NDArray[np.int64], config: NDArray[np.int64], turn: bool, clock: int, port: int, reference: int
) -> None:
    """Issues one event as soon as may be."""
    row = state[ROW:WAYS]
    issue = max(clock, state[ISSUED] + t.INTERVAL)
    state[ISSUED] = issue
    while state[WRITTEN] < state[OFFERED]:
        way = _way(state, state[WRITTEN])
        if way[model.ISSUE] + t.WRITE >= issue:
            break
        model.write(row, config, config[E], way)
        state[WRITTEN] += 1
    way = _way(state, state[OFFERED])
    way[model.ISSUE] = issue
    model.issue(row, config, config[E], turn, clock, port, reference, way)
    state[OFFERED] += 1


@numba.njit
def update(state: NDArray[np.int64], config: NDArray[np.int64], clock: int, reference_rad: float, port: int) -> None:
    """See `contract`."""
    while state[EPOCH] < clock >> config[E]:
        state[EPOCH] += 1
        _offer(state, config, True, state[EPOCH] << config[E], 0, 0)
    _offer(state, config, False, clock, port, round(reference_rad / RAD_PER_STEP) & (TURN - 1))


@numba.njit
def predict(state: NDArray[np.int64], config: NDArray[np.int64], clock: int) -> tuple[float, bool]:
    """See `contract`."""
    row = state[ROW:WAYS].copy()
    number = state[WRITTEN]
    while number < state[OFFERED]:
        way = _way(state, number)
        if way[model.ISSUE] + t.OUTPUT > clock:
            break
        model.write(row, config, config[E], way)
        number += 1
    phase = model.extrapolate(row, clock - (row[model.EPOCH] << config[E]))
    return ((phase + (1 << (STEP_SHIFT - 1))) >> STEP_SHIFT) * RAD_PER_STEP, row[model.LOCKED] == 1


def fixed(
    scenario: Scenario,
    *,
    slope_rms_rad_per_s: float = 0.0,
    v_gain: int = 0,
    visibility: float | None = None,
    detect: bool = False,
    a_gain: int = 0,
    wrong_walk: float = 1.0,
    wrong_slope_noise: float = 1.0,
    epoch_bits: int = t.EPOCH_BITS,
) -> Estimator:
    """The tracker configured for what ``scenario`` says; ``visibility``: configured in the place of the true one; ``detect``: alarms on;
    ``a_gain``: gains adapt; ``wrong_walk``, ``wrong_slope_noise``: factors of what it is told.

    ValueError where a gain cannot be represented, or epochs of 2^epoch_bits clocks.
    """
    clicktracker.check_epoch_bits(epoch_bits)
    config: ChannelConfig = channel_config(
        diffusion_rad2_per_s=scenario.diffusion_rad2_per_s * wrong_walk,
        click_rate_hz=scenario.click_rate_hz,
        visibility=scenario.mean_visibility if visibility is None else visibility,
        slope_noise_rad2_per_s3=scenario.total_slope_noise * wrong_slope_noise,
        slope_rms_rad_per_s=slope_rms_rad_per_s,
        information=scenario.mean_rate() / scenario.click_rate_hz,
        v_gain=v_gain,
        detect=detect,
        a_gain=a_gain,
        epoch_bits=epoch_bits,
    )
    rows, words = clicktracker.reset([config])
    state = np.zeros(STATES, dtype=np.int64)
    state[ISSUED] = -1
    state[ROW:WAYS] = rows[0]
    return Estimator(
        name="click tracker", update=update, predict=predict, state=state, constants=np.append(words[0], epoch_bits)
    )
