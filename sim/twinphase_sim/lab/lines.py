"""Who sends what to whom in a lab, and the lines between nodes in one process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TypeAlias

from twinphase_spec.packets import Stream

from .mesh import ArrivingLine, Mesh
from .messages import DelayLine

NodeName: TypeAlias = str
NODES: tuple[NodeName, ...] = ("server", "alice", "bob")
MESSAGES: dict[tuple[NodeName, NodeName], tuple[tuple[Stream, ...], int]] = {
    ("server", "alice"): ((Stream.HERALD_CODE, Stream.PSI), 1),
    ("server", "bob"): ((Stream.HERALD_CODE, Stream.PSI), 1),
    ("alice", "server"): ((), 1),
    ("bob", "server"): ((), 1),
    ("alice", "bob"): ((Stream.PEER,), 2),
    ("bob", "alice"): ((Stream.PEER,), 2),
}
"""Streams from node to node, and how many flights they take. A server in a process of its own waits for clients that send it nothing:
nobody runs far ahead."""


class Lines:
    """Lines between the nodes called ``here``, and with a ``mesh``, which is connected here, to and from those elsewhere. MeshError."""

    def __init__(self, here: Sequence[NodeName], delay_clocks: int, mesh: Mesh | None) -> None:
        self.arriving: dict[NodeName, list[DelayLine]] = {name: [] for name in here}
        self.leaving: dict[NodeName, list[DelayLine]] = {name: [] for name in here}
        elsewhere: dict[NodeName, ArrivingLine] = {}
        if mesh is not None:
            mesh.connect()
        for sender, receiver in permutations(NODES, 2):
            streams, flights = MESSAGES[sender, receiver]
            delay = flights * delay_clocks
            if sender in here and receiver in here:
                line = DelayLine(streams, delay)
                self.leaving[sender].append(line)
                self.arriving[receiver].append(line)
            elif mesh is not None and sender in here:
                self.leaving[sender].append(mesh.leaving(receiver, streams, delay))
            elif mesh is not None and receiver in here:
                elsewhere[sender] = ArrivingLine(streams, delay)
                self.arriving[receiver].append(elsewhere[sender])
        if mesh is not None:
            mesh.listen(elsewhere)
