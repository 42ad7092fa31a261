"""Phases of both bands as the server tracks them: latest values, drift and visibility of the reference."""

from __future__ import annotations

import math

import numpy as np

from twinphase_spec.fixed import UNWRAPPED_BITS
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID, Stream
from twinphase_spec.units import TICKS_PER_SECOND, turns_to_radians

from ..batch import Batch
from ..device import Device


def window_seconds(device: Device) -> float:
    """Length of an estimation window from the node's registers: ``P L frames_per_window``."""
    period_ticks = device.read("PERIOD") / 2**32
    return period_ticks * device.read("FRAME_PULSES") * device.read("FRAMES_PER_WINDOW") / TICKS_PER_SECOND


class Phase:
    """Follows PHASE and DPHASE records. ``window_s``: see `window_seconds`; without it there is no drift.

    Drift is the rms of (U(w+1) - U(w)) / window over windows that follow each other, both valid; it contains the
    estimation noise. Visibility: V^2 = 4 (sum(C^2 + S^2) - sum N) / sum N^2 with C = D0 - D2, S = D3 - D1 and N counts per
    window, since C and S carry a shot noise of N/2 each.
    """

    def __init__(self, window_s: float | None = None) -> None:
        self.window_s = window_s
        self.psi_r_rad: float | None = None
        self.psi_d_rad: float | None = None
        self.unwrapped_rad: float | None = None
        self.windows = 0
        self.invalid_windows = 0
        """Windows whose reference band had no fringe."""
        self._last: tuple[int, int] | None = None
        self._steps, self._step_squares = 0, 0.0
        self._fringe = self._counts = self._count_squares = 0.0

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        dphase = batch.get(Stream.DPHASE)
        if dphase is not None:
            dphase = dphase[dphase["flags"] & FLAG_D_VALID != 0]
            if len(dphase):
                self.psi_d_rad = float(turns_to_radians(dphase["psi_d_turns"][-1]))
        phase = batch.get(Stream.PHASE)
        if phase is None:
            return
        self.windows += len(phase)
        phase = phase[phase["flags"] & FLAG_R_VALID != 0]
        self.invalid_windows += len(batch[Stream.PHASE]) - len(phase)
        if not len(phase):
            return
        window, turns = phase["window"].astype(np.int64), phase["unwrapped_turns"]
        if self._last is not None:
            window, turns = np.insert(window, 0, self._last[0]), np.insert(turns, 0, self._last[1])
        half = 1 << (UNWRAPPED_BITS - 1)
        steps = ((np.diff(turns) + half) & (2 * half - 1)) - half
        steps = turns_to_radians(steps[np.diff(window) == 1])
        self._steps += len(steps)
        self._step_squares += float(np.sum(steps**2))
        self._last = int(window[-1]), int(turns[-1])
        self.psi_r_rad = float(turns_to_radians(phase["psi_r_turns"][-1]))
        self.unwrapped_rad = float(turns_to_radians(turns[-1]))
        cosine, sine, counts = (phase[name].astype(float) for name in ("cosine_r", "sine_r", "clicks_r"))
        self._fringe += float(np.sum(cosine**2 + sine**2))
        self._counts += float(np.sum(counts))
        self._count_squares += float(np.sum(counts**2))

    @property
    def drift_rad_per_s(self) -> float | None:
        """Rms drift of the reference phase at the scale of a window."""
        if self.window_s is None or not self._steps:
            return None
        return math.sqrt(self._step_squares / self._steps) / self.window_s

    @property
    def visibility(self) -> float | None:
        """Fringe visibility of the reference band, drift within the windows included."""
        if not self._count_squares:
            return None
        return math.sqrt(max(0.0, 4 * (self._fringe - self._counts) / self._count_squares))

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {
            "psi_r_rad": self.psi_r_rad,
            "psi_d_rad": self.psi_d_rad,
            "unwrapped_rad": self.unwrapped_rad,
            "drift_rad_per_s": self.drift_rad_per_s,
            "visibility": self.visibility,
            "windows": self.windows,
            "invalid_windows": self.invalid_windows,
        }
