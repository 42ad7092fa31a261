"""Run a pair on three nodes: set them up from a lab file, start them together, carry their messages, record all, stop them.

The nodes are boards, or virtual ones that wait (`twinphase serve LAB --idle`). Heralds and phases go from the server to both clients,
and what the clients tell each other, by way of this computer. The recordings server, alice and bob in the folder are what `twinphase
sift`, `phase` and `align` read. Ctrl-C stops the nodes and closes the recordings.

All three must count one clock. --alice-ahead says by how many clocks Alice's count is ahead of the server's at the same moment (0 for
nodes that were reset together); what is refused tells what the links say of it, to milliseconds. What is left, modulo the frame,
--align finds and corrects.

example:
  twinphase secrets --out pair-1
  twinphase serve seed-370km --idle --readers 3 &
  twinphase run seed-370km --server udp://localhost:9750 --alice udp://localhost:9751 --bob udp://localhost:9752 \\
    --secrets pair-1 --out run1 --seconds 0.2
  twinphase sift run1 --keys keys.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="LAB", help="preset or lab file that the nodes run")
    for name, what in (("server", "the server"), ("alice", "Alice's client"), ("bob", "Bob's client")):
        parser.add_argument(
            f"--{name}",
            required=True,
            metavar="URL",
            help=f"{what}: udp://host:port, serial:///dev/ttyUSB0, usb://SERIAL",
        )
    parser.add_argument("--secrets", type=Path, required=True, metavar="DIR", help="folder of `twinphase secrets`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder for the recordings")
    parser.add_argument("--seconds", type=float, metavar="S", help="node time from pulse 0; without it, until Ctrl-C")
    parser.add_argument("--after", type=float, default=3.0, metavar="S", help="from the first write to pulse 0 (3)")
    for role in ("alice", "bob"):
        parser.add_argument(
            f"--{role}-ahead", type=int, default=0, metavar="N", help=f"clocks of {role}'s count over the server's (0)"
        )
    parser.add_argument(
        "--run", type=int, metavar="N", help="number of the run, not used before with these secrets (the next)"
    )
    parser.add_argument(
        "--align", action="store_true", help="search for the pulses of both arms and keep them in their places"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from twinphase_spec.lab import load_lab

    from ..arguments import check_positive
    from ..device import PacketDevice, open_device
    from ..errors import DeviceError
    from ..operate.run import NODES, PairRun, Plan
    from ..operate.showing import say_result, show_run
    from ..stopping import stop_on_signals

    check_positive("--seconds", arguments.seconds)
    check_positive("--after", arguments.after)
    plan = Plan(
        lab=load_lab(arguments.lab),
        lab_name=arguments.lab,
        secrets=arguments.secrets,
        folder=arguments.out,
        ahead={"alice": arguments.alice_ahead, "bob": arguments.bob_ahead},
        after_s=arguments.after,
        run=arguments.run,
        align=arguments.align,
    )
    with ExitStack() as stack:
        stopped = stack.enter_context(stop_on_signals())
        devices: dict[str, PacketDevice] = {}
        for name in NODES:
            device = stack.enter_context(open_device(getattr(arguments, name)))
            if not isinstance(device, PacketDevice):
                raise DeviceError(f"{device.url} is a recording; a run needs nodes")
            devices[name] = device
        pair = PairRun(plan, devices)
        show = stack.enter_context(show_run("starting", arguments.seconds))
        result = pair.carry_on(seconds=arguments.seconds, stop=stopped.is_set, progress=show)
    return say_result(
        arguments.json, arguments.out, result, f"; `twinphase sift {arguments.out}` shows what came of it"
    )
