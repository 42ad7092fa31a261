"""Efficiency of phase estimators (bound / mean square error, with 95 % intervals) over a grid of walks, rates and visibilities.

    python benchmarks/phase_tracking.py [--quick] [--estimators NAME ...] [--delay 10e-6 ...] [--json] [--plot FILE]

The bound is the optimum of a causal estimator for the reference scheme used; "exact" is the true posterior of a random walk,
which says how much of the bound can be had at all. About three minutes of processor time; --quick takes 20 s.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from twinphase.errors import TwinphaseError
from twinphase.report.measure_plots import check_plot_file, save
from twinphase.report.tracking_plots import efficiencies
from twinphase_sim.tracking import grid

TIME_CONSTANTS, QUICK_TIME_CONSTANTS = 20000.0, 2000.0
MOST_CLICKS, QUICK_MOST_CLICKS = 1e7, 5e5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sample")
    parser.add_argument("--estimators", nargs="+", choices=list(grid.ESTIMATORS), default=["per-click", "steady"])
    parser.add_argument("--delay", nargs="+", type=float, default=[0.0], metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        check_plot_file(arguments.plot)
        work = grid.jobs(grid.Grid(delays_s=arguments.delay), arguments.estimators)
    except (TwinphaseError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    rows = list(
        track(
            grid.rows(
                work,
                seed=arguments.seed,
                time_constants=QUICK_TIME_CONSTANTS if arguments.quick else TIME_CONSTANTS,
                most_clicks=QUICK_MOST_CLICKS if arguments.quick else MOST_CLICKS,
            ),
            total=len(work),
            description="judging",
            console=Console(stderr=True),
        )
    )
    if arguments.plot:
        save(efficiencies(rows), arguments.plot)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    print("| scheme | D (rad^2/s) | R (1/s) | V | tau (us) | bound (rad) | estimator | efficiency | 95 % | slips |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        low, high = row["efficiency_ci95"]
        print(
            f"| {row['scheme']} | {row['diffusion_rad2_per_s']:g} | {row['count_rate_hz']:g} | {row['visibility']:g}"
            f" | {row['delay_s'] * 1e6:g} | {row['bound_rad2'] ** 0.5:.4f} | {row['estimator']} | {row['efficiency']:.3f}"
            f" | {low:.3f} - {high:.3f} | {row['slips']} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
