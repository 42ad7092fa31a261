"""The SNS rule on arrays: slice test, SIFTED words and counter cells. Source: `twinphase_spec.sns`."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID
from twinphase_spec.sns import (
    CELLS,
    SIFTED_BRANCH,
    SIFTED_DETECTOR,
    SIFTED_ERROR,
    SIFTED_INTENSITY_SHIFT,
    SIFTED_KEEP,
    SIFTED_OWN_SLICE_SHIFT,
    SIFTED_PEER_SLICE_SHIFT,
    SIFTED_PSI_VALID,
    SIFTED_X,
    cell_index,
)
from twinphase_spec.symbols import Intensity
from twinphase_spec.units import HALF_TURN, TURN_BITS

SLICE_SHIFT = TURN_BITS - 4
"""One of 16 slices in 2^-16 turn."""
BOTH_VALID = FLAG_R_VALID | FLAG_D_VALID


@dataclass(frozen=True)
class Announced:
    """What both clients know of consecutive heralds: one element per number; where ``present`` is False the rest is 0."""

    present: NDArray[np.bool_]
    pulse: NDArray[np.uint64]
    detector: NDArray[np.uint8]
    psi: NDArray[np.uint16]
    flags: NDArray[np.uint16]

    def digest_herald(self) -> int:
        """CRC-32 over ``pulse | detector << 56``, 8 bytes per herald."""
        words = self.pulse | self.detector.astype(np.uint64) << np.uint64(56)
        return zlib.crc32(words.astype("<u8").tobytes())

    def digest_psi(self) -> int:
        """CRC-32 over ``psi | flags << 16``, 4 bytes per herald."""
        words = self.psi | self.flags.astype(np.uint32) << np.uint32(16)
        return zlib.crc32(words.astype("<u4").tobytes())


@dataclass(frozen=True)
class SliceTest:
    """Outcome of the slice test, whatever the windows' types."""

    keep: NDArray[np.bool_]
    branch: NDArray[np.uint8]
    error: NDArray[np.bool_]


def slice_test(
    announced: Announced, slice_a: NDArray[np.uint8], slice_b: NDArray[np.uint8], slice_width_turns: int
) -> SliceTest:
    """Keep, branch and error of ``d = (sliceA - sliceB) 4096 + psi``; psi that is not valid (both flags) keeps nothing."""
    d = ((slice_a.astype(np.int64) - slice_b) << SLICE_SHIFT) + announced.psi
    s = (d + (slice_width_turns >> 1)) & ((1 << TURN_BITS) - 1)
    valid = (announced.flags & BOTH_VALID) == BOTH_VALID
    keep = valid & (s % HALF_TURN <= slice_width_turns)
    branch = (s >> (TURN_BITS - 1)).astype(np.uint8)
    return SliceTest(keep=keep, branch=branch, error=keep & (announced.detector != branch))


def sifted_x_words(
    announced: Announced,
    test: SliceTest,
    intensity: NDArray[np.uint8],
    own_slice: NDArray[np.uint8],
    peer_slice: NDArray[np.uint8],
) -> NDArray[np.uint32]:
    """SIFTED words of X windows (both X, equal intensity other than vacuum)."""
    valid = (announced.flags & BOTH_VALID) == BOTH_VALID
    return (
        SIFTED_X
        | test.keep * np.uint32(SIFTED_KEEP)
        | test.error * np.uint32(SIFTED_ERROR)
        | test.branch * np.uint32(SIFTED_BRANCH)
        | announced.detector * np.uint32(SIFTED_DETECTOR)
        | valid * np.uint32(SIFTED_PSI_VALID)
        | intensity.astype(np.uint32) << np.uint32(SIFTED_INTENSITY_SHIFT)
        | own_slice.astype(np.uint32) << np.uint32(SIFTED_OWN_SLICE_SHIFT)
        | peer_slice.astype(np.uint32) << np.uint32(SIFTED_PEER_SLICE_SHIFT)
        | announced.psi
    ).astype(np.uint32)


def x_record(
    x_a: NDArray[np.bool_], x_b: NDArray[np.bool_], intensity_a: NDArray[np.uint8], intensity_b: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Heralds whose slices are revealed and that give X records."""
    return x_a & x_b & (intensity_a == intensity_b) & (intensity_a != Intensity.VAC)


def revealed(x: NDArray[np.bool_], intensity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Intensity code of a counter cell: that of an X window, MU_Z for every Z window."""
    return np.where(x, intensity, np.uint8(Intensity.MU_Z))


def count_cells(
    announced: Announced,
    code_a: NDArray[np.uint8],
    code_b: NDArray[np.uint8],
    kept: NDArray[np.bool_],
    error: NDArray[np.bool_],
) -> NDArray[np.uint32]:
    """Present heralds per counter cell; ``kept`` and ``error`` are those of X records alone."""
    index: Any = cell_index  # the spec's formula holds for arrays as it does for integers
    fields = (code_a, code_b, announced.detector, kept, error)
    cells = index(*(field[announced.present].astype(np.int64) for field in fields))
    return np.bincount(cells, minlength=CELLS).astype(np.uint32)
