"""Serve virtual nodes on UDP: a lab's server on port P, alice on P + 1, bob on P + 2; or a time tagger on its bench on port P.

They run while someone reads their streams, as fast as the readers follow. Ctrl-C stops them.

example:
  twinphase serve seed-370km --port 9750
  twinphase record udp://localhost:9750 --out run1
  twinphase serve bench:pairs
  twinphase measure udp://localhost:9750 coincidences
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DEFAULT_PORT = 9750


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "lab",
        help="name of a preset (see twinphase labs) or path of a lab file; bench:NAME or bench:FILE: a time tagger",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="P", help="first UDP port (9750); 0: any")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on (127.0.0.1)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="seed of everything random (1)")
    parser.add_argument("--seconds", type=float, metavar="S", help="lab time after which the streams fall silent")
    parser.add_argument(
        "--readers", type=int, default=1, choices=(1, 2, 3), help="nodes that must be read for the lab to run (1)"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="at the end, write a lab's clicks and its actuator's positions (.npz)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object when the nodes are ready")


def run(arguments: argparse.Namespace) -> int:
    import json

    from twinphase.arguments import check_positive, check_seed
    from twinphase.errors import TwinphaseError
    from twinphase.stopping import stop_on_signals

    from .device import find_world
    from .server import LabServer, open_ports
    from .truth import TruthKeeper
    from .virtual import VirtualLab

    check_seed(arguments.seed)
    check_positive("--seconds", arguments.seconds)
    names, make = find_world(arguments.lab)
    # The signals are taken over before the ports, so that a stop while compiling frees them as well.
    with stop_on_signals() as stopped:
        ports = open_ports(names, arguments.host, arguments.port)
        virtual = make(arguments.seed)
        keeper = None if arguments.truth is None else TruthKeeper()
        if keeper is not None and not isinstance(virtual, VirtualLab):
            raise TwinphaseError(f"{virtual.title} is no lab; --truth is of labs only")
        server = LabServer(
            virtual, ports, readers=min(arguments.readers, len(names)), seconds=arguments.seconds, keeper=keeper
        )
        addresses = {port.name: "udp://{}:{}".format(*port.address) for port in ports}
        try:
            if arguments.json:
                ready = {
                    "lab": virtual.title.partition(":")[2],
                    "seed": arguments.seed,
                    "nodes": addresses,
                    "start_clock": virtual.start_clock,
                }
                print(json.dumps(ready), flush=True)
            else:
                print(
                    f"{virtual.title} is ready: " + ", ".join(f"{name} {url}" for name, url in addresses.items()),
                    flush=True,
                )
            server.serve(stopped.is_set)
        finally:
            server.close()
            if keeper is not None:
                keeper.truth().save(arguments.truth)
    if arguments.json:
        print(json.dumps({"lab_seconds": virtual.seconds, "cycles_simulated": virtual.cycles_simulated}), flush=True)
    return 0


def main() -> int:
    """``python -m twinphase_sim.lab.serve``: the command by itself."""
    from twinphase.errors import TwinphaseError
    from twinphase_spec.config_file import ConfigError

    parser = argparse.ArgumentParser(prog="python -m twinphase_sim.lab.serve", description=__doc__)
    configure(parser)
    try:
        return run(parser.parse_args())
    except (TwinphaseError, ConfigError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
