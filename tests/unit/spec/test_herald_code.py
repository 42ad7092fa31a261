"""Length of the herald code against Shannon's bound (docs/heralds.md)."""

import numpy as np
import pytest

from twinphase_spec.herald_code import (
    BATCH,
    FIRST,
    Divisor,
    bound_bits,
    divisor_of_batch,
    divisor_of_probability,
    expected_bits,
)


@pytest.mark.parametrize(("up_to", "above_bound"), [(1e-3, 0.003), (0.05, 0.005), (0.17, 0.0071)])
def test_the_code_is_as_near_to_the_bound_as_the_page_says(up_to, above_bound):
    for p in np.geomspace(1e-7, up_to, 3000):
        assert expected_bits(p, divisor_of_probability(p).m) <= (1 + above_bound) * bound_bits(p), p


@pytest.mark.parametrize(("p", "m"), [(0.02, 34), (0.3, 2), (0.7, 1), (1.0, 1), (1e-3, 704)])
def test_the_expected_length_is_the_sum_over_all_gaps(p, m):
    gaps = np.arange(200_000)
    chance = p * (1 - p) ** gaps
    bits = (m - 1).bit_length()
    short = (1 << bits) - m
    length = gaps // m + 1 + np.where(gaps % m < short, bits - 1, bits) * (m > 1) + 1
    assert expected_bits(p, m) == pytest.approx(float((chance * length).sum()), rel=1e-9)


def test_a_divisor_is_the_largest_below_what_the_batch_asks_for():
    for span in [BATCH, 300, 5000, 123_456, 1 << 30, (1 << 40) - 1]:
        asked = max(1, (177 * span + (1 << 14)) >> 16)
        m = divisor_of_batch(span).m
        assert m <= asked < m + (1 << max(0, asked.bit_length() - 4))
    assert divisor_of_batch(1 << 50) == divisor_of_batch((1 << 40) - 1)
    for byte in range(256):
        assert Divisor.of_byte(byte).byte == byte
    assert 0.9 * np.log(2) < FIRST.m * 1e-4 < np.log(2)


@pytest.mark.parametrize("p", [0.0, -1e-9, 1.01])
def test_an_impossible_probability_is_refused(p):
    with pytest.raises(ValueError, match="above 0, at most 1"):
        divisor_of_probability(p)


def test_an_impossible_divisor_is_refused():
    with pytest.raises(ValueError, match="0 to 255"):
        Divisor.of_byte(256)
