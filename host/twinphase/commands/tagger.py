"""Show or change how a time tagger is set up: delays, dead times, gates, filters, coincidences, calibration.

A configuration is a TOML file, or the name of a preset. It is written while all channels are off and nothing is inside the tagger,
so tagging pauses for a few milliseconds. Without --config the current set-up and the state of the calibration are shown.

example:
  twinphase tagger udp://localhost:9750
  twinphase tagger udp://localhost:9750 --config bench.toml --json
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..device import Device


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        help="udp://host:port, serial:///dev/ttyUSB0 or bench:NAME of a time tagger; to show, also a recording's folder",
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file or name of a preset to apply")
    parser.add_argument("--json", action="store_true", help="print the set-up as JSON")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from ..device import open_device
    from ..measure.tagger_setup import settings

    with open_device(arguments.url) as device:
        if arguments.config is not None:
            _apply(device, arguments.config)
        shown = settings(device)
    if arguments.json:
        print(json.dumps(shown))
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(
            f"{shown['url']}: {len(shown['channels'])} channels, {shown['front_end']}, {shown['chains']} x {shown['taps']} taps, "
            f"streams {', '.join(map(str, shown['streams'])) or 'off'}"
        )
        if shown["left_out"]:
            console.print(f"  this build has no {', '.join(shown['left_out'])}")
        for row in shown["channels"]:
            console.print(_line(row))
        for v, coincidence in enumerate(shown["coincidences"]):
            if len(coincidence["channels"]) > 1:
                channels = ", ".join(map(str, coincidence["channels"]))
                console.print(f"  v{v}  coincidences of {channels} within {coincidence['window_ps']:.0f} ps")
    return 0


def _apply(device: Device, config: str) -> None:
    from twinphase_spec.tagger_config import load_tagger, tagger_registers

    from ..errors import TwinphaseError
    from ..measure.calibration import check_tagger
    from ..measure.tagger_setup import apply_settings

    check_tagger(device)
    try:
        registers, memories = tagger_registers(load_tagger(config), device.read("CHANNELS"))
    except ValueError as error:
        raise TwinphaseError(str(error)) from error
    apply_settings(device, registers, memories)


def _line(row: dict[str, Any]) -> str:
    """A channel: what differs from neutral."""
    parts = [("pulser" if row["pulser"] else "pin") if row["enabled"] else "off"]
    if row["edge"] == "falling":
        parts.append("falling edges")
    if row["delay_ps"]:
        parts.append(f"delay {row['delay_ps']:.1f} ps")
    if row["dead_time_ps"]:
        parts.append(f"dead time {row['dead_time_ps'] / 1e3:.3f} ns")
    first, after = row["veto_ps"]
    if after > first:
        parts.append(f"veto {first / 1e3:.3f} to {after / 1e3:.3f} ns")
    if row["divider"] > 1:
        parts.append(f"divider {row['divider']}")
    if (gate := row["gate"]) is not None:
        parts.append(f"gated by {gate['by']} from {gate['from_ps'] / 1e3:.3f} to {gate['to_ps'] / 1e3:.3f} ns")
    if row["time_window"]:
        parts.append("in the time window")
    if row["filter"]:
        parts.append(f"only near {', '.join(map(str, row['filter']))}")
    if row["calibration"] is not None:
        parts.append(_calibration(row["calibration"]))
    return f"  {row['channel']:>2}  {', '.join(parts)}"


def _calibration(state: dict[str, Any]) -> str:
    words = ["calibrated" if state["calibrated"] else "not calibrated"]
    words += [key.replace("_", " ") for key in ("refused", "scale_limit", "oscillator", "hold", "reset") if state[key]]
    return f"{', '.join(words)}, scale {state['scale'] * 1e6:+.0f} ppm"
