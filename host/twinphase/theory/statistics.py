"""Intervals of measured rates and finite-sample bounds."""

from __future__ import annotations

import math

from scipy import stats


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a binomial probability (Clopper, Pearson, Biometrika 26, 404 (1934)).

    Each side is missed with at most (1 - confidence) / 2. (0, 1) without trials. ValueError for impossible numbers.
    """
    _check_counts(successes, trials, confidence)
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high


def upper_limit(successes: int, trials: int, confidence: float = 0.95) -> float:
    """One-sided exact upper limit: the probability lies above it with at most 1 - confidence. 1 without trials."""
    _check_counts(successes, trials, confidence)
    return float(stats.beta.ppf(confidence, successes + 1, trials - successes)) if successes < trials else 1.0


def chernoff_expectation(observed: float, failure: float) -> tuple[float, float]:
    """Bounds on the expectation of a sum of independent Bernoulli variables of which ``observed`` came up.

    With ``beta = -ln failure``: ``E_L = max(0, x - beta/2 - sqrt(2 beta x + beta^2/4))``, ``E_U = x + beta + sqrt(2 beta x +
    beta^2)``, each missed with at most ``failure`` (multiplicative Chernoff bound solved for the expectation; Yin et al.,
    Sci. Rep. 10, 14312 (2020)). x = 1000, failure 1e-10: 773.58 and 1238.85.
    """
    if observed < 0:
        raise ValueError(f"chernoff: observed is {observed}; allowed: 0 or more")
    if not 0 < failure < 1:
        raise ValueError(f"chernoff: failure is {failure}; allowed: above 0 and below 1")
    beta = -math.log(failure)
    low = observed - beta / 2 - math.sqrt(2 * beta * observed + beta**2 / 4)
    high = observed + beta + math.sqrt(2 * beta * observed + beta**2)
    return max(0.0, low), high


def _check_counts(successes: int, trials: int, confidence: float) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"interval: {successes} successes in {trials} trials; allowed: 0 <= successes <= trials")
    if not 0 < confidence < 1:
        raise ValueError(f"interval: confidence is {confidence}; allowed: above 0 and below 1")


def poisson_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a Poisson mean from one count (Garwood, Biometrika 28, 437 (1936)).

    Half the (1 - confidence) quantiles of chi^2 with ``2 n`` and ``2 n + 2`` degrees of freedom. ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"interval: count is {count}; allowed: 0 or more")
    if not 0 < confidence < 1:
        raise ValueError(f"interval: confidence is {confidence}; allowed: above 0 and below 1")
    tail = (1 - confidence) / 2
    low = float(stats.chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(stats.chi2.isf(tail, 2 * count + 2)) / 2
