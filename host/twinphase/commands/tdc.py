"""Read a time tagger's calibration: bin widths, DNL, INL and what is wrong with a channel.

The hits of each delay line's code-density histogram, and the table in use, are copied out of the running device. The calibration
goes on, apart from the few milliseconds of each copy. Tells when a channel is dead, stuck, not calibrated or badly lit.

example:
  twinphase tdc udp://localhost:9750
  twinphase tdc udp://localhost:9750 --channels 0 3 --plot lines.png --json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from ..measure.calibration import ChannelCalibration


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="udp://host:port, serial:///dev/ttyUSB0 or bench:NAME of a time tagger or server")
    parser.add_argument("--channels", type=int, nargs="+", metavar="N", help="channels to read; without it, all")
    parser.add_argument("--watch", type=float, default=0.2, metavar="S", help="node time to look for edges (0.2)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="write code density, widths, DNL, INL as PNG, SVG or PDF"
    )
    parser.add_argument("--json", action="store_true", help="print everything, per code, as JSON")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from ..arguments import check_positive
    from ..device import open_device
    from ..measure.calibration import read_calibration
    from ..report.linearity_plots import linearity
    from ..report.measure_plots import check_plot_file, save

    check_positive("--watch", arguments.watch)
    check_plot_file(arguments.plot)
    with open_device(arguments.url) as device:
        channels = read_calibration(device, arguments.channels, watch_s=arguments.watch)
    if arguments.plot is not None:
        save(linearity(channels), arguments.plot)
    if arguments.json:
        print(json.dumps({"url": arguments.url, "channels": [channel.as_dict() for channel in channels]}))
        return 0
    console = Console()
    console.print(_table(channels))
    for channel in channels:
        for fault in channel.faults:
            console.print(fault, style="red" if channel.enabled else None, soft_wrap=True)
    return 0


def _table(channels: list[ChannelCalibration]) -> Table:
    from rich.table import Table

    from ..measure.calibration import CALIBRATED

    title = "delay lines: LSB and rms bound in ps, largest |DNL| in LSB, |INL| calibrated and raw in ps, scale in ppm"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("line", "hits", "LSB", "rms", "DNL", "INL", "raw", "scale", "state"):
        table.add_column(name, justify="left" if name in ("line", "state") else "right", no_wrap=True)
    for channel in channels:
        state = "calibrated" if channel.status & CALIBRATED else "not calibrated"
        for h, chain in enumerate(channel.chains):
            for line in chain:
                name = str(channel.channel) + (f".{h}" if len(channel.chains) > 1 else "")
                name += (" falling", " rising")[line.polarity] if len(chain) > 1 else ""
                shown = line.as_dict()
                table.add_row(
                    name,
                    f"{line.hits:,}",
                    "-" if line.lsb_ps is None else f"{line.lsb_ps:.2f}",
                    "-" if line.rms_bound_ps is None else f"{line.rms_bound_ps:.2f}",
                    *(_largest(shown[f"{key}_min_max"]) for key in ("dnl_lsb", "inl_ps", "raw_inl_ps")),
                    f"{channel.scale * 1e6:+.0f}",
                    (state if channel.enabled else "disabled")
                    + ("" if line.evenly_spread or not line.hits else ", uneven"),
                )
    return table


def _largest(extremes: list[float] | None) -> str:
    return "-" if extremes is None else f"{max(map(abs, extremes)):.2f}"
