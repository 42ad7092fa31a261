"""Show rates, phase, QBER and losses of one or more devices, live.

Give the server and both clients of a pair to see the raw Z error, which compares the clients' bits. Of a board on UDP the link's own
counters show as well: datagrams sent, and dropped by reason; (+n) is what came since the monitor began.

example:
  twinphase monitor udp://localhost:9750
  twinphase monitor udp://server:9750 udp://alice:9750 udp://bob:9750 --json --seconds 60
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", nargs="+", help="udp://host:port, serial:///dev/ttyUSB0, lab:NAME or a recording's folder"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="node time to watch; without it, until Ctrl-C")
    parser.add_argument("--interval", type=float, default=0.5, metavar="S", help="seconds between updates (0.5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per update and line")


def run(arguments: argparse.Namespace) -> int:
    import json
    import time
    from contextlib import ExitStack

    from rich.console import Console
    from rich.live import Live

    from ..arguments import check_positive
    from ..device import open_device
    from ..measure.overview import Overview, table
    from ..stopping import stop_on_signals
    from ..transport.link_watch import watch_link

    check_positive("--seconds", arguments.seconds)
    check_positive("--interval", arguments.interval)
    with ExitStack() as stack:
        devices = [stack.enter_context(open_device(url)) for url in arguments.url]
        links = [watch_link(url) for url in arguments.url]
        for link in filter(None, links):
            stack.callback(link.close)
        overview = Overview(devices, links)
        stopped = stack.enter_context(stop_on_signals())
        live = None if arguments.json else stack.enter_context(Live(console=Console(), auto_refresh=False))
        due = time.monotonic() + arguments.interval
        shown_ticks = -1.0

        def show() -> None:
            if live is None:
                print(json.dumps(overview.as_dict()), flush=True)
            else:
                live.update(table(overview.as_dict()), refresh=True)

        while not stopped.is_set() and overview.step():
            if arguments.seconds is not None and overview.node_seconds >= arguments.seconds:
                break
            if time.monotonic() >= due:
                due = time.monotonic() + arguments.interval
                shown_ticks = overview.node_seconds
                show()
        if shown_ticks != overview.node_seconds:
            show()
    return 0
