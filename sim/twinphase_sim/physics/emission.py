"""Which pulse of each client comes to which place of the server's grid, and how late in it: drifting arms and corrected emission.

A client has emission slots p = 0, 1, 2 ... on its own grid, one flight before the places of the server. With a correction of K whole
pulses and a fraction F in force it emits pulse ``n = p - K`` in slot p, F late, or nothing around a change of K (`model.sift.emission`).
In an arm that is late by d the light of slot p comes ``d + F`` after the middle of place p, so that pulse n is late by
``D = d + K P + F`` in all and comes to place ``n + m``, m = round(D / P).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.emission import Correction, EmissionSchedule
from twinphase_spec.emission import LEAD_SLOTS
from twinphase_spec.lab import Lab
from twinphase_spec.units import TICKS_PER_CLOCK

from .arms import arm_drifts

PIECE_S = 2.0**-12
"""Whole pulses are looked up this often; where an arm crosses half a period in between, its light lies past the border for so long."""


@dataclass(frozen=True)
class Piece:
    """Places ``first`` to before ``last`` with the same whole pulses ``shift`` (m_A, m_B): place n' holds pulse n' - m."""

    first: int
    last: int
    shift: tuple[int, int]


class Emission:
    """Both arms of a lab: 0 Alice's, 1 Bob's."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._rate_hz = lab.frame.pulse_rate_hz
        self.period_ps = 1e12 / self._rate_hz
        self.moves = not lab.arms.still
        """Whether any pulse may be elsewhere than in the middle of its place."""
        self._drifts = arm_drifts(lab, seed)
        self._tick_ps = self.period_ps * lab.lanes / TICKS_PER_CLOCK
        self.schedules = EmissionSchedule(lanes=lab.lanes), EmissionSchedule(lanes=lab.lanes)
        """What the clients of both arms have been told."""

    def correct(self, arm: int, correction: Correction) -> None:
        """What the client of an arm has taken. ValueError for a correction that no client takes."""
        if not self.schedules[arm].write(correction, max(0, correction.slot - 2 * LEAD_SLOTS)):
            raise ValueError(
                f"emission: {correction}; allowed: what a client takes: 2^17 slots and at most 4096 pulses from the one before, and less "
                "than a period"
            )
        self.moves = True

    def arriving(self, arm: int, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """D of the light that comes to these places, in ps, and whether there is any: whether the client emits in its slots."""
        seconds: NDArray[np.float64] = (places + 0.5) / np.float64(self._rate_hz)
        late = self._drifts[arm].at(seconds)
        schedule = self.schedules[arm]
        # F, by which light may come to the next place, hardly changes from a slot to the next.
        about = schedule.at(places - np.round(late / self.period_ps).astype(np.int64))
        slots = places - np.round((late + about.fraction * self._tick_ps) / self.period_ps).astype(np.int64)
        emitted = schedule.at(slots)
        return late + (slots - emitted.pulse) * self.period_ps + emitted.fraction * self._tick_ps, emitted.light

    def late_ps(self, arm: int, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """D of the light that comes to these places."""
        return self.arriving(arm, places)[0]

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """Places first to before last, cut where whole pulses change."""
        step = max(1, round(self._rate_hz * PIECE_S))
        cuts = {first, *range(-(-first // step) * step, last, step)}
        for arm in range(2):
            # A slot's light comes some pulses later, or earlier: of those around the ends as well.
            late = round(float(self._drifts[arm].at(np.array([first / self._rate_hz]))[0]) / self.period_ps)
            for slot in self.schedules[arm].begins(first - late - step, last - late + step):
                place = slot + round(float(self._drifts[arm].at(np.array([slot / self._rate_hz]))[0]) / self.period_ps)
                if first < place < last:
                    cuts.add(place)
        begins = np.array(sorted(cuts), np.int64)
        middles = (begins + np.append(begins[1:], last)) // 2
        late_a, late_b = (self.late_ps(arm, middles) / self.period_ps for arm in range(2))
        m_a = np.round(late_a).astype(np.int64)
        shifts = list(zip(m_a.tolist(), (m_a + np.round(late_b - late_a).astype(np.int64)).tolist(), strict=True))
        start = 0
        for k in range(1, len(shifts) + 1):
            if k == len(shifts) or shifts[k] != shifts[start]:
                yield Piece(int(begins[start]), last if k == len(shifts) else int(begins[k]), shifts[start])
                start = k
