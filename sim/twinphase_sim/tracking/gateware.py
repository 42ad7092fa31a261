"""The Verilated click tracker behind the judge's contract: its own outputs are the estimates.

The light of a steered scenario depends on the estimates. So the model meets the scenario first and its clicks are kept; the gateware
gets these clicks, in the clocks in which the model took them; and the judge plays the scenario again with the gateware's outputs as
the estimator. As the outputs are the model's, bit for bit, that is the same light; if they were not, the judge would see that.
"""

from __future__ import annotations

from dataclasses import fields

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase import clicktracker as model
from twinphase_sim.native.tracker import NativeTracker
from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import ChannelConfig
from twinphase_spec.units import TURN

from .contract import Estimator
from .estimators import fixed
from .judge import Run, stimuli
from .scenario import Scenario

LEAVES, CLICKS, EPOCH_START, A, SLOPE, LOCKED = range(6)
"""Rows of what came out: the clock in which it left, the clicks up to it, and the state that it tells."""


@numba.njit
def _keep(state: NDArray[np.int64], config: NDArray[np.int64], clock: int, reference_rad: float, port: int) -> None:
    place = fixed.STATES + 3 * state[-1]
    state[place] = clock
    state[place + 1] = round(reference_rad / fixed.RAD_PER_STEP) & (TURN - 1)
    state[place + 2] = port
    state[-1] += 1
    fixed.update(state, config, clock, reference_rad, port)


@numba.njit
def _count(state: NDArray[np.int64], outputs: NDArray[np.int64], clock: int, reference_rad: float, port: int) -> None:
    """An estimate may use the clicks that the judge has given, no later ones."""
    state[0] += 1


@numba.njit
def _predict(state: NDArray[np.int64], outputs: NDArray[np.int64], clock: int) -> tuple[float, bool]:
    last = min(
        np.searchsorted(outputs[LEAVES], clock, side="right") - 1,
        np.searchsorted(outputs[CLICKS], state[0], side="left"),
    )
    if last < 0 or state[0] == 0:
        return 0.0, False
    way = (outputs[SLOPE, last] >> t.B_DROP) * (clock - outputs[EPOCH_START, last]) >> t.B_SHIFT
    phase = outputs[A, last] + way
    rounded = (phase + (1 << (fixed.STEP_SHIFT - 1))) >> fixed.STEP_SHIFT
    return rounded * fixed.RAD_PER_STEP, outputs[LOCKED, last] == 1


def gateware(scenario: Scenario, tracker: NativeTracker, *, seed: int, time_constants: float) -> Estimator:
    """The gateware's outputs for the clicks of a scenario: `judge` it with the same ``seed`` and ``time_constants``.

    RuntimeError where an output differs from the model's.
    """
    estimator = fixed.fixed(scenario)
    played = list(stimuli(scenario, seed=seed, time_constants=time_constants, gain_per_s=scenario.gain_per_s()))
    room = sum(stimulus.clocks.size for stimulus in played)
    state = np.concatenate([estimator.state, np.zeros(3 * room + 1, dtype=np.int64)])
    run = Run(
        scenario,
        Estimator(name="kept", update=_keep, predict=fixed.predict, state=state, constants=estimator.constants),
    )
    for stimulus in played:
        run.play(stimulus)
    count = int(run.state[-1])
    clocks, references, ports = run.state[fixed.STATES : fixed.STATES + 3 * count].reshape(count, 3).T
    events = model.schedule(clocks, np.zeros(count, dtype=np.int64), ports, references, channels=1)
    # The words, and behind them the epoch's.
    *words, _ = estimator.constants.tolist()
    config = ChannelConfig(**dict(zip((field.name for field in fields(ChannelConfig)), words, strict=True)))
    entries = {
        "turn": events.turn,
        "time": events.clock,
        "channel": events.channel,
        "port": events.port,
        "reference": events.reference,
    }
    outputs, _ = tracker.play([config], entries, np.diff(events.issue, prepend=events.issue[0] - 1) - t.INTERVAL)
    expected = model.track(events, [config])
    for name in ("phase", "slope", "p", "v", "locked", "broke", "kind"):
        if not np.array_equal(outputs.fields[name], getattr(expected, name)):
            at = int(np.argmax(outputs.fields[name] != getattr(expected, name)))
            raise RuntimeError(
                f"click tracker: {name} of event {at} is {outputs.fields[name][at]} in the gateware and "
                f"{getattr(expected, name)[at]} in the model"
            )
    slope, start = outputs.fields["slope"], events.clock >> t.EPOCH_BITS << t.EPOCH_BITS
    came = (slope >> t.B_DROP) * (events.clock - start) >> t.B_SHIFT
    clicks = np.cumsum(1 - events.turn)
    told = np.stack(
        [events.issue + t.OUTPUT, clicks, start, outputs.fields["phase"] - came, slope, outputs.fields["locked"]]
    )
    return Estimator(
        name="gateware", update=_count, predict=_predict, state=np.zeros(1, dtype=np.int64), constants=told
    )
