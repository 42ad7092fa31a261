"""Yields S_jk: heralds of two announced intensities over the live windows in which both were sent (docs/live.md)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.rules import UNREVEALED
from twinphase_spec.symbols import BOUNDS, KEY_WORDS, SymbolConfig

from ..device import Device
from ..measure.live import LiveWindows
from ..theory.statistics import clopper_pearson
from .blocks import UNKNOWN, Block, Fate, Role
from .rule import PairRule
from .tally import NAMES

LEVELS = UNREVEALED + 1


def pair_probabilities(rule: PairRule, clients: Mapping[Role, Device]) -> NDArray[np.float64]:
    """Probability of each (level of Alice, level of Bob) as announced, from the bounds in the clients' registers; (4, 4)."""
    drawn = []
    for role in ("alice", "bob"):
        bounds = {name: clients[role].read(name.upper()) for name in BOUNDS}  # type: ignore[index]
        drawn.append(SymbolConfig(key=(0,) * KEY_WORDS, **bounds).probabilities())  # type: ignore[arg-type]
    chance = np.zeros((LEVELS, LEVELS))
    for ((x_a, i_a), p_a), ((x_b, i_b), p_b) in product(drawn[0].items(), drawn[1].items()):
        told = [
            int(i) if bool(rule.reveal >> (own << 1 | peer) & 1) else UNREVEALED
            for own, peer, i in ((x_a, x_b, i_a), (x_b, x_a, i_b))
        ]
        chance[told[0], told[1]] += p_a * p_b
    return chance


@dataclass
class _Waiting:
    """A closed block until its live windows are known: pulses ``start`` to ``stop`` - 1."""

    start: int
    stop: int
    heralds: NDArray[np.int64]
    levels: NDArray[np.int64]
    uncounted: int


@dataclass
class Yields:
    """Takes blocks in order. A closed block's stretch is from behind the last herald of the block before to its own last one; it counts
    where the live windows of its stretch are known.

    ``chance``: `pair_probabilities`. ``live``, ``signal``: windows of the stretches that count; windows of heralds that are in no cell
    (neither client had them) are not live.
    """

    windows: LiveWindows
    chance: NDArray[np.float64]
    rule: PairRule
    heralds: NDArray[np.int64] = field(default_factory=lambda: np.zeros((LEVELS, LEVELS), np.int64))
    blocks: int = 0
    left_out: int = 0
    """Closed blocks in whose stretch records were lost."""
    live: int = 0
    signal: int = 0
    contradictions: int = 0
    _last: tuple[int, int] = (-1, -1)
    """Number and last pulse of the block before."""
    _waiting: deque[_Waiting] = field(default_factory=deque)

    def add(self, block: Block) -> None:
        """A block with its fate."""
        number, last = self._last
        end = int(block.pulse[-1])
        self._last = (block.number, end)
        if block.fate is not Fate.CLOSED or end < 0 or (number != block.number - 1 or (last < 0 and block.number)):
            self.left_out += block.fate is Fate.CLOSED
            return
        counted = block.outcome(self.rule).counted & (block.detector != UNKNOWN)
        level_a, level_b = (block.sides[role].level[counted].astype(np.int64) for role in ("alice", "bob"))  # type: ignore[index]
        levels = np.bincount(level_a * LEVELS + level_b, minlength=LEVELS**2).reshape(LEVELS, LEVELS)
        heralds = block.pulse[block.pulse >= 0]
        self._waiting.append(_Waiting(last + 1, end + 1, heralds, levels, block.pulse.size - int(counted.sum())))

    def settle(self) -> None:
        """Count the blocks whose windows are known by now."""
        while self._waiting and self._waiting[0].stop <= self.windows.known_pulse:
            block = self._waiting.popleft()
            live = self.windows.count(block.start, block.stop)
            if live is None:
                self.left_out += 1
                continue
            self.contradictions += self.windows.contradicted(block.heralds)
            self.blocks += 1
            self.heralds += block.levels
            self.live += live - block.uncounted
            self.signal += int(self.windows.signal.below(block.stop) - self.windows.signal.below(block.start))
        if self.windows.restarted:
            self.left_out += len(self._waiting)
            self._waiting.clear()

    def as_dict(self, unjoined: int, dropped: int) -> dict[str, Any]:
        """For JSON. ``unjoined``, ``dropped``: windows and clicks of the quantum band that the server counted so while it was watched."""
        whole = not (self.left_out or self._waiting)
        rows = []
        for a, b in zip(*np.nonzero(self.chance), strict=True):
            sent = float(self.chance[a, b]) * self.live
            low, high = clopper_pearson(int(self.heralds[a, b]), max(self.live, int(self.heralds.sum())))
            rows.append(
                {
                    "alice": NAMES[a],
                    "bob": NAMES[b],
                    "heralds": int(self.heralds[a, b]),
                    "windows": sent,
                    "yield": float(self.heralds[a, b]) / sent if sent > 0 else None,
                    "ci95": [low / float(self.chance[a, b]), high / float(self.chance[a, b])] if self.live else None,
                }
            )
        return {
            "recovery_pulses": self.windows.recovery_pulses,
            "blocks": self.blocks,
            "blocks_left_out": self.left_out,
            "signal_windows": self.signal,
            "live_windows": self.live,
            "share": self.live / self.signal if self.signal else None,
            "unjoined": unjoined,
            "dropped": dropped,
            "contradictions": self.contradictions,
            "exact": not (unjoined or dropped or self.contradictions) and self.windows.recovery_pulses > 0,
            "whole": whole,
            "yields": rows,
        }
