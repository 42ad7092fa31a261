"""What happened to a tracked phase: cycle slips, jumps, and times without a phase."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from .phase_trace import PhaseTrace, TraceGap

SIDE = 6
"""Samples to each side of a step that it is measured with."""
SIGMAS = 6.0
NORMAL_MAD = 1.4826
"""Sigma of a normal distribution over its median absolute deviation."""
TOLERANCE_SIGMAS = 3.0
"""A step so near a multiple of half a turn is a slip."""


@dataclass(frozen=True)
class PhaseStep:
    """A step between two samples that the phase's own motion does not explain."""

    time_s: float
    """On the trace's time, between the samples before and after."""
    step_rad: float
    sigmas: float
    half_turns: int
    """A slip by so many half turns (two are a cycle); 0 for a jump of another size."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"kind": "slip" if self.half_turns else "jump"}


@dataclass(frozen=True, kw_only=True)
class PhaseEvents:
    """Steps and losses in the order of time."""

    steps: list[PhaseStep]
    gaps: list[TraceGap]
    sigma_rad: float
    """Of the step that noise and motion pretend; infinite where the trace is too short to tell."""

    @property
    def slips(self) -> list[PhaseStep]:
        """Steps by half turns."""
        return [step for step in self.steps if step.half_turns]

    @property
    def slip_rad(self) -> float | None:
        """Smallest slip that is told from other steps: half a turn, a turn, or None where the trace is too restless for both."""
        return _slip_unit(self.sigma_rad)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "steps": [step.as_dict() for step in self.steps],
            "losses": [asdict(gap) for gap in self.gaps],
            "smallest_step_rad": SIGMAS * self.sigma_rad if math.isfinite(self.sigma_rad) else None,
            "smallest_slip_rad": self.slip_rad,
        }


def phase_events(trace: PhaseTrace, *, sigmas: float = SIGMAS) -> PhaseEvents:
    """Find steps beyond ``sigmas`` of what the phase does by itself.

    At each place between two samples the step is measured by least squares over SIDE samples to each side, with a common slope: the
    innovation of a straight line. Its sigma under noise, walk and wandering rate is taken from the trace itself, as NORMAL_MAD
    times the median of its magnitude, which single steps do not move. Of each excursion the largest place counts. A step within
    TOLERANCE_SIGMAS of a multiple of half a turn is a slip, or of a whole turn where sigma is larger; where even that would call half of
    all steps slips, none is named.
    Places nearer than SIDE samples to a gap are not looked at.
    """
    kernel = _step_kernel()
    found: list[tuple[slice, NDArray[np.float64]]] = [
        (part, np.correlate(trace.phase_rad[part], kernel, mode="valid")) for part in trace.segments(2 * SIDE)
    ]
    sigma = NORMAL_MAD * float(np.median(np.abs(np.concatenate([size for _, size in found])))) if found else math.inf
    sigma = max(sigma, 1e-12)  # of a trace that does not move at all
    steps = []
    for part, size in found:
        magnitude = np.abs(size)
        # the step's own response reaches 2 SIDE places to each side, with side lobes
        tops = np.flatnonzero((magnitude > sigmas * sigma) & (magnitude == maximum_filter1d(magnitude, 4 * SIDE + 1)))
        for i in tops.tolist():
            time_s = (float(trace.index[part.start + i + SIDE])) * trace.interval_s
            steps.append(PhaseStep(time_s, float(size[i]), float(magnitude[i] / sigma), _half_turns(size[i], sigma)))
    return PhaseEvents(steps=steps, gaps=trace.gaps(), sigma_rad=sigma)


def _step_kernel() -> NDArray[np.float64]:
    """Weights of 2 SIDE samples whose sum is the step in the middle: least squares with offset, slope and step."""
    place = np.arange(2 * SIDE) - (SIDE - 0.5)
    design = np.stack([np.ones(2 * SIDE), place, (place > 0).astype(float)], axis=1)
    return np.linalg.pinv(design)[2]


def _slip_unit(sigma: float) -> float | None:
    """Multiples of this are slips: as long as the tolerance covers at most half of all values."""
    for unit in (math.pi, 2 * math.pi):
        if TOLERANCE_SIGMAS * sigma <= unit / 4:
            return unit
    return None


def _half_turns(step: float, sigma: float) -> int:
    unit = _slip_unit(sigma)
    if unit is None:
        return 0
    number = round(step / unit)
    near = abs(step - number * unit) <= max(TOLERANCE_SIGMAS * sigma, 1e-6)
    return number * round(unit / math.pi) if near else 0
