"""The cycle count of a reference as a smooth function of node time: points, fit and its covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICKS_PER_SECOND

QUADRATIC_POINTS = 8
BLOCK_TICKS = TICKS_PER_SECOND // 20
OUTLIER_SIGMAS = 6.0
FEW = 8
"""Fewer pulses than this within 50 ms are points of their own."""


@dataclass(frozen=True)
class Point:
    """Pulses of up to 50 ms, averaged: at node time ``ticks`` the cycle count was ``cycle + part``."""

    ticks: int
    cycle: int
    part: float
    weight: int
    """Pulses averaged."""
    square: float
    """Sum of the squares of their residuals, in cycles^2."""


def points_of(times: NDArray[np.int64], numbers: NDArray[np.int64], period_ticks: float) -> list[Point]:
    """Points of numbered pulses. Pulses further than 6 sigma (robust) from the others of their point are left out."""
    if not len(times):
        return []
    cuts = np.flatnonzero(np.diff((times - times[0]) // BLOCK_TICKS)) + 1
    points = []
    for t, n in zip(np.split(times, cuts), np.split(numbers, cuts), strict=True):
        if len(t) < FEW:
            points += [Point(ticks, cycle, 0.0, 1, 0.0) for ticks, cycle in zip(t.tolist(), n.tolist(), strict=True)]
        else:
            points.append(_average(t, n, period_ticks))
    return points


def _average(t: NDArray[np.int64], n: NDArray[np.int64], period_ticks: float) -> Point:
    """The line through the pulses, at their mean time, where the error of its slope does not matter."""
    middle = len(t) // 2
    x = (t - t[middle]) / period_ticks
    late = (n - n[middle]) - x  # cycles; its slope is the error of the period
    line, residual = _line(x, late)
    centre = float(np.median(residual))
    sigma = 1.4826 * float(np.median(np.abs(residual - centre))) + 1 / period_ticks
    good = np.abs(residual - centre) <= OUTLIER_SIGMAS * sigma
    if not good.all():
        x, late = x[good], late[good]
        line, residual = _line(x, late)
    at = round(float(x.mean()) * period_ticks)
    part = float(line[0] + (1 + line[1]) * at / period_ticks)
    return Point(int(t[middle]) + at, int(n[middle]), part, len(x), float(residual @ residual))


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """``((value at 0, slope), residuals)`` of the straight line through the points."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    dx, dy = x - mean_x, y - mean_y
    slope = float(dx @ dy) / (float(dx @ dx) or 1.0)
    return (mean_y - slope * mean_x, slope), dy - slope * dx


@dataclass(frozen=True)
class ClockFit:
    """``n(t) = cycle + hz x + a + b x + c x^2`` with ``x`` the node's seconds since ``ticks``, ``hz`` nominal pulses per second.

    Least squares over the points, weighted by their pulses; covariance from the residuals, at least that of a tick's rounding.
    """

    ticks: int
    cycle: int
    hz: float
    terms: NDArray[np.float64]
    """a, b and, with enough points, c."""
    covariance: NDArray[np.float64]
    pulse_rms_ticks: float
    """Rms distance of single pulses from the fit."""
    points: int
    first_ticks: int

    @property
    def offset(self) -> float:
        """Relative frequency offset of the node's clock, at the newest point: ``-b/hz`` to first order; above 0: it is fast."""
        return -float(self.terms[1]) / (self.hz + float(self.terms[1]))

    @property
    def offset_sigma(self) -> float:
        """Standard uncertainty of `offset`."""
        return float(np.sqrt(self.covariance[1, 1])) / self.hz

    @property
    def drift_per_s(self) -> float | None:
        """Change of `offset` per second; None where the fit is a line."""
        return -2 * float(self.terms[2]) / self.hz if len(self.terms) > 2 else None

    def cycles(self, times: NDArray[np.int64]) -> tuple[int, NDArray[np.float64]]:
        """``(cycle, rest)``: the cycle count at node times is cycle + rest."""
        x = (np.asarray(times) - self.ticks) / TICKS_PER_SECOND
        return self.cycle, self.hz * x + np.polynomial.polynomial.polyval(x, self.terms)

    def cycles_sigma(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Standard uncertainty of the cycle count at node times, from the fit alone."""
        x = (np.asarray(times) - self.ticks) / TICKS_PER_SECOND
        powers = np.power(x[..., None], np.arange(len(self.terms)))
        return np.sqrt(np.einsum("...i,ij,...j->...", powers, self.covariance, powers))


def fit_clock(points: list[Point], hz: float) -> ClockFit | None:
    """The fit through the points, anchored at the newest; None for fewer than three."""
    if len(points) < 3:
        return None
    anchor = points[-1]
    x = np.array([point.ticks - anchor.ticks for point in points]) / TICKS_PER_SECOND
    y = np.array([point.cycle - anchor.cycle for point in points]) - hz * x + np.array([point.part for point in points])
    weight = np.array([point.weight for point in points], float)
    degree = 2 if len(points) >= QUADRATIC_POINTS else 1
    scale = max(-float(x[0]), 1e-9)
    design = np.power((x / scale)[:, None], np.arange(degree + 1))
    normal = np.linalg.inv(design.T @ (weight[:, None] * design))
    terms = normal @ (design.T @ (weight * y))
    residual = y - design @ terms
    square = float(weight @ residual**2) / (len(points) - degree - 1) if len(points) > degree + 1 else 0.0
    inner_freedom = sum(max(point.weight - 2, 0) for point in points)
    inner = sum(point.square for point in points) / inner_freedom if inner_freedom else 0.0
    rounding = (hz / TICKS_PER_SECOND) ** 2 / 12
    variance = max(square, inner, rounding)
    unscale = scale ** -np.arange(degree + 1)
    return ClockFit(
        ticks=anchor.ticks,
        cycle=anchor.cycle,
        hz=hz,
        terms=terms * unscale,
        covariance=normal * variance * np.outer(unscale, unscale),
        pulse_rms_ticks=float(np.sqrt(max(inner, rounding) if inner_freedom else variance)) * TICKS_PER_SECOND / hz,
        points=len(points),
        first_ticks=points[0].ticks,
    )
