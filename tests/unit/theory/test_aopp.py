"""Odd-parity pairing."""

import numpy as np
import pytest

from twinphase.theory.aopp import expected_pairing, pair, pair_blocks


def drawn_bits(
    generator: np.random.Generator, both: int, alice: int, bob: int, none: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bits of heralds by who sent: Alice 1 = sent, Bob 1 = not sent; shuffled."""
    bits_a = np.repeat([1, 1, 0, 0], [both, alice, bob, none])
    bits_b = np.repeat([0, 1, 0, 1], [both, alice, bob, none])
    order = generator.permutation(bits_a.size)
    return bits_a[order], bits_b[order]


def test_survivors_and_errors_as_expected() -> None:
    """Sums over 200 blocks of (50, 400, 350, 20) heralds. A pair survives with q = nt/ng and is wrong with q E.

    The number of survivors has at most the binomial variance, so 5 sigma of it is safe (6e-7).
    """
    generator = np.random.default_rng(5)
    counts = {"both_sent": 50, "alice_sent": 400, "bob_sent": 350, "none_sent": 20}
    results = pair_blocks([drawn_bits(generator, *counts.values()) for _ in range(200)], seed=9)
    survivors, error_rate = expected_pairing(**counts)
    total = sum(result.survivors for result in results)
    errors = sum(result.errors for result in results)
    assert abs(total - 200 * survivors) < 5 * np.sqrt(200 * survivors)
    assert abs(errors - total * error_rate) < 5 * np.sqrt(total * error_rate)
    ones = sum(int(result.alice.sum()) for result in results)
    assert abs(ones - total / 2) < 5 * np.sqrt(total) / 2


def test_pairs_are_odd_and_disjoint() -> None:
    alice, bob = drawn_bits(np.random.default_rng(1), 30, 200, 210, 10)
    result = pair(alice, bob, seed=3)
    assert result.pairs == min((bob == 0).sum(), (bob == 1).sum())
    assert (bob[result.first] != bob[result.second]).all()
    assert (alice[result.first] != alice[result.second]).all()
    used = np.concatenate((result.first, result.second))
    assert np.unique(used).size == used.size
    assert (result.alice == alice[result.first]).all()
    assert (result.bob == bob[result.first]).all()


def test_without_errors_nothing_is_wrong_and_seed_decides() -> None:
    alice, bob = drawn_bits(np.random.default_rng(2), 0, 100, 100, 0)
    assert pair(alice, bob, seed=1).errors == 0
    assert pair(alice, bob, seed=1).survivors == 100
    assert (pair(alice, bob, seed=1).first == pair(alice, bob, seed=1).first).all()
    assert (pair(alice, bob, seed=1).first != pair(alice, bob, seed=2).first).any()


def test_bad_bits() -> None:
    with pytest.raises(ValueError, match="equal length"):
        pair(np.array([0, 1]), np.array([1]), seed=0)
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        pair(np.array([0, 2]), np.array([1, 0]), seed=0)
    assert pair(np.array([], int), np.array([], int), seed=0).survivors == 0
