"""What a cold start is believed to know, against drawn starts of the tracker's own sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from twinphase_spec.cold_start import UNKNOWN_RAD2, noisy_offset, start_variance, steady_offset, unknown_offset
from twinphase_spec.tracking import START_CLICKS

FOUR = np.full(4, 0.25)
MID = np.array([7, 0.5, 7, 0.5]) / 15
DRAWS = 20_000


def drawn(visibility: float, parts: NDArray[np.float64], offsets: NDArray[np.float64]) -> float:
    """Mean square error of DRAWS starts: quarter turns by rounding half up, as the tracker rounds (docs/tracking.md)."""
    rng = np.random.default_rng(5)
    psi, row = rng.random((DRAWS, 1)), rng.integers(0, offsets.shape[0], (DRAWS, 1))
    reference = rng.choice(4, p=parts, size=(DRAWS, START_CLICKS)) / 4
    reference += offsets[row, rng.integers(0, offsets.shape[1], reference.shape)]
    left = rng.random(reference.shape) < (1 + visibility * np.cos(2 * np.pi * (psi + reference))) / 2
    k, a = np.floor(4 * reference + 0.5).astype(int) % 4, np.where(left, 1, -1)
    c, s = (a * (k == 0) - a * (k == 2)).sum(axis=1), (a * (k == 3) - a * (k == 1)).sum(axis=1)
    error = (np.arctan2(s, c) / (2 * np.pi) - psi[:, 0] + 0.5) % 1 - 0.5
    return float(np.mean((2 * np.pi * error) ** 2))


@pytest.mark.parametrize(("visibility", "beyond"), [(0.98, 0.12), (0.8, 0.2)])
@pytest.mark.parametrize("parts", [FOUR, MID])
@pytest.mark.parametrize("turns", [0.5, 1.2, 3.0])
def test_seeking_makes_all_steps_alike(
    visibility: float, beyond: float, parts: NDArray[np.float64], turns: float
) -> None:
    """20 000 starts: the mean square has a relative sigma of 1 %; the rest of ``beyond`` is what first order leaves out."""
    told = start_variance(visibility, parts, unknown_offset(turns))
    assert told == pytest.approx(drawn(visibility, parts, unknown_offset(turns)), rel=beyond)
    # 2/(N V^2) of four steps, at sums of 2 sqrt(2)/pi of theirs, and what the stretch leaves unequal
    assert told < (1.7 if turns < 1 else 1.4) * 2 / (START_CLICKS * visibility**2)


def test_four_equal_steps_at_rest_are_those_of_the_contract() -> None:
    for visibility in (0.5, 0.9, 0.98):
        told = start_variance(visibility, FOUR, steady_offset())
        assert told == pytest.approx(2 / (START_CLICKS * visibility**2), rel=1e-9)
    # between two quarters for good: rounded always to the same side, an eighth of a turn wrong
    assert start_variance(0.98, FOUR, steady_offset(0.12499)) == pytest.approx((math.pi / 4) ** 2 + told, rel=0.01)
    # or to either side in turns
    assert start_variance(0.98, FOUR, noisy_offset(0.125, 0.001)) == pytest.approx(2 * told, rel=0.02)
    assert start_variance(0.98, FOUR, unknown_offset()) == pytest.approx((math.pi / 2) ** 2 / 12 + told, rel=0.02)


def test_steps_of_unequal_parts_at_rest_tell_hardly_anything() -> None:
    for offsets in (steady_offset(), unknown_offset()):
        told = start_variance(0.98, MID, offsets)
        assert 0.5 < told < UNKNOWN_RAD2
        assert drawn(0.98, MID, offsets) > 0.5
    assert start_variance(1e-6, FOUR, steady_offset()) == pytest.approx(UNKNOWN_RAD2, rel=0.5)
