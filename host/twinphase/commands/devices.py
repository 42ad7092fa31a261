"""List what can be reached: nodes on this computer's UDP ports, serial ports, and schemes of installed parts.

example:
  twinphase devices
  twinphase devices --json
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(arguments: argparse.Namespace) -> int:
    import json

    from ..reachable import reachable

    found = reachable()
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        width = max(len(entry["url"]) for entry in found)
        for entry in found:
            print(f"{entry['url']:<{width}}  {entry['what']}")
    return 0
