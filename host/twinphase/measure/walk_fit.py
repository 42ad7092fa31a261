"""Random walk D, walk of the rate Q and white estimation noise of a phase, by maximum likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize

from ..errors import TwinphaseError
from .phase_trace import PhaseTrace
from .spectral_fit import groups, probability_of_fit

MIN_SAMPLES = 32
MAX_SEGMENTS = 64
"""Only the longest segments are fitted: with more, the others add little."""
_SMALLEST = 1e-30
"""Lower bound of a parameter in units of the mean square second difference: stands for 0."""


@dataclass(frozen=True, kw_only=True)
class WalkFit:
    """State-space model ``dphi = rate dt + sqrt(D) dW1, drate = sqrt(Q) dW2``, samples with white noise. Errors are one sigma.

    An estimate within two errors of 0 is an upper limit only.
    """

    walk_rad2_per_s: float
    """D: ``<dphi^2> = D t``."""
    walk_error: float
    rate_walk_rad2_per_s3: float
    """Q: ``<drate^2> = Q t``."""
    rate_walk_error: float
    noise_rad2: float
    """Variance of the white noise of a sample."""
    noise_error: float
    samples: int
    probability: float
    """Chance of the worst octave's misfit if the model were right; see `probability_of_fit`."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Segment:
    """Second differences z of a segment in the base of the sine transform, summed over groups of frequencies."""

    size: int
    eigenvalue: NDArray[np.float64]
    """lambda of each group."""
    count: NDArray[np.float64]
    power: NDArray[np.float64]
    """Sum of squares of z."""
    ends: NDArray[np.float64]
    """Sums over the group of u1 u1, u1 un, u1 z, un z; u1 and un are the first and the last sample in this base."""


def walk_fit(trace: PhaseTrace) -> WalkFit:
    """Fit all gapless segments together.

    Maximum likelihood is chosen over a fit of the structure function, whose values at all lags are correlated, so that honest errors
    would need their covariance; it also separates noise from walk by itself. The likelihood is exact: the second differences z of n + 2
    samples (which a steady rate and a start value leave alone) are normal with the covariance

        C = c0 + c1 A + c2 (A A + e1 e1' + en en'),   A = tridiagonal (-1, 2, -1)
        samples of an instant:   c0 = Q T^3,  c1 = D T - Q T^3 / 6,  c2 = sigma^2
        means over the interval: c0 = Q T^3,  c1 = D T - Q T^3 / 4,  c2 = sigma^2 - D T / 6 + Q T^3 / 120

    and the sine transform (DST-I) makes A diagonal, ``lambda_j = 2 - 2 cos(pi j / (n + 1))``; the corner terms are of rank two and go
    in by the matrix determinant lemma. So a trace costs one transform, and an evaluation some thousand groups of frequencies. (The
    coefficients are the autocovariances of integrated Brownian motion, i.e. B-splines at the integers.) Errors: inverse Fisher
    information. Noise is taken to have one variance throughout. Raises TwinphaseError when the trace is too short.
    """
    runs = sorted(trace.segments(MIN_SAMPLES), key=lambda part: part.start - part.stop)[:MAX_SEGMENTS]
    if not runs:
        raise TwinphaseError(
            f"too short for a fit of D and Q: no stretch of {MIN_SAMPLES} samples without a gap; measure longer"
        )
    differences = [np.diff(trace.phase_rad[part], 2) for part in runs]
    unit = float(np.mean(np.concatenate([z**2 for z in differences])))
    if unit == 0:
        raise TwinphaseError("the phase of this trace never changes its rate: there is nothing to fit")
    segments = [_transformed(z / np.sqrt(unit)) for z in differences]
    shape = _shape(trace)

    def loss(logarithms: NDArray[np.float64]) -> float:
        return sum(_loss(segment, shape @ np.exp(logarithms)) for segment in segments)

    # where Q begins to count depends on the trace, and a start far off lies on a plain: the best of a coarse grid comes first
    grid = product(np.log([1e-1, 1e-3, 1e-5, 1e-7, 1e-9, 1e-12]), np.log([0.3, 0.01, 1e-4]), np.log([0.1, 1e-3, 1e-5]))
    start = min((np.array(point) for point in grid), key=loss)
    found = optimize.minimize(
        loss,
        start,
        method="Nelder-Mead",
        bounds=[(np.log(_SMALLEST), np.log(10.0))] * 3,
        options={
            "xatol": 1e-3,
            "fatol": 1e-4,
            "maxiter": 600,
            "initial_simplex": start + np.vstack([np.zeros(3), np.eye(3)]),
        },
    )
    values = np.exp(found.x)
    errors = np.sqrt(np.diag(np.linalg.pinv(_information(segments, shape, values), rcond=1e-30)))
    dt = trace.interval_s
    scale = unit * np.array([1 / dt**3, 1 / dt, 1.0])
    (rate_walk, walk, noise), (rate_walk_error, walk_error, noise_error) = values * scale, errors * scale
    return WalkFit(
        walk_rad2_per_s=float(walk),
        walk_error=float(walk_error),
        rate_walk_rad2_per_s3=float(rate_walk),
        rate_walk_error=float(rate_walk_error),
        noise_rad2=float(noise),
        noise_error=float(noise_error),
        samples=sum(len(z) + 2 for z in differences),
        probability=_probability(segments, shape @ values),
    )


