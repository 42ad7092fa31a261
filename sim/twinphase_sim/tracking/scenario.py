"""What a phase estimator has to track and with which clicks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinphase.theory import tracking
from twinphase_spec.units import CLOCK_HZ

Scheme = Literal["four-phase", "steered"]
FOUR_PHASE: Scheme = "four-phase"
STEERED: Scheme = "steered"
BOUND_ROUNDS = 20
"""Rounds of the self-consistent steered bound: only the few slots at the extremes depend on the error, a round contracts by a tenth
or less below 0.2 rad."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A phase, its light and its detectors. Clicks of port L come at the rate
    ``((1 + delta) R (1 + V cos theta) + B) / 2`` while the reference is on, those of R with both minus.

    four-phase: ``theta = psi + k pi/2``, slots k = 0, 1, 2, 3 or, ``both_ways``, 0, 1, 2, 3, 0, 3, 2, 1.
    steered: a shifter at the server adds minus the estimate, so that ``theta = psi - estimate + k pi/2``: mid-fringe slots k = 1, 3 in
    turns or, with ``mid_steps`` 1, of k = 1 alone, and every ``1/orthogonal_fraction``-th slot at an extreme, k = 0, 2 as often. Until
    the estimator has a phase the shifter makes the steered slots four-phase ones.
    """

    diffusion_rad2_per_s: float
    count_rate_hz: float
    """R: signal clicks of both ports per second while the reference is on."""
    visibility: float = 0.98
    drift_rad_per_s: float = 0.0
    slope_noise_rad2_per_s3: float = 0.0
    fibre_rate_rms_rad_per_s: float = 0.0
    fibre_corner_hz: float = 100.0
    background_hz: float = 0.0
    """B: clicks of both ports that know nothing of the phase, half of them each, while the gate is open."""
    port_imbalance: float = 0.0
    """delta: (eta_L - eta_R) / (eta_L + eta_R)."""
    duty: float = 1.0
    """Part of each slot, from its start, in which the reference is on and the gate open."""
    delay_s: float = 0.0
    """tau: an estimate from clicks up to t is used at t + tau."""
    dead_time_s: float = 0.0
    """After a click its own detector is blind for so long."""
    dead_time_skew_s: float = 0.0
    """That of L less that of R; ``dead_time_s`` is their mean."""
    scheme: Scheme = FOUR_PHASE
    orthogonal_fraction: float = tracking.ORTHOGONAL_FRACTION
    mid_steps: Literal[1, 2] = 2
    both_ways: bool = False
    slot_clocks: int = 32
    start_phase_rad: float = 1.0

    def __post_init__(self) -> None:
        positive = {"count_rate_hz": self.count_rate_hz, "fibre_corner_hz": self.fibre_corner_hz}
        not_negative = {
            "diffusion_rad2_per_s": self.diffusion_rad2_per_s,
            "slope_noise_rad2_per_s3": self.slope_noise_rad2_per_s3,
            "fibre_rate_rms_rad_per_s": self.fibre_rate_rms_rad_per_s,
            "background_hz": self.background_hz,
            "delay_s": self.delay_s,
            "dead_time_s": self.dead_time_s,
        }
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise ValueError(f"scenario: {name} is {value}; give a finite number above 0")
        for name, value in not_negative.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"scenario: {name} is {value}; give a finite number of 0 or above")
        for name, value in (("drift_rad_per_s", self.drift_rad_per_s), ("start_phase_rad", self.start_phase_rad)):
            if not math.isfinite(value):
                raise ValueError(f"scenario: {name} is {value}; give a finite number")
        if not 0 < self.visibility < 1:
            raise ValueError(f"scenario: visibility is {self.visibility}; give a number between 0 and 1")
        if not -1 < self.port_imbalance < 1:
            raise ValueError(f"scenario: port_imbalance is {self.port_imbalance}; give a number between -1 and 1")
        if abs(self.dead_time_skew_s) > 2 * self.dead_time_s:
            raise ValueError(
                f"scenario: dead_time_skew_s is {self.dead_time_skew_s} of a mean of {self.dead_time_s}; give at most twice the mean"
            )
        if self.mid_steps not in (1, 2):
            raise ValueError(f"scenario: mid_steps is {self.mid_steps}; allowed: 1, 2")
        if not 0 < self.duty <= 1:
            raise ValueError(f"scenario: duty is {self.duty}; give a number above 0, at most 1")
        if self.scheme not in (FOUR_PHASE, STEERED):
            raise ValueError(f"scenario: scheme is {self.scheme!r}; allowed: {FOUR_PHASE!r}, {STEERED!r}")
        if self.slot_clocks < 1 or self.open_clocks < 1:
            raise ValueError(
                f"scenario: slots of {self.slot_clocks} clocks with duty {self.duty} are never open; make them longer"
            )
        period = 1 / self.orthogonal_fraction if self.orthogonal_fraction > 0 else 0.0
        if period < 2 or abs(period - round(period)) > 1e-9 or round(period) % 2:
            raise ValueError(
                f"scenario: orthogonal_fraction is {self.orthogonal_fraction}; give 1/n with an even n of 2 or above"
            )
        if self.candidate_hz / CLOCK_HZ > 0.5:
            raise ValueError(
                f"scenario: {self.candidate_hz:.3g} clicks per second are too many for a clock of {CLOCK_HZ:.3g} Hz; stay below half"
            )

    @property
    def open_clocks(self) -> int:
        """Clocks of each slot with light."""
        return round(self.duty * self.slot_clocks)

    @property
    def open_fraction(self) -> float:
        """Duty in whole clocks."""
        return self.open_clocks / self.slot_clocks

    @property
    def delay_clocks(self) -> int:
        """tau in whole clocks."""
        return round(self.delay_s * CLOCK_HZ)

    @property
    def port_rates_hz(self) -> tuple[float, float]:
        """``W_L, W_R = ((1 +- delta) R + B) / 2``: mean click rates of the ports over theta while open, before dead time."""
        r, b, delta = self.count_rate_hz, self.background_hz, self.port_imbalance
        return ((1 + delta) * r + b) / 2, ((1 - delta) * r + b) / 2

    @property
    def dead_times_s(self) -> tuple[float, float]:
        """Of L and R."""
        return self.dead_time_s + self.dead_time_skew_s / 2, self.dead_time_s - self.dead_time_skew_s / 2

    @property
    def port_visibilities(self) -> tuple[float, float]:
        """``(1 +- delta) R V / (2 W)``: visibility of each port among its background."""
        (left, right), half = self.port_rates_hz, self.count_rate_hz * self.visibility / 2
        return (1 + self.port_imbalance) * half / left, (1 - self.port_imbalance) * half / right

    @property
    def mean_visibility(self) -> float:
        """``V R / (R + B)``."""
        return self.visibility * self.count_rate_hz / (self.count_rate_hz + self.background_hz)

    @property
    def click_rate_hz(self) -> float:
        """All clicks per second, averaged over theta and time, before dead time."""
        return sum(self.port_rates_hz) * self.open_fraction

    @property
    def candidate_hz(self) -> float:
        """An upper limit of the rate of both ports for any theta, while open: clicks are thinned from it."""
        return self.count_rate_hz * (1 + abs(self.port_imbalance) * self.visibility) + self.background_hz

    def slot_steps(self) -> NDArray[np.uint8]:
        """Reference step k of each slot of a period.

        Steered: as many slots of k = 1 as of k = 3, and each of 0 and 2 followed by both, so that neither unequal ports nor what a dead
        time shadows favour a side.
        """
        if self.scheme == FOUR_PHASE:
            return np.array([0, 1, 2, 3, *((0, 3, 2, 1) if self.both_ways else ())], dtype=np.uint8)
        period = round(1 / self.orthogonal_fraction)
        blocks = []
        for first, orthogonal in ((1, 0), (3, 2), (1, 2), (3, 0)):
            mid = (
                np.where(np.arange(period - 1) % 2 == 0, first, 4 - first)
                if self.mid_steps == 2
                else np.ones(period - 1)
            )
            blocks += [mid, [orthogonal]]
        return np.concatenate(blocks).astype(np.uint8)

    def information_rate(self, theta_rad: NDArray[np.float64]) -> NDArray[np.float64]:
        """``sum over ports of lambda'^2 / lambda / (1 + lambda t_d)`` times duty in rad^-2/s: with imbalance also the time of a click
        informs; 1/(1 + lambda t_d) is the live part of a detector."""
        rate = np.zeros(np.shape(theta_rad))
        fringes = self.port_visibilities[0], -self.port_visibilities[1]
        for weight, visibility, dead_s in zip(self.port_rates_hz, fringes, self.dead_times_s, strict=True):
            clicks = weight * (1 + visibility * np.cos(theta_rad))
            rate += (weight * visibility * np.sin(theta_rad)) ** 2 / clicks / (1 + clicks * dead_s)
        return rate * self.open_fraction

    def four_phase_rate(self, psi_rad: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of `information_rate` over the four steps at psi, rad^-2/s."""
        steps = [self.information_rate(psi_rad + k * math.pi / 2) for k in range(4)]
        return np.mean(steps, axis=0)

    def steered_rate(self, error_rms_rad: float) -> float:
        """Mean of `information_rate` over the steered slots and a Gaussian error of the steering, rad^-2/s."""
        error = error_rms_rad * tracking.NORMAL_NODES
        means = [tracking.NORMAL_WEIGHTS @ self.information_rate(error + k * math.pi / 2) for k in range(4)]
        orthogonal, mid = (means[0] + means[2]) / 2, (means[1] + means[3]) / 2 if self.mid_steps == 2 else means[1]
        f = self.orthogonal_fraction
        return float((1 - f) * mid + f * orthogonal)

    def slope_noise_at(self, rate: float) -> float:
        """Q in rad^2/s^3 that slope noise and the fibre's noise together look like to a loop with the information rate J."""
        return tracking.matched_slope_noise(
            rate,
            diffusion=self.diffusion_rad2_per_s,
            slope_noise=self.slope_noise_rad2_per_s3,
            rate_rms_rad_per_s=self.fibre_rate_rms_rad_per_s,
            corner_hz=self.fibre_corner_hz,
        )

    @property
    def total_slope_noise(self) -> float:
        """`slope_noise_at` the `mean_rate`: what estimators are designed for."""
        return self.slope_noise_at(self.mean_rate())

    def mean_rate(self) -> float:
        """J in rad^-2/s: four-phase averaged over uniform psi; steered at the error that this J itself allows."""
        if self.scheme == FOUR_PHASE:
            return float(np.mean(self.four_phase_rate(np.arange(64, dtype=np.float64) * (math.pi / 32))))
        rate = self.steered_rate(0.0)
        for _ in range(BOUND_ROUNDS):
            steady = tracking.steady_covariance(self.diffusion_rad2_per_s, rate, self.slope_noise_at(rate))
            rate = self.steered_rate(min(math.sqrt(float(steady.p11)), 1.0))
        return rate

    def bound_mse(self) -> float:
        """Least mean square error in rad^2 at the `mean_rate`; along a four-phase path see `judge`."""
        rate = self.mean_rate()
        return tracking.causal_mse(self.diffusion_rad2_per_s, rate, self.delay_s, self.slope_noise_at(rate))

    def gain_per_s(self) -> float:
        """Gain K of the optimal loop in 1/s, ``P11 J``: its time constant is 1/K."""
        rate = self.mean_rate()
        steady = tracking.steady_covariance(self.diffusion_rad2_per_s, rate, self.slope_noise_at(rate))
        return float(steady.p11) * rate
