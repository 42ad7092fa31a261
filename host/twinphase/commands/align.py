"""Show how late the light of each arm reaches a server: whole pulses and the fraction of a pulse, with standard errors.

Fractions come from the server's counts of one-sided slots; the pulse index from its tags and the frame of its lab.

example:
  twinphase align udp://localhost:9750 --seconds 1 --lab seed-370km
  twinphase align lab:seed-370km?seconds=1 --json
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from ..device import Device
    from ..measure.pulse_index import PulseIndex


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="udp://host:port, serial:///dev/ttyUSB0, lab:NAME or a recording's folder")
    parser.add_argument("--seconds", type=float, metavar="S", help="node time to measure; without it, until Ctrl-C")
    parser.add_argument("--lab", metavar="NAME", help="lab whose frame the server runs, for whole pulses")
    parser.add_argument("--reach", type=int, default=64, metavar="N", help="pulses to look for either way (64)")
    parser.add_argument("--json", action="store_true", help="print all results as one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from ..arguments import check_positive
    from ..batch import Batch
    from ..device import open_device
    from ..errors import TwinphaseError
    from ..measure.arrival import Arrival
    from ..measure.watch import watch
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    check_positive("--reach", arguments.reach)
    with open_device(arguments.url) as device, stop_on_signals() as stopped:
        arrival = Arrival.of_device(device)
        index = _index(device, arguments)

        def update(batch: Batch) -> None:
            arrival.update(batch)
            if index is not None:
                index.update(batch)

        watched = watch(device, update, seconds=arguments.seconds, stop=stopped.is_set)
    if not arrival.intervals:
        raise TwinphaseError(
            f"{arguments.url} has sent no ARRIVAL record in {watched.node_seconds:.3g} s; a server sends them while its frame runs"
        )
    pulses: list[dict[str, Any]] | None = None
    reason = "no lab is known: give --lab"
    if index is not None:
        try:
            pulses = [offset.as_dict() for offset in index.find()]
        except TwinphaseError as error:
            reason = str(error)
    result = {
        "url": arguments.url,
        **watched.as_dict(),
        **arrival.as_dict(),
        "pulses": pulses,
        "no_pulses_because": None if pulses else reason,
    }
    if arguments.json:
        print(json.dumps(result))
        return 0
    console = Console()
    console.print(_table(result, watched.title()))
    if pulses is None:
        console.print(f"whole pulses: {reason}", soft_wrap=True)
    return 0


def _index(device: Device, arguments: argparse.Namespace) -> PulseIndex | None:
    """The search for whole pulses, where the frame is known."""
    from ..lab_frame import lab_frame
    from ..measure.pulse_index import PulseIndex

    frame = lab_frame(device, arguments.url, arguments.lab)
    if frame is None:
        return None
    return PulseIndex(frame, reach=arguments.reach)


def _table(result: dict[str, Any], title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("arm", "band", "clicks", "late by", "width", "pulses"):
        table.add_column(name, justify="left" if name in ("arm", "band") else "right", no_wrap=True)
    whole = {
        pulse["arm"]: f"{pulse['pulses']:+d} ({pulse['evidence_nat']:.0f} nat)" for pulse in result["pulses"] or ()
    }
    for arm in result["arms"]:
        if not arm["clicks"]:
            continue
        known = arm["offset_ps"] is not None
        table.add_row(
            arm["arm"].upper(),
            arm["band"],
            f"{arm['clicks']:,}",
            f"{arm['offset_ps']:+.1f} +- {arm['error_ps']:.1f} ps" if known else "spread evenly",
            f"{arm['width_ps']:.0f} ps" if known else "-",
            whole.get(arm["arm"], "-"),
        )
    return table
