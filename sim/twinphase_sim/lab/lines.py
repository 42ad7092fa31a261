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
    ("server", "alice"): ((Stream.HERALD_CODE, Stream.PSI, Stream.LIVE, Stream.REGISTER_REQUEST), 1),
    ("server", "bob"): ((Stream.HERALD_CODE, Stream.PSI, Stream.LIVE, Stream.REGISTER_REQUEST), 1),
    ("alice", "server"): ((Stream.REGISTER_RESPONSE,), 1),
    ("bob", "server"): ((Stream.REGISTER_RESPONSE,), 1),
    ("alice", "bob"): ((Stream.PEER,), 2),
    ("bob", "alice"): ((Stream.PEER,), 2),
}
"""Streams from node to node, and how many flights they take. Requests to clients are those of the server's host, who corrects their
emission; their answers are for him. A server in a process of its own waits for clients that send nothing: nobody runs far ahead."""


class Lines:
    """Lines between the nodes called ``here``, and with a ``mesh``, which is connected here, to and from those elsewhere. MeshError."""

    def __init__(self, here: Sequence[NodeName], delay_clocks: int, mesh: Mesh | None) -> None:
        self.arriving: dict[NodeName, list[DelayLine]] = {name: [] for name in here}
        self.leaving: dict[NodeName, list[DelayLine]] = {name: [] for name in here}
        self.between: dict[tuple[NodeName, NodeName], DelayLine] = {}
        """Of each sender here to each receiver."""
        elsewhere: dict[NodeName, ArrivingLine] = {}
        if mesh is not None:
            mesh.connect()
        for sender, receiver in permutations(NODES, 2):
            streams, flights = MESSAGES[sender, receiver]
            delay = flights * delay_clocks
            if sender in here and receiver in here:
                line = DelayLine(streams, delay)
                self.leaving[sender].append(line)
                self.between[sender, receiver] = line
                self.arriving[receiver].append(line)
            elif mesh is not None and sender in here:
                self.between[sender, receiver] = mesh.leaving(receiver, streams, delay)
                self.leaving[sender].append(self.between[sender, receiver])
            elif mesh is not None and receiver in here:
                elsewhere[sender] = ArrivingLine(streams, delay)
                self.arriving[receiver].append(elsewhere[sender])
        if mesh is not None:
            mesh.listen(elsewhere)
