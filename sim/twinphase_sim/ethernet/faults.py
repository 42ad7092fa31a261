"""A line on which frames are lost, doubled, overtaken, late or damaged, as ``tc netem`` does it, with every one of them known."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Shares of frames (0 to 1) to which something happens, each drawn on its own; ``late``: by `late_clocks`, so that others overtake.

    ``delay_clocks``: of every frame. Clocks of 125 MHz. ValueError for other shares.
    """

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    damaged: float = 0.0
    late_clocks: int = 30_000
    delay_clocks: int = 0

    def __post_init__(self) -> None:
        for name in ("lost", "doubled", "late", "damaged"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"faults: {name} is {getattr(self, name)}; allowed: 0 to 1")
        if self.late_clocks < 0 or self.delay_clocks < 0:
            raise ValueError("faults: a delay is negative; allowed: 0 clocks and more")


class FaultyLine:
    """One direction. Bytes that go in (a frame with its check sequence) come out when they are due; ``count`` says what happened to them.

    A damaged frame has one bit of it turned, which its check sequence finds.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.count: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._due: list[tuple[int, int, bytes]] = []
        self._number = 0

    def put(self, line: bytes, clock: int) -> None:
        """``line`` goes in at ``clock``."""
        faults, draw = self.faults, self._random.random
        self.count["in"] += 1
        if draw() < faults.lost:
            self.count["lost"] += 1
            return
        for _ in range(1 + self._happens("doubled", draw() < faults.doubled)):
            out = line
            if self._happens("damaged", draw() < faults.damaged):
                bit = self._random.randrange(8 * 8, 8 * len(line))  # behind the preamble
                changed = bytearray(line)
                changed[bit // 8] ^= 1 << bit % 8
                out = bytes(changed)
            late = faults.late_clocks if self._happens("late", draw() < faults.late) else 0
            self._number += 1
            heapq.heappush(self._due, (clock + faults.delay_clocks + late, self._number, out))

    def _happens(self, what: str, does: bool) -> bool:
        self.count[what] += does
        return does

    def take(self, clock: int) -> list[bytes]:
        """What is due by ``clock``."""
        due = []
        while self._due and self._due[0][0] <= clock:
            due.append(heapq.heappop(self._due)[2])
        return due
