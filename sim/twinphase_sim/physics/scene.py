"""Phase that a lab's scene adds: lines, ramps and knocks in closed form, trucks as drawn noise (`truck`).

Every term is a function of time alone, given the seed; so neither the order of questions nor the chunks of a run matter.
Formulas: `twinphase_spec.scene`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.scene import Knock, Line, Ramp, Scene
from twinphase_spec.units import TICKS_PER_SECOND

from .truck import TruckPhase


def line_phase(line: Line, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """``a sin(2 pi f t + phase)``; power spectrum: ``a^2 / 2`` at f."""
    # whole periods are taken off first: sin keeps its digits at late times
    turns = np.mod(line.frequency_hz * seconds, 1.0)
    return line.amplitude_rad * np.sin(2 * math.pi * turns + line.phase_rad)


def ramp_phase(ramp: Ramp, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """``rate min(max(t - start, 0), duration)``."""
    return ramp.rate_rad_per_s * np.clip(seconds - ramp.start_s, 0.0, ramp.duration_s)


def knock_phase(knock: Knock, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """``step (1 - e^(-t / decay) cos(2 pi f t)) + ring e^(-t / decay) sin(2 pi f t)`` from the knock on."""
    t = np.maximum(seconds - knock.time_s, 0.0)
    envelope, angle = np.exp(-t / knock.decay_s), 2 * math.pi * knock.ring_hz * t
    ringing = envelope * (knock.ring_rad * np.sin(angle) - knock.step_rad * np.cos(angle))
    return np.where(seconds >= knock.time_s, knock.step_rad + ringing, 0.0)


class ScenePhase:
    """Sum of a scene's phases, arm b with minus. Time 0 of the scene is ``start_ticks``."""

    def __init__(self, scene: Scene, seed: int, start_ticks: int) -> None:
        self._scene = scene
        self._start_ticks = start_ticks
        self._trucks = [TruckPhase(truck, (seed, 5, number)) for number, truck in enumerate(scene.trucks)]

    def at(self, times_ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Phase in rad, unwrapped."""
        seconds = (np.asarray(times_ticks, dtype=np.int64) - self._start_ticks) / TICKS_PER_SECOND
        phase = np.zeros(seconds.shape)
        for line in self._scene.lines:
            phase += line.sign * line_phase(line, seconds)
        for ramp in self._scene.ramps:
            phase += ramp.sign * ramp_phase(ramp, seconds)
        for knock in self._scene.knocks:
            phase += knock.sign * knock_phase(knock, seconds)
        for truck in self._trucks:
            phase += truck.truck.sign * truck.at(seconds)
        return phase
