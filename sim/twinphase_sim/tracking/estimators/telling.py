"""The bit-exact click tracker with its word on where the phase has not gone on: what a host knows from ``broke`` and ``locked``.

A break (a loss and a start anew, or half a turn that the evidence has added) ends a phase and begins another, whose whole turns are
new. After one, `predict` says "not locked" for ``clocks``, so that a judge with evaluations closer than that sees where.
"""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase import clicktracker_kernel as model

from ..contract import Estimator
from . import fixed

BREAKS, KNOWN_FROM = fixed.STATES, fixed.STATES + 1
"""Places in the state: breaks so far; clock from which the phase is told again."""
CLOCKS = fixed.E + 1
"""Place in the constants."""


@numba.njit
def update(state: NDArray[np.int64], config: NDArray[np.int64], clock: int, reference_rad: float, port: int) -> None:
    """See `contract`."""
    fixed.update(state, config, clock, reference_rad, port)
    row = state[fixed.ROW : fixed.WAYS]
    if row[model.BROKE]:
        row[model.BROKE] = 0
        state[BREAKS] += 1
        state[KNOWN_FROM] = clock + config[CLOCKS]


@numba.njit
def predict(state: NDArray[np.int64], config: NDArray[np.int64], clock: int) -> tuple[float, bool]:
    """See `contract`."""
    phase, locked = fixed.predict(state, config, clock)
    return phase, locked and clock >= state[KNOWN_FROM]


def telling(tracker: Estimator, *, clocks: int) -> Estimator:
    """``tracker`` as `fixed.fixed` makes it."""
    return replace(
        tracker,
        name="click tracker that tells of breaks",
        update=update,
        predict=predict,
        state=np.append(tracker.state, [0, 0]),
        constants=np.append(tracker.constants, clocks),
    )
