"""Actively odd-parity pairing of Z bits over a closed block of heralds.

Source: Xu, Yu, Jiang, Hu, Wang, Phys. Rev. A 101, 042330 (2020), arXiv:1904.06331. Bob takes at random pairs of one bit 0 and one
bit 1 of his; Alice keeps the pairs in which her bits are odd too, and both keep the first bit. Signs as in `twinphase_spec.sns`:
Alice 1 = sent, Bob 1 = not sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pairing:
    """``pairs``: pairs formed; ``alice``, ``bob``: kept bits (u1), one per surviving pair, the bits at the positions ``first``.

    ``second``: positions of the pairs' discarded bits.
    """

    pairs: int
    alice: NDArray[np.uint8]
    bob: NDArray[np.uint8]
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @property
    def survivors(self) -> int:
        return self.alice.size

    @property
    def errors(self) -> int:
        """Surviving pairs whose bits differ."""
        return int(np.count_nonzero(self.alice != self.bob))


def pair(alice: NDArray[np.integer], bob: NDArray[np.integer], seed: int) -> Pairing:
    """Pair the Z bits of one closed block, both sides' bits in the order of the heralds.

    The order inside a pair is random, so that the kept bits are balanced. Raises ValueError for bits of unequal number or
    other than 0 and 1.
    """
    alice, bob = np.asarray(alice), np.asarray(bob)
    if alice.shape != bob.shape or alice.ndim != 1:
        raise ValueError(f"pairing: Alice has {alice.shape} and Bob {bob.shape} bits; give two lists of equal length")
    if alice.size and not (np.isin(alice, (0, 1)).all() and np.isin(bob, (0, 1)).all()):
        raise ValueError("pairing: a bit is neither 0 nor 1; give the key bits of Z windows")
    generator = np.random.default_rng(seed)
    zeros = generator.permutation(np.flatnonzero(bob == 0))
    ones = generator.permutation(np.flatnonzero(bob == 1))
    pairs = min(zeros.size, ones.size)
    swap = generator.integers(0, 2, pairs, dtype=np.uint8).astype(bool)
    first = np.where(swap, ones[:pairs], zeros[:pairs])
    second = np.where(swap, zeros[:pairs], ones[:pairs])
    odd = alice[first] != alice[second]
    first, second = first[odd], second[odd]
    return Pairing(pairs, alice[first].astype(np.uint8), bob[first].astype(np.uint8), first, second)


def pair_blocks(blocks: list[tuple[NDArray[np.integer], NDArray[np.integer]]], seed: int) -> list[Pairing]:
    """`pair` for every closed block (Alice's bits, Bob's bits); block i has the random numbers of (seed, i)."""
    seeds = np.random.SeedSequence(seed).generate_state(max(1, len(blocks)), np.uint64)
    return [pair(alice, bob, int(seeds[i])) for i, (alice, bob) in enumerate(blocks)]


def expected_pairing(*, both_sent: float, alice_sent: float, bob_sent: float, none_sent: float) -> tuple[float, float]:
    """(survivors, error rate) to expect of nD, nCA, nCB and nV heralds (both, only Alice, only Bob, nobody sent).

    Bob's zeros are ``N0 = nD + nCB``, his ones ``N1 = nV + nCA``, pairs ``ng = min(N0, N1)``; survivors
    ``nt = ng (nD nV + nCA nCB) / (N0 N1)``, error rate ``nD nV / (nD nV + nCA nCB)``. (0, 0) without pairs.
    Source: Bertaina et al. 2024, arXiv:2310.08621, App. A, there with nCA = nCB.
    """
    zeros, ones = both_sent + bob_sent, none_sent + alice_sent
    weight = both_sent * none_sent + alice_sent * bob_sent
    if zeros <= 0 or ones <= 0 or weight <= 0:
        return 0.0, 0.0
    return min(zeros, ones) * weight / (zeros * ones), both_sent * none_sent / weight
