"""The keyed digest of a block of heralds (docs/digest.md): field, words, key and pads."""

from __future__ import annotations

DIGEST_BITS = 64
REDUCTION = 0x1B
"""x^64 = x^4 + x^3 + x + 1 in the field; bit i of a word is the coefficient of x^i."""

HERALD_PRESENT = 1 << 63
"""Herald word: ``pulse | detector << 56 | HERALD_PRESENT``, 0 for a missing herald."""
HALF_PRESENT = 1 << 18
"""Half word: ``psi | flags << 16 | HALF_PRESENT``, 0 for a missing herald; the psi word has an even herald's in its low half."""

PAD_FIRST = 1 << 63
"""The last eight bytes of block b's counter block are ``PAD_FIRST + b``; that of the keys h, k is all zeros."""
BLOCK_COUNT_BITS = 56
