"""Record a device: tags as PTU, other streams as Parquet, the rest as JSON.

Ctrl-C ends the recording cleanly. A recording's folder can be given to every command that takes a URL.

example:
  twinphase record udp://localhost:9750 --out run1 --seconds 10
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", help="udp://host:port, serial:///dev/ttyUSB0?baud=3000000, lab:NAME or a recording's folder"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder for the recording")
    parser.add_argument("--seconds", type=float, metavar="S", help="node time to record; without it, until Ctrl-C")
    parser.add_argument("--lab", metavar="NAME", help="name of the lab, kept in the recording")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..arguments import check_positive
    from ..device import open_device
    from ..measure.losses import losses
    from ..measure.silence import SilenceNotes
    from ..recording.writer import Recorder, record
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(
            "recording {task.fields[seconds]:.2f} s, {task.fields[records]} records, {task.fields[lost]} lost{task.fields[note]}"
        ),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with open_device(arguments.url) as device, stop_on_signals() as stopped, bar:
        task = bar.add_task("", total=arguments.seconds, seconds=0.0, records=0, lost=0, note="")
        silence = SilenceNotes(device)

        def show(recorder: Recorder) -> None:
            lost = losses(device)["records"]
            if (sentence := silence.news()) is not None:
                console.print(sentence, highlight=False, soft_wrap=True)
            bar.update(
                task,
                completed=recorder.seconds,
                seconds=recorder.seconds,
                records=recorder.records,
                lost=lost,
                note=silence.note(),
            )

        summary = record(
            device, arguments.out, seconds=arguments.seconds, lab=arguments.lab, stop=stopped.is_set, progress=show
        )
        lost, advice = losses(device), device.advice
    for sentence in advice:
        print(sentence, file=sys.stderr)
    if arguments.json:
        print(json.dumps(summary | {"losses": lost}))
    else:
        records = ", ".join(f"{count} {name}" for name, count in summary["records"].items() if count) or "no records"
        print(
            f"{arguments.out}: {summary['node_seconds']:.3f} s, {records}; {lost['records']} records lost ({summary['ended']})"
        )
    return 0
