"""The continuous map from node ticks to ticks of SI time, from fits of a reference that are renewed as it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICKS_PER_SECOND

from .clock_fit import ClockFit

STEEPEST = 1e-6
"""A new fit that differs by more than this part of the time since the last one is a jump, not an improvement."""


@dataclass(frozen=True)
class Origin:
    """At ``cycle`` of the reference the SI time is ``ticks + part``."""

    cycle: int
    ticks: int
    part: float


class SiMap:
    """SI time of node time t in ticks of 125/128 ps: ``s(t) = S(t) + r (L - t) / (L - K)`` for t in (K, L].

    ``S(t) = s_0 + (n(t) - n_0) F / hz`` with F ticks per second, n(t) the cycle count of the fit at hand and (n_0, s_0) the `Origin`.
    K, L: where the last fit's stretch and this one's end; r = s(K) - S(K) is by how much this fit differs from the last one at K,
    so that s is continuous and every stretch ends on its own fit. Whole ticks are exact; the rounding of parts is below 0.01 tick.
    """

    def __init__(self, hz: Fraction, origin: Origin) -> None:
        self.hz, self.origin = hz, origin
        self._knot: tuple[int, int, float] | None = None
        self._last: int | None = None

    @property
    def knot_ticks(self) -> int | None:
        """K: node time up to which s is given; None when nothing is given yet, or since `leave_out`."""
        return None if self._knot is None else self._knot[0]

    @property
    def end(self) -> tuple[int, int] | None:
        """(node ticks, SI ticks) at K."""
        return None if self._knot is None else (self._knot[0], self._knot[1] + round(self._knot[2]))

    def leave_out(self) -> None:
        """Times follow that are not mapped: s need not be continuous over them."""
        self._knot = None

    def of_fit(self, fit: ClockFit, times: NDArray[np.int64]) -> tuple[int, NDArray[np.float64]]:
        """S at node times as ``(whole, rest)``, ticks."""
        cycle, rest = fit.cycles(times)
        exact = Fraction((cycle - self.origin.cycle) * TICKS_PER_SECOND) / self.hz
        whole = exact.__floor__()
        part = float(exact - whole) + self.origin.part
        return self.origin.ticks + whole, rest * float(TICKS_PER_SECOND / self.hz) + part

    def follows(self, fit: ClockFit, until: int) -> bool:
        """Whether s up to ``until`` with this fit goes on from what was given, within `STEEPEST`."""
        return self._knot is None or abs(self._difference(fit)) <= STEEPEST * (until - self._knot[0])

    def extend(self, fit: ClockFit, times: NDArray[np.int64], until: int) -> NDArray[np.int64]:
        """s at rising ``times`` in (K, until], whole ticks; ``until`` becomes K. Never below what was given before."""
        whole, rest = self.of_fit(fit, times)
        if self._knot is not None and until > self._knot[0]:
            rest = rest + self._difference(fit) * ((until - times) / (until - self._knot[0]))
        end_whole, end_rest = self.of_fit(fit, np.array([until], np.int64))
        new_stretch = self._knot is None
        self._knot = until, end_whole, float(end_rest[0])
        mapped = whole + np.rint(rest).astype(np.int64)
        if len(mapped):
            if not new_stretch and self._last is not None:  # rounding alone
                mapped = np.maximum(mapped, self._last)
            self._last = int(mapped[-1])
        return mapped

    def _difference(self, fit: ClockFit) -> float:
        """r."""
        assert self._knot is not None
        at, whole, rest = self._knot
        other_whole, other_rest = self.of_fit(fit, np.array([at], np.int64))
        return (whole - other_whole) + (rest - float(other_rest[0]))
