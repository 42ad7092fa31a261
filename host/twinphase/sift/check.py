"""Whether the gateware's counters are what the streams say: cells read from a live client, and its STATUS snapshots.

A client counts a block's cells when it sifts the block, whole exchanges after the block's digests were agreed. Its cells are read
until two readings in a row are equal and no further block was agreed meanwhile; with k blocks agreed or discarded, the cells are then
those of k blocks, or of k - 1 while the last one is under way. Two such readings, and the blocks of the streams between them, must
agree (modulo the width of a cell) for one of these.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import sns

from ..device import PacketDevice
from ..errors import DeviceError
from .blocks import Block, Fate

TRIES = 50
KEPT = 1 << 12


@dataclass(frozen=True, eq=False)
class Reading:
    """Cells of a client (u8) after ``blocks`` blocks, or one fewer."""

    blocks: int
    cells: NDArray[np.uint64]


def read_cells(device: PacketDevice) -> Reading:
    """One consistent reading. Raises DeviceError when blocks follow each other faster than the cells can be read."""
    for _ in range(TRIES):
        before, cells = _agreed(device), _cells(device)
        if np.array_equal(cells, _cells(device)) and _agreed(device) == before:
            return Reading(before, cells)
    raise DeviceError(f"{device.url}: its cells changed {TRIES} times while they were read; lower the rate of heralds")


def _cells(device: PacketDevice) -> NDArray[np.uint64]:
    words = device.read_memory("CELLS").astype(np.uint64)
    return words[0::2] | words[1::2] << np.uint64(32)


def _agreed(device: PacketDevice) -> int:
    counters = device.counters()
    return counters["blocks_agreed"] + counters["blocks_discarded"]


class CellHistory:
    """Recomputed cells by the number of blocks from the node's start; takes blocks in order."""

    def __init__(self) -> None:
        self.next_block: int | None = None
        self.first_block: int | None = None
        self._total = np.zeros(sns.CELLS, np.int64)
        self._after: deque[tuple[int, NDArray[np.int64]]] = deque(maxlen=KEPT)
        self.broken_at: int | None = None
        """Last block that was incomplete: nothing can be compared across it."""

    def add(self, block: Block, total: NDArray[np.int64]) -> None:
        """``total``: recomputed cells after ``block``."""
        if self.next_block is None:
            self.first_block = block.number
            self._after.append((block.number, self._total))
        if block.fate is Fate.INCOMPLETE or (self.next_block is not None and block.number != self.next_block):
            self.broken_at = block.number
        self.next_block, self._total = block.number + 1, total.copy()
        self._after.append((self.next_block, self._total))

    def after(self, blocks: int) -> NDArray[np.int64] | None:
        """Total after that many blocks of the node."""
        for number, total in reversed(self._after):
            if number == blocks:
                return total
        return None


@dataclass
class CellCheck:
    """Compares readings of one client with the history."""

    role: str
    waiting: Reading | None = None
    blocks: int = 0
    """Blocks over which cells were compared."""
    different: list[int] | None = None
    """Cells that differ; None before the first comparison."""
    _start: tuple[NDArray[np.uint64], dict[int, NDArray[np.int64]]] | None = None
    """Cells of the reading to start from, and the recomputed totals after the blocks that it may belong to."""

    def offer(self, reading: Reading) -> None:
        """A reading to be compared as soon as the streams have got there."""
        self.waiting = reading

    def settle(self, history: CellHistory, *, final: bool = False) -> bool:
        """Compare the waiting reading if the streams have got there, or will get no further (``final``); whether none waits any more."""
        if self.waiting is None:
            return True
        if history.next_block is None or (history.next_block < self.waiting.blocks and not final):
            return False
        reading, self.waiting = self.waiting, None
        found = ((blocks, history.after(blocks)) for blocks in (reading.blocks, reading.blocks - 1))
        totals = {blocks: total for blocks, total in found if total is not None}
        if not totals:
            return True
        if self._start is not None and history.broken_at is not None and history.broken_at >= min(self._start[1]):
            self._start, self.different = None, None
        if self._start is None:
            whole = history.first_block == 0 and history.broken_at is None
            if not whole:
                self._start = reading.cells, totals
                return True
            self._start = np.zeros(sns.CELLS, np.uint64), {0: np.zeros(sns.CELLS, np.int64)}
        cells, starts = self._start
        choices = [
            (np.flatnonzero(reading.cells - cells != (total - start).astype(np.uint64)).tolist(), stop - first)
            for first, start in starts.items()
            for stop, total in totals.items()
        ]
        different, blocks = min(choices, key=lambda choice: len(choice[0]))
        if not different or len(totals) == 2:  # else it may belong to the block that the streams did not get to
            self.different, self.blocks = different, blocks
        return True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "blocks": self.blocks,
            "equal": None if self.different is None else not self.different,
            "different_cells": self.different or [],
        }


@dataclass
class StatusCheck:
    """Compares sifted_z, sifted_x, kept_x and error_x of STATUS snapshots with the SIFTED records that came before them.

    The counters go on record by record, so a snapshot with ``sifted_z + sifted_x = n`` speaks of the first n records of the node. Only
    for a stream that is followed from its first record on and has lost nothing.
    """

    records: int = 0
    snapshots: int = 0
    """Snapshots compared."""
    different: int = 0
    _sums: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    """Z, X, kept, error of the records that have been passed."""
    _waiting: list[NDArray[np.int64]] = field(default_factory=list)
    _snapshots: list[NDArray[np.int64]] = field(default_factory=list)

    def sifted(self, word: NDArray[np.uint32]) -> None:
        """SIFTED words in order."""
        is_x = word & sns.SIFTED_X != 0
        flags = (~is_x, is_x, is_x & (word & sns.SIFTED_KEEP != 0), is_x & (word & sns.SIFTED_ERROR != 0))
        self._waiting.append(np.stack(flags, axis=1).astype(np.int64))
        self._settle()

    def status(self, records: NDArray[Any]) -> None:
        """STATUS records in order."""
        names = ("sifted_z", "sifted_x", "kept_x", "error_x")
        self._snapshots += list(np.stack([records[name].astype(np.int64) for name in names], axis=1))
        self._settle()

    def _settle(self) -> None:
        if not self._snapshots:
            return
        known = self.records + sum(len(part) for part in self._waiting)
        ready = [snapshot for snapshot in self._snapshots if snapshot[0] + snapshot[1] <= known]
        if not ready:
            return
        self._snapshots = self._snapshots[len(ready) :]
        steps = np.concatenate([np.zeros((1, 4), np.int64), *self._waiting])
        sums = self._sums + np.cumsum(steps, axis=0)
        passed = 0
        for snapshot in ready:
            passed = int(snapshot[0] + snapshot[1]) - self.records
            self.snapshots += 1
            self.different += int(passed < 0 or not np.array_equal(sums[max(passed, 0)], snapshot))
        if passed > 0:
            self._sums, self._waiting = sums[passed], [steps[passed + 1 :]]
            self.records += passed

    def as_dict(self, whole: bool) -> dict[str, Any]:
        """For JSON. ``whole``: the stream was followed from its first record on without a loss."""
        if not whole:
            return {"snapshots": 0, "equal": None, "different": 0}
        return {
            "snapshots": self.snapshots,
            "equal": None if not self.snapshots else not self.different,
            "different": self.different,
        }
