"""Seconds from the pulses of a PPS channel, on the cycle count of a reference."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICKS_PER_SECOND

TOLERANCE_S = 1e-6
"""A PPS pulse further than this from a whole second after the others is rejected."""
CANDIDATES = 8
REMEMBERED_S = 1000.0
"""After a pause of up to this the node's own clock, right to 1e-4, still tells which second it is."""


class SecondLabels:
    """Labels begin with two pulses that are whole seconds apart (a single one may be spurious); the first is ``first_second``.

    The place of a second is the mean over the last 64 pulses,
    weighted by the certainty of the cycle count at each. Pulses that do not fit are rejected, those of a second that has
    had one are doubled. ``hz``: reference cycles per second.
    """

    def __init__(self, hz: Fraction, first_second: int = 0) -> None:
        self.hz = hz
        self.first_second = first_second
        self.pulses = self.missing = self.doubled = self.rejected = 0
        self._candidates: list[tuple[int, int, float, float]] = []
        self._anchor: tuple[int, float, int] | None = None
        self._late: deque[tuple[float, float]] = deque(maxlen=64)
        """(seconds after the whole second, standard uncertainty)."""
        self._last: tuple[int, int] | None = None

    @property
    def labelled(self) -> bool:
        """True when seconds have their numbers."""
        return self._anchor is not None

    @property
    def rms_s(self) -> float | None:
        """Rms distance of the PPS pulses from whole seconds of the reference."""
        return float(np.std([late for late, _ in self._late])) if len(self._late) > 1 else None

    @property
    def averaged(self) -> int:
        """Pulses in the mean of `place`."""
        return len(self._late)

    @property
    def place(self) -> tuple[float, float]:
        """Mean distance from the first pulse's place in seconds, and its standard uncertainty (the greater of what the cycle
        counts' uncertainties and the scatter of the pulses give)."""
        late, sigma = np.array(self._late).T
        weight = 1 / sigma**2
        mean = float(late @ weight / weight.sum())
        scatter = float(np.sqrt(weight @ (late - mean) ** 2 / weight.sum() / max(len(late) - 1, 1)))
        return mean, max(scatter, float(1 / np.sqrt(weight.sum())))

    def forget(self) -> None:
        """The node's time was set back: seconds must be labelled anew, beginning with ``first_second``."""
        self.renumber()
        self._last = None

    def renumber(self) -> None:
        """The cycle count begins anew; the number of the second goes on by the node's time."""
        self._anchor = None
        self._candidates = []
        self._late.clear()

    def take(self, ticks: int, cycle: int, rest: float, sigma: float) -> None:
        """A PPS pulse at node time ``ticks``, where the cycle count is ``cycle + rest`` with standard uncertainty ``sigma``."""
        if self._anchor is None:
            self._acquire(ticks, cycle, rest, sigma)
            return
        anchor_cycle, anchor_rest, anchor_second = self._anchor
        passed = self._seconds(cycle - anchor_cycle, rest - anchor_rest)
        whole = round(passed)
        late = passed - whole
        if abs(late) > TOLERANCE_S:
            self.rejected += 1
            return
        second = anchor_second + whole
        before = self._last[1] if self._last is not None else second - 1
        if second <= before:
            self.doubled += 1
            return
        self._accept(ticks, second, float(late), sigma)

    def _acquire(self, ticks: int, cycle: int, rest: float, sigma: float) -> None:
        for other_ticks, other_cycle, other_rest, other_sigma in self._candidates:
            passed = self._seconds(cycle - other_cycle, rest - other_rest)
            if round(passed) >= 1 and abs(passed - round(passed)) <= TOLERANCE_S:
                second = self._number(other_ticks)
                self._anchor = (other_cycle, other_rest, second)
                self.rejected += len(self._candidates) - 1
                self._candidates = []
                self._accept(other_ticks, second, 0.0, other_sigma)
                self.take(ticks, cycle, rest, sigma)
                return
        self._candidates = [*self._candidates, (ticks, cycle, rest, sigma)][-CANDIDATES:]

    def _number(self, ticks: int) -> int:
        """The second of a pulse from the last labelled one, by the node's clock."""
        if self._last is None or ticks - self._last[0] > REMEMBERED_S * TICKS_PER_SECOND:
            return self.first_second
        return self._last[1] + round((ticks - self._last[0]) / TICKS_PER_SECOND)

    def _accept(self, ticks: int, second: int, late: float, sigma: float) -> None:
        if self._last is not None and second - self._last[1] > 1:
            self.missing += second - self._last[1] - 1
        self.pulses += 1
        self._late.append((late, sigma / float(self.hz)))
        self._last = (ticks, second)

    def _seconds(self, cycles: int, rest: float) -> float:
        """Seconds of a number of cycles; the whole part is exact before it becomes a float."""
        whole, left = divmod(cycles * self.hz.denominator, self.hz.numerator)
        return whole + (left / self.hz.denominator + rest) / float(self.hz)

    def second_of(self, cycle: int, rest: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """``(second, fraction)`` at cycle counts ``cycle + rest``; only when `labelled`."""
        assert self._anchor is not None
        anchor_cycle, anchor_rest, anchor_second = self._anchor
        whole, left = divmod((cycle - anchor_cycle) * self.hz.denominator, self.hz.numerator)
        passed = (left / self.hz.denominator + rest - anchor_rest) / float(self.hz) - self.place[0]
        floor = np.floor(passed)
        return anchor_second + whole + floor.astype(np.int64), passed - floor

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "labelled": self.labelled,
            "last_second": self._last[1] if self._last else None,
            "pulses": self.pulses,
            "missing": self.missing,
            "doubled": self.doubled,
            "rejected": self.rejected,
            "rms_s": self.rms_s,
        }
