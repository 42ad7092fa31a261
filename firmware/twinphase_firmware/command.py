"""Build a board's bitstream and its manifest with open tools.

Synthesis, place and route take minutes. A design that misses its clock is placed again with the next seed; if none of the
tries meets it, that is an error, and leaves no bitstream.

example:
  twinphase build ecpix5-85f --node server --out bitstreams
  twinphase build ecpix5-85f --node timetagger --chains 4 --channels 4
  twinphase build ecpix5-85f --node timetagger --merge wide
  twinphase build ecpix5-85f --node timetagger --taps 512
  twinphase build ulx3s-85f --node client --lanes 4 --recall shared
  twinphase build ecpix5-85f --node client --lanes 1 --recall shared --outputs dac
  twinphase build ecpix5-85f --node client --lanes 1 --symbols ring
  twinphase build ecpix5-85f --node timetagger --link udp --ip 192.168.1.50
  twinphase build butterstick --node timetagger --link udp --ip dhcp
  twinphase build cynthion --node timetagger --usb-serial bench-2
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from twinphase.errors import TwinphaseError
from twinphase_spec.tagger import FRONTENDS, MERGES, TaggerOptions

from .boardlink import KINDS, BoardLink
from .clientoptions import BOARD_RING, OUTPUTS, RECALLS, SYMBOLS, ClientOptions

CHOICES = ("frontend", "channels", "lanes", "chains", "taps", "merge", "recall", "outputs", "symbols", "ring")
"""Options of the front end or of a client that may be asked for."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "board", help="ecpix5-85f, ulx3s-85f, ulx3s-25f, versa-ecp5-5g, butterstick, ice40-hx8k or cynthion"
    )
    parser.add_argument("--node", default="server", help="server, timetagger or client (server)")
    own = "{}, instead of what the board has by default"
    parser.add_argument("--frontend", choices=FRONTENDS[1:], help=own.format("where edges come from"))
    parser.add_argument("--channels", type=int, metavar="N", help=own.format("channels"))
    parser.add_argument(
        "--lanes",
        type=int,
        metavar="N",
        help=own.format("edges per clock, 2: delay lines at 250 MHz; a client's pulses per clock"),
    )
    parser.add_argument("--chains", type=int, metavar="N", help=own.format("delay lines per channel (1, 2, 4 or 8)"))
    parser.add_argument(
        "--taps",
        type=int,
        metavar="N",
        help=own.format("flip-flops per delay line, from 448 on at 250 MHz two for each tap along it: finer bins"),
    )
    parser.add_argument(
        "--merge",
        choices=MERGES,
        help=own.format("tags per clock of a time tagger's merge: one, or wide, which is two"),
    )
    parser.add_argument("--recall", choices=RECALLS, help=own.format("where a client's symbols of heralds come from"))
    parser.add_argument(
        "--outputs",
        choices=OUTPUTS,
        help=own.format("what a client has on its pins: its symbols' levels and phases, or words for parallel DACs"),
    )
    parser.add_argument(
        "--symbols",
        choices=SYMBOLS,
        help="a client's symbols: counter, of AES-128, or ring, of a QRNG on pins, of which a ring keeps the last (counter)",
    )
    parser.add_argument(
        "--ring", type=int, metavar="N", help=f"with --symbols ring: symbols that it keeps ({BOARD_RING})"
    )
    parser.add_argument(
        "--reference",
        type=float,
        metavar="MHZ",
        help="count a clock of so many MHz on the board's reference pin, e.g. 10, and not its oscillator (ecpix5-85f, ulx3s)",
    )
    parser.add_argument(
        "--link", choices=KINDS, help="how packets leave the board (udp for butterstick, usb for cynthion, else serial)"
    )
    parser.add_argument(
        "--mac", default=BoardLink.mac, help=f"with --link udp: the board's MAC address ({BoardLink.mac})"
    )
    parser.add_argument(
        "--ip",
        default=BoardLink.ip,
        help=f"with --link udp: the board's IP address, or dhcp: it asks the network's server ({BoardLink.ip})",
    )
    parser.add_argument(
        "--fallback-ip",
        metavar="IP",
        help="with --ip dhcp: its address while no server answers (a link-local one made of its MAC address)",
    )
    parser.add_argument(
        "--usb-serial",
        default=BoardLink.usb_serial,
        metavar="TEXT",
        help=f"with --link usb: the board's serial number, by which a host tells two of them apart ({BoardLink.usb_serial})",
    )
    parser.add_argument("--out", type=Path, default=Path("bitstreams"), metavar="DIR", help="folder (bitstreams)")
    parser.add_argument("--seed", type=int, metavar="S", help="first seed of the placement (1, or the board's own)")
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="seeds to try until timing is met (3)")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def changed_options(
    own: TaggerOptions | ClientOptions, node: str, arguments: argparse.Namespace
) -> TaggerOptions | ClientOptions:
    """``own`` with what the arguments ask for. TwinphaseError for what this node does not have or cannot be built with."""
    known = [field.name for field in fields(own)]
    changed = {name: getattr(arguments, name) for name in CHOICES if getattr(arguments, name) is not None}
    if strange := [f"--{name}" for name in changed if name not in known]:
        allowed = ", ".join(f"--{name}" for name in CHOICES if name in known)
        raise TwinphaseError(f"a {node} has no {' and no '.join(strange)}; allowed: {allowed}")
    try:
        return replace(own, **changed)
    except ValueError as error:
        raise TwinphaseError(str(error)) from error


def run(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from twinphase.arguments import check_positive

    from .boards import find_board
    from .build import build

    check_positive("--tries", arguments.tries)
    check_positive("--reference", arguments.reference)
    board = find_board(arguments.board)
    own = board.nodes.get(arguments.node)
    options = None if own is None else changed_options(own, arguments.node, arguments)
    try:
        link = BoardLink(
            kind=arguments.link or board.link,
            mac=arguments.mac,
            ip=arguments.ip,
            fallback_ip=arguments.fallback_ip,
            usb_serial=arguments.usb_serial,
        )
    except ValueError as error:
        raise TwinphaseError(str(error)) from error
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
            options=options,
            link=link,
            reference_hz=None if arguments.reference is None else round(arguments.reference * 1e6),
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
