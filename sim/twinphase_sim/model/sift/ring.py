"""The ring of a client: heralds and their psi between arrival and sifting. Source: ``sift.block`` of docs/contract.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.rule import Announced
from twinphase_spec.sns import RING_HERALDS

MASK32 = (1 << 32) - 1


class HeraldRing:
    """Herald h lives at ``h mod RING_HERALDS``; numbers compare as 32-bit modular differences.

    ``counters``: where ``heralds``, ``missing``, ``late``, ``overflow`` and ``psi`` are counted.
    """

    def __init__(self, counters: dict[str, int]) -> None:
        self._counters = counters
        self.first = 0
        """Number of the oldest herald that has room."""
        self._next_herald = self._next_psi = 0
        self._present = np.zeros(RING_HERALDS, dtype=np.bool_)
        self._pulse = np.zeros(RING_HERALDS, dtype=np.uint64)
        self._detector = np.zeros(RING_HERALDS, dtype=np.uint8)
        self._psi = np.zeros(RING_HERALDS, dtype=np.uint16)
        self._flags = np.zeros(RING_HERALDS, dtype=np.uint16)

    def put_herald(self, number: int, pulse: int, detector: int) -> None:
        """A herald has come."""
        ahead = (number - self._next_herald) & MASK32
        if ahead >> 31:
            self._counters["late"] += 1
            return
        if ((number - self.first) & MASK32) >= RING_HERALDS:
            # It becomes missing when a later number is settled; one damaged number must not skip all that follow.
            self._counters["overflow"] += 1
            return
        self._counters["missing"] += ahead
        self._next_herald = (number + 1) & MASK32
        self._counters["heralds"] += 1
        slot = number % RING_HERALDS
        self._present[slot], self._pulse[slot], self._detector[slot] = True, pulse, detector

    def put_psi(self, number: int, psi: int, flags: int) -> None:
        """A psi has come; heralds up to its own that have not are missing."""
        if ((number - self._next_psi) & MASK32) >> 31:
            self._counters["late"] += 1
            return
        if ((number - self.first) & MASK32) >= RING_HERALDS:
            self._counters["overflow"] += 1
            return
        lost_heralds = (number + 1 - self._next_herald) & MASK32
        if 0 < lost_heralds < 1 << 31:
            self._counters["missing"] += lost_heralds
            self._next_herald = (number + 1) & MASK32
        self._counters["psi"] += 1
        self._next_psi = (number + 1) & MASK32
        slot = number % RING_HERALDS
        if self._present[slot]:
            self._psi[slot], self._flags[slot] = psi, flags

    def has(self, heralds: int) -> bool:
        """Whether psi of the next ``heralds`` numbers have come or been passed."""
        return heralds <= (self._next_psi - self.first) & MASK32 < 1 << 31

    def oldest(self, heralds: int) -> Announced:
        """What has come of the next ``heralds`` numbers."""
        slots = self._slots(heralds)
        return Announced(
            present=self._present[slots],
            pulse=self._pulse[slots],
            detector=self._detector[slots],
            psi=self._psi[slots],
            flags=self._flags[slots],
        )

    def clear(self, heralds: int) -> None:
        """Make the places of the next ``heralds`` numbers free."""
        slots = self._slots(heralds)
        for column in (self._present, self._pulse, self._detector, self._psi, self._flags):
            column[slots] = 0
        self.first = (self.first + heralds) & MASK32

    def _slots(self, heralds: int) -> NDArray[np.int64]:
        return (self.first + np.arange(heralds)) % RING_HERALDS
