"""Build a board's bitstream and its manifest with open tools.

Synthesis, place and route take minutes. A design that misses its clock is placed again with the next seed; if none of the
tries meets it, that is an error, and leaves no bitstream.

example:
  twinphase build ulx3s-85f --node server --out bitstreams
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("board", help="ecpix5-85f, ulx3s-85f or versa-ecp5-5g")
    parser.add_argument("--node", default="server", help="which node (server)")
    parser.add_argument("--out", type=Path, default=Path("bitstreams"), metavar="DIR", help="folder (bitstreams)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="first seed of the placement (1)")
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="seeds to try until timing is met (3)")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from twinphase.arguments import check_positive

    from .build import build

    check_positive("--tries", arguments.tries)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("elaborating")
        manifest = build(
            arguments.board,
            arguments.node,
            arguments.out,
            seed=arguments.seed,
            tries=arguments.tries,
            progress=lambda step: bar.update(task, description=f"{arguments.board} {arguments.node}: {step}"),
        )
    if arguments.json:
        print(json.dumps(manifest))
        return 0
    for name, use in manifest["utilisation"].items():
        print(f"{name.upper():>5}: {use['used']:6} of {use['available']}")
    for name, clock in manifest["clocks"].items():
        print(f"clock {name}: {clock['achieved_mhz']:g} MHz, needs {clock['constraint_mhz']:g} MHz")
    print(f"{arguments.out / manifest['bitstream']}")
    return 0
