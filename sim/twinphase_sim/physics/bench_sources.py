"""Light and signals of a bench, block by block of lab time: what would reach every channel's input or detector.

Vectorised: counts are drawn first, then times. Photons are thinned by split and efficiency before times are drawn where their
independence allows it. Times are float ticks from the block's start (2^30 ticks, so exact to 1e-6 tick).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.bench import Bench, Emitter, Pairs, Periodic, Poisson, Pulsed, Thermal
from twinphase_spec.units import TICKS_PER_SECOND, seconds_to_ticks

BLOCK_TICKS = 1 << 30
"""1.05 ms. Every block of every source has its own random generator, so that edges do not depend on how a run is cut."""
BLOCK_SECONDS = BLOCK_TICKS / TICKS_PER_SECOND
TICKS_PER_PS = 128 / 125

Part = tuple[int, NDArray[np.float64]]
"""Channel and times (ticks from the block's start), not sorted."""
Drawer = Callable[[np.random.Generator, int], Iterator[Part]]
"""Draws one block after the other, from block 0."""


def drawers(bench: Bench) -> list[Drawer]:
    """One per source, and one for the dark counts of each detector."""
    made: list[Drawer] = []
    for source in bench.sources:
        match source:
            case Poisson():
                made.append(_steady(source.rate_hz, _shares(bench, source.to)))
            case Pulsed():
                made.append(_pulsed(source, _shares(bench, source.to)))
            case Emitter():
                made.append(_Emissions(source, _shares(bench, source.to)).draw)
            case Thermal():
                made.append(_Chaos(source, _shares(bench, source.to)).draw)
            case Pairs():
                made.append(_pairs(bench, source))
            case Periodic():
                made.append(_periodic(source, bench.number(source.channel)))
    made += [_steady(detector.dark_hz, {bench.number(detector.channel): 1.0}) for detector in bench.detectors]
    return made


def efficiency(bench: Bench, channel: int) -> float:
    """Probability that a photon at the detector becomes a click, if it is not dead."""
    detector = bench.detector(channel)
    return detector.efficiency if detector else 0.0


def pulses_between(source: Pulsed | Periodic, start: int, stop: int) -> tuple[int, int, float, float]:
    """(first, number, time of the first after ``start``, period), in ticks, of pulses in [start, stop); exact at any time."""
    period = Fraction(TICKS_PER_SECOND) / Fraction(source.rate_hz)
    offset = Fraction(source.offset_ps) * Fraction(128, 125)
    first, last = (max(0, math.ceil((edge - offset) / period)) for edge in (start, stop))
    return first, last - first, float(offset + first * period - start), float(period)


def _shares(bench: Bench, to: dict[str, float]) -> dict[int, float]:
    """Probability of a click per photon, by channel number."""
    return {bench.number(name): part * efficiency(bench, bench.number(name)) for name, part in to.items()}


def _steady(rate_hz: float, shares: dict[int, float]) -> Drawer:
    def draw(generator: np.random.Generator, block: int) -> Iterator[Part]:
        for channel, share in shares.items():
            count = generator.poisson(rate_hz * share * BLOCK_SECONDS)
            yield channel, generator.random(count) * BLOCK_TICKS

    return draw


def _pulsed(source: Pulsed, shares: dict[int, float]) -> Drawer:
    def draw(generator: np.random.Generator, block: int) -> Iterator[Part]:
        start = block * BLOCK_TICKS
        _, pulses, first, period = pulses_between(source, start, start + BLOCK_TICKS)
        for channel, share in shares.items():
            # A Poisson number on every pulse is a Poisson number in all, each on a pulse at random.
            count = generator.poisson(source.photons * share * pulses)
            chosen = generator.integers(0, max(pulses, 1), count)
            times = np.asarray(first + chosen * period, dtype=np.float64)
            times += generator.normal(0.0, source.jitter_ps * TICKS_PER_PS, count)
            if source.lifetime_ns:
                times += generator.exponential(source.lifetime_ns * 1000 * TICKS_PER_PS, count)
            yield channel, times

    return draw


class _Emissions:
    """A renewal process: excitation and decay take turns. It remembers the next excitation's start from block to block."""

    def __init__(self, source: Emitter, shares: dict[int, float]) -> None:
        self._source = source
        self._shares = shares
        self._down_at = 0.0
        """When the emitter was last down, in ticks from the next block's start."""

    def draw(self, generator: np.random.Generator, block: int) -> Iterator[Part]:
        excitation = TICKS_PER_SECOND / self._source.excitation_hz
        lifetime = self._source.lifetime_ns * 1000 * TICKS_PER_PS
        parts, down_at = [], self._down_at
        while down_at < BLOCK_TICKS:
            expected = (BLOCK_TICKS - down_at) / (excitation + lifetime)
            count = int(expected + 4 * math.sqrt(expected) + 8)
            waits = generator.exponential(excitation, count) + generator.exponential(lifetime, count)
            parts.append(down_at + np.cumsum(waits))
            down_at = float(parts[-1][-1])
        times = np.concatenate(parts) if parts else np.empty(0)
        # The first emission beyond the block starts the next one; it is emitted there.
        inside = int(np.searchsorted(times, BLOCK_TICKS))
        emitted = np.concatenate([[self._down_at], times[:inside]]) if block else times[:inside]
        self._down_at = (float(times[inside]) if parts else down_at) - BLOCK_TICKS
        if block and emitted[0] >= BLOCK_TICKS:
            emitted = emitted[:0]
        ways = generator.random(emitted.size)
        low = 0.0
        for channel, share in self._shares.items():
            yield channel, emitted[(ways >= low) & (ways < low + share)]
            low += share


@numba.njit(cache=True)
def _field(noise: NDArray[np.complex128], memory: float, start: complex) -> NDArray[np.complex128]:
    """``E[i] = memory E[i - 1] + sqrt(1 - memory^2) noise[i]``, stationary with mean square 1."""
    field = np.empty_like(noise)
    kick = math.sqrt(1 - memory * memory)
    last = start
    for i in range(noise.size):
        last = memory * last + kick * noise[i]
        field[i] = last
    return field


class _Chaos:
    """Poissonian light whose rate follows ``|E|^2``, E a complex Gaussian field that forgets itself over the coherence time.

    E is constant over steps of a twentieth of that: g2 is wrong by at most ``(2 / 20)^2 / 8``.
    """

    def __init__(self, source: Thermal, shares: dict[int, float]) -> None:
        self._rate_hz = source.rate_hz
        self._shares = shares
        coherence = source.coherence_ns * 1000 * TICKS_PER_PS
        self._steps = math.ceil(20 * BLOCK_TICKS / coherence)
        self._memory = math.exp(-BLOCK_TICKS / self._steps / coherence)
        self._last: complex | None = None

    def draw(self, generator: np.random.Generator, block: int) -> Iterator[Part]:
        step = BLOCK_TICKS / self._steps
        noise = generator.normal(0, math.sqrt(0.5), 2 * self._steps + 2).view(np.complex128)
        field = _field(noise[1:], self._memory, complex(noise[0]) if self._last is None else self._last)
        self._last = complex(field[-1])
        until = np.cumsum(field.real**2 + field.imag**2)
        for channel, share in self._shares.items():
            count = generator.poisson(self._rate_hz * share * BLOCK_SECONDS * until[-1] / self._steps)
            chosen = np.searchsorted(until, generator.random(count) * until[-1], side="right")
            yield channel, (np.minimum(chosen, self._steps - 1) + generator.random(count)) * step


def _pairs(bench: Bench, source: Pairs) -> Drawer:
    channels = [bench.number(reference) for reference in source.to]
    keeps = [part * efficiency(bench, channel) for part, channel in zip(source.efficiencies, channels, strict=True)]

    def draw(generator: np.random.Generator, block: int) -> Iterator[Part]:
        times = generator.random(generator.poisson(source.rate_hz * BLOCK_SECONDS)) * BLOCK_TICKS
        for channel, keep in zip(channels, keeps, strict=True):
            kept = times[generator.random(times.size) < keep]
            yield channel, kept + generator.normal(0.0, source.jitter_ps * TICKS_PER_PS / math.sqrt(2), kept.size)

    return draw


def _periodic(source: Periodic, channel: int) -> Drawer:
    off = math.inf if source.until_s is None else seconds_to_ticks(source.until_s)

    def draw(generator: np.random.Generator, block: int) -> Iterator[Part]:
        start = block * BLOCK_TICKS
        stop = start + BLOCK_TICKS
        _, count, first, period = pulses_between(source, start, stop if off >= stop else max(start, int(off)))
        # Cut at 8 sigma: the file keeps edges apart by twice that and a clock.
        jitter = np.clip(generator.standard_normal(count), -8, 8) * (source.jitter_ps * TICKS_PER_PS)
        yield channel, first + np.arange(count) * period + jitter

    return draw
