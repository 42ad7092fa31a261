"""List the labs that ship with Twinphase, with their key figures.

The key rate is the asymptotic SNS-AOPP formula without phase noise, per clock slot; it is no forecast far out.

example:
  twinphase labs
  twinphase labs my-lab.toml --json
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", nargs="*", help="presets or TOML files; without any, all presets")
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(arguments: argparse.Namespace) -> int:
    import json

    from twinphase_spec.lab import load_lab, preset_names

    from ..measure.lab_figures import lab_figures

    figures = [lab_figures(load_lab(name)) for name in arguments.lab or preset_names()]
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    rows: tuple[tuple[str, str, str, float], ...] = (
        ("fibre, km", "length_km", "g", 1),
        ("loss of both arms, dB", "loss_db", ".1f", 1),
        ("pulse rate, GHz", "pulse_rate_hz", "g", 1e-9),
        ("signal clicks per second", "signal_clicks_hz", ",.0f", 1),
        ("key rate per slot", "key_rate_per_slot", ".2e", 1),
        ("PLOB per slot", "plob_per_slot", ".2e", 1),
        ("PLOB with detectors", "plob_per_slot_with_detectors", ".2e", 1),
    )
    view = Table("", *(lab["name"] for lab in figures))
    for label, key, form, scale in rows:
        view.add_row(label, *("-" if lab[key] is None else format(lab[key] * scale, form) for lab in figures))
    view.add_row("assumed keys", *(str(len(lab["assumed"])) for lab in figures))
    Console().print(view)
    return 0
