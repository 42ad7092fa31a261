"""Build a board's bitstream and its manifest with open tools."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

EXAMPLE = "example: twinphase build ulx3s-85f --node server --out bitstreams"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("board", help="ecpix5-85f, ulx3s-85f or versa-ecp5-5g")
    parser.add_argument("--node", default="server", help="which node (default: server)")
    parser.add_argument("--out", type=Path, default=Path("bitstreams"), help="folder for .bit and .json")
    parser.add_argument("--seed", type=int, default=1, help="seed of the placement (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def run(args: argparse.Namespace) -> int:
    """Runs the command; 0, or 2 with one sentence on stderr."""
    from rich.console import Console
    from rich.table import Table

    from ..build import BuildError, build
    from ..manifest import TimingError

    console = Console(stderr=True)
    try:
        with console.status(f"building {args.node} for {args.board} (minutes)"):
            manifest = build(args.board, args.node, args.out, seed=args.seed)
    except (ValueError, BuildError, TimingError, OSError) as error:
        print(f"twinphase build: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(manifest, indent=2))
        return 0
    table = Table("", "used", "available", title=f"{manifest['board']} {manifest['node']} ({manifest['part']})")
    for name, use in manifest["utilisation"].items():
        table.add_row(name.upper(), str(use["used"]), str(use["available"]))
    for name, clock in manifest["clocks"].items():
        table.add_row(f"clock {name}", f"{clock['achieved_mhz']:g} MHz", f"needs {clock['constraint_mhz']:g} MHz")
    Console().print(table)
    return 0
