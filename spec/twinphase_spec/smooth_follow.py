"""Gains of the smoother that follow the tracker's: constants, and their table from physical values (docs/phase.md, gains that follow)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import tracking
from .smoothing import SmoothGains, smooth_gains, steady_covariance
from .units import CLOCK_HZ

ENTRIES, CENTRE = 16, 8
"""Of the table of gains, half an octave of K apart; the one of the configuration."""
WORDS = 4 * ENTRIES
"""Of a channel's part of SMOOTH_TABLE, channel r's first."""
LD_STEPS, LD_BITS = 8, 10
"""Steps of a binary logarithm per octave; bits of a sum of two."""
LD_MISSES = 0.12
"""Octaves by which such a logarithm is too small, on average."""
NODES = 64
"""Of the smoother, over which variances and clicks are summed."""
VARIANCE_SUM_BITS, CLICKS_BITS = tracking.P_BITS + 6, 30
"""Of these sums."""
EXCESS = 0.2
"""Octaves by which the variance at nodes is taken to be above that of the steady covariance: with adapting gains and phases of all kinds
0 to 0.25 (450 to 25 clicks per time constant), of which 0.1 more is best, as gains too small cost more than ones too large; of 0.15 to
0.45 the lab in closed loop, whose phase is held, has the least smoothed error with 0.15."""


@dataclass(frozen=True)
class GainTable:
    """A channel's part of SMOOTH_TABLE, and its SMOOTH_FROM."""

    gains: tuple[SmoothGains, ...]
    """ENTRIES of them."""
    start: int
    """ld of variance times clicks with which entry 0 begins. ValueError where it has no word."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1 << LD_BITS:
            raise ValueError(f"smoother: the table starts at {self.start}; allowed: 0 to {(1 << LD_BITS) - 1}")

    @property
    def words(self) -> list[int]:
        """Of the memory, as 32-bit words."""
        return [word & 0xFFFFFFFF for gains in self.gains for word in gains.words()]

    @classmethod
    def design(
        cls,
        *,
        diffusion_rad2_per_s: float,
        slope_noise_rad2_per_s3: float,
        click_rate_hz: float,
        information: float,
        node_clocks: int,
        slope_follows: bool,
    ) -> GainTable:
        """For a walk D, a slope walk Q, clicks R per second and the information F in rad^-2 of each.

        Entry i is for a tracker whose gain K has become ``s = 2^((i - CENTRE)/2)`` times as large. Where the slope's gain follows,
        ``P11 -> s P11`` and ``P12 -> s^2 P12``, so ``D -> s^2 D`` and ``Q -> s^4 Q``; where it stays, ``P12 -> s P12``, ``Q -> s^2 Q``.
        K of the configuration is in the middle of entry CENTRE: ``K h = P F n``, n the clicks of a node step h, and NODES nodes of
        variance P with as many steps of n clicks make ``S N = NODES^2 P n 2^34 / (2 pi)``.
        """
        fisher_hz = information * click_rate_hz
        p11, _, _ = steady_covariance(diffusion_rad2_per_s, slope_noise_rad2_per_s3, fisher_hz)
        product = NODES**2 * p11 * click_rate_hz * node_clocks / CLOCK_HZ * 2.0**tracking.P_FRACTION / (2 * math.pi)
        return cls(
            gains=tuple(
                smooth_gains(
                    diffusion_rad2_per_s=diffusion_rad2_per_s * 2.0 ** (i - CENTRE),
                    slope_noise_rad2_per_s3=slope_noise_rad2_per_s3 * (4.0 if slope_follows else 2.0) ** (i - CENTRE),
                    fisher_hz=fisher_hz,
                    node_clocks=node_clocks,
                )
                for i in range(ENTRIES)
            ),
            start=round(LD_STEPS * (math.log2(product) + EXCESS - 2 * LD_MISSES - CENTRE / 2 - 1 / 4)),
        )
