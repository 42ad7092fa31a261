"""Clicks of a pair's four detectors, drawn without drawing pulses.

For every detector and group of slot classes, *candidates* are drawn: each pulse with probability ``Pmax``, the click
probability at the brightest symbols, phase and transmittance, by geometric gaps. Only at the candidates are the users' symbols,
the phase and the transmittance evaluated, and a candidate clicks with ``P / Pmax``. Each pulse thus clicks with ``Pmax * P / Pmax =
P``, independently: the same distribution as pulse by pulse (`pulse_by_pulse`), at a cost that follows the clicks. Dark counts are
a Poisson process in time. Jitter, offsets, dead time and recovery follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.emission import Correction
from twinphase_spec.configure import frame_config
from twinphase_spec.lab import Lab
from twinphase_spec.registers import CHANNELS
from twinphase_spec.symbols import SymbolConfig
from twinphase_spec.units import TICKS_PER_CLOCK, TICKS_PER_SECOND, ps_to_ticks

from .clicks import DARK, NO_CANDIDATES, NO_CLICKS, NO_RAW_CLICKS, C, Candidates, Clicks, RawClicks, join_clicks
from .detectors import NEVER, TICKS_PER_PS, alive_clicks, arrival_ticks
from .emission import Emission, Piece
from .optics import Port, ports
from .phase import LinkPhase
from .power import LinkPower
from .pulses import BANDS, Group, UserLight

BLOCK_SECONDS = 2.0**-6
"""Clicks are drawn in blocks of about this much lab time; every block has its own random generator, so that the clicks do not
depend on how a run is cut into chunks."""
MARGIN_TICKS = ps_to_ticks(2_000_000)
"""Offsets and jitter move a click by less than 2 us; a chunk is complete when that much beyond it is drawn."""
MIN_PROBABILITY = 1e-15
"""Light that clicks less often than this per pulse is left out: one click in 11 days at 1 GHz, and gaps stay within int64."""


class Link:
    """Physics of a lab's pair. ``alice`` and ``bob`` are the generators of the two clients.

    Pulse 0 reaches the server at tick ``start_clock * 8192``. A link gives the same clicks and phases for the same arguments
    and ``seed``, whatever the chunks. Raises ValueError for a negative seed or start.
    """

    def __init__(self, lab: Lab, seed: int, alice: SymbolConfig, bob: SymbolConfig, *, start_clock: int = 0) -> None:
        if seed < 0 or start_clock < 0:
            raise ValueError(
                f"link: seed {seed} and start_clock {start_clock} must not be negative; give numbers from 0 up"
            )
        self.lab = lab
        self.frame = frame_config(lab, start_clock)
        self.period_ticks = self.frame.period_q32 >> 32
        self.start_ticks = start_clock * TICKS_PER_CLOCK
        self.phase = LinkPhase(lab, seed, self.start_ticks)
        self.dead_time_losses = np.zeros(len(CHANNELS), dtype=np.int64)
        """Photons and dark counts per channel that fell into a detector's dead time or recovery so far."""
        self._seed = seed
        self.emission = Emission(lab, seed)
        self._light = UserLight(lab, self.frame, alice, bob)
        self._arms = LinkPower(lab, seed, self.start_ticks)
        self._ports = {band: ports(lab, band) for band in BANDS}
        self._overlap = lab.arms.overlap
        self._pulse_sigma_ps = lab.arms.sigma_ps
        self.block_pulses = round(lab.frame.pulse_rate_hz * BLOCK_SECONDS)
        self._position = self._block = 0
        self._raw, self._pending = NO_RAW_CLICKS, NO_CLICKS
        self._last = [NEVER] * len(CHANNELS)

    def phase_q(self, times_ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """phi of the quantum band at the beam splitter, in rad, unwrapped: what psi_q estimates."""
        return self.phase.quantum(times_ticks)

    def phase_r(self, times_ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """phi of the reference band at the beam splitter, in rad, unwrapped: what psi_r estimates."""
        return self.phase.reference(times_ticks)

    def pulse_ticks(self, pulse: int) -> int:
        """Start of a pulse in ticks."""
        return self.start_ticks + pulse * self.period_ticks

    def clicks(self, start_pulse: int, stop_pulse: int) -> Clicks:
        """Clicks with times from the start of ``start_pulse`` to before that of ``stop_pulse``.

        Chunk after chunk gives every click once, in rising time; the chunk of pulse 0 also has what comes before it.
        After a jump to another pulse the detectors are rested. Raises ValueError for an empty or negative range.
        """
        if not 0 <= start_pulse < stop_pulse:
            raise ValueError(f"link: pulses {start_pulse} to {stop_pulse}; allowed: 0 <= start < stop")
        if self.pulse_ticks(stop_pulse) + MARGIN_TICKS >= 1 << 63:
            raise ValueError(f"link: pulse {stop_pulse} lies beyond 2^63 ticks; use an earlier start_clock")
        if start_pulse != self._position:
            self._rewind(start_pulse)
        stop_ticks = self.pulse_ticks(stop_pulse)
        self._draw_until(stop_ticks)
        ready = int(np.searchsorted(self._pending.times_ticks, stop_ticks))
        first = (
            0 if start_pulse == 0 else int(np.searchsorted(self._pending.times_ticks, self.pulse_ticks(start_pulse)))
        )
        result, self._pending = self._pending[first:ready], self._pending[ready:]
        self._position = stop_pulse
        return result

    def _rewind(self, pulse: int) -> None:
        margin_pulses = -(-MARGIN_TICKS // self.period_ticks)
        self._position = pulse
        self._block = max(0, pulse - margin_pulses) // self.block_pulses
        self._raw, self._pending = NO_RAW_CLICKS, NO_CLICKS
        self._last = [NEVER] * len(CHANNELS)

    def _draw_until(self, stop_ticks: int) -> None:
        """Draw blocks until no later block can add a click before ``stop_ticks``; then run them through the dead time."""
        parts = [self._raw]
        while self.pulse_ticks(self._block * self.block_pulses) - MARGIN_TICKS < stop_ticks:
            parts += self.raw_block(self._block)
            self._block += 1
        complete = self.pulse_ticks(self._block * self.block_pulses) - MARGIN_TICKS
        raw = join_clicks(parts)
        ready = int(np.searchsorted(raw.times_ticks, complete))
        final, self._raw = raw[:ready], raw[ready:]
        alive = np.zeros(len(final), dtype=np.bool_)
        for channel, name in enumerate(CHANNELS):
            index = np.flatnonzero(final.channels == channel)
            detector = getattr(self.lab.detectors, name)
            alive[index], self._last[channel] = alive_clicks(
                final.times_ticks[index],
                final.needs[index],
                ps_to_ticks(detector.dead_time_ns * 1000),
                detector.recovery_ns * 1000 * TICKS_PER_PS,
                self._last[channel],
            )
            self.dead_time_losses[channel] += index.size - int(alive[index].sum())
        self._pending = join_clicks([self._pending, final.clicks(alive)])

    def raw_block(self, block: int) -> list[RawClicks]:
        """Light and dark counts of all pulses of a block, with jitter and offsets, before dead time; in parts, unsorted."""
        return self._parts(block, Candidates.undisturbed)

    def candidate_block(self, block: int) -> list[Candidates]:
        """The same before the light's phase decides: for an actuator in its path."""
        return self._parts(block, lambda candidates: candidates)

    def _parts(self, block: int, decided: Callable[[Candidates], C]) -> list[C]:
        generator = np.random.default_rng([self._seed, 3, block])
        first = block * self.block_pulses
        last = first + self.block_pulses
        parts = []
        for piece in self._pieces(first, last):
            for group in self._light.groups(piece.shift):
                for port in self._ports[group.band]:
                    light = decided(self._draw_light(generator, port, group, piece))
                    offset, jitter = port.detector.offset_ps, math.hypot(port.detector.jitter_ps, self._pulse_sigma_ps)
                    times = arrival_ticks(light.times_ticks, self.period_ticks, offset, jitter, generator)
                    parts.append(replace(light, times_ticks=times))
        # a generator of its own: the dark counts' times do not depend on whether a detector recovers slowly
        recovery = np.random.default_rng([self._seed, 7, block])
        begin, end = self.pulse_ticks(first), self.pulse_ticks(last)
        for channel, name in enumerate(CHANNELS):
            mean = getattr(self.lab.detectors, name).dark_hz * (end - begin) / TICKS_PER_SECOND
            times = generator.integers(begin, end, generator.poisson(mean))
            channels, pulses = np.full(times.size, channel, np.uint8), np.full(times.size, DARK, np.int64)
            none, one = np.zeros(times.size), np.ones(times.size)
            parts.append(decided(Candidates(times, channels, pulses, none, recovery.random(times.size), one, none)))
        return [part[part.times_ticks >= 0] for part in parts]

    def correct(self, arm: int, correction: Correction) -> None:
        """What the client of arm 0 (A) or 1 (B) has taken. Raises ValueError where its light has been drawn already."""
        drawn = (self._block + 2) * self.block_pulses
        if correction.slot < drawn:
            raise ValueError(
                f"link: a correction from slot {correction.slot}; allowed: from {drawn} on, light before it is under way"
            )
        self.emission.correct(arm, correction)

    def _pieces(self, first: int, last: int) -> Iterable[Piece]:
        return self.emission.pieces(first, last) if self.emission.moves else (Piece(first, last, (0, 0)),)

    def _draw_light(self, generator: np.random.Generator, port: Port, group: Group, piece: Piece) -> Candidates:
        """Light of a group's places in a piece that may click at ``port``, with the times of the places' starts and its lateness."""
        brightest = [
            self._light.brightest(group, user) * transmittance for user, transmittance in enumerate(self._arms.largest)
        ]
        bound = -np.expm1(-port.intensity(brightest[0], brightest[1], float(port.sign)))
        if bound < MIN_PROBABILITY:
            return NO_CANDIDATES
        low, high = group.members.count_before(piece.first), group.members.count_before(piece.last)
        ordinals = low + bernoulli_positions(generator, high - low, bound)
        places, class_a, _ = group.members.at(ordinals)
        starts = self.start_ticks + places * self.period_ticks
        a, b, theta = self._light.at(group, places, class_a, piece.shift)
        arm_a, arm_b = self._arms.transmittances(starts + self.period_ticks // 2)
        a, b = a * arm_a, b * arm_b
        if self.emission.moves:
            (late_a, light_a), (late_b, light_b) = (self.emission.arriving(arm, places) for arm in range(2))
            late_a, late_b = (
                late - m * self.emission.period_ps for late, m in zip((late_a, late_b), piece.shift, strict=True)
            )
            a, b = a * light_a, b * light_b
        theta = (self.phase_q if group.band == "q" else self.phase_r)(starts + self.period_ticks // 2) + theta
        base = port.intensity(a, b, np.zeros(places.size))
        amplitude = port.intensity(a, b, np.ones(places.size)) - base
        energy = -np.log1p(-generator.random(places.size) * bound)
        times = starts
        if self.emission.moves:
            amplitude = amplitude * self._overlap(late_a - late_b)
            of_a = generator.random(places.size) * (a + b) < a
            times = starts + np.rint(np.where(of_a, late_a, late_b) * TICKS_PER_PS).astype(np.int64)
        channels = np.full(places.size, port.channel, np.uint8)
        return Candidates(times, channels, places, theta / (2 * np.pi), energy, base, amplitude)


def bernoulli_positions(generator: np.random.Generator, count: int, probability: float) -> NDArray[np.int64]:
    """Positions of the successes in ``count`` independent trials, rising: sums of geometric gaps."""
    parts: list[NDArray[np.int64]] = []
    position = -1
    while position < count:
        expected = (count - position) * probability
        gaps = generator.geometric(probability, int(expected + 4 * np.sqrt(expected) + 16))
        parts.append(position + np.cumsum(gaps))
        position = int(parts[-1][-1])
    positions = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return positions[: int(np.searchsorted(positions, count))]
