"""List what can be reached: nodes on this computer and the network, serial ports, nodes on USB, and schemes of installed parts.

Nodes are asked for their identity: on this computer's default ports, at the broadcast addresses of its interfaces, and at every
address of --network, which finds boards that answer to their own address only. A sweep sends 500 requests per second, to 1024
addresses at most.

example:
  twinphase devices
  twinphase devices --network 192.168.1.0/24
  twinphase devices --network 192.168.1.50/32 --links
  twinphase devices --network 10.0.0.0/28 --port 9750 --port 9751 --no-broadcast --json
"""

from __future__ import annotations

import argparse

BAR_FROM_S = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network", action="append", default=[], metavar="NET", help="sweep this network, e.g. 192.168.1.0/24"
    )
    parser.add_argument(
        "--port",
        action="append",
        type=int,
        metavar="P",
        help="UDP port of the sweep (9750); may be given more than once",
    )
    parser.add_argument("--no-broadcast", action="store_true", help="ask no broadcast addresses")
    parser.add_argument(
        "--links", action="store_true", help="also ask boards for the addresses and counters of their links over UDP"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ..discovery import scan_seconds
    from ..errors import TwinphaseError
    from ..reachable import reachable, targets_of

    if arguments.port and not all(0 < port < 1 << 16 for port in arguments.port):
        raise TwinphaseError(f"--port is {' '.join(map(str, arguments.port))}; allowed: 1 to 65535")
    options = {"broadcast": not arguments.no_broadcast, "ports": arguments.port}
    console = Console(stderr=True)
    long = scan_seconds(len(targets_of(arguments.network, **options))) > BAR_FROM_S
    columns = TextColumn("asking {task.total} times"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not (long and console.is_terminal)) as bar:
        task = bar.add_task("", total=None)
        found = reachable(
            arguments.network, **options, progress=lambda sent, total: bar.update(task, completed=sent, total=total)
        )
    links = {}
    if arguments.links:
        from ..transport.udp_link import describe, link_state

        asked = [entry for entry in found if str(entry["url"]).startswith("udp://") and entry.get("fits")]
        links = {entry["url"]: state for entry in asked if (state := link_state(str(entry["url"])))}
        for entry in found:
            entry |= {"link": links[entry["url"]]} if entry["url"] in links else {}
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        width = max(len(entry["url"]) for entry in found)
        for entry in found:
            print(f"{entry['url']:<{width}}  {entry['what']}")
            if entry["url"] in links:
                print(f"{'':<{width}}  {describe(links[entry['url']])}")
    return 0
