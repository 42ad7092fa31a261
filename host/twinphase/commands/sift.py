"""Show a pair's sifting: counters, errors, kept fraction, classical cost; write the keys of both sides with their mismatches.

URLs are those of the pair's server, Alice and Bob, in any order. One URL stands for all three where it is the folder that holds the
recordings server, alice and bob, lab:NAME, or the server's UDP port with the clients on the next two (start the lab with --readers 3).
Every counter cell is recomputed from the streams and compared with the clients' own, live; of a recording, which holds no cells, the
status snapshots are compared. Yields are over live windows (docs/live.md), which takes the frame of the server's lab. Z bits of closed
blocks are paired (AOPP) as two users would, with SNS; of protocols whose key is in the phases, and of mode pairing, both users' key
bits are compared. Intervals are exact ones (Clopper-Pearson) of 95 %.

example:
  twinphase sift udp://localhost:9750 --seconds 2 --keys keys.npz
  twinphase sift demo-out/recording --plot sift.png --json
"""

from __future__ import annotations

import argparse
from pathlib import Path

SHOW_AFTER_S = 2.0
DEFAULT_SPAN = 8


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", nargs="+", help="udp://host:port, serial:///dev/ttyUSB0, lab:NAME or a recording's folder"
    )
    parser.add_argument(
        "--lab",
        metavar="NAME|FILE",
        help="preset or lab file that the server runs, for live windows and yields; lab:NAME and recordings know it",
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="node time to watch; without it, until Ctrl-C")
    parser.add_argument("--interval", type=float, default=0.5, metavar="S", help="seconds between updates (0.5)")
    parser.add_argument(
        "--span",
        type=int,
        default=DEFAULT_SPAN,
        metavar="N",
        help=f"blocks that are paired at once ({DEFAULT_SPAN}); 0: none",
    )
    parser.add_argument("--group", type=int, default=64, metavar="G", help="positions among which pairs are drawn (64)")
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="NPZ file for the raw and the paired keys of both sides"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG, SVG or PDF, renewed every 5 s and at the end")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    import json
    import time
    from contextlib import ExitStack

    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from twinphase_spec.aopp import MAX_GROUP, MIN_GROUP

    from ..arguments import check_positive
    from ..device import open_device
    from ..errors import TwinphaseError
    from ..lab_frame import lab_frame
    from ..measure.watch import PLOT_INTERVAL_S
    from ..report.measure_plots import check_plot_file, save
    from ..report.sift_plots import overview
    from ..sift.blocks import WHY_DISCARDED
    from ..sift.keys import write_keys
    from ..sift.session import SiftSession, by_role, expand_urls
    from ..sift.table import table
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    check_positive("--interval", arguments.interval)
    if not 0 <= arguments.span <= 1024:
        raise TwinphaseError(f"--span is {arguments.span}; allowed: 0 to 1024 blocks")
    if not MIN_GROUP <= arguments.group <= MAX_GROUP:
        raise TwinphaseError(f"--group is {arguments.group}; allowed: {MIN_GROUP} to {MAX_GROUP}")
    plot: Path | None = arguments.plot
    keys: Path | None = arguments.keys
    check_plot_file(plot)
    if keys is not None and (keys.suffix != ".npz" or not keys.parent.is_dir()):
        raise TwinphaseError(f"--keys {keys}: give a file with the ending .npz in a folder that exists")
    console, errors = Console(), Console(stderr=True)
    shows = console.is_terminal and not arguments.json
    begun = time.monotonic()
    with ExitStack() as stack:
        urls = expand_urls(arguments.url)
        devices = by_role([stack.enter_context(open_device(url)) for url in urls])
        server = devices["server"]
        frame = lab_frame(server, server.url, arguments.lab)
        session = SiftSession(devices, span=arguments.span, group=arguments.group, frame=frame)
        stopped = stack.enter_context(stop_on_signals())
        live = Live(console=console, auto_refresh=False, transient=True) if shows else None
        if live is not None:
            stack.enter_context(live)
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
            disable=shows or not errors.is_terminal,
        )
        stack.enter_context(bar)
        task = bar.add_task("sifting", total=arguments.seconds, visible=False)
        due, plot_due = begun + arguments.interval, begun + PLOT_INTERVAL_S
        while not stopped.is_set() and session.step():
            now = time.monotonic()
            if now >= due:
                due = now + arguments.interval
                bar.update(task, completed=session.node_seconds, visible=now - begun > SHOW_AFTER_S)
                if live is not None:
                    live.update(table(session.as_dict()), refresh=True)
            if plot is not None and now >= plot_due:
                save(overview(session.as_dict(), session.by_block), plot)
                plot_due = time.monotonic() + PLOT_INTERVAL_S
            if arguments.seconds is not None and session.node_seconds >= arguments.seconds:
                break
        session.finish(wait=not stopped.is_set())
        result = {"urls": urls, **session.as_dict()}
    if not result["heralds"] and (discarded := result["blocks"]["discarded"]):
        raise TwinphaseError(
            f"no block was closed and {discarded} discarded: {WHY_DISCARDED}; check both clients' registers"
        )
    if not result["heralds"]:
        raise TwinphaseError(
            f"no block was closed in {result['node_seconds']:.3g} s of node time: the nodes send no heralds, the frame does not run, or "
            f"a block of {result['block_heralds']} heralds takes longer"
        )
    if plot is not None:
        save(overview(result, session.by_block), plot)
    if keys is not None:
        about = {"raw": result["z_error_raw"], "x_key_error": result["x_key_error"], "pairing": result["pairing"]}
        write_keys(keys, session.keys, {"urls": urls, **about})
    if arguments.json:
        print(json.dumps(result))
    else:
        console.print(table(result))
    return 0
