"""Measure imbalance and dead times of a server's detectors from its tags, as its lab file wants them, or tell them to the server.

The node must be running the lab's frame. Prints, per band, u = (eta_L - eta_R)/(eta_L + eta_R) and both dead times with intervals of
95 %, and the keys of the lab file that say so; with them STEP_R_k keeps steered light unbiased. 5 mrad of a mid-fringe lock point take
160 000 clicks. With --apply the angles are written into the server's registers as soon as its clicks tell them to 5 mrad.

example:
  twinphase ports udp://localhost:9750 --lab seed-370km-steered --seconds 2
  twinphase ports demo-out/recording/server --lab seed-370km-steered --json
  twinphase ports udp://localhost:9750 --lab seed-370km-steered --apply --every 60
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinphase_spec.lab import Lab

    from ..measure.port_balance import PortFigures
    from ..measure.port_calibration import Written


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="udp://host:port, serial:///dev/ttyUSB0, lab:NAME or a recording's folder")
    parser.add_argument("--lab", metavar="NAME|FILE", help="preset or lab file; without it the recording's")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="node time to measure; without it, until Ctrl-C, or with --apply until the angles are written",
    )
    parser.add_argument(
        "--apply", action="store_true", help="write the angles of the reference steps into the live server's STEP_R_k"
    )
    parser.add_argument("--every", type=float, metavar="S", help="with --apply: again, from so much node time each")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    import json

    from twinphase_spec.lab import load_lab

    from ..arguments import check_positive
    from ..device import open_device
    from ..errors import TwinphaseError
    from ..measure.port_balance import BANDS, PortBalance
    from ..measure.port_calibration import PortCalibration
    from ..measure.watch import check_tags, watch
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    check_positive("--every", arguments.every)
    if arguments.every is not None and not arguments.apply:
        raise TwinphaseError("--every is given without --apply; a measurement alone is made once")
    with open_device(arguments.url) as device, stop_on_signals() as stopped:
        check_tags(device)
        name = arguments.lab or device.lab
        if name is None:
            raise TwinphaseError(f"{arguments.url} does not say which lab it is; give --lab")
        lab = load_lab(name)
        if arguments.apply:
            calibration = PortCalibration(
                device, lab, every_s=arguments.every, written=None if arguments.json else _tell
            )
            watch(
                device,
                calibration.update,
                seconds=arguments.seconds,
                stop=lambda: stopped.is_set() or calibration.done,
            )
            calibration.check()
            if arguments.json:
                print(json.dumps({"lab": lab.name, "written": [written.as_dict() for written in calibration.written]}))
            return 0
        balance = PortBalance(lab, device.read("START_CLOCK"))
        watch(device, balance.update, seconds=arguments.seconds, stop=stopped.is_set)
    found = [figures for band in BANDS if (figures := balance.figures(band)) is not None]
    if not found:
        raise TwinphaseError(
            f"{arguments.url} has too few clicks in REF(k), REF_A and REF_B slots of lab {lab.name}: measure longer, with its frame "
            "running"
        )
    return _show(lab, found, arguments.json)


def _show(lab: Lab, found: list[PortFigures], as_json: bool) -> int:
    """What was measured, and the lab file's keys."""
    import json

    from rich.console import Console
    from rich.table import Table

    from ..measure.port_balance import calibrated

    for figures in found:
        lab = calibrated(lab, figures)
    detectors = {name: getattr(lab.detectors, name) for figures in found for name in figures.detectors}
    if as_json:
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


def _tell(written: Written) -> None:
    """A line as soon as angles are written."""
    figures = written.angles.figures
    words = ", ".join(str(word) for word in written.angles.words)
    print(
        f"{written.node_seconds:.2f} s: STEP_R = {words}, sure to {written.angles.error_rad * 1e3:.1f} mrad (95 %), moved by "
        f"{written.moved_rad * 1e3:.1f} mrad; u {figures.imbalance:+.4f} of {figures.clicks:,} clicks",
        flush=True,
    )
