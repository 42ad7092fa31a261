"""Follows the three nodes of a pair: blocks, tally, keys, costs, and the gateware's counters against all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twinphase_spec.frame import FrameConfig
from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType
from twinphase_spec.smoothing import PsiSource
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch
from ..device import Device, PacketDevice
from ..errors import DeviceError, TwinphaseError
from ..measure.live import LiveWindows
from ..measure.losses import losses
from .blocks import ROLES, Block, BlockGatherer, Fate, Node
from .check import CellCheck, CellHistory, StatusCheck, read_cells
from .costs import HeraldCost, costs, wire_bits
from .keys import KeyMaker
from .latency import RevealLatency
from .rule import PairRule
from .tally import Tally
from .yields import Yields, pair_probabilities

READ_EVERY_S = 1.0
"""Wall time between two readings of the clients' cells."""
PATIENCE_S = 15.0
"""Wall time that the end of a run waits for the blocks of the last reading."""
NODES: tuple[Node, ...] = ("server", "alice", "bob")
NOT_IN_LIVE = ("unjoined", "dropped_qL", "dropped_qR")
"""Counters of the server that LIVE records do not tell of."""


def expand_urls(urls: Sequence[str]) -> list[str]:
    """One URL that stands for a pair becomes three: the folder of recordings ``server``, ``alice``, ``bob``; ``lab:NAME``; the UDP
    port of a server, whose clients are on the next two."""
    if len(urls) != 1:
        return list(urls)
    url = urls[0]
    if url.startswith("lab:") and "node=" not in url:
        return [f"{url}{'&' if '?' in url else '?'}node={node}" for node in NODES]
    if url.startswith("udp://"):
        from ..transport.udp import parse_udp_url

        host, port = parse_udp_url(url)
        name = f"[{host}]" if ":" in host else host
        return [f"udp://{name}:{port + i}" for i in range(len(NODES))]
    if all((Path(url) / node).is_dir() for node in NODES):
        return [str(Path(url) / node) for node in NODES]
    return [url]


def by_role(devices: Sequence[Device]) -> dict[Node, Device]:
    """The devices by what they are. Raises DeviceError unless they are one server, Alice and Bob."""
    found: dict[Node, Device] = {}
    for device in devices:
        kind = device.identity().node
        if kind is NodeType.TIMETAGGER:
            raise DeviceError(f"{device.url} is a time tagger; sift needs a pair's server, Alice and Bob")
        node: Node = "server" if kind is NodeType.SERVER else "bob" if device.read("ROLE") else "alice"
        if node in found:
            raise DeviceError(
                f"{device.url} and {found[node].url} are both {node}; sift needs one server, Alice and Bob"
            )
        found[node] = device
    missing = [node for node in NODES if node not in found]
    if missing:
        raise DeviceError(
            "sift needs the URLs of a pair's server, Alice and Bob, or the folder that holds their recordings; missing: "
            + ", ".join(missing)
        )
    return found


