"""Actively odd-parity pairing (AOPP) of Z bits: procedure and messages, exact. What runs at each user is in `twinphase.keys`.

Source: Xu, Yu, Jiang, Hu, Wang, Phys. Rev. A 101, 042330 (2020), arXiv:1904.06331; Jiang et al., New J. Phys. 22, 053048 (2020).
Key bits as in `twinphase_spec.sns`: Alice 1 = sent, Bob 1 = not sent. A *span* is ``blocks`` consecutive herald blocks from
``first_block`` on, closed at both users. Its *positions* are its Z heralds in rising number, 0 to n - 1.

1. The pairing user (Bob) draws, after the span has closed, a public ``seed`` of SEED_BYTES random bytes. It sorts the positions into
   groups of ``group`` (the last one takes the rest, so it may be smaller)::

       keys  = SHAKE-128(LABEL, seed, first_block, blocks, n) -> n little-endian 64-bit words    (numbers: 4 bytes, little-endian)
       order = positions sorted by key, equal keys by position;  group i = order[i * group : (i + 1) * group], sorted

   The groups do not depend on any key bit.
2. In each group it pairs its zeros with its ones, min(zeros, ones) pairs, all such pairings equally likely, by private randomness. What
   is left in a group is of one value, and unpaired. A group of m is now an involution of its slots 0 to m - 1 (unpaired: fixed).
3. It sends PAIRS: header, then per group its `rank` in `field_bits` (m) bits, lowest bit first, without gaps, zeros up to a whole byte.
   Every rank below `involutions` (m) is one pairing and each pairing has one rank: a position that does not exist, or is used twice,
   cannot be said. The pairs are unordered: nothing says which bit is 0.
4. Pairs are counted in the order of the groups, in a group by their lower slot. The other user answers with ODD: header, then one bit per
   pair, lowest bit of the first byte first: 1 where its own two bits differ.
5. Both keep of each odd pair, in that order, the bit at the pair's lower position; the other is discarded.

A span is paired once. A message that is not exactly as above is refused, and nothing is sent for its span any more. CRC-32 (ISO-HDLC,
zlib's) finds different lists of Z heralds and answers to another message; it protects from no adversary: the channel must authenticate.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PAIRS, ODD = 1, 2
"""Kinds of messages."""
VERSION = 1
LABEL = b"twinphase AOPP 1"
SEED_BYTES = 16
GROUP = 64
"""Usual group: with 37 % ones a pair costs 6.7 bits, and 0.2 % fewer pairs are formed than in one group (docs/protocols/aopp.md)."""
MIN_GROUP, MAX_GROUP = 2, 4096
MAX_POSITIONS = 1 << 20

PAIRS_HEADER = np.dtype(
    [
        ("kind", "u1"),
        ("version", "u1"),
        ("group", "<u2"),
        ("first_block", "<u4"),
        ("blocks", "<u4"),
        ("positions", "<u4"),
        ("numbers_crc", "<u4"),  # of the positions' herald numbers, 4 bytes each, little-endian
        ("seed", f"V{SEED_BYTES}"),
    ]
)
ODD_HEADER = np.dtype(
    [
        ("kind", "u1"),
        ("version", "u1"),
        ("reserved", "<u2"),  # 0
        ("first_block", "<u4"),
        ("blocks", "<u4"),
        ("pairs", "<u4"),
        ("odd", "<u4"),
        ("pairs_crc", "<u4"),  # of the whole PAIRS message that this answers
    ]
)

_INVOLUTIONS = [1, 1]


def involutions(slots: int) -> int:
    """Pairings of ``slots`` slots, any number of them unpaired: ``T(m) = T(m - 1) + (m - 1) T(m - 2)``, T(0) = T(1) = 1."""
    while len(_INVOLUTIONS) <= slots:
        m = len(_INVOLUTIONS)
        _INVOLUTIONS.append(_INVOLUTIONS[m - 1] + (m - 1) * _INVOLUTIONS[m - 2])
    return _INVOLUTIONS[slots]


def field_bits(slots: int) -> int:
    """Bits of a group's field: ``ceil(log2 T(m))``."""
    return (involutions(slots) - 1).bit_length()


def rank(mates: Sequence[int]) -> int:
    """Number of an involution, ``mates[s]`` being the slot paired with s, or s.

    With m slots left, of which s is the lowest: s unpaired adds nothing; s paired with the j-th (from 0) of the other m - 1 adds
    ``T(m - 1) + j T(m - 2)``; both leave. Bijective onto 0 to T(m) - 1. ValueError where ``mates`` is no involution.
    """
    if any(not 0 <= mate < len(mates) or mates[mate] != slot for slot, mate in enumerate(mates)):
        raise ValueError("pairing: mates are no involution; allowed: mates[mates[s]] = s for every slot s")
    left, value = list(range(len(mates))), 0
    while left:
        slots, lowest = len(left), left.pop(0)
        if mates[lowest] != lowest:
            j = bisect_left(left, mates[lowest])
            del left[j]
            value += involutions(slots - 1) + j * involutions(slots - 2)
    return value


def unrank(value: int, slots: int) -> list[int]:
    """The involution of `rank` ``value``. ValueError outside of 0 to T(slots) - 1."""
    if not 0 <= value < involutions(slots):
        raise ValueError(f"pairing: {slots} slots have {involutions(slots)} pairings; number {value} is none of them")
    left, mates = list(range(slots)), list(range(slots))
    while left:
        count, lowest = len(left), left.pop(0)
        if value >= involutions(count - 1):
            j, value = divmod(value - involutions(count - 1), involutions(count - 2))
            mate = left.pop(j)
            mates[lowest], mates[mate] = mate, lowest
    return mates


def groups(seed: bytes, first_block: int, blocks: int, positions: int, group: int) -> list[NDArray[np.int64]]:
    """The positions of each group, rising, as in step 1. ValueError for a seed or group that is not allowed."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"pairing: the seed has {len(seed)} bytes; allowed: {SEED_BYTES}")
    if not MIN_GROUP <= group <= MAX_GROUP:
        raise ValueError(f"pairing: group is {group}; allowed: {MIN_GROUP} to {MAX_GROUP}")
    if not 0 <= positions <= MAX_POSITIONS:
        raise ValueError(f"pairing: {positions} positions; allowed: 0 to {MAX_POSITIONS}")
    numbers = np.array([first_block, blocks, positions], "<u4").tobytes()
    stream = hashlib.shake_128(LABEL + seed + numbers).digest(8 * positions)
    order = np.argsort(np.frombuffer(stream, "<u8"), kind="stable")
    return [np.sort(order[at : at + group]) for at in range(0, positions, group)]
