"""Cycle slips of a fixed-gain first-order loop that is stepped by single clicks, four-phase light, no delay.

Every click moves the estimate by ``-g a sin(estimate + r)``, a = +1 for L and -1 for R, r the reference step; clicks come at a
rate R and choose L with ``(1 + V cos(psi + r)) / 2``; psi walks with D. Averaged over the steps and over psi, which the walk turns
many times between slips, the error x = estimate - psi jumps by ``g sin(theta)`` at the rate R, theta uniform with the weight
``1 - V sin(theta) sin(x)``. Mean drift and noise are those of a loop with a sine characteristic::

    K = g R V / 2,   sigma^2 = D / 2K + g / 2V,   rho = 1 / sigma^2

Viterbi's time to a slip (`tracking.slip_time_s`) replaces the jumps by white noise of the same power. It stands where jumps are
small against what makes a slip: the rarest path over the top goes with the momentum p(x), about rho sin x, that solves (large
deviations of jump processes: Freidlin and Wentzell, Random Perturbations of Dynamical Systems, ch. 5)::

    D p^2 / 2 + R [I0(g p) - 1 - V sin(x) I1(g p)] = 0,   S = integral of p from 0 to pi;   S = 2 rho for small g p

and g p is about ``2 f V sin x``, f the part of sigma^2 that clicks make: it does *not* fall with sigma^2. To fourth order in g p,
``S - 2 rho = rho (4/3) f^2 V^2 (1/2 - f/4)``. A click moves the estimate by g at most, where white noise now and then does by
more, so slips are rarer than Viterbi's by exp(2 rho - S), the more so the smaller sigma^2 is: 0.63 at 0.3 rad^2 to 0.39 at
0.15 for V 0.98 and the best gain (f = 1/2). With f = 1/4 it is 0.89 to 0.78.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded
from scipy.optimize import brentq
from scipy.special import ive

from . import tracking

CELLS_PER_VARIANCE = 14
"""Cells of the grid per sigma^2 in rad^2, as T changes by a factor e over sigma^2 or so: it then errs by 0.1 % where clicks make
a tenth of the variance, by 0.3 % where a fiftieth. Finer grids lose more to rounding."""
LEAST_VARIANCE_RAD2 = 0.1
"""Below it the time, soon above 1e12 / K, is lost in the rounding of 64-bit numbers."""
ANGLES = 256
"""Of the averages over theta."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
"""Gauss-Legendre rule of the integral over x."""
STENCIL = ((-2, -1 / 12), (-1, 4 / 3), (0, -5 / 2), (1, 4 / 3), (2, -1 / 12))
"""Second derivative to fourth order."""


