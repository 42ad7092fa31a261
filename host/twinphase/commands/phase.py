"""Show the tracked optical phase of a server: trace, spectrum, structure function, Allan deviation, fits, slips, losses.

The phase between the two arms is also a vibration sensor along the fibre: lines of the spectrum are named with their amplitude. The same
on a board, a virtual node and a recording. The phase is that of the click tracker (TRACK records: both channels, with variance,
visibility, losses and jumps) or, where a node has none, that of estimation windows. Nothing is filled in where packets or the fringe
were lost. Intervals are of 95 %.

example:
  twinphase phase udp://localhost:9750 --seconds 10 --plot phase.png
  twinphase phase run1 --out phase-run1
  twinphase phase lab:seed-370km?seconds=2 --json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..device import Device
    from ..measure.phase_analysis import PhaseAnalysis
    from ..measure.phase_sources import PhaseSources

SHOW_AFTER_S = 2.0
LIVE_PLOT_S = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="udp://host:port, serial:///dev/ttyUSB0, lab:NAME or a recording's folder")
    parser.add_argument(
        "--source",
        choices=("auto", "clicks", "windows"),
        default="auto",
        help="TRACK records, PHASE records, or the first where there are any (auto)",
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="node time to measure; without it, until Ctrl-C")
    parser.add_argument("--last", type=float, metavar="S", help="keep and analyse only the last S seconds (all)")
    parser.add_argument("--interval", type=float, default=0.5, metavar="S", help="seconds between updates (0.5)")
    parser.add_argument(
        "--resolution-hz",
        type=float,
        metavar="HZ",
        help="of the spectrum (an eighth of the trace, 32768 samples at most)",
    )
    parser.add_argument("--fibre-km", type=float, metavar="KM", help="length of both arms, for l; without it the lab's")
    parser.add_argument(
        "--optical-hz",
        type=float,
        metavar="HZ",
        help="optical frequency, for the fractional Allan deviation; without it the lab's",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="PNG, SVG or PDF of all; of the last 10 s every 5 s, of all at the end",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for phase.json and one PNG per plot")
    parser.add_argument("--json", action="store_true", help="print all results as one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    import json
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..arguments import check_positive
    from ..device import open_device
    from ..errors import TwinphaseError
    from ..measure.phase_analysis import check_phase, live_table, result_table
    from ..measure.phase_sources import PhaseSources
    from ..measure.track_status import status_rows
    from ..measure.watch import Watched, watch
    from ..report.measure_plots import check_plot_file, save
    from ..report.phase_plots import PANELS, overview, single
    from ..stopping import stop_on_signals

    for name in ("seconds", "last", "interval", "resolution_hz", "fibre_km", "optical_hz"):
        check_positive(f"--{name.replace('_', '-')}", getattr(arguments, name))
    plot: Path | None = arguments.plot
    check_plot_file(plot)
    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        raise TwinphaseError(f"--out {arguments.out} is a file; give a folder")
    console, errors = Console(), Console(stderr=True)
    begun = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    with open_device(arguments.url) as device, stop_on_signals() as stopped:
        check_phase(device)
        length_km, optical_hz = _known(device, arguments)
        sources = PhaseSources(device, arguments.source)
        live = Live(console=console, auto_refresh=False, transient=True)
        shows = console.is_terminal and not arguments.json
        if shows:
            live.start()
        else:
            bar.start()
        task = bar.add_task("measuring", total=arguments.seconds, visible=False)

        def show(state: Watched) -> None:
            bar.update(task, completed=state.node_seconds, visible=time.monotonic() - begun > SHOW_AFTER_S)
            if arguments.last is not None:
                sources.forget_before(arguments.last)
            if shows:
                now = sources.recent(LIVE_PLOT_S)
                shown = live_table(now.shown, state.title(tags=False), now.track)
                for name, text, locked in status_rows(sources.status):
                    shown.add_row(name, text, style=None if locked else "red")
                live.update(shown, refresh=True)

        try:
            watched = watch(
                device,
                sources.update,
                seconds=arguments.seconds,
                interval_s=arguments.interval,
                stop=stopped.is_set,
                show=show,
                plot=(lambda: _save_recent(sources, plot)) if plot is not None else None,
            )
        finally:
            if shows:
                live.stop()
            bar.stop()
    analysis = sources.recent(arguments.last)
    if not len(analysis.shown.index):
        wanted = {"auto": "TRACK or PHASE", "clicks": "TRACK", "windows": "PHASE"}[arguments.source]
        raise TwinphaseError(
            f"{arguments.url} has no phase stream: no {wanted} record in {watched.node_seconds:.3g} s; a node sends them while its frame "
            "runs and its stream is enabled"
        )
    options = {"resolution_hz": arguments.resolution_hz, "optical_hz": optical_hz}
    with bar:
        for done, part in enumerate(analysis.run(length_km=length_km, **options)):
            late = time.monotonic() - begun > SHOW_AFTER_S
            bar.update(task, description=part, completed=done, total=5, visible=late)
    differential = _differential(sources, arguments)
    result = {
        "url": arguments.url,
        **watched.as_dict(),
        "source": sources.source,
        "status": sources.status,
        "result": analysis.as_dict(),
        "differential": None if differential is None else differential.as_dict(),
    }
    if plot is not None:
        save(overview(analysis), plot)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "phase.json").write_text(json.dumps(result), encoding="utf-8")
        for name in PANELS:
            save(single(name, analysis), arguments.out / f"{name}.png")
        if differential is not None:
            save(overview(differential), arguments.out / "differential.png")
    if arguments.json:
        print(json.dumps(result))
    else:
        results = result_table(analysis, f"reference band, {watched.title(tags=False)}")
        for name, text, locked in status_rows(sources.status):
            results.add_row(name, text, style=None if locked else "red")
        console.print(results)
        if differential is not None:
            console.print(result_table(differential, "quantum less reference band"))
    return 0


def _known(device: Device, arguments: argparse.Namespace) -> tuple[float | None, float | None]:
    """Fibre length (km) and optical frequency (Hz) of the reference band: as asked, or of the lab that the device names."""
    from twinphase_spec.config_file import ConfigError
    from twinphase_spec.lab import load_lab

    length_km, optical_hz = arguments.fibre_km, arguments.optical_hz
    scheme, _, name = arguments.url.partition(":")
    lab_name = device.lab or (name.partition("?")[0] if scheme == "lab" else None)
    try:
        lab = None if lab_name is None else load_lab(lab_name)
    except (ConfigError, OSError):  # a recording may carry any name
        lab = None
    if lab is not None:
        length_km = length_km or lab.fibre.length_a_km + lab.fibre.length_b_km
        optical_hz = optical_hz or lab.bands.reference_hz
    return length_km, optical_hz


def _differential(sources: PhaseSources, arguments: argparse.Namespace) -> PhaseAnalysis | None:
    """The analysis of psi_d, as far as there is enough of it; None where the source has none."""
    from ..errors import TwinphaseError

    analysis = sources.differential(arguments.last)
    if analysis is not None:
        try:
            for _ in analysis.run(resolution_hz=arguments.resolution_hz):
                pass
        except TwinphaseError:  # too short, while psi_r is not: what there is is shown
            return analysis
    return analysis


def _save_recent(sources: PhaseSources, path: Path) -> None:
    """The plots of a trace that is still growing, if it is long enough."""
    from ..errors import TwinphaseError
    from ..report.measure_plots import save
    from ..report.phase_plots import overview

    recent = sources.recent(LIVE_PLOT_S)
    try:
        for _ in recent.run():
            pass
    except TwinphaseError:  # not enough yet
        return
    save(overview(recent), path)
