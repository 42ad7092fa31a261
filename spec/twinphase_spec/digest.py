"""The keyed digest of a block of heralds (docs/digest.md): field, words, key and pads."""

from __future__ import annotations

from dataclasses import dataclass

from .symbols import KEY_WORDS, NONCE_BITS

DIGEST_BITS = 64
REDUCTION = 0x1B
"""x^64 = x^4 + x^3 + x + 1 in the field; bit i of a word is the coefficient of x^i."""

HERALD_PRESENT = 1 << 63
"""Herald word: ``pulse | detector << 56 | HERALD_PRESENT``, 0 for a missing herald."""
HALF_PRESENT = 1 << 18
"""Half word: ``psi | flags << 16 | HALF_PRESENT``, 0 for a missing herald; the psi word has an even herald's in its low half."""

LIVE_PRESENT = 1 << 63
"""First word of a LIVE record: ``first | LIVE_PRESENT``; the second: ``length | (the highest byte of pulse_high) << 32``."""
LIVE_COUNT_BITS = 20
"""A list of 2^20 records or more spoils its block, so that the degree of its polynomial is bounded."""
LIVE_QUEUE = 512
"""Records that wait at a client for the herald behind them."""

PAD_FIRST = 1 << 63
"""The last eight bytes of block b's counter block are ``PAD_FIRST + b``; that of the keys h, k is all zeros."""
LIVE_KEY_BLOCK = 1
"""The counter block of g, as a number; g is the first half of what it gives."""
BLOCK_COUNT_BITS = 56


@dataclass(frozen=True, kw_only=True)
class DigestConfig:
    """Key and nonce that the two clients of a pair share: equal registers at both. Raises ValueError naming the field.

    A pair of key and nonce serves for one run only.
    """

    key: tuple[int, int, int, int]
    """Words as FIPS-197 writes them: the key's first byte is the highest of word 0."""
    nonce: int

    def __post_init__(self) -> None:
        if len(self.key) != KEY_WORDS or any(not 0 <= word < 1 << 32 for word in self.key):
            raise ValueError(f"digest: key is not usable; allowed: {KEY_WORDS} words of 32 bits")
        if not 0 <= self.nonce < 1 << NONCE_BITS:
            raise ValueError(f"digest: nonce is {self.nonce}; allowed: 0 to 2^{NONCE_BITS} - 1")

    @property
    def key_bytes(self) -> bytes:
        """The key as FIPS-197 takes it."""
        return b"".join(word.to_bytes(4, "big") for word in self.key)

    def registers(self) -> dict[str, int]:
        """By register names, the same for both clients."""
        return {
            **{f"DIGEST_KEY_{k}": word for k, word in enumerate(self.key)},
            "DIGEST_NONCE_0": self.nonce >> 32,
            "DIGEST_NONCE_1": self.nonce & 0xFFFFFFFF,
        }
