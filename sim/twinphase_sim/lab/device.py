"""Devices of the virtual lab in this process, without sockets: ``lab:NAME_OR_FILE[?node=alice&seed=3&seconds=2]``, or
``bench:NAME_OR_FILE[?merge=wide&taps=512]`` for a time tagger.

The lab runs while its packets are taken: `receive` runs it on by one chunk. ``seconds`` ends the device after that much lab time;
without it the lab runs as long as it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast
from urllib.parse import parse_qs

import numpy as np

from twinphase.device import PacketDevice
from twinphase.errors import DeviceError
from twinphase_sim.native import answer_words, request_packet
from twinphase_spec.bench import load_bench
from twinphase_spec.lab import load_lab
from twinphase_spec.packets import RegisterOp, Stream
from twinphase_spec.tagger import Merge

from .bench import NODE, OPTIONS, VirtualBench
from .idle import IdleLab
from .virtual import NODES, VirtualLab
from .world import SETUP_CHUNK_CLOCKS, World

PATIENCE_CLOCKS = 1 << 22


class LabDevice(PacketDevice):
    """One node of a virtual lab. Its registers answer while the lab runs; every request takes some microseconds of lab time."""

    def __init__(self, virtual: World, node: str = "server", *, seconds: float | None = None, url: str = "") -> None:
        super().__init__(url or f"{virtual.title}?node={node}")
        self.virtual = virtual
        self.node = node
        self._seconds = seconds
        self._waiting: list[bytes] = []
        self._id = 1 << 20  # the lab's own set-up used small ids
        self._closed = False

    def receive(self, timeout_s: float) -> list[bytes] | None:
        if self._closed:
            return None
        if not self._waiting:
            if self._seconds is not None and self.virtual.seconds >= self._seconds:
                return None
            self._run(self.virtual.chunk_clocks)
        packets, self._waiting = self._waiting, []
        return packets

    def request(self, op: RegisterOp, address: int, count: int, words: Sequence[int] = ()) -> list[int]:
        if self._closed:
            raise DeviceError(f"{self.url} is closed")
        self._id += 1
        self.virtual.submit(self.node, request_packet(self._id, op, address, count, words))
        for _ in range(PATIENCE_CLOCKS // SETUP_CHUNK_CLOCKS):
            for answer in self._run(min(SETUP_CHUNK_CLOCKS, self.virtual.chunk_clocks)):
                identifier, values = answer_words(answer, self.url)
                if identifier == self._id:
                    return values
        raise DeviceError(f"{self.url} does not answer (register {address:#06x})")

    def _run(self, clocks: int) -> list[bytes]:
        """Run the lab on; queue the node's data packets and return its answers to requests."""
        output = self.virtual.step(self.virtual.clock + clocks).outputs[self.node]
        answers: list[bytes] = []
        for (_, packet), stream in zip(output.packets, output.streams.tolist(), strict=True):
            (answers if stream == Stream.REGISTER_RESPONSE else self._waiting).append(packet)
        return answers

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.virtual.close()


BENCH = "bench:"


def find_world(
    what: str, *, merge: str | None = None, taps: int | None = None, idle: bool = False
) -> tuple[tuple[str, ...], Callable[[int], World]]:
    """(names of the nodes, maker of the world from a seed) of a lab's or, with ``bench:`` before it, a bench's name or file.

    ``merge``, ``taps``: of a bench's time tagger (`TaggerOptions`), "one" and 256 if None. ``idle``: a lab's nodes wait to be started
    (`IdleLab`). Raises LabError or BenchError for what cannot be read, and ValueError for what no time tagger has.
    """
    if what.startswith(BENCH):
        bench = load_bench(what.removeprefix(BENCH))
        options = OPTIONS if merge is None else replace(OPTIONS, merge=cast(Merge, merge))  # checked there
        options = options if taps is None else replace(options, taps=taps)
        return (NODE,), lambda seed: VirtualBench(bench, seed, options=options)
    if merge is not None or taps is not None:
        raise ValueError(f"{what} is a lab; {'taps are' if merge is None else 'merge is'} of benches only")
    lab = load_lab(what)
    return NODES, lambda seed: IdleLab(lab, seed) if idle else VirtualLab(lab, seed)


def open_lab(url: str) -> LabDevice:
    """The device of a ``lab:`` or ``bench:`` URL. Raises DeviceError."""
    what, _, query = url.removeprefix("lab:").partition("?")
    options = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
    unknown = sorted(set(options) - {"node", "seed", "seconds", "merge", "taps"})
    if unknown:
        raise DeviceError(f"{url} has the unknown option {unknown[0]}; allowed: node, seed, seconds, merge, taps")
    try:
        seed = int(options.get("seed", "1"))
        seconds = float(options["seconds"]) if "seconds" in options else None
        taps = int(options["taps"]) if "taps" in options else None
    except ValueError as error:
        raise DeviceError(f"{url}: {error}; seed and taps are whole numbers, seconds a number") from error
    if seed < 0 or (seconds is not None and not 0 < seconds < np.inf):
        raise DeviceError(f"{url}: seed must not be negative and seconds must be positive")
    try:
        names, make = find_world(what, merge=options.get("merge"), taps=taps)
        node = options.get("node", names[0])
        if node not in names:
            raise DeviceError(f"{url} names the node {node}; allowed: {', '.join(names)}")
        virtual = make(seed)
    except ValueError as error:
        raise DeviceError(str(error)) from error
    return LabDevice(virtual, node, seconds=seconds, url=url)
