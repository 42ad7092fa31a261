"""Efficiency of estimators over a grid of walks, click rates, visibilities and delays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from .contract import Estimator
from .estimators.adaptive import adaptive
from .estimators.exact import exact
from .estimators.fixed import fixed
from .estimators.per_click import per_click
from .estimators.steady import steady
from .estimators.windows import windows
from .judge import MIN_BATCH_CONSTANTS, MIN_BATCHES, judge
from .scenario import FOUR_PHASE, STEERED, Scenario, Scheme

MOST_BOUND_RAD = 0.2
"""Above this bound fringes bend within the error, and light is too poor to track by."""
STALE_CLOCKS = 32

ESTIMATORS: dict[str, Callable[[Scenario], Estimator]] = {
    "per-click": per_click,
    "steady": lambda scenario: steady(scenario, stale_clocks=STALE_CLOCKS),
    "adaptive": adaptive,
    "click-tracker": fixed,
    "windows": windows,
    "exact": exact,
}
"""Estimators by the names that a grid is asked with. Outputs of the click tracker are 304 ns old: without a delay it lacks the last
clicks."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The axes. ``delays_s`` are all tried with all else."""

    diffusions: Sequence[float] = (1.0, 63.0, 754.0, 8e3)
    rates_hz: Sequence[float] = (1e5, 1e6, 1e7)
    visibilities: Sequence[float] = (0.95, 0.98, 0.99)
    delays_s: Sequence[float] = (0.0,)
    schemes: Sequence[Scheme] = (STEERED, FOUR_PHASE)

    def scenarios(self) -> list[Scenario]:
        """Those whose bound is below MOST_BOUND_RAD."""
        found = [
            Scenario(diffusion_rad2_per_s=d, count_rate_hz=r, visibility=v, delay_s=tau, scheme=scheme)
            for scheme, d, r, v, tau in product(
                self.schemes, self.diffusions, self.rates_hz, self.visibilities, self.delays_s
            )
        ]
        return [scenario for scenario in found if math.sqrt(scenario.bound_mse()) < MOST_BOUND_RAD]


def jobs(grid: Grid, estimators: Sequence[str]) -> list[tuple[Scenario, str]]:
    """What there is to judge. ValueError for a name that no estimator has. Windows are left out where the light is steered."""
    for name in estimators:
        if name not in ESTIMATORS:
            raise ValueError(f"grid: there is no estimator {name!r}; allowed: {', '.join(ESTIMATORS)}")
    return [
        (scenario, name)
        for scenario in grid.scenarios()
        for name in estimators
        if name != "windows" or scenario.scheme == FOUR_PHASE
    ]


def rows(
    work: Sequence[tuple[Scenario, str]], *, seed: int, time_constants: float, most_clicks: float = math.inf
) -> Iterator[dict[str, Any]]:
    """One row of plain numbers per job, as it is judged; a run is cut to about ``most_clicks`` where batches allow it."""
    least = MIN_BATCHES * MIN_BATCH_CONSTANTS
    for scenario, name in work:
        clicks_per_constant = scenario.click_rate_hz / scenario.gain_per_s()
        length = max(least, min(time_constants, most_clicks / clicks_per_constant))
        verdict = judge(
            scenario,
            ESTIMATORS[name](scenario),
            seed=seed,
            time_constants=length,
            batches=min(40, int(length / MIN_BATCH_CONSTANTS)),
        )
        yield {
            "scheme": scenario.scheme,
            "diffusion_rad2_per_s": scenario.diffusion_rad2_per_s,
            "count_rate_hz": scenario.count_rate_hz,
            "visibility": scenario.visibility,
            "delay_s": scenario.delay_s,
            **verdict.as_dict(),
            "estimator": name,
        }
