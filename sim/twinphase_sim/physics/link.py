"""Clicks of a pair's four detectors, drawn without drawing pulses.

For every detector and group of slot classes, *candidates* are drawn: each pulse with probability ``Pmax``, the click
probability at the brightest symbols, phase and transmittance, by geometric gaps. Only at the candidates are the users' symbols,
the phase and the transmittance evaluated, and a candidate clicks with ``P / Pmax``. Each pulse thus clicks with ``Pmax * P / Pmax =
P``, independently: the same distribution as pulse by pulse (`pulse_by_pulse`), at a cost that follows the clicks. Dark counts are
a Poisson process in time. Jitter, offsets, dead time and recovery follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.symbols import symbols
from twinphase_spec.configure import frame_config
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Lab
from twinphase_spec.registers import CHANNELS
from twinphase_spec.symbols import Level, SymbolConfig
from twinphase_spec.units import TICKS_PER_CLOCK, TICKS_PER_SECOND, ps_to_ticks

from .clicks import DARK, NO_CANDIDATES, NO_CLICKS, NO_RAW_CLICKS, C, Candidates, Clicks, RawClicks, join_clicks
from .detectors import NEVER, TICKS_PER_PS, alive_clicks, arrival_ticks
from .optics import REFERENCE_STEPS, Band, Port, level_photons, ports
from .phase import LinkPhase
from .power import LinkPower
from .slots import ClassPulses

BLOCK_SECONDS = 2.0**-6
"""Clicks are drawn in blocks of about this much lab time; every block has its own random generator, so that the clicks do not
depend on how a run is cut into chunks."""
MARGIN_TICKS = ps_to_ticks(2_000_000)
"""Offsets and jitter move a click by less than 2 us; a chunk is complete when that much beyond it is drawn."""
MIN_PROBABILITY = 1e-15
"""Light that clicks less often than this per pulse is left out: one click in 11 days at 1 GHz, and gaps stay within int64."""

GROUPS: tuple[tuple[Band, tuple[SlotClass, ...]], ...] = (
    ("q", (SlotClass.SIG,)),
    ("q", REFERENCE_STEPS),
    ("q", (SlotClass.REF_A,)),
    ("q", (SlotClass.REF_B,)),
    ("r", REFERENCE_STEPS),
    ("r", (SlotClass.REF_A,)),
    ("r", (SlotClass.REF_B,)),
)
"""Classes that share one upper bound; every other class sends no light."""


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
        self._symbols = (alice, bob)
        self._arms = LinkPower(lab, seed, self.start_ticks)
        self._ports = {band: ports(lab, band) for band in ("q", "r")}
        self._photons = {
            band: tuple(level_photons(client, band) for client in (lab.clients.alice, lab.clients.bob))
            for band in ("q", "r")
        }
        self._groups = [(band, classes, ClassPulses(self.frame, band, classes)) for band, classes in GROUPS]
        self._groups = [group for group in self._groups if group[2].per_frame]
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
        for band, classes, members in self._groups:
            for port in self._ports[band]:
                light = decided(self._draw_light(generator, port, band, classes, members, first, last))
                offset, jitter = port.detector.offset_ps, port.detector.jitter_ps
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

    def _draw_light(
        self,
        generator: np.random.Generator,
        port: Port,
        band: Band,
        classes: tuple[SlotClass, ...],
        members: ClassPulses,
        first: int,
        last: int,
    ) -> Candidates:
        """Pulses in [first, last) that may click at ``port``, with the times of their starts."""
        brightest = [
            self._brightest(band, classes, user) * transmittance
            for user, transmittance in enumerate(self._arms.largest)
        ]
        bound = -np.expm1(-port.intensity(brightest[0], brightest[1], float(port.sign)))
        if bound < MIN_PROBABILITY:
            return NO_CANDIDATES
        low, high = members.count_before(first), members.count_before(last)
        ordinals = low + bernoulli_positions(generator, high - low, bound)
        pulses, slot_classes = members.pulse(ordinals)
        a, b, theta = self._prepare(band, pulses, slot_classes)
        base = port.intensity(a, b, np.zeros(pulses.size))
        amplitude = port.intensity(a, b, np.ones(pulses.size)) - base
        energy = -np.log1p(-generator.random(pulses.size) * bound)
        starts, channels = self.start_ticks + pulses * self.period_ticks, np.full(pulses.size, port.channel, np.uint8)
        return Candidates(starts, channels, pulses, theta / (2 * np.pi), energy, base, amplitude)

    def _brightest(self, band: Band, classes: tuple[SlotClass, ...], user: int) -> float:
        """Largest mean photon number that a user sends in these classes."""
        if SlotClass.SIG in classes:
            return float(self._photons[band][user][: Level.REF].max())
        dark_class = SlotClass.REF_B if user == 0 else SlotClass.REF_A
        return 0.0 if dark_class in classes else float(self._photons[band][user][Level.REF])

    def _prepare(
        self, band: Band, pulses: NDArray[np.int64], slot_classes: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Photons arriving from either arm, and theta, of pulses that all belong to one of GROUPS."""
        middle = self.start_ticks + pulses * self.period_ticks + self.period_ticks // 2
        theta = self.phase_q(middle) if band == "q" else self.phase_r(middle)
        if pulses.size and slot_classes[0] == SlotClass.SIG:
            alice, bob = (symbols(config, pulses.astype(np.uint64)) for config in self._symbols)
            theta = theta + (alice.phase.astype(np.float64) - bob.phase) * (2 * np.pi / 256)
            a = self._photons[band][0][alice.intensity]
            b = self._photons[band][1][bob.intensity]
        else:
            step = np.where(slot_classes >= SlotClass.REF0, slot_classes.astype(np.int64) - SlotClass.REF0, 0)
            theta = theta + step * (np.pi / 2)
            a = np.where(slot_classes == SlotClass.REF_B, 0.0, self._photons[band][0][Level.REF])
            b = np.where(slot_classes == SlotClass.REF_A, 0.0, self._photons[band][1][Level.REF])
        arm_a, arm_b = self._arms.transmittances(middle)
        return a * arm_a, b * arm_b, theta


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
