"""A Verilated node's GMII side and the kernel's TAP interfaces on one Ethernet segment."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from ..native.wire import NativeWire, line_bytes, read_line
from .faults import Faults, FaultyLine
from .tap import Tap

BATCH_CLOCKS = 2000
"""Of 125 MHz, between two looks at the interfaces: about 2 ms here."""
GROUP = 1
"""Bit of a destination's first byte: more than one station."""


class Bridge:
    """Runs the node in a thread of its own, as fast as it goes, and passes frames between it and the interfaces.

    ``to_node``, ``to_host``: what happens to frames on the way. ``count``: frames by what became of them; "cut": the node sent what is
    no frame; "refused": an interface dropped it for a wrong check sequence, as a network card does. ``watch`` is called in the
    bridge's thread with every frame that the node sends, before anything happens to it.

    A context manager; what goes wrong in the thread is raised at the end.
    """

    def __init__(
        self,
        wire: NativeWire,
        taps: Sequence[Tap],
        *,
        to_node: Faults | None = None,
        to_host: Faults | None = None,
        seed: int = 1,
        watch: Callable[[bytes], None] | None = None,
    ) -> None:
        self.wire, self.taps = wire, list(taps)
        self.to_node = FaultyLine(to_node or Faults(), 2 * seed)
        self.to_host = FaultyLine(to_host or Faults(), 2 * seed + 1)
        self.count: Counter[str] = Counter()
        self._watch = watch
        self._extra: list[bytes] = []
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ethernet bridge", daemon=True)

    def send(self, line: bytes) -> None:
        """Bytes from nowhere onto the node's line (`twinphase_sim.native.wire.line_bytes`)."""
        self._extra.append(line)

    def set_faults(self, *, to_node: Faults | None = None, to_host: Faults | None = None) -> None:
        """From now on."""
        self.to_node.faults = to_node or Faults()
        self.to_host.faults = to_host or Faults()

    def unplug(self, tap: Tap) -> None:
        """Nothing goes to or comes from the interface any more."""
        self.taps.remove(tap)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._step()
        except BaseException as error:
            self._failure = error

    def _step(self) -> None:
        wire = self.wire
        for tap in tuple(self.taps):
            for frame in tap.read():
                self.count["from host"] += 1
                self.to_node.put(line_bytes(frame), wire.clock)
        while self._extra:
            self.to_node.put(self._extra.pop(0), wire.clock)
        due = self.to_node.take(wire.clock)
        if due:
            wire.put(due)
        for line in wire.run_lines(BATCH_CLOCKS):
            sent = read_line(line)
            self.count["from node" if sent.sound else "cut"] += 1
            if self._watch is not None:
                self._watch(sent.data)
            self.to_host.put(line, wire.clock)
        for line in self.to_host.take(wire.clock):
            self._deliver(line)

    def _deliver(self, line: bytes) -> None:
        frame = read_line(line)
        if not frame.sound:
            self.count["refused"] += 1
            return
        self.count["to host"] += 1
        for tap in tuple(self.taps):
            if tap.takes_all or frame.data[0] & GROUP or frame.data[:6] == tap.mac:
                tap.write(frame.data)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