@dataclass(frozen=True, kw_only=True)
class ClickLoop:
    """The loop and its light."""

    gain_rad: float
    """g: largest step per click."""
    count_rate_hz: float
    """R, all clicks of both ports."""
    visibility: float
    """V among all clicks."""
    diffusion_rad2_per_s: float = 0.0
    """D."""

    def __post_init__(self) -> None:
        if not 0 < self.gain_rad < 1:
            raise ValueError(f"click loop: the gain per click is {self.gain_rad} rad; give a number between 0 and 1")
        if not 0 < self.count_rate_hz < math.inf:
            raise ValueError(f"click loop: {self.count_rate_hz} clicks per second; give a finite number above 0")
        if not 0 < self.visibility <= 1:
            raise ValueError(f"click loop: the visibility is {self.visibility}; give more than 0, at most 1")
        if not 0 <= self.diffusion_rad2_per_s < math.inf:
            raise ValueError(
                f"click loop: D is {self.diffusion_rad2_per_s} rad^2/s; give a finite number of 0 or above"
            )

    @classmethod
    def of_variance(
        cls, variance_rad2: float, *, count_rate_hz: float, visibility: float, click_part: float = 0.5
    ) -> ClickLoop:
        """The loop of the linear variance sigma^2 of which clicks make the part f: ``g = 2 f V sigma^2``, ``D = 2 K sigma^2 (1 - f)``.

        f = 1/2 is the gain with the least sigma^2 for this D; f = 1/4 a gain lower by sqrt(3), with which
        sigma^2 is 15 % above the least.
        """
        if not 0 < click_part <= 1:
            raise ValueError(
                f"click loop: the clicks' part of the variance is {click_part}; give more than 0, at most 1"
            )
        gain_rad = 2 * click_part * visibility * variance_rad2
        gain_per_s = gain_rad * count_rate_hz * visibility / 2
        return cls(
            gain_rad=gain_rad,
            count_rate_hz=count_rate_hz,
            visibility=visibility,
            diffusion_rad2_per_s=2 * gain_per_s * variance_rad2 * (1 - click_part),
        )

    @property
    def gain_per_s(self) -> float:
        """``K = g R V / 2`` in 1/s."""
        return self.gain_rad * self.count_rate_hz * self.visibility / 2

    @property
    def variance_rad2(self) -> float:
        """``sigma^2 = D / 2K + g / 2V``: noise ``D + g^2 R / 2`` per second over ``2 K``, for small errors."""
        return self.diffusion_rad2_per_s / (2 * self.gain_per_s) + self.gain_rad / (2 * self.visibility)

    def diffusion_slip_time_s(self) -> float:
        """Viterbi's: what `slip_time_s` becomes for small steps."""
        return tracking.slip_time_s(self.variance_rad2, self.gain_per_s)

    def slip_exponent(self) -> float:
        """``S``: slips come at exp(-S) times a factor that varies slowly; 2 rho for small steps."""
        g, v, r, d = self.gain_rad, self.visibility, self.count_rate_hz, self.diffusion_rad2_per_s
        largest = 20 / self.variance_rad2

        def rest(p: float, sine: float) -> float:
            """Of the equation for p, times exp(-g p), which keeps the Bessel functions finite."""
            scale = math.exp(-g * p)
            return scale * (d * p * p / 2 - r) + r * float(ive(0, g * p) - v * sine * ive(1, g * p))

        sines = np.sin((NODES + 1) * math.pi / 2)
        momenta = [brentq(rest, sine / self.variance_rad2 / 2, largest, args=(sine,)) for sine in sines]
        return math.pi / 2 * float(WEIGHTS @ momenta)

    def slip_time_s(self) -> float:
        """Mean time in s from x = 0 to a turn to either side: the backward equation of the jump process, solved.

        ``(D/2) T'' + R < (1 + V sin(theta) sin(x)) (T(x - g sin(theta)) - T(x)) >_theta = -1``, ``T = 0`` from +-2 pi on. On a
        grid, with cubic interpolation at where a click leads. The average over psi makes T too long by 3 % at 0.15 rad^2 and by
        less above, as the equation for x and psi together shows. ValueError below LEAST_VARIANCE_RAD2.
        """
        if self.variance_rad2 < LEAST_VARIANCE_RAD2:
            raise ValueError(
                f"click loop: a variance of {self.variance_rad2:.3g} rad^2 slips too seldom for the solution; give"
                f" {LEAST_VARIANCE_RAD2} rad^2 or more, or use the exponent"
            )
        turn = math.ceil(2 * math.pi * CELLS_PER_VARIANCE / self.variance_rad2)
        step = 2 * math.pi / turn
        x = step * np.arange(1 - turn, turn)
        even, odd = _jumps(self.gain_rad / step)
        reach = even.size // 2
        bands = np.zeros((even.size, x.size))
        for offset in range(-reach, reach + 1):
            row = self.count_rate_hz * (even[offset + reach] + self.visibility * np.sin(x) * odd[offset + reach])
            row += self.diffusion_rad2_per_s / (2 * step**2) * dict(STENCIL).get(offset, 0.0)
            if offset == 0:
                row -= self.count_rate_hz
            _put(bands, row, offset)
        times = solve_banded((reach, reach), bands, np.full(x.size, -1.0))
        return float(times[turn - 1])


def _jumps(reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the cells around one from which a click leads ``reach sin(theta)`` cells down: the mean over theta, and that of
    sin(theta) times them."""
    cells = math.ceil(reach) + 2
    even, odd = np.zeros(2 * cells + 1), np.zeros(2 * cells + 1)
    sines = np.sin((np.arange(ANGLES) + 0.5) * 2 * math.pi / ANGLES)
    place = -reach * sines
    first = np.floor(place)
    w = place - first
    cubic = (
        -w * (w - 1) * (w - 2) / 6,
        (w + 1) * (w - 1) * (w - 2) / 2,
        -(w + 1) * w * (w - 2) / 2,
        (w + 1) * w * (w - 1) / 6,
    )
    for k, weight in enumerate(cubic):
        cell = first.astype(np.int64) + k - 1 + cells
        np.add.at(even, cell, weight / ANGLES)
        np.add.at(odd, cell, weight * sines / ANGLES)
    return even, odd


def _put(bands: NDArray[np.float64], row: NDArray[np.float64], offset: int) -> None:
    """A diagonal, given by its rows, into the form of `solve_banded`; what leads outside meets T = 0."""
    n, middle = row.size, bands.shape[0] // 2
    rows = np.arange(max(0, -offset), min(n, n - offset))
    bands[middle - offset, rows + offset] = row[rows]