def _shape(trace: PhaseTrace) -> NDArray[np.float64]:
    """Matrix from (Q T^3, D T, sigma^2) to (c0, c1, c2)."""
    if trace.averaging_s > 0:
        return np.array([[1, 0, 0], [-1 / 4, 1, 0], [1 / 120, -1 / 6, 1]])
    return np.array([[1, 0, 0], [-1 / 6, 1, 0], [0, 0, 1]])


def _transformed(z: NDArray[np.float64]) -> _Segment:
    n = len(z)
    angle = np.pi * np.arange(1, n + 1) / (n + 1)
    eigenvalue = 4 * np.sin(angle / 2) ** 2  # 2 - 2 cos without its loss of digits
    transform = fft.dst(z, type=1, norm="ortho")
    first = np.sqrt(2 / (n + 1)) * np.sin(angle)
    last = first * np.where(np.arange(n) % 2, -1, 1)
    at = groups(angle)
    count = np.add.reduceat(np.ones(n), at)
    ends = [np.add.reduceat(a, at) for a in (first * first, first * last, first * transform, last * transform)]
    return _Segment(
        n, np.add.reduceat(eigenvalue, at) / count, count, np.add.reduceat(transform**2, at), np.array(ends)
    )


def _density(segment: _Segment, c: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(c[0] + segment.eigenvalue * (c[1] + segment.eigenvalue * c[2]), 1e-300)


def _loss(segment: _Segment, c: NDArray[np.float64]) -> float:
    """Negative logarithm of the likelihood but for a constant."""
    mu = _density(segment, c)
    uu, ul, first, last = (segment.ends / mu).sum(axis=1)
    # I + c2 G with G = ((uu, ul), (ul, uu)) has the eigenvectors (1, 1) and (1, -1)
    even, odd = 1 + c[2] * (uu + ul), 1 + c[2] * (uu - ul)
    square = float(np.sum(segment.power / mu)) - c[2] / 2 * ((first + last) ** 2 / even + (first - last) ** 2 / odd)
    return 0.5 * (float(np.sum(segment.count * np.log(mu))) + np.log(even * odd) + square)


def _information(
    segments: Sequence[_Segment], shape: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fisher information of (Q T^3, D T, sigma^2), the corners' share left out."""
    total = np.zeros((3, 3))
    for segment in segments:
        powers = np.array([np.ones_like(segment.eigenvalue), segment.eigenvalue, segment.eigenvalue**2])
        slopes = shape.T @ powers / _density(segment, shape @ values)
        total += 0.5 * (slopes * segment.count) @ slopes.T
    return total


def _probability(segments: Sequence[_Segment], c: NDArray[np.float64]) -> float:
    frequency = np.concatenate([np.sqrt(segment.eigenvalue) for segment in segments])
    count = np.concatenate([segment.count for segment in segments])
    ratio = np.concatenate([segment.power / segment.count / _density(segment, c) for segment in segments])
    return probability_of_fit(frequency, ratio, count / 2)
