"""The phase's way through the server node: formats and constants of docs/phase.md, and the smoother's gains from physical values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from . import tracking
from .units import CLOCK_HZ

CHANNELS = ("r", "d")
"""Channels of the server's click tracker: the reference band's phase, and the quantum band's less that."""
HOLD_BITS = 9
"""TRACK_HOLD, clocks from a click's t to its way into the tracker."""
FEED_DEPTH = 256
"""Clicks that may wait in the feed."""
CLOCK_LOW_BITS = 14
"""Low bits of a click's clock count that it carries: it is less than 2^13 clocks away from the clock in which they are looked at."""
TIME_BITS = 26
"""Low bits of its click's clock count that a waiting herald keeps: 0.54 s."""
SLOPE_BITS = tracking.B_BITS - tracking.B_DROP
"""G of a node: signed, 2^-44 turn/clock."""
STEP_BITS = 32
"""Phase and step of a node: 2^-32 turn, the step signed and saturating."""
EVERY_BITS = 4
SMOOTH_STEP_BITS = 3
SMOOTH_LATER_BITS = 6
BLOCK = 16
"""Nodes of a block: its smoothed phases use 17 to 32 node steps of what comes after, and SMOOTH_LATER more."""
MOST_LATER = (1 << SMOOTH_LATER_BITS) - 1
MOST_NODE_BITS = 15
"""log2 of the longest node step in clocks: TIME_BITS tell heralds' times no further."""
GAIN_BITS, GAIN_FRACTION = 18, 16
"""The smoother's gains: signed, 2^-16."""
FRACTION_BITS = 16
"""Place of a herald within an interval, 2^-16 of it."""
INTERVALS = 2048
PENDING_HERALDS = 8192
MOST_LAG_S = (2 * BLOCK + MOST_LATER << MOST_NODE_BITS) / CLOCK_HZ
"""24.9 ms."""


class PsiSource(IntEnum):
    """Register PSI_SOURCE: where heralds have their psi from."""

    WINDOWS = 0
    CLICKS = 1
    NONE = 2
    """Heralds wait for none and get none."""


@dataclass(frozen=True, kw_only=True)
class SmoothGains:
    """Words H11, H12, H21, H22 of one channel, 2^-16. ValueError where one does not fit."""

    h11: int
    h12: int
    h21: int
    h22: int

    def __post_init__(self) -> None:
        limit = 1 << (GAIN_BITS - 1)
        for name in ("h11", "h12", "h21", "h22"):
            if not -limit <= getattr(self, name) < limit:
                raise ValueError(f"smoother: {name} is {getattr(self, name)}; allowed: {-limit} to {limit - 1}")

    def words(self) -> tuple[int, int, int, int]:
        """In their order."""
        return (self.h11, self.h12, self.h21, self.h22)


def steady_covariance(
    diffusion_rad2_per_s: float, slope_noise_rad2_per_s3: float, fisher_hz: float
) -> tuple[float, float, float]:
    """(P11, P12, P22) of the optimal causal estimate: ``P12 = sqrt(Q/J), P11 = sqrt((D + 2 P12)/J), P22 = J P11 P12``."""
    p12 = math.sqrt(slope_noise_rad2_per_s3 / fisher_hz)
    p11 = math.sqrt((diffusion_rad2_per_s + 2 * p12) / fisher_hz)
    return p11, p12, fisher_hz * p11 * p12


def smooth_gains(
    *, diffusion_rad2_per_s: float, slope_noise_rad2_per_s3: float, fisher_hz: float, node_clocks: int
) -> SmoothGains:
    """``H = P F^T (F P F^T + N)^-1`` in node steps, F = [[1, 1], [0, 1]], P the steady covariance in (rad, rad per step).

    N is what walk and slope walk add in a step of h seconds: ``[[D h + Q h^3/3, Q h^3/2], [Q h^3/2, Q h^3]]`` (slopes
    in rad per step).
    Source: Rauch, Tung and Striebel 1965, eq. 3.30. Without slope noise H11 = P11 / (P11 + D h), the rest 0.
    """
    h = node_clocks / CLOCK_HZ
    p11, p12, p22 = steady_covariance(diffusion_rad2_per_s, slope_noise_rad2_per_s3, fisher_hz)
    p12, p22 = p12 * h, p22 * h**2
    q = slope_noise_rad2_per_s3 * h**3
    if not q:
        return SmoothGains(
            h11=round(p11 / (p11 + diffusion_rad2_per_s * h) * (1 << GAIN_FRACTION)), h12=0, h21=0, h22=0
        )
    m11, m12, m22 = p11 + 2 * p12 + p22 + diffusion_rad2_per_s * h + q / 3, p12 + p22 + q / 2, p22 + q
    determinant = m11 * m22 - m12 * m12
    left = ((p11 + p12, p12), (p12 + p22, p22))
    words = [
        round(value * (1 << GAIN_FRACTION))
        for a, b in left
        for value in ((a * m22 - b * m12) / determinant, (b * m11 - a * m12) / determinant)
    ]
    return SmoothGains(h11=words[0], h12=words[1], h21=words[2], h22=words[3])
