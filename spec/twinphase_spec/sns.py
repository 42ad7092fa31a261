"""Sending-or-not-sending (SNS): herald rule, reveal order, phase-slice test, sifted words and counter cells.

Source: Wang, Yu, Hu, arXiv:1805.09222; signs of docs/physics.md: ``d = thetaA - thetaB + psi``.

Slice test, in 2^-16 turns, with ``Ds = slice_width_turns``::

    d = (sliceA - sliceB) * 4096 + psi   (mod 2^16)
    s = d + (Ds >> 1)                    (mod 2^16)
    keep = (s mod 2^15) <= Ds;   branch = s >> 15   (0: d near 0, L expected; 1: near pi, R expected)
    error = keep and (detector != branch)

Peer messages are PEER records (kind, number, value). A client of a pair sends, for each closed block b of
``block_heralds`` heralds (h = b * block_heralds + i), in this order:

1. DIGEST_LOW and DIGEST_HIGH (number = b) when index, detector and final psi of all its heralds are there, and its LIVE records if the
   digest covers them.
2. Only when the peer's tag of b is the one that its own digest makes: TYPES, one message per 32 heralds (number = first herald,
   bit i of value: herald number + i was an X window), then DONE (number = b, value = Kind.TYPES).
3. Only after the peer's DONE(TYPES): INTENSITY (number = h, value = intensity) for each own X window, in rising order,
   then DONE (number = b, value = Kind.INTENSITY).
4. Only after the peer's DONE(INTENSITY): SLICE (number = h, value = slice) for each window where both were X with
   equal intensity other than vacuum, in rising order, then DONE (value = Kind.SLICE).
5. After the peer's DONE(SLICE): the SIFTED words of the block in rising order, and its counter cells.

A herald whose number was skipped on the way is *missing*: its type counts as Z, it takes part in the digest as
a word of 0, it is never revealed, sifted or counted. Where digests differ, the block is discarded and counted.

Digest: keyed, docs/digest.md and `twinphase_spec.digest`. A missing herald's words in it are zero.
"""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """Kinds of PEER records."""

    DIGEST_LOW = 1
    DIGEST_HIGH = 2
    TYPES = 3
    INTENSITY = 4
    SLICE = 5
    DONE = 6


RING_HERALDS = 8192
"""Heralds that a client holds between arrival and sifting."""
MAX_BLOCK_HERALDS = 2048
"""Largest block; block_heralds is a multiple of 32 from 32 to this."""

SIFTED_X = 1 << 31
"""Word of a SIFTED record, X window (both X, equal intensity other than vacuum): this bit and the fields below.
Z window (both Z): only bit 0, the key bit: Alice 1 = sent, Bob 1 = not sent."""
SIFTED_KEEP = 1 << 30
"""Only set when psi is valid (both flags) and the slice test keeps."""
SIFTED_ERROR = 1 << 29
SIFTED_BRANCH = 1 << 28
"""branch of the slice test, whether kept or not."""
SIFTED_DETECTOR = 1 << 27
SIFTED_PSI_VALID = 1 << 26
SIFTED_INTENSITY_SHIFT = 24
SIFTED_OWN_SLICE_SHIFT = 20
SIFTED_PEER_SLICE_SHIFT = 16
SIFTED_PSI_MASK = 0xFFFF

CELLS = 128
CELL_BITS = 64
PSI_BINS = 64
"""Of the histogram of psi over X records, ``psi >> 10``; CELL_BITS each."""


def cell_index(intensity_a: int, intensity_b: int, detector: int, keep: int, error: int) -> int:
    """Counter cell of a sifted herald: ``a << 5 | b << 3 | detector << 2 | keep << 1 | error`` (intensity 3: a Z window).

    ``keep`` and ``error`` are 0 unless the herald gave an X record.
    """
    return intensity_a << 5 | intensity_b << 3 | detector << 2 | keep << 1 | error
