"""The alignment loop of one arm against its drift in closed form: a day in seconds, without gateware.

Clicks of an interval are what the server's counts make of them: a mean of positions, Gaussian around the mean lateness with the variance
of a click over their number, which is Poisson. Everything else is the control law's own code and the lab's own drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase.alignment import AlignmentConfig, ArmLoop
from twinphase_sim.physics.arms import ArmDrift


@dataclass(frozen=True, kw_only=True)
class AlignedRun:
    """``seconds``: ends of the stretches of constant delay; ``residual_ps``: lateness at their begin and end, (n, 2)."""

    seconds: NDArray[np.float64]
    residual_ps: NDArray[np.float64]
    lost: int
    """Intervals without a click."""


def run_loop(
    config: AlignmentConfig,
    drift: ArmDrift,
    *,
    seconds: float,
    interval_s: float,
    wait_s: float,
    click_rate_hz: float,
    click_sigma_ps: float,
    seed: int,
    start_error_ps: float = 20.0,
) -> AlignedRun:
    """An arm for ``seconds``, measured in intervals; a command acts ``wait_s`` after the end of the interval that it is made of, until
    the next one acts. The search for whole pulses has been right at the start, to ``start_error_ps``.

    Raises ValueError for a wait of an interval or more, AlignmentLost where the loop loses its pulse.
    """
    if not 0 <= wait_s < interval_s:
        raise ValueError(f"alignment: wait_s is {wait_s}; allowed: 0 to less than the interval, {interval_s}")
    count = int(seconds / interval_s)
    rng = np.random.default_rng([seed, 0xA11])
    begin = np.arange(count, dtype=np.float64) * np.float64(interval_s)
    at_begin, at_turn = drift.at(begin), drift.at(begin + wait_s)
    clicks = rng.poisson(click_rate_hz * interval_s, count)
    noise = rng.normal(0, 1, count) * click_sigma_ps / np.sqrt(np.maximum(clicks, 1))
    loop = ArmLoop(config)
    loop.start(0.0, float(at_begin[0]) + start_error_ps * float(rng.normal()), start_error_ps)
    period = config.period_ps
    residual = np.zeros((count, 2))
    acting = pending = 0.0
    for k in range(count - 1):
        # The delay of the interval before goes on until the command made at its end acts.
        mean = (at_begin[k] + at_begin[k + 1]) / 2 + (acting * wait_s + pending * (interval_s - wait_s)) / interval_s
        acting = pending
        residual[k] = at_turn[k] + acting, at_turn[k + 1] + acting
        if clicks[k]:
            offset = mean + noise[k]
            offset -= period * math.floor(offset / period + 0.5)
            loop.measure(begin[k], begin[k + 1], offset, click_sigma_ps**2 / clicks[k])
        end = begin[k + 1]
        pending = loop.command(end + wait_s, end + wait_s + interval_s).delay_ps
    return AlignedRun(seconds=begin[1:-1] + wait_s, residual_ps=residual[:-2], lost=int(np.count_nonzero(clicks == 0)))
