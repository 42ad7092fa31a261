"""Run the server of a pair whose users have computers of their own: wait for both, start, carry their messages, record, stop.

The users run `twinphase user` with the same lab file; both connect here, and to nobody else. What they tell each other is sealed with
their secrets, so that this computer can read it, as it may, but not change it. Ctrl-C stops all three nodes.

example:
  twinphase charlie pair.toml --server udp://192.168.1.50 --listen 9760 --out run1 --seconds 60
  twinphase user pair.toml --node udp://192.168.2.50 --charlie charlie.lab:9760 --secrets alice.toml --out run1
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="LAB", help="preset or lab file that the nodes run")
    parser.add_argument(
        "--server", required=True, metavar="URL", help="udp://host:port, serial:///dev/ttyUSB0, usb://SERIAL"
    )
    parser.add_argument(
        "--listen", default="9760", metavar="[HOST:]PORT", help="where users connect (9760 of all interfaces)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder for the recording")
    parser.add_argument("--seconds", type=float, metavar="S", help="node time from pulse 0; without it, until Ctrl-C")
    parser.add_argument("--after", type=float, default=5.0, metavar="S", help="from when both are there to pulse 0 (5)")
    parser.add_argument(
        "--align",
        action="store_true",
        help="search for the pulses of both arms, and have the users keep them in their places",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    from twinphase_spec.lab import load_lab

    from ..arguments import check_positive, host_and_port
    from ..device import open_device
    from ..operate.charlie import CharliePlan, CharlieRun
    from ..operate.showing import say_result, show_run
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    check_positive("--after", arguments.after)
    plan = CharliePlan(
        lab=load_lab(arguments.lab),
        lab_name=arguments.lab,
        folder=arguments.out,
        address=host_and_port("--listen", arguments.listen, host="0.0.0.0"),
        after_s=arguments.after,
        align=arguments.align,
    )
    with (
        stop_on_signals() as stopped,
        open_device(arguments.server) as device,
        CharlieRun(plan, device) as charlie,
        show_run(f"waiting for users at port {charlie.address[1]}", arguments.seconds) as show,
    ):
        result = charlie.carry_on(seconds=arguments.seconds, stop=stopped.is_set, progress=show)
    return say_result(arguments.json, arguments.out, result)
