"""The keyed digest of a block of heralds and the pads over it. Source: docs/digest.md, constants in `twinphase_spec.digest`.

The recurrence ``s = (s xor W) h`` is a compiled kernel, whose product by a fixed factor looks up the eight bytes of a word. AES-128 is
the `cryptography` package's (OpenSSL), as in `symbols`.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.rule import BOTH_VALID, Announced
from twinphase_sim.model.sift.symbols import key_stream
from twinphase_spec.digest import (
    BLOCK_COUNT_BITS,
    DIGEST_BITS,
    HALF_PRESENT,
    HERALD_PRESENT,
    LIVE_KEY_BLOCK,
    LIVE_PRESENT,
    PAD_FIRST,
    REDUCTION,
    DigestConfig,
)
from twinphase_spec.units import TURN_BITS

BYTES = DIGEST_BITS // 8


class Pads(NamedTuple):
    """What covers the digest of one block on its way from either client."""

    alice: int
    bob: int


def herald_words(announced: Announced) -> NDArray[np.uint64]:
    """``W_i = pulse | detector << 56 | 1 << 63``, 0 for a missing herald."""
    words = announced.pulse | announced.detector.astype(np.uint64) << np.uint64(56) | np.uint64(HERALD_PRESENT)
    return np.where(announced.present, words, np.uint64(0))


def psi_words(announced: Announced) -> NDArray[np.uint64]:
    """``U_j = V_2j | V_(2j+1) << 32`` with ``V_i = psi | flags << 16 | 1 << 18``, 0 for a missing herald; an even number of heralds."""
    flags = (announced.flags & np.uint16(BOTH_VALID)).astype(np.uint64)
    halves = announced.psi.astype(np.uint64) | flags << np.uint64(TURN_BITS) | np.uint64(HALF_PRESENT)
    even, odd = np.where(announced.present, halves, np.uint64(0)).reshape(-1, 2).T
    return even | odd << np.uint64(32)


def first_pulses(live: NDArray[np.void]) -> NDArray[np.uint64]:
    """First pulse of each LIVE record's run, 56 bits."""
    high = live["pulse_high"].astype(np.uint64) & np.uint64(0xFFFFFF)
    return high << np.uint64(32) | live["pulse_low"].astype(np.uint64)


def live_words(live: NDArray[np.void]) -> NDArray[np.uint64]:
    """Two for each LIVE record: ``F = first | 1 << 63``, ``L = length | spare << 32`` with the highest byte of its second word."""
    spare = live["pulse_high"].astype(np.uint64) >> np.uint64(24)
    lengths = live["length"].astype(np.uint64) | spare << np.uint64(32)
    return np.stack([first_pulses(live) | np.uint64(LIVE_PRESENT), lengths], axis=1).ravel()


def product_table(factor: int) -> NDArray[np.uint64]:
    """(8, 256): products in GF(2^64) of ``factor`` and each value of each byte of a word."""
    of_bits = []
    for _ in range(DIGEST_BITS):
        of_bits.append(factor)
        factor = factor << 1 ^ (REDUCTION | 1 << DIGEST_BITS if factor >> (DIGEST_BITS - 1) else 0)
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    products = np.array(of_bits, dtype=np.uint64).reshape(BYTES, 1, 8)
    table: NDArray[np.uint64] = np.bitwise_xor.reduce(np.where(bits, products, np.uint64(0)), axis=2)
    return table


@numba.njit(cache=True)
def horner(words: NDArray[np.uint64], table: NDArray[np.uint64]) -> np.uint64:
    """``s = 1;  for each word: s = (s xor word) factor``, with the factor's `product_table`."""
    state = np.uint64(1)
    for word in words:
        value = state ^ word
        state = np.uint64(0)
        for byte in range(table.shape[0]):
            state ^= table[byte, value & np.uint64(255)]
            value >>= np.uint64(8)
    return state


class BlockDigest:
    """Digests and pads under one pair's key and nonce."""

    def __init__(self, config: DigestConfig) -> None:
        self.config = config
        self._herald_table, self._psi_table = map(product_table, self._block_of(0, 0))
        self._live_table = product_table(self._block_of(0, LIVE_KEY_BLOCK)[0])

    def of(self, announced: Announced, live: NDArray[np.void] | None = None) -> int:
        """Digest of a block's heralds in the order of their numbers, whether Alice's or Bob's; 64 bits. ``live``: its LIVE records, if
        the digest covers them."""
        words = horner(herald_words(announced), self._herald_table), horner(psi_words(announced), self._psi_table)
        lists = 0 if live is None else int(horner(live_words(live), self._live_table))
        return int(words[0]) ^ int(words[1]) ^ lists

    def pads(self, block: int) -> Pads:
        """Pads of the block that is number ``block`` (0 to 2^56 - 1) since the frame was started."""
        return Pads(*self._block_of(self.config.nonce, PAD_FIRST + block % (1 << BLOCK_COUNT_BITS)))

    def _block_of(self, high: int, low: int) -> tuple[int, int]:
        """AES of ``high | low``, in halves."""
        ciphered = key_stream(self.config.key_bytes, high, np.array([low], dtype=np.uint64)).view(">u8")
        first, second = ciphered[0].tolist()
        return first, second
