"""Run one user's client of a pair: connect to Charlie's computer, set the client up, start it, carry its messages, record, stop.

The other user does the same elsewhere, and Charlie runs `twinphase charlie`, all with the same lab file. The file of secrets is the
user's own, of one pair with the other's (`twinphase secrets`); keys leave this computer for the client only.

example:
  twinphase secrets --out pair-1        # alice.toml stays here, bob.toml goes to Bob's computer, by hand
  twinphase user pair.toml --node udp://192.168.2.50 --charlie charlie.lab:9760 --secrets pair-1/alice.toml --out run1
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="LAB", help="preset or lab file that the nodes run")
    parser.add_argument(
        "--node", required=True, metavar="URL", help="the client: udp://host:port, serial:///dev/ttyUSB0, usb://SERIAL"
    )
    parser.add_argument("--charlie", required=True, metavar="HOST[:PORT]", help="his computer (port 9760)")
    parser.add_argument(
        "--secrets", type=Path, required=True, metavar="FILE", help="the user's own file of `twinphase secrets`"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder for the recording")
    parser.add_argument(
        "--ahead", type=int, default=0, metavar="N", help="clocks of the client's count over the server's (0)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    from twinphase_spec.lab import load_lab

    from ..arguments import host_and_port
    from ..device import open_device
    from ..operate.showing import say_result, show_run
    from ..operate.user import UserPlan, UserRun
    from ..stopping import stop_on_signals

    plan = UserPlan(
        lab=load_lab(arguments.lab),
        lab_name=arguments.lab,
        secrets=arguments.secrets,
        folder=arguments.out,
        charlie=host_and_port("--charlie", arguments.charlie, port=9760),
        ahead=arguments.ahead,
    )
    with (
        stop_on_signals() as stopped,
        open_device(arguments.node) as device,
        show_run("waiting for Charlie and the other user", None) as show,
    ):
        result = UserRun(plan, device).carry_on(stop=stopped.is_set, progress=show)
    return say_result(arguments.json, arguments.out, result)
