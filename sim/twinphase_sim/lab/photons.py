"""The clicks of a lab's light, or the candidates that an actuator's light is drawn from, chunk by chunk and ahead of the nodes."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from twinphase_sim.physics.candidates import CandidateStream
from twinphase_sim.physics.clicks import NO_CANDIDATES, NO_CLICKS, Clicks, join_clicks
from twinphase_sim.physics.link import MARGIN_TICKS, Link
from twinphase_spec.lab import Lab
from twinphase_spec.units import FRACTION_BITS, TICKS_PER_CLOCK

PHYSICS_SECONDS = 2.0**-6
"""Clicks are drawn this far ahead, beside the nodes."""


class Photons:
    """Draws from ``link``; the constructor draws the first chunk, as compiling the kernels belongs to the start."""

    def __init__(self, lab: Lab, link: Link) -> None:
        self._link = link
        self._candidates = None if lab.actuator is None else CandidateStream(link)
        self._held: Clicks = NO_CLICKS if lab.actuator is None else NO_CANDIDATES
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="physics")
        self._drawn_pulse = 0
        self._chunk_pulses = max(1, round(lab.frame.pulse_rate_hz * PHYSICS_SECONDS))
        self._next: Future[Clicks] = self._draw()
        self._next.result()

    def between(self, clock: int, stop_clock: int) -> Clicks:
        """Clicks, or with an actuator candidates, of these clocks, behind those of the call before; the next are drawn meanwhile."""
        stop_ticks = stop_clock << FRACTION_BITS
        parts = [self._held]
        while self._link.pulse_ticks(self._drawn_pulse - self._chunk_pulses) - MARGIN_TICKS < stop_ticks:
            parts.append(self._next.result())
            self._next = self._draw()
        joined = join_clicks(parts)
        held = joined[int(np.searchsorted(joined.times_ticks, clock * TICKS_PER_CLOCK)) :]
        ready = int(np.searchsorted(held.times_ticks, stop_ticks))
        self._held = held[ready:]
        return held[:ready]

    def close(self) -> None:
        """Stop the thread; harmless when repeated."""
        self._pool.shutdown(cancel_futures=True)

    def _draw(self) -> Future[Clicks]:
        first, self._drawn_pulse = self._drawn_pulse, self._drawn_pulse + self._chunk_pulses
        if self._candidates is not None:
            return self._pool.submit(self._candidates.before, self._link.pulse_ticks(self._drawn_pulse))
        return self._pool.submit(self._link.clicks, first, self._drawn_pulse)
