"""Classical messages between the nodes: what leaves one node's link reaches another's after the flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from twinphase_sim.native import NodeOutput
from twinphase_spec.packets import Stream


class DelayLine:
    """Packets of some streams on their way from one node to another, in order, ``delay_clocks`` from last word to first."""

    def __init__(self, streams: Iterable[Stream], delay_clocks: int) -> None:
        self.delay_clocks = delay_clocks
        self._wanted = np.zeros(256, np.bool_)
        self._wanted[[int(stream) for stream in streams]] = True
        self._underway: deque[tuple[int, bytes]] = deque()

    def send(self, output: NodeOutput) -> None:
        """Take up the wanted packets of what a node sent."""
        for index in np.flatnonzero(self._wanted[output.streams]).tolist():
            self._underway.append((int(output.clocks[index]) + self.delay_clocks, output.packet(index)))

    def put(self, clock: int, packet: bytes) -> None:
        """A packet of another's that leaves at ``clock``, not before what was sent already."""
        if self._wanted[packet[0]]:
            self._underway.append((clock + self.delay_clocks, packet))

    def arriving(self, before_clock: int) -> list[tuple[int, bytes]]:
        """(clock of arrival, packet) of what arrives before that clock; it leaves the line."""
        arrived = []
        while self._underway and self._underway[0][0] < before_clock:
            arrived.append(self._underway.popleft())
        return arrived
