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

    columns: tuple[tuple[str, str, str, float], ...] = (
        ("fibre, km", "length_km", ".4g", 1),
        ("loss, dB", "loss_db", ".1f", 1),
        ("pulse rate, GHz", "pulse_rate_hz", "g", 1e-9),
        ("signal clicks per second", "signal_clicks_hz", ",.0f", 1),
        ("key rate per slot", "key_rate_per_slot", ".2e", 1),
        ("PLOB per slot", "plob_per_slot", ".2e", 1),
        ("PLOB, detected", "plob_per_slot_with_detectors", ".2e", 1),
    )
    rows = [
        [
            lab["name"],
            *("-" if lab[key] is None else format(lab[key] * scale, form) for _, key, form, scale in columns),
            str(len(lab["assumed"])),
        ]
        for lab in figures
    ]
    labels = ("lab", *(label for label, *_ in columns), "assumed keys")
    # names, numbers and words stay whole, headings wrap between words: it fits a terminal of 80 columns
    words = [label.split() for label in labels]
    widths = [max(map(len, column)) for column in map(list.__add__, words, map(list, zip(*rows, strict=True)))]
    view = Table(box=None, padding=(0, 1, 0, 0))
    for label, width in zip(labels, widths, strict=True):
        view.add_column(label, width=width, justify="left" if label == "lab" else "right")
    for row in rows:
        view.add_row(*row)
    console = Console()
    console.print(view)
    for lab in figures:
        if lab["psi_source_reason"] is not None:
            console.print(f"{lab['name']}: psi from windows: {lab['psi_source_reason']}")
    return 0
