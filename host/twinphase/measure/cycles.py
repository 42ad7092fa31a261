"""Numbers the pulses of a periodic signal, some of which are missing, doubled or spurious."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.25
"""Largest distance of a pulse from its place, in periods."""
RELOCK_PULSES = 8
"""So many pulses in a row that do not fit mean that the numbering is wrong or the phase has jumped."""
START_ERROR = 1e-4
"""Relative error of the nominal period, both clocks together, before it has been measured."""
CHUNK = 4096


@dataclass
class CycleCounts:
    """What the counter has met. Plain numbers for JSON."""

    pulses: int = 0
    """Pulses that fit."""
    missing: int = 0
    rejected: int = 0
    """Doubled and spurious pulses."""
    restarts: int = 0
    """Times that the numbering began anew: after a jump of the phase, or a pause too long to count its cycles."""


class CycleCounter:
    """Gives each pulse its cycle number: with q = (t - t_last) / period and m = round(q) the pulse belongs to cycle n_last + m if
    m >= 1 and |q - m| <= TOLERANCE; otherwise it is rejected.

    A pause may last as long as the error of the period leaves the count of its cycles certain (|error| m <= TOLERANCE).
    ``period_ticks`` and ``period_error`` may be set to what is known by then. 20 M pulses/s; 1 M/s in chunks of 4096 with a fault.
    """

    def __init__(self, period_ticks: float, period_error: float = START_ERROR) -> None:
        if not period_ticks >= 4:
            raise ValueError(f"cycle counter: the period is {period_ticks:g} ticks; allowed: at least 4")
        self.period_ticks, self.period_error = period_ticks, period_error
        self.counts = CycleCounts()
        self._last: int | None = None
        self._number = 0
        self._misfits: list[int] = []

    def restart(self) -> None:
        """Forget the numbering; the next pulse is cycle 0."""
        self.counts.restarts += self._last is not None
        self._last, self._number, self._misfits = None, 0, []

    def number(self, times: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """``(times, cycle numbers)`` of the pulses that fit, in order; one entry, and another for each restart in between."""
        runs: list[tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]] = [([], [])]
        for at in range(0, len(times), CHUNK):
            part = times[at : at + CHUNK]
            steps = self._steps(part)
            if steps is not None:
                numbers = self._number + np.cumsum(steps)
                self._take(part, numbers, runs[-1])
                continue
            for epoch, kept, cycles in self._one_by_one(part.tolist()):
                if epoch:
                    runs.append(([], []))
                self._take(np.array(kept, np.int64), np.array(cycles, np.int64), runs[-1])
        return [(_joined(kept), _joined(numbers)) for kept, numbers in runs]

    @property
    def most_cycles(self) -> int:
        """Longest pause, in cycles, whose length is certain."""
        return int(min(TOLERANCE / max(self.period_error, 1e-15), 1e15))

    def _steps(self, part: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Cycles from pulse to pulse when all of them fit, else None."""
        if self._last is None or self._misfits:
            return None
        q = np.diff(part, prepend=self._last) / self.period_ticks
        steps = np.rint(q).astype(np.int64)
        fits = (steps >= 1) & (steps <= self.most_cycles) & (np.abs(q - steps) <= TOLERANCE)
        return steps if fits.all() else None

    def _take(
        self,
        kept: NDArray[np.int64],
        numbers: NDArray[np.int64],
        run: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]],
    ) -> None:
        if len(kept):
            self.counts.pulses += len(kept)
            run[0].append(kept)
            run[1].append(numbers)
            self._last, self._number = int(kept[-1]), int(numbers[-1])

    def _one_by_one(self, times: list[int]) -> list[tuple[bool, list[int], list[int]]]:
        """``(begins anew, times, numbers)`` of stretches of the pulses that fit."""
        out: list[tuple[bool, list[int], list[int]]] = [(False, [], [])]
        last, number = self._last, self._number
        for time in times:
            if last is not None:
                q = (time - last) / self.period_ticks
                step = round(q)
                certain = step <= self.most_cycles
                if certain and not (step >= 1 and abs(q - step) <= TOLERANCE):
                    self.counts.rejected += 1
                    self._misfits.append(time)
                    if len(self._misfits) < RELOCK_PULSES:
                        continue
                    certain = False
                if certain:
                    number += step
                    self._misfits = []
                    out[-1][1].append(time)
                    out[-1][2].append(number)
                    last = time
                    continue
                self.counts.restarts += 1
                out.append((True, [], []))
            self._misfits = []
            last, number = time, 0
            out[-1][1].append(time)
            out[-1][2].append(0)
        return out

    def note_missing(self, cycles: int, pulses: int) -> None:
        """Count ``cycles`` that should have given a pulse each, of which ``pulses`` came."""
        self.counts.missing += cycles - pulses


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
