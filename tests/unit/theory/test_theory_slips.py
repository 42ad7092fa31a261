"""Slips of a loop that single clicks step, against Viterbi's diffusion limit, the large-deviation exponent and their numbers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.theory.slips import ClickLoop
from twinphase.theory.tracking import slip_time_s


def loop(variance_rad2: float, visibility: float = 0.98, click_part: float = 0.5, rate: float = 1e6) -> ClickLoop:
    return ClickLoop.of_variance(variance_rad2, count_rate_hz=rate, visibility=visibility, click_part=click_part)


def over_viterbi(c: ClickLoop) -> float:
    """Slip rate over Viterbi's."""
    return c.diffusion_slip_time_s() / c.slip_time_s()


@settings(max_examples=40)
@given(st.floats(0.05, 1), st.floats(0.1, 1), st.floats(0.02, 1), st.floats(1e3, 1e8))
def test_the_variance_is_the_one_asked_for(variance: float, visibility: float, part: float, rate: float) -> None:
    gain = 2 * part * visibility * variance
    if gain >= 1:
        with pytest.raises(ValueError, match="click loop: the gain per click is"):
            loop(variance, visibility, part, rate)
        return
    made = loop(variance, visibility, part, rate)
    assert made.variance_rad2 == pytest.approx(variance)
    assert made.gain_rad / (2 * visibility) == pytest.approx(part * variance)
    assert made.diffusion_slip_time_s() == pytest.approx(slip_time_s(variance, gain * rate * visibility / 2))


@settings(max_examples=40)
@given(st.floats(0.12, 0.3), st.floats(0.3, 1))
def test_small_steps_are_a_diffusion(variance: float, visibility: float) -> None:
    """f = 0.02: steps of 0.012 rad at most, 2 f^2 / (3 sigma^2) = 0.22 % off, and the grid 0.3 %."""
    made = loop(variance, visibility, 0.02)
    assert over_viterbi(made) == pytest.approx(1, abs=0.007)
    assert made.slip_exponent() == pytest.approx(2 / variance, abs=0.004)


@settings(max_examples=40)
@given(st.floats(0.11, 0.2), st.floats(0.3, 1), st.floats(0.05, 0.6))
def test_the_solution_goes_as_its_exponent(variance: float, visibility: float, part: float) -> None:
    """Two ways to the same number: the backward equation on a grid, and the rarest path. What exp(-S) leaves out is of the order of
    sigma^2 times the change of S: 1.5 % seen at most; 4 % allowed."""
    made = loop(variance, visibility, part)
    assert over_viterbi(made) == pytest.approx(math.exp(2 / variance - made.slip_exponent()), rel=0.04)


@settings(max_examples=40)
@given(st.floats(0.1, 0.3), st.floats(0.3, 1), st.floats(0.05, 0.2))
def test_exponent_to_fourth_order(variance: float, visibility: float, part: float) -> None:
    """The next order is (f V)^4 of rho: less than a third of the fourth order's own at f = 0.2."""
    change = loop(variance, visibility, part).slip_exponent() - 2 / variance
    assert change == pytest.approx((4 / 3) * (part * visibility) ** 2 * (0.5 - part / 4) / variance, rel=0.1 + part)


@pytest.mark.parametrize(
    ("variance", "visibility", "part", "ratio"),
    [
        (0.3, 0.98, 0.5, 0.631),
        (0.25, 0.98, 0.5, 0.571),
        (0.2, 0.98, 0.5, 0.493),
        (0.15, 0.98, 0.5, 0.386),
        (0.15, 0.98, 0.25, 0.784),
        (0.3, 0.98, 0.25, 0.889),
        (0.15, 0.5, 0.5, 0.806),
    ],
)
def test_numbers(variance: float, visibility: float, part: float, ratio: float) -> None:
    """Those that the page names; a solution of its own for x alone on a uniform grid of 256 cells a turn gave them."""
    assert over_viterbi(loop(variance, visibility, part)) == pytest.approx(ratio, abs=0.001)


def test_only_rates_per_gain_count() -> None:
    assert loop(0.2).slip_time_s() == pytest.approx(100 * loop(0.2, rate=1e8).slip_time_s())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gain_rad": 1.0}, "the gain per click is 1.0 rad; give a number between 0 and 1"),
        ({"count_rate_hz": 0.0}, "0.0 clicks per second; give a finite number above 0"),
        ({"visibility": 1.1}, "the visibility is 1.1; give more than 0, at most 1"),
        ({"diffusion_rad2_per_s": -1.0}, "D is -1.0 rad^2/s; give a finite number of 0 or above"),
    ],
)
def test_refusals(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"click loop: {message}")):
        ClickLoop(**{"gain_rad": 0.1, "count_rate_hz": 1e6, "visibility": 0.9, **wrong})
    with pytest.raises(ValueError, match="the clicks' part of the variance is 0; give more than 0, at most 1"):
        loop(0.2, click_part=0)
    with pytest.raises(
        ValueError, match=re.escape("a variance of 0.09 rad^2 slips too seldom for the solution; give 0.1 rad^2")
    ):
        loop(0.09).slip_time_s()
