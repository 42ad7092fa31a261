"""What is served or opened as a device: nodes that run side by side on one clock, with whatever feeds them."""

from __future__ import annotations

from collections.abc import Mapping
from socket import socket
from typing import Protocol

from twinphase_sim.native import NodeOutput
from twinphase_spec.packets import Stream

SETUP_CHUNK_CLOCKS = 1 << 12
"""A step that only register requests wait for."""


class WorldStep(Protocol):
    """One chunk of time."""

    @property
    def outputs(self) -> Mapping[str, NodeOutput]:
        """What left each node."""


class World(Protocol):
    """Nodes by name, stepped together; every random number in it comes from a seed."""

    @property
    def title(self) -> str:
        """What it is, for messages."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nodes, in the order of their ports."""

    @property
    def chunk_clocks(self) -> int:
        """The longest step now; 0: it has to wait for others."""

    @property
    def messages(self) -> frozenset[Stream]:
        """Streams of other nodes that its nodes take from outside, besides register requests."""

    @property
    def real_time(self) -> bool:
        """It must not run faster than the clocks of boards, by which somebody starts it."""

    @property
    def waker(self) -> socket | None:
        """Readable when `chunk_clocks` may have grown; None if it never waits."""

    @property
    def clock(self) -> int:
        """The clock count of all nodes now."""

    @property
    def seconds(self) -> float:
        """Time since the start of the experiment; negative before."""

    @property
    def start_clock(self) -> int:
        """Clock count at ``seconds`` = 0."""

    @property
    def cycles_simulated(self) -> Mapping[str, int]:
        """Clocks evaluated, not skipped, per node."""

    def submit(self, name: str, packet: bytes) -> None:
        """Hand a packet (a register request) to a node's link at the start of the next step. Safe from any thread."""

    def step(self, stop_clock: int) -> WorldStep:
        """Run until ``stop_clock``, at most ``chunk_clocks`` ahead."""

    def close(self) -> None:
        """Stop worker threads; harmless when repeated."""
