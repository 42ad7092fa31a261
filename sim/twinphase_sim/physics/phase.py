"""Optical phase between the two arms, as a function of time, for any length of run.

Fibre noise has the one-sided power spectral density ``l L / f^2 (fc / (f + fc))^2`` rad^2/Hz (Bertaina et al. 2024,
arXiv:2310.08621; l per km, L both arms together). Its rate (rad/s) has the PSD ``(2 pi)^2 l L (fc / (f + fc))^2``, which is
finite at f = 0. So the *rate* is synthesised, in blocks of SEGMENT_POINTS by FFT, and summed up; neighbouring blocks are
independent and cross-faded with cos and sin, which keeps the variance. Every block has its own random generator, so a
time's phase depends on the seed alone, not on the order of questions.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.lab import Lab
from twinphase_spec.units import TICKS_PER_SECOND

from .scene import ScenePhase

GRID_BITS = 22
GRID_TICKS = 1 << GRID_BITS
"""Grid of the phase: 4.096 us. Linear interpolation errs by GRID^2/8 times the second derivative: below 1 mrad for
the fibres of all presets, whose spectrum falls as f^-4 above fc."""
GRID_S = GRID_TICKS / TICKS_PER_SECOND
SEGMENT_BITS = 18
SEGMENT_POINTS = 1 << SEGMENT_BITS
"""Grid points of a block, 1.07 s: many correlation times (1/fc = 10 ms) of the rate."""
LEAD_POINTS = 4
"""Grid points before the start, so that clicks which a detector offset moves before it have a phase."""
KEPT_SEGMENTS = 4


def fibre_rate_rms(noise_rad2_hz_per_km: float, length_km: float, corner_hz: float) -> float:
    """RMS rate of the fibre's phase in rad/s: ``2 pi sqrt(l L fc)`` (integral of the rate's PSD)."""
    return 2 * math.pi * math.sqrt(noise_rad2_hz_per_km * length_km * corner_hz)


class PhaseProcess:
    """A random phase in rad: noise of the fibre's spectral shape, a steady drift and a random walk.

    ``rate_rms`` (rad/s) scales the noise, ``corner_hz`` is fc, ``drift`` is in rad/s, ``diffusion`` is D in
    ``<dphi^2> = D t`` (rad^2/s). The start value is uniform over a turn.
    """

    def __init__(
        self, seed: tuple[int, ...], *, rate_rms: float, corner_hz: float, drift: float = 0.0, diffusion: float = 0.0
    ) -> None:
        self._seed = seed
        self._drift = drift
        self._diffusion = diffusion
        count = 2 * SEGMENT_POINTS
        frequency = np.fft.rfftfreq(count, GRID_S)
        # one-sided PSD of the rate, normalised: integral of (fc / (f + fc))^2 over f > 0 is fc
        density = rate_rms**2 / corner_hz * (corner_hz / (frequency + corner_hz)) ** 2
        self._amplitude = np.sqrt(density * count / GRID_S / 2)
        self._fade = np.sin(np.arange(SEGMENT_POINTS) * (math.pi / 2 / SEGMENT_POINTS))
        self._starts = [float(np.random.default_rng([*seed, 0]).uniform(0, 2 * math.pi))]
        self._segments: OrderedDict[int, NDArray[np.float64]] = OrderedDict()

    def at(self, grid: NDArray[np.int64], fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Phase in rad at ``grid + fraction`` grid points after the start (0 <= fraction < 1); not wrapped."""
        segments = grid >> SEGMENT_BITS
        points = grid & (SEGMENT_POINTS - 1)
        phase = np.empty(grid.shape)
        for number in np.unique(segments):
            chosen = segments == number
            values, index = self._segment(int(number)), points[chosen]
            low = values[index]
            phase[chosen] = low + fraction[chosen] * (values[index + 1] - low)
        return phase

    def _segment(self, number: int) -> NDArray[np.float64]:
        """Phase at the SEGMENT_POINTS + 1 grid points of a block; a block's start is the end of the one before."""
        for earlier in range(len(self._starts) - 1, number):
            self._segment(earlier)
        if number in self._segments:
            self._segments.move_to_end(number)
            return self._segments[number]
        rate = (
            self._noise(number)[SEGMENT_POINTS:] * self._fade[::-1]
            + self._noise(number + 1)[:SEGMENT_POINTS] * self._fade
        )
        steps = (rate + self._drift) * GRID_S
        if self._diffusion:
            walk = np.random.default_rng([*self._seed, 2, number])
            steps += walk.normal(0.0, math.sqrt(self._diffusion * GRID_S), SEGMENT_POINTS)
        values = np.concatenate(([0.0], np.cumsum(steps))) + self._starts[number]
        if len(self._starts) == number + 1:
            self._starts.append(float(values[-1]))
        self._segments[number] = values
        if len(self._segments) > KEPT_SEGMENTS:
            self._segments.popitem(last=False)
        return values

    def _noise(self, number: int) -> NDArray[np.float64]:
        generator = np.random.default_rng([*self._seed, 1, number])
        spectrum = generator.normal(size=(2, self._amplitude.size)) * (self._amplitude * math.sqrt(0.5))
        spectrum[:, 0] *= math.sqrt(2)  # the bin at f = 0 is real
        return np.fft.irfft(spectrum[0] + 1j * spectrum[1], 2 * SEGMENT_POINTS)


class LinkPhase:
    """phi of both bands at the server's beam splitters (docs/physics.md: ``theta = thetaA - thetaB + phi``).

    ``phi_r``: fibre noise, steady drift, the walk of the users' beat, ``D = 2 pi FWHM``, and the lab's scene.
    ``phi_q = phi_r nu_q / nu_r + psi_d``; psi_d has the fibre's spectral shape and the lab's RMS rate (the shape is an
    assumption: the seed experiment states the rate only).
    """

    def __init__(self, lab: Lab, seed: int, start_ticks: int) -> None:
        fibre = lab.fibre
        length = fibre.length_a_km + fibre.length_b_km
        self._origin = start_ticks - LEAD_POINTS * GRID_TICKS
        self._ratio = lab.bands.quantum_hz / lab.bands.reference_hz
        self._common = PhaseProcess(
            (seed, 1),
            rate_rms=fibre_rate_rms(fibre.noise_rad2_hz_per_km, length, fibre.noise_corner_hz),
            corner_hz=fibre.noise_corner_hz,
            drift=fibre.drift_rad_per_s,
            diffusion=lab.lasers.diffusion_rad2_per_s,
        )
        self._scene = ScenePhase(lab.scene, seed, start_ticks)
        self._differential = PhaseProcess(
            (seed, 2), rate_rms=lab.bands.differential_drift_rad_per_s, corner_hz=fibre.noise_corner_hz
        )

    def reference(self, times_ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """phi_r in rad, unwrapped."""
        return self._common.at(*self._grid(times_ticks)) + self._scene.at(times_ticks)

    def differential(self, times_ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """psi_d = phi_q - phi_r nu_q / nu_r in rad, unwrapped."""
        return self._differential.at(*self._grid(times_ticks))

    def quantum(self, times_ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """phi_q in rad, unwrapped."""
        return self.reference(times_ticks) * self._ratio + self.differential(times_ticks)

    def _grid(self, times_ticks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        ticks = np.maximum(np.asarray(times_ticks, dtype=np.int64) - self._origin, 0)
        return ticks >> GRID_BITS, (ticks & (GRID_TICKS - 1)).astype(np.float64) / GRID_TICKS
