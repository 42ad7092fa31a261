"""Run a whole lab end to end and write a report: physics, gateware, UDP, host, model.

Starts the lab's three nodes on UDP, records them as from boards, compares every word with the reference model and
writes report.html, its plots, summary.json and the recordings.

example:
  twinphase demo --lab seed-370km-locked --milliseconds 1000 --seed 1 --out demo-out
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

DEFAULT_MILLISECONDS = 1000.0
MARGIN_S = 0.06
"""Lab time that runs on after the last wanted moment, so that its packets, psi and heartbeats have all been sent."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lab", default="seed-370km-locked", metavar="NAME|FILE", help="preset or lab file (seed-370km-locked)"
    )
    parser.add_argument("--milliseconds", type=float, default=DEFAULT_MILLISECONDS, metavar="M", help="lab time (1000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="seed of everything random (1)")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), metavar="DIR", help="folder of the report (demo-out)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    import sys

    from rich.console import Console

    from twinphase.arguments import check_positive, check_seed
    from twinphase.stopping import stop_on_signals
    from twinphase_spec.lab import load_lab

    check_positive("--milliseconds", arguments.milliseconds)
    check_seed(arguments.seed)
    console = Console(file=sys.stderr)
    with stop_on_signals() as stopped:
        summary, page = run_demo(
            load_lab(arguments.lab),
            arguments.lab,
            arguments.milliseconds / 1e3,
            arguments.seed,
            arguments.out,
            console,
            stopped.is_set,
        )
    if arguments.json:
        print(summary.to_json(), end="")
    else:
        print_summary(summary, page)
    return 0 if summary.mismatches == 0 and summary.unexplained_losses == 0 else 1


def run_demo(
    lab: Any, lab_name: str, seconds: float, seed: int, out: Path, console: Any, stopped: Any
) -> tuple[Any, Path]:
    """The whole job for ``seconds`` of lab time; the summary and the page's path. Raises TwinphaseError."""
    import shutil
    import time
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from twinphase.errors import TwinphaseError
    from twinphase.report.page import render, table
    from twinphase_sim.native.toolchain import compiler
    from twinphase_sim.physics.expect import expectations
    from twinphase_sim.physics.link import Link
    from twinphase_spec.configure import check_delay, frame_config
    from twinphase_spec.track_setup import track_setup
    from twinphase_spec.units import CLOCK_HZ, FRACTION_BITS, TICKS_PER_SECOND

    from ..keys import client_generator
    from ..process import LabProcess
    from ..truth import Truth
    from .compare import compare, predict
    from .figures import Run
    from .live import live_rows
    from .receive import Receiver, cycles_of

    check_delay(lab, expectations(lab).heralds_per_second)
    setup = track_setup(lab)
    if setup.reason is not None:
        console.print(f"psi from windows: {setup.reason}")
    compiler()  # a missing one is said here, not by the process of the lab
    recordings = out / "recording"
    truth_file = out / "truth.npz"
    try:
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(recordings, ignore_errors=True)
    except OSError as error:
        raise TwinphaseError(f"cannot write into {out}: {error.strerror}; choose another folder with --out") from error

    looped = lab.actuator is not None
    symbols = {
        role: client_generator(lab, seed, role)  # type: ignore[arg-type]
        for role in ("alice", "bob")
    }
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    began_s = time.monotonic()
    with Progress(*columns, console=console) as bars, ThreadPoolExecutor(1) as pool:
        gateware = bars.add_task("lab through the gateware, over UDP", total=seconds)
        with LabProcess(
            lab_name, seed=seed, readers=3, seconds=seconds + MARGIN_S, truth=truth_file if looped else None
        ) as process:
            running_s = time.monotonic()
            frame = frame_config(lab, process.start_clock)
            start_ticks = frame.start_clock << FRACTION_BITS
            stop_ticks = start_ticks + round(seconds * TICKS_PER_SECOND)
            link = Link(lab, seed, symbols["alice"], symbols["bob"], start_clock=frame.start_clock)
            pulses = round((seconds + 2 * MARGIN_S) * lab.frame.pulse_rate_hz)
            # What clicks in a closed loop is decided by the gateware; without one the physics says it once more.
            drawn = None if looped else pool.submit(link.clicks, 0, pulses)

            def show(ticks: int) -> None:
                done_s = (ticks - start_ticks) / TICKS_PER_SECOND
                bars.update(gateware, completed=min(seconds, max(done_s, bars.tasks[gateware].completed)))

            settle_ticks = stop_ticks + round(MARGIN_S / 2 * TICKS_PER_SECOND)
            received = Receiver(process.nodes, recordings, lab.name, settle_ticks, stopped, show).run()
            wall_s = time.monotonic() - running_s
        bars.update(gateware, completed=seconds)
        model_task = bars.add_task("reference model, word by word", total=3)
        truth = Truth.load(truth_file) if drawn is None else Truth.of_clicks(drawn.result())
        until_clock = (stop_ticks >> FRACTION_BITS) + round(2 * MARGIN_S * CLOCK_HZ)
        bars.advance(model_task)
        model = predict(lab, frame, symbols, truth, until_clock, process.angles)
        bars.advance(model_task)
        comparison = compare(received, model, frame, setup, stop_ticks)
        bars.advance(model_task)
        page_task = bars.add_task("figures and report", total=2)
        result = Run(lab, frame, link, truth, received, stop_ticks)
        summary = result.summary(comparison, wall_s, cycles_of(received))
        summary.write(out / "summary.json")
        bars.advance(page_task)
        rows = [
            (name, words, comparison.mismatches[name], summary.losses.get(name, 0))
            for name, words in comparison.words.items()
        ]
        channels = [(name, clicked, summary.tags[name]) for name, clicked in summary.clicks.items()]
        page = render(
            summary,
            lab.description,
            result.figures(),
            {
                "Words against the reference model": table(("stream", "words", "mismatches", "lost"), rows),
                "Clicks and tags": table(("detector", "clicks in the physics", "tags at the host"), channels),
                "Expected by the physics": table(
                    ("figure", "measured", "expected"),
                    [
                        ("heralds per second", summary.heralds_per_second, summary.heralds_per_second_expected),
                        *live_rows(summary.details["live"]),
                        ("psi_q rms (rad)", summary.psi_rms_rad, summary.psi_rms_expected_rad),
                        ("X events kept", summary.x_events, summary.details["x_events_expected"]),
                        ("X-QBER", summary.x_qber, summary.x_qber_expected),
                        ("Z error raw", summary.z_error_raw, summary.details["z_error_raw_expected"]),
                        (
                            "Z error after pairing (limit, rate)",
                            summary.z_error_after_pairing,
                            summary.details["z_error_after_pairing_expected"],
                        ),
                    ],
                ),
                "Estimates of psi at the heralds": table(ESTIMATE_COLUMNS, estimate_rows(summary)),
                "Assumed values of this lab": table(("key",), [(key,) for key in lab.assumed]),
            },
            out,
        )
        bars.advance(page_task)
    console.print(f"done in {time.monotonic() - began_s:.1f} s, {np.sum(list(summary.clicks.values())):,} clicks")
    return summary, page


ESTIMATE_COLUMNS = (
    "estimate",
    "heralds with it",
    "rms error (rad)",
    "bound (rad)",
    "errors by the phase",
    "X events kept",
    "X-QBER",
)


def estimate_rows(summary: Any) -> list[tuple[object, ...]]:
    """For the page, percentages as text."""
    return [
        (
            estimate["name"],
            f"{estimate['valid_fraction']:.2%}",
            estimate["rms_rad"],
            estimate["bound_rad"],
            f"{estimate['phase_qber']:.2%}",
            f"{estimate['x_kept']} of {estimate['x_events']} ({estimate['kept_fraction']:.1%})",
            f"{estimate['x_qber']:.2%} ({estimate['x_qber_ci95'][0]:.2%} to {estimate['x_qber_ci95'][1]:.2%})",
        )
        for estimate in summary.psi_estimates
    ]


def print_summary(summary: Any, page: Path) -> None:
    """The figures as a table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    low, high = summary.x_qber_ci95
    shown = Table(
        title=f"{summary.lab}: {summary.lab_seconds:g} s of lab time in {summary.wall_seconds:g} s", show_header=False
    )
    for name, value in (
        ("clicks", f"{sum(summary.clicks.values()):,}"),
        ("words compared with the model", f"{summary.words_compared:,}, {summary.mismatches} mismatches"),
        ("unexplained losses", f"{summary.unexplained_losses}"),
        ("heralds", f"{summary.heralds_per_second:,.0f} /s (expected {summary.heralds_per_second_expected:,.0f})"),
        (
            f"psi_q rms, from {summary.psi_source}",
            f"{summary.psi_rms_rad:.3f} rad (formula {summary.psi_rms_expected_rad:.3f})",
        ),
        *(
            (
                f"  by {estimate['name']}",
                f"{estimate['rms_rad']:.3f} rad (bound {estimate['bound_rad']:.3f}), X-QBER {estimate['x_qber']:.2%} of "
                f"{estimate['x_kept']}",
            )
            for estimate in summary.psi_estimates
        ),
        (
            "X-QBER",
            f"{summary.x_qber:.2%} of {summary.x_events} (95 %: {low:.2%} to {high:.2%}; expected {summary.x_qber_expected:.2%})",
        ),
        (
            "Z error",
            "no Z windows"
            if math.isnan(summary.z_error_raw)
            else f"raw {summary.z_error_raw:.1%}, after pairing below {summary.z_error_after_pairing:.3%} (95 %)",
        ),
        (
            "key rate (formula, measured noise)",
            "none: the formula is of SNS"
            if math.isnan(summary.key_rate_per_slot)
            else f"{summary.key_rate_per_slot:.3e} per slot; PLOB {summary.plob_per_slot:.3e}",
        ),
        ("report", str(page)),
    ):
        shown.add_row(name, value)
    Console().print(shown)
