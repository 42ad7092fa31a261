"""Clopper-Pearson and Chernoff."""

import pytest
from scipy import stats

from twinphase.theory.statistics import chernoff_expectation, clopper_pearson, upper_limit


def test_chernoff_golden_values() -> None:
    low, high = chernoff_expectation(1000, 1e-10)
    assert low == pytest.approx(773.58, abs=0.005)
    assert high == pytest.approx(1238.85, abs=0.005)
    assert chernoff_expectation(0, 1e-10)[0] == 0


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (3, 50), (40, 1000), (20, 20)])
def test_clopper_pearson_is_exact(successes: int, trials: int) -> None:
    """At the interval's ends the tail probability is 2.5 %."""
    low, high = clopper_pearson(successes, trials)
    if successes:
        assert stats.binom.sf(successes - 1, trials, low) == pytest.approx(0.025)
    if successes < trials:
        assert stats.binom.cdf(successes, trials, high) == pytest.approx(0.025)


def test_upper_limit_of_nothing_seen() -> None:
    assert upper_limit(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert upper_limit(0, 0) == 1
    assert clopper_pearson(0, 0) == (0, 1)


def test_bad_counts() -> None:
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(5, 4)
    with pytest.raises(ValueError, match="failure"):
        chernoff_expectation(1, 0)
