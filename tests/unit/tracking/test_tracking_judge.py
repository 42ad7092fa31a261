"""The judge: slips, intervals, refusals; the plot."""

import numpy as np
import pytest

from twinphase.report.tracking_plots import efficiencies
from twinphase_sim.tracking import grid
from twinphase_sim.tracking.estimators.exact import exact
from twinphase_sim.tracking.estimators.first_order import first_order
from twinphase_sim.tracking.estimators.steady import steady
from twinphase_sim.tracking.estimators.windows import windows
from twinphase_sim.tracking.judge import batch_interval, count_slips, judge, wrap_rad
from twinphase_sim.tracking.scenario import STEERED, Scenario

SCENARIO = Scenario(diffusion_rad2_per_s=754.0, count_rate_hz=1e6)


def test_slips_are_first_passages_to_a_turn() -> None:
    up = np.linspace(0, 2 * np.pi * 1.01, 50)
    assert count_slips(wrap_rad(up)) == 1
    # most of a turn and back is none, nor is noise about the new lock point another
    assert count_slips(wrap_rad(np.concatenate([up[:45], up[:45][::-1]]))) == 0
    noisy = np.concatenate([up, 2 * np.pi + 0.3 * np.sin(np.arange(100.0))])
    assert count_slips(wrap_rad(noisy)) == 1
    assert count_slips(wrap_rad(np.concatenate([up, up[::-1]]))) == 2
    assert count_slips(wrap_rad(-3 * up)) == 3


def test_batch_interval_covers() -> None:
    """95 % intervals of 400 sets of 20 normal means: binomial sigma 1.1 %, 4 sigma."""
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(400):
        mean, low, high = batch_interval(rng.normal(size=20))
        assert low < mean < high
        covered += low < 0 < high
    assert abs(covered / 400 - 0.95) < 0.044


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"5 batches of 100 time constants; give at least 10 batches of at least 50"):
        judge(SCENARIO, first_order(gain_rad=0.1), seed=1, time_constants=500, batches=5)
    with pytest.raises(ValueError, match="needs the four-phase scheme"):
        windows(Scenario(diffusion_rad2_per_s=1, count_rate_hz=1e6, scheme=STEERED))
    with pytest.raises(ValueError, match="random walk and equal detectors"):
        exact(Scenario(diffusion_rad2_per_s=1, count_rate_hz=1e6, drift_rad_per_s=1))
    with pytest.raises(ValueError, match="3200 clocks hold 256 clicks"):
        steady(Scenario(diffusion_rad2_per_s=1, count_rate_hz=1e7), stale_clocks=3200)
    with pytest.raises(ValueError, match="a slope at the start needs slope noise"):
        steady(SCENARIO, slope_rms_rad_per_s=1e3)
    with pytest.raises(ValueError, match="no estimator 'best'"):
        grid.jobs(grid.Grid(), ["best"])
    with pytest.raises(ValueError, match="gain per click is 2"):
        first_order(gain_rad=2)


def test_grid_leaves_out_poor_light() -> None:
    scenarios = grid.Grid().scenarios()
    assert {(s.diffusion_rad2_per_s, s.count_rate_hz) for s in scenarios} == {
        (1.0, 1e5), (1.0, 1e6), (1.0, 1e7), (63.0, 1e5), (63.0, 1e6), (63.0, 1e7), (754.0, 1e6), (754.0, 1e7), (8e3, 1e7),
    }  # fmt: skip
    work = grid.jobs(grid.Grid(), ["windows"])
    assert len(work) == len(scenarios) / 2


def test_plot() -> None:
    row = {
        "estimator": "steady",
        "scheme": "steered",
        "bound_rad2": 0.01,
        "efficiency": 0.98,
        "efficiency_ci95": (0.96, 1.0),
    }
    axes = efficiencies([row, {**row, "scheme": "four-phase"}]).axes[0]
    assert len(axes.containers) == 2