class SiftSession:
    """``span``: closed blocks whose Z bits are paired at once (AOPP, with SNS alone), 0 for none. ``frame``: the server's, by which live
    windows are counted.

    Raises DeviceError when the nodes do not belong together.
    """

    def __init__(
        self,
        devices: Mapping[Node, Device],
        *,
        span: int,
        group: int,
        frame: FrameConfig | None = None,
        read_every_s: float = READ_EVERY_S,
    ) -> None:
        self.devices = dict(devices)
        alice, bob = devices["alice"], devices["bob"]
        for name in ("BLOCK_HERALDS", "SLICE_WIDTH"):
            if alice.read(name) != bob.read(name):
                raise DeviceError(
                    f"{name} is {alice.read(name)} at {alice.url} and {bob.read(name)} at {bob.url}: a pair needs the same at both"
                )
        self.block_heralds = alice.read("BLOCK_HERALDS")
        self.rule = PairRule.of(alice)
        if PairRule.of(bob) != self.rule:
            raise DeviceError(
                f"{alice.url} and {bob.url} hold different rule tables: a pair needs the same protocol at both"
            )
        for device in (alice, bob):
            for needed in (Stream.PEER, Stream.SIFTED):
                if not device.read("STREAM_ENABLE") >> needed & 1:
                    raise DeviceError(
                        f"{device.url} does not send {needed.name} (bit {int(needed)} of STREAM_ENABLE is 0): sift needs it"
                    )
        if devices["server"].read("PSI_SOURCE") == PsiSource.NONE:
            raise DeviceError(
                f"{devices['server'].url} gives heralds no psi (PSI_SOURCE is 2), and no client sifts without: write 1 (click tracker) "
                "or 0 (windows) before CONTROL"
            )
        self.gatherer = BlockGatherer(self.block_heralds, self.rule)
        self.tally = Tally(self.rule)
        self.keys = KeyMaker(self.rule, self.block_heralds, span=span if self.rule.odd_parity else 0, group=group)
        self.history = CellHistory()
        self.yields: Yields | str = "the server's frame is not known: give its lab with --lab"
        """Or why there are none."""
        if self.rule.pair_span:
            self.yields = "yields are of single heralds, and these stand in pairs"
        elif frame is not None:
            chance = pair_probabilities(self.rule, {role: devices[role] for role in ROLES})
            try:
                self.yields = Yields(LiveWindows.of_device(devices["server"], frame), chance, self.rule)
            except TwinphaseError as error:
                self.yields = str(error)
        self._server_counters: list[dict[str, int]] = []
        """First and newest of those that bear on live windows."""
        self.unphased: int | None = None
        """Heralds that the server has announced without psi; None before its first STATUS."""
        self.herald_cost = HeraldCost()
        self.latency = {role: RevealLatency(devices[role], self.block_heralds) for role in ROLES}
        self.by_block: list[tuple[int, int, int]] = []
        """(block, kept, errors, of key bits where these are the phases) of each closed block."""
        self._cost_stream: Stream | None = None
        self._status = {role: StatusCheck() for role in ROLES}
        self._checks: dict[str, CellCheck] = {}
        self._live: dict[str, PacketDevice] = {}
        for role in ROLES:
            device = devices[role]
            if isinstance(device, PacketDevice):
                self._live[role] = device
                self._checks[role] = CellCheck(role)
        self._read_every_s, self._read_due_s = read_every_s, 0.0
        timeout_s = 0.1 / len(NODES)
        self._sources: dict[Node, Iterator[Batch] | None] = {node: devices[node].batches(timeout_s) for node in NODES}
        self._times: dict[Node, tuple[int, int]] = {}

    @property
    def node_seconds(self) -> float:
        """Longest node time watched."""
        return self._watched(max)

    def _watched(self, of: Callable[[list[int]], int]) -> float:
        times = (self._times.get(node, (0, 0)) for node in NODES)
        return of([stop - start for start, stop in times]) / TICKS_PER_SECOND

    def step(self) -> bool:
        """Take one batch from each node; False when all have ended."""
        for node, source in self._sources.items():
            if source is None:
                continue
            batch = next(source, None)
            if batch is None:
                self._sources[node] = None
            else:
                self._update(node, batch)
        if time.monotonic() >= self._read_due_s:
            self._read_due_s = time.monotonic() + self._read_every_s
            self._read()
        return any(source is not None for source in self._sources.values())

    def finish(self, *, wait: bool = True) -> None:
        """Wait until all nodes have been watched for as long as the first, and for the blocks of a last reading of the cells, unless told
        not to; then close the books."""
        if wait and all(source is not None for source in self._sources.values()):
            deadline, watched = time.monotonic() + PATIENCE_S, self.node_seconds
            while self._watched(min) < watched and time.monotonic() < deadline and self.step():
                pass
            self._read()
            while not self._settle() and time.monotonic() < deadline:
                self._read_due_s = deadline
                if not self.step():
                    break
        for block in self.gatherer.finish():
            self._take(block)
        self._settle(final=True)

    def _update(self, node: Node, batch: Batch) -> None:
        if batch.time_ticks is not None:
            start, _ = self._times.get(node, (batch.time_ticks, 0))
            self._times[node] = (start, batch.time_ticks)
        if node == "server":
            self._live_windows(batch)
            if (status := batch.get(Stream.STATUS)) is not None and status.size:
                self.unphased = int(status["unphased"][-1])
            for stream in (Stream.HERALD, Stream.HERALD_CODE):
                if (records := batch.get(stream)) is not None and self._cost_stream in (None, stream):
                    self._cost_stream = stream
                    high = (records["pulse_high_detector"] & 0xFFFFFF).astype(np.int64)
                    self.herald_cost.add(high << 32 | records["pulse_low"].astype(np.int64))
        else:
            self.latency[node].update(batch)
            if (records := batch.get(Stream.SIFTED)) is not None:
                self._status[node].sifted(records["word"])
            if (records := batch.get(Stream.STATUS)) is not None:
                self._status[node].status(records)
        for block in self.gatherer.update(node, batch):
            self._take(block)

    def _live_windows(self, batch: Batch) -> None:
        if isinstance(self.yields, str):
            return
        state = self.devices["server"].streams.get(Stream.LIVE)
        whole = state is not None and state.earlier_records == 0
        self.yields.windows.update(batch, whole=whole)
        if (status := batch.get(Stream.STATUS)) is not None and status.size:
            read = [{name: int(record[name]) for name in NOT_IN_LIVE} for record in (status[0], status[-1])]
            # A node that was followed from its start has counted nothing before it.
            first = dict.fromkeys(NOT_IN_LIVE, 0) if whole else read[0]
            self._server_counters = [*(self._server_counters[:1] or [first]), read[1]]
        self.yields.settle()

    def _take(self, block: Block) -> None:
        before = self.tally.x_total
        self.tally.add(block)
        self.keys.add(block)
        self.history.add(block, self.tally.cells)
        for latency in self.latency.values():
            latency.add(block, block.fate is Fate.CLOSED)
        if isinstance(self.yields, Yields):
            self.yields.add(block)
        if block.fate is Fate.CLOSED:
            after = self.tally.x_total
            wrong = after.errors - before.errors + after.key_errors - before.key_errors
            self.by_block.append((block.number, after.kept - before.kept, wrong))
        self._settle()

    def _read(self) -> None:
        """New readings of the cells, once a block has been closed and where none waits."""
        if self.history.next_block is None:
            return
        for role, device in self._live.items():
            if self._checks[role].waiting is None:
                self._checks[role].offer(read_cells(device))

    def _settle(self, final: bool = False) -> bool:
        return all([check.settle(self.history, final=final) for check in self._checks.values()])

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything so far."""
        keys = self.keys
        return {
            "node_seconds": self.node_seconds,
            "block_heralds": self.block_heralds,
            **self.tally.as_dict(),
            "unphased": self.unphased,
            "pairing": keys.as_dict() if keys.span else None,
            "counters": {
                role: {
                    "cells": self._checks[role].as_dict() if role in self._checks else None,
                    "status": self._status[role].as_dict(self._whole(role)),
                }
                for role in ROLES
            },
            "live": self._yields(),
            "herald_code": self.herald_cost.as_dict(),
            "reveal_latency": {role: latency.as_dict() for role, latency in self.latency.items()},
            "wire_bits": wire_bits(self.devices),
            "bits_per_survivor": costs(
                self.tally,
                self.herald_cost,
                block_heralds=self.block_heralds,
                pairs_bits=keys.pairs_bits,
                odd_bits=keys.odd_bits,
                paired_z=keys.paired_z,
                survivors=keys.survivors,
            )
            if keys.span
            else None,
            "losses": {node: losses(device) for node, device in self.devices.items()},
        }

    def _yields(self) -> dict[str, Any]:
        if isinstance(self.yields, str):
            return {"reason": self.yields}
        self.yields.settle()
        first, newest = self._server_counters or [dict.fromkeys(NOT_IN_LIVE, 0)] * 2
        grown = {name: newest[name] - first[name] for name in NOT_IN_LIVE}
        unjoined = grown.pop("unjoined")
        return self.yields.as_dict(unjoined, sum(grown.values()))

    def _whole(self, role: Any) -> bool:
        """Whether a client's SIFTED stream was followed from its first record on."""
        state = self.devices[role].streams.get(Stream.SIFTED)
        lost = state is None or state.lost_records or state.node_lost_records or state.lost_packets or state.restarts
        return not lost and self.history.first_block == 0
