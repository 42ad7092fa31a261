"""How far behind the smoothed phase is: node steps of the smoother and their number, from the gain of the tracker's filter.

With m node steps of h seconds after it, a phase that walks has ``(1 + e^(-2 K m h))/2`` of the causal mean-square error, K = P11 J
being the filter's gain (docs/phase.md, Smoother); one whose slope walks as well takes up to twice as long (`settling_hz`). The
backward pass sees the filter at its nodes only, and between two of them takes the chord: ``(K h)^2/5`` and ``(K h)^3/45`` of the
smoothed error, roughly. So K h is best between 0.02, where 80 to 95 steps leave 3 %, and 0.4, where the steps cost as much: a factor of
twenty in K. Ten is between a D told ten times too large and one told ten times too small, and two between steps, which are powers of
two: with at most 1/(7.75 K) such a D costs the smoothed phase 1 or 2 % on average over the places of 1/K between two powers, 3 % at the
worst of them.
"""

from __future__ import annotations

import math

from . import tracking
from .smoothing import BLOCK, MOST_LATER, MOST_NODE_BITS, steady_covariance
from .units import CLOCK_HZ

STEPS_PER_CONSTANT = 7.75
"""Node steps of the smoother per time constant 1/K, at least."""
EPOCHS_PER_CONSTANT = 8.0
"""Epochs of the tracker per time constant of psi_r, at least: the causal phase is an epoch and a half old."""


def settling_hz(diffusion_rad2_per_s: float, slope_noise_rad2_per_s3: float, fisher_hz: float) -> float:
    """Rate at which the filter forgets: ``K (1 + D / (D + 2 P12)) / 2``.

    Its errors follow ``s^2 + K s + P12 J = 0`` with ``K^2 = J (D + 2 P12)``: without slope noise e^(-K t), without a walk of the phase
    itself e^(-K t / 2) and a turn; between the two, by the walk's share of K^2.
    """
    p11, p12, _ = steady_covariance(diffusion_rad2_per_s, slope_noise_rad2_per_s3, fisher_hz)
    return p11 * fisher_hz * (1 + diffusion_rad2_per_s / (diffusion_rad2_per_s + 2 * p12)) / 2


def node_bits(gain_hz: float) -> int:
    """log2 of the node step in clocks for a filter that settles at a rate K: the largest step of at most 1/(7.75 K), and MOST_NODE_BITS.

    The lag is 17 to 32 steps and SMOOTH_LATER: 5.2/K to 12.3/K with 63 more, where MOST_NODE_BITS, the shortest epoch and the time for it
    leave it free.
    """
    return max(tracking.EPOCH_LEAST, min(MOST_NODE_BITS, _most_bits(gain_hz, STEPS_PER_CONSTANT)))


def epoch_bits(gain_hz: float) -> int:
    """E for psi_r's filter gain: the largest epoch of at most 1/(8 K)."""
    return max(tracking.EPOCH_LEAST, min(MOST_NODE_BITS, _most_bits(gain_hz, EPOCHS_PER_CONSTANT)))


def slope_bits(slope_rms_rad_per_s: float, drift_rad_per_s: float) -> int:
    """log2 of the longest node step in clocks in which six slopes' rms and a drift stay within the half turn that a step can tell."""
    return math.floor(math.log2(CLOCK_HZ * math.pi / (6 * slope_rms_rad_per_s + drift_rad_per_s)))


def later_steps(bits: int, longest_s: float) -> int:
    """SMOOTH_LATER, 0 to MOST_LATER, for node steps of ``2^bits`` clocks: as many as a lag of at most ``longest_s`` has room for."""
    return max(0, min(MOST_LATER, (round(longest_s * CLOCK_HZ) >> bits) - 2 * BLOCK))


def _most_bits(gain_hz: float, per_constant: float) -> int:
    return math.floor(math.log2(CLOCK_HZ / (per_constant * gain_hz)))
