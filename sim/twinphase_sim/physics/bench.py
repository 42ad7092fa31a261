"""Edges at the pins of a time tagger that stands on a bench: sources, then detectors with their dead time and after-pulses."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.bench import Bench, Detector
from twinphase_spec.units import TICKS_PER_CLOCK, ps_to_ticks

from .bench_sources import BLOCK_TICKS, TICKS_PER_PS, drawers
from .detectors import NEVER

MARGIN_TICKS = ps_to_ticks(4_000_000)
"""Offsets and jitter move an edge forward by less than 4 us; later blocks add nothing before their start less that."""
_DETECTOR_STREAM = 1 << 20
"""Seeds: sources have the numbers below this, detectors those above."""


@dataclass(frozen=True, eq=False)
class BenchEdges:
    """Edges in the order of (time, channel): ``times_ticks`` (int64) and ``channels`` (u1)."""

    times_ticks: NDArray[np.int64]
    channels: NDArray[np.uint8]

    def __len__(self) -> int:
        return self.times_ticks.size


@numba.njit(cache=True)
def _detect(
    times: NDArray[np.int64],
    before: int,
    dead_ticks: int,
    probability: float,
    delay_ticks: float,
    generator: np.random.Generator,
    last: int,
    pending: NDArray[np.int64],
) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
    """(clicks before ``before``, time of the last, after-pulses still to come), from sorted photons and dark counts.

    A candidate in the dead time of a click has no effect; each click leaves an after-pulse with ``probability``.
    """
    clicks = np.empty(times.size + 16, dtype=np.int64)
    count = 0
    waiting = np.empty(pending.size + 16, dtype=np.int64)
    waiting[: pending.size] = pending
    held = pending.size
    i = 0
    while True:
        first = -1
        for k in range(held):
            if first < 0 or waiting[k] < waiting[first]:
                first = k
        if i < times.size and (first < 0 or times[i] <= waiting[first]):
            time = times[i]
            i += 1
        elif first >= 0 and waiting[first] < before:
            time = waiting[first]
            held -= 1
            waiting[first] = waiting[held]
        else:
            break
        if time - last < dead_ticks:
            continue
        last = time
        if count == clicks.size:
            clicks = np.concatenate((clicks, np.empty(clicks.size, dtype=np.int64)))
        clicks[count] = time
        count += 1
        if probability > 0 and generator.random() < probability:
            if held == waiting.size:
                waiting = np.concatenate((waiting, np.empty(waiting.size, dtype=np.int64)))
            waiting[held] = time + dead_ticks + round(generator.exponential(delay_ticks))
            held += 1
    return clicks[:count], last, waiting[:held].copy()


class _Channel:
    """One channel: candidates that are not final yet, and its detector's state."""

    def __init__(self, detector: Detector | None, generator: np.random.Generator) -> None:
        self.detector = detector
        self.generator = generator
        self.raw: list[NDArray[np.int64]] = []
        self.last = NEVER
        self.after_pulses = np.empty(0, dtype=np.int64)
        self.lost = 0

    def finish(self, complete: int) -> NDArray[np.int64]:
        """Edges before ``complete``, all candidates of which are known."""
        times = np.sort(np.concatenate(self.raw)) if self.raw else np.empty(0, np.int64)
        ready = int(np.searchsorted(times, complete))
        final, self.raw = times[:ready], [times[ready:]]
        if self.detector is None:
            return final
        clicks, self.last, self.after_pulses = _detect(
            final,
            complete,
            ps_to_ticks(self.detector.dead_time_ns * 1000),
            self.detector.afterpulse_probability,
            self.detector.afterpulse_delay_ns * 1000 * TICKS_PER_PS,
            self.generator,
            self.last,
            self.after_pulses,
        )
        return clicks


class BenchPhysics:
    """All edges of a bench, chunk after chunk of node time, the same for the same ``seed`` however the run is cut.

    Lab time 0 is tick ``start_clock * 8192``; lab time t is ``t + round(e t)`` ticks later, e the offset ``clock_ppm`` of the node's
    oscillator (dead times and jitter are of the lab). Two edges of a channel are at least 8192 ticks apart. Raises ValueError for a
    negative seed or start.
    """

    def __init__(self, bench: Bench, seed: int, *, start_clock: int = 0) -> None:
        if seed < 0 or start_clock < 0:
            raise ValueError(
                f"bench: seed {seed} and start_clock {start_clock} must not be negative; give numbers from 0 up"
            )
        self.bench = bench
        self._seed = seed
        self._start_ticks = start_clock * TICKS_PER_CLOCK
        self._fast = bench.clock_ppm * 1e-6
        self._drawers = drawers(bench)
        self._channels = {
            channel.number: _Channel(
                bench.detector(channel.number),
                np.random.default_rng([seed, _DETECTOR_STREAM + channel.number]),
            )
            for channel in bench.tagger.channels
        }
        self._block = 0
        self._pending = BenchEdges(np.empty(0, np.int64), np.empty(0, np.uint8))

    def edges(self, until_clock: int) -> BenchEdges:
        """Edges before the start of ``until_clock`` that no earlier call gave. Raises ValueError from 2^50 clocks on."""
        until = until_clock * TICKS_PER_CLOCK - self._start_ticks
        if until_clock >= 1 << 50:
            raise ValueError(f"bench: until_clock is {until_clock}; allowed: below 2^50")
        parts = [self._pending]
        while self._node(np.array([self._block * BLOCK_TICKS - MARGIN_TICKS]))[0] < until:
            parts += self._next_block()
        times = np.concatenate([part.times_ticks for part in parts])
        channels = np.concatenate([part.channels for part in parts])
        order = np.lexsort((channels, times))
        times, channels = times[order], channels[order]
        ready = int(np.searchsorted(times, until))
        self._pending = BenchEdges(times[ready:], channels[ready:])
        return BenchEdges(times[:ready] + self._start_ticks, channels[:ready])

    def _next_block(self) -> list[BenchEdges]:
        """Draws a block and gives the edges that are final with it."""
        start = self._block * BLOCK_TICKS
        for number, draw in enumerate(self._drawers):
            generator = np.random.default_rng([self._seed, number, self._block])
            for channel, times in draw(generator, self._block):
                detector = self._channels[channel].detector
                if detector is not None:
                    shift, jitter = detector.offset_ps * TICKS_PER_PS, detector.jitter_ps * TICKS_PER_PS
                    times = times + generator.normal(shift, jitter, times.size)
                ticks = start + np.rint(times).astype(np.int64)
                self._channels[channel].raw.append(ticks[ticks >= 0])
        self._block += 1
        complete = self._block * BLOCK_TICKS - MARGIN_TICKS
        finished = ((number, channel.finish(complete)) for number, channel in self._channels.items())
        return [BenchEdges(self._node(times), np.full(times.size, number, np.uint8)) for number, times in finished]

    def _node(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lab ticks as the node's oscillator counts them; does not change their order."""
        return times + np.rint(times * self._fast).astype(np.int64)
