"""Measure on the tags of a device or recording: rates, time histograms, coincidences, g2, or an external reference.

The same on a board, a virtual node and a recording. Channels are numbers or names: qL, qR, rL, rR of a server, 0 to 7 and v0 to v3
(coincidences, also 32 to 35) of a time tagger. Shows the state live in a terminal; --json prints the result at the end, --plot FILE
keeps a plot up to date. Nothing is measured across a place where tags were lost, and the time lost is left out of rates.

With --clock the tags of every kind get the SI time of an external reference instead of that of the node's oscillator: its channel and
divider, and a PPS that names the seconds. While the reference is absent nothing is measured; what was measured before is kept, and
the state says why (in --json under "reference"). --delay shifts channels by more than the time tagger itself can.

example:
  twinphase measure udp://localhost:9750 rates --seconds 10 --json
  twinphase measure udp://localhost:9750 histogram --start 0 --stop 1 2 --bin-ps 10 --range-ns 5 --plot delay.png
  twinphase measure run1 coincidences --channels 0 1 --window-ps 500
  twinphase measure lab:seed-370km?seconds=1 g2 --channels qL qR --bin-ps 2000 --range-ns 100
  twinphase measure udp://localhost:9750 reference --clock 6 --divider 1000 --pps 7
  twinphase measure run1 histogram --start 0 --stop 1 --clock 6 --divider 1000 --pps 7 --delay 1=-912345.5
"""

from __future__ import annotations

import argparse
from pathlib import Path

KINDS = {
    "rates": "tags per second of each channel",
    "histogram": "time from tags of a start channel to those of stop channels",
    "coincidences": "n-fold coincidences within a window, and the accidentals that rates alone would give",
    "g2": "normalised second-order correlation of two channels",
    "reference": "offset of the node's clock against an external reference, and SI seconds from a PPS",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="udp://host:port, serial:///dev/ttyUSB0, lab:NAME or a recording's folder")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND", title="kinds")
    parts = {name: kinds.add_parser(name, help=text, description=text) for name, text in KINDS.items()}
    rates, histogram, coincidences, g2, _ = parts.values()
    rates.add_argument("--channels", nargs="+", metavar="N", help="channels to show; without it, all that have tags")
    histogram.add_argument("--start", required=True, metavar="N", help="start channel")
    histogram.add_argument("--stop", required=True, nargs="+", metavar="N", help="stop channels")
    histogram.add_argument(
        "--single",
        action="store_true",
        help="only the first stop after each start (start-stop); without it, every pair",
    )
    histogram.add_argument(
        "--from-ns", type=float, default=0.0, metavar="NS", help="first difference (0); may be negative"
    )
    coincidences.add_argument(
        "--channels", nargs="+", action="append", required=True, metavar="N", help="a set of channels; may be repeated"
    )
    coincidences.add_argument("--window-ps", type=float, default=1000.0, metavar="PS", help="largest distance (1000)")
    g2.add_argument("--channels", nargs=2, required=True, metavar="N", help="two channels, or one twice")
    for part in (histogram, g2):
        part.add_argument("--bin-ps", type=float, default=100.0, metavar="PS", help="bin, rounded to ticks (100)")
        part.add_argument(
            "--range-ns", type=float, default=100.0, metavar="NS", help="length, for g2 to each side (100)"
        )
    for name, part in parts.items():
        part.add_argument("--seconds", type=float, metavar="S", help="node time to measure; without it, until Ctrl-C")
        part.add_argument("--interval", type=float, default=0.5, metavar="S", help="seconds between updates (0.5)")
        part.add_argument("--json", action="store_true", help="print the result as one JSON object at the end")
        if name != "reference":
            part.add_argument(
                "--plot", type=Path, metavar="FILE", help="PNG, SVG or PDF, renewed every 5 s and at the end"
            )
            part.add_argument(
                "--delay",
                nargs="+",
                metavar="CH=NS",
                help="delays of channels on the host, up to a second either way; added to times after the reference's",
            )
        _add_reference(part, required=name == "reference")


def _add_reference(part: argparse.ArgumentParser, *, required: bool) -> None:
    """Options of an external reference; what is not given is None, so that `measure.preparation` sees it."""
    group = part.add_argument_group(
        "external reference", None if required else "with --clock all times, bins, windows and rates are in its SI time"
    )
    group.add_argument("--clock", required=required, metavar="N", help="channel with the reference")
    group.add_argument("--clock-hz", type=int, metavar="HZ", help="its frequency (10000000)")
    group.add_argument("--divider", type=int, metavar="D", help="divided by this before the channel's tags (1)")
    group.add_argument("--pps", metavar="N", help="channel with one pulse per second")
    group.add_argument("--first-second", type=int, metavar="S", help="name of the first PPS pulse (0)")
    group.add_argument("--holdover-s", type=float, metavar="S", help="longest extrapolation (1)")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from ..arguments import check_positive
    from ..device import open_device
    from ..measure.kinds import make
    from ..measure.preparation import Preparation, prepare
    from ..measure.watch import Watched, check_tags, watch
    from ..report.measure_plots import check_plot_file, save
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    check_positive("--interval", arguments.interval)
    plot: Path | None = getattr(arguments, "plot", None)
    check_plot_file(plot)
    with open_device(arguments.url) as device, stop_on_signals() as stopped:
        check_tags(device)
        kind = make(arguments, device)
        prepared = Preparation(kind) if arguments.kind == "reference" else prepare(arguments, kind)
        console = Console()
        live = Live(console=console, auto_refresh=False, transient=True)

        def table(state: Watched) -> Table:
            made = kind.table(state)
            made.caption, made.caption_justify = prepared.sentence(), "left"
            return made

        shows = console.is_terminal and not arguments.json
        if shows:
            live.start()
        try:
            watched = watch(
                device,
                prepared.update,
                seconds=arguments.seconds,
                interval_s=arguments.interval,
                stop=stopped.is_set,
                show=lambda state: live.update(table(state), refresh=True) if shows else None,
                plot=(lambda: save(kind.figure(), plot)) if plot is not None else None,
            )
            if prepared.used:
                prepared.finish()
                if plot is not None:
                    save(kind.figure(), plot)
        finally:
            if shows:
                live.stop()
    if arguments.json:
        head = {"url": arguments.url, "kind": arguments.kind, **watched.as_dict(), **prepared.as_dict()}
        print(json.dumps(head | {"result": kind.as_dict()}))
    else:
        console.print(table(watched))
    return 0
