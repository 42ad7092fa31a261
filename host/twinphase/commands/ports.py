"""Measure imbalance and dead times of a server's detectors from its tags, as its lab file wants them.

The node must be running the lab's frame. Prints, per band, u = (eta_L - eta_R)/(eta_L + eta_R) and both dead times with intervals of
95 %, and the keys of the lab file that say so; with them STEP_R_k keeps steered light unbiased. 5 mrad of a mid-fringe lock point take
160 000 clicks.

example:
  twinphase ports udp://localhost:9750 --lab seed-370km-steered --seconds 2
  twinphase ports demo-out/recording/server --lab seed-370km-steered --json
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="udp://host:port, serial:///dev/ttyUSB0, lab:NAME or a recording's folder")
    parser.add_argument("--lab", metavar="NAME|FILE", help="preset or lab file; without it the recording's")
    parser.add_argument("--seconds", type=float, metavar="S", help="node time to measure; without it, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console
    from rich.table import Table

    from twinphase_spec.lab import load_lab

    from ..arguments import check_positive
    from ..device import open_device
    from ..errors import TwinphaseError
    from ..measure.port_balance import BANDS, PortBalance, calibrated
    from ..measure.watch import check_tags, watch
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    with open_device(arguments.url) as device, stop_on_signals() as stopped:
        check_tags(device)
        name = arguments.lab or device.lab
        if name is None:
            raise TwinphaseError(f"{arguments.url} does not say which lab it is; give --lab")
        lab = load_lab(name)
        balance = PortBalance(lab, device.read("START_CLOCK"))
        watch(
            device, balance.update, seconds=arguments.seconds, interval_s=0.5, stop=stopped.is_set, show=lambda _: None
        )
    found = [figures for band in BANDS if (figures := balance.figures(band)) is not None]
    if not found:
        raise TwinphaseError(
            f"{arguments.url} has too few clicks in REF(k), REF_A and REF_B slots of lab {lab.name}: measure longer, with its frame "
            "running"
        )
    for figures in found:
        lab = calibrated(lab, figures)
    detectors = {name: getattr(lab.detectors, name) for figures in found for name in figures.detectors}
    if arguments.json:
        keys = {name: {"efficiency": d.efficiency, "dead_time_ns": d.dead_time_ns} for name, d in detectors.items()}
        print(json.dumps({"lab": lab.name, "bands": [figures.as_dict() for figures in found], "detectors": keys}))
        return 0
    table = Table("band", "clicks", "imbalance", "dead time L (ns)", "dead time R (ns)", title=f"lab {lab.name}")
    for figures in found:
        low, high = figures.imbalance_ci95
        dead = [f"{a * 1e9:.2f} to {b * 1e9:.2f}" for a, b in zip(figures.dead_least_s, figures.dead_s, strict=True)]
        table.add_row(
            figures.band, f"{figures.clicks:,}", f"{figures.imbalance:+.4f} ({low:+.4f} to {high:+.4f})", *dead
        )
    console = Console()
    console.print(table)
    console.print("for the lab file, the mean efficiency left as it was:", highlight=False)
    for name, detector in detectors.items():
        line = f"detectors.{name}.efficiency = {detector.efficiency:.4f}, dead_time_ns = {detector.dead_time_ns:.2f}"
        console.print(f"  {line}", highlight=False)
    return 0
