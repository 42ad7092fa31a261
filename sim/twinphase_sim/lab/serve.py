"""Serve virtual nodes on UDP: a lab's server on port P, alice on P + 1, bob on P + 2; or a time tagger on its bench on port P.

They run while someone reads their streams, as fast as the readers follow. Ctrl-C stops them. With --node only one of a lab's nodes
runs here; the others run in processes of their own, started alike, and all exchange their messages over TCP, on ports of the same
numbers.

example:
  twinphase serve seed-370km --port 9750
  twinphase record udp://localhost:9750 --out run1
  twinphase serve bench:pairs
  twinphase serve bench:pairs --merge wide
  twinphase serve bench:hbt --taps 512
  twinphase measure udp://localhost:9750 coincidences
  twinphase serve seed-370km --idle        # nodes as boards are: twinphase run sets them up and starts them
  twinphase serve seed-370km --node server & twinphase serve seed-370km --node alice & twinphase serve seed-370km --node bob
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twinphase_spec.tagger import MERGES

if TYPE_CHECKING:
    from .server import NodePort
    from .virtual import VirtualLab

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
        "--readers",
        type=int,
        choices=(0, 1, 2, 3),
        help="nodes that must be read for the lab to run (1; with --node alice or bob 0)",
    )
    parser.add_argument(
        "--node", choices=("server", "alice", "bob"), help="run only this node of the lab, on its own port of the three"
    )
    parser.add_argument(
        "--idle", action="store_true", help="the nodes of a lab wait, as boards do, for `twinphase run` to start them"
    )
    parser.add_argument(
        "--merge", choices=MERGES, help="tags per clock of a bench's merge: one, or wide, which is two (one)"
    )
    parser.add_argument(
        "--taps",
        type=int,
        metavar="N",
        help="flip-flops for each delay line of a bench; 512: two for each tap along it, finer bins (256)",
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
    check_node(arguments)
    check_tagger(arguments)
    names, make = find_world(arguments.lab, merge=arguments.merge, taps=arguments.taps, idle=arguments.idle)
    # The signals are taken over before the ports, so that a stop while compiling frees them as well.
    with stop_on_signals() as stopped:
        if arguments.node is None:
            ports = open_ports(names, arguments.host, arguments.port)
            virtual = make(arguments.seed)
        else:
            ports, virtual = one_node(arguments)
        keeper = None if arguments.truth is None else TruthKeeper()
        if keeper is not None and not isinstance(virtual, VirtualLab):
            raise TwinphaseError(f"{virtual.title} is no lab; --truth is of labs only")
        server = LabServer(
            virtual, ports, readers=_readers(arguments, len(ports)), seconds=arguments.seconds, keeper=keeper
        )
        addresses = {port.name: "udp://{}:{}".format(*port.address) for port in ports}
        try:
            if arguments.json:
                ready = {
                    "lab": virtual.title.partition(":")[2],
                    "seed": arguments.seed,
                    "nodes": addresses,
                    "start_clock": virtual.start_clock,
                    "angles": virtual.angles if isinstance(virtual, VirtualLab) else None,
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


def check_node(arguments: argparse.Namespace) -> None:
    """TwinphaseError for options that do not go with ``--node`` or ``--idle``."""
    from twinphase.errors import TwinphaseError

    from .device import BENCH

    if arguments.idle and (
        arguments.lab.startswith(BENCH) or arguments.node is not None or arguments.truth is not None
    ):
        raise TwinphaseError("--idle is given with a bench, --node or --truth; it is for all three nodes of a lab")
    if arguments.node is None:
        return
    if arguments.lab.startswith(BENCH):
        raise TwinphaseError(f"{arguments.lab} is a bench of one node; --node is of labs only")
    if not 1 <= arguments.port <= 65533:
        raise TwinphaseError(
            f"--port is {arguments.port}; allowed with --node: 1 to 65533, the same for all three nodes"
        )
    if arguments.truth is not None and arguments.node != "server":
        raise TwinphaseError(f"--truth is given with --node {arguments.node}; the server node alone sees the light")


def check_tagger(arguments: argparse.Namespace) -> None:
    """TwinphaseError for options of a bench's time tagger with a lab."""
    from twinphase.errors import TwinphaseError

    from .device import BENCH

    given = [f"--{name}" for name in ("merge", "taps") if getattr(arguments, name) is not None]
    if given and not arguments.lab.startswith(BENCH):
        raise TwinphaseError(f"{given[0]} is given with {arguments.lab}; allowed: with bench:NAME or bench:FILE")


def one_node(arguments: argparse.Namespace) -> tuple[list[NodePort], VirtualLab]:
    """The port and the lab of one node, connected to the others. Raises MeshError."""
    from twinphase_spec.lab import load_lab
    from twinphase_spec.registers import MAPS

    from .mesh import Mesh
    from .server import open_ports
    from .virtual import NODES, VirtualLab

    lab = load_lab(arguments.lab)
    ports = open_ports((arguments.node,), arguments.host, arguments.port + NODES.index(arguments.node))
    common = {
        "lab": lab.model_dump(mode="json"),
        "seed": arguments.seed,
        "register maps": [node_map.hash for node_map in MAPS.values()],
    }
    addresses = {name: (arguments.host, arguments.port + i) for i, name in enumerate(NODES)}
    try:
        mesh = Mesh(arguments.node, addresses, common)
    except BaseException:
        ports[0].socket.close()
        raise
    return ports, VirtualLab(lab, arguments.seed, mesh=mesh)


def _readers(arguments: argparse.Namespace, ports: int) -> int:
    if arguments.readers is None:
        return 0 if arguments.node in ("alice", "bob") else 1
    return min(arguments.readers, ports)


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
