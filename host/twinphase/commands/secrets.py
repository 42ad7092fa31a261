"""Draw the secrets of a new pair of clients: two files, for `twinphase run` and for nobody else.

Each has the key of its client's symbols, the pair's key of the block digest, and the next run that it may be used for: a run's number
goes into all symbols and pads, and none is taken twice. Keys come from the operating system's generator.

example:
  twinphase secrets --out pair-1
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for alice.toml and bob.toml")
    parser.add_argument("--json", action="store_true", help="print the paths as JSON")


def run(arguments: argparse.Namespace) -> int:
    import json

    from ..operate.secrets import new_pair

    alice, bob = new_pair(arguments.out)
    if arguments.json:
        print(json.dumps({"alice": str(alice), "bob": str(bob)}))
    else:
        print(f"{alice} and {bob} are there, readable for you alone; whoever reads them knows every symbol of the pair")
    return 0
