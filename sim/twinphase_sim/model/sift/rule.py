"""Sifting by table on arrays: windows, pairs, slice test, SIFTED words and counter cells. Source: docs/rules.md, `twinphase_spec.sns`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.symbols import Symbols
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID
from twinphase_spec.rules import UNREVEALED, RuleTables
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
from twinphase_spec.symbols import SLICES
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

    def paired(self, second: NDArray[np.bool_]) -> Announced:
        """Of each pair, at the place of its second herald: detectors xor-ed, psi subtracted; the others are not present."""
        return Announced(
            present=second,
            pulse=np.where(second, self.pulse, np.uint64(0)),
            detector=np.where(second, self.detector ^ _former(self.detector), np.uint8(0)),
            psi=np.where(second, self.psi - _former(self.psi), np.uint16(0)),
            flags=np.where(second, self.flags & _former(self.flags), np.uint16(0)),
        )


@dataclass(frozen=True)
class Windows:
    """One user's windows as the rules see them; where the herald is not present all is 0."""

    x: NDArray[np.bool_]
    intensity: NDArray[np.uint8]
    slice: NDArray[np.uint8]
    key: NDArray[np.bool_]
    """Bit of a Z record."""


@dataclass(frozen=True)
class Outcome:
    """What heralds become, whoever looks."""

    is_x: NDArray[np.bool_]
    is_z: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    error: NDArray[np.bool_]
    branch: NDArray[np.uint8]


def _former(values: NDArray[Any]) -> NDArray[Any]:
    """Of each element the one before it."""
    return np.concatenate((values[:1], values[:-1]))


def seconds_of_pairs(
    present: NDArray[np.bool_], pulse: NDArray[np.uint64], block_heralds: int, span: int
) -> NDArray[np.bool_]:
    """Which heralds, of whole blocks, are the second of a pair of at most ``span`` pulses' distance.

    In a run of heralds that could each be paired with the one before, every other one is, beginning with the first.
    """
    place = np.arange(present.size)
    near = present & _former(present) & (pulse - _former(pulse) <= np.uint64(span)) & (place % block_heralds > 0)
    before_run = np.maximum.accumulate(np.where(near, -1, place)) if place.size else place
    return near & ((place - before_run) % 2 == 1)


def windows(
    tables: RuleTables, own: Symbols, present: NDArray[np.bool_], second: NDArray[np.bool_] | None = None
) -> Windows:
    """A user's windows at heralds; ``second``: of pairs."""
    intensity, slices = own.intensity, own.slice
    if second is None:
        code = own.x.astype(np.uint8) << np.uint8(2) | intensity
        key = tables.key >> code.astype(np.int64) & 1
        x, live = own.x, present
    else:
        nibble = _bits(tables.pair, 4 * (_former(intensity).astype(np.int64) << 2 | intensity), 15)
        x, intensity, key = (nibble & 1).astype(bool), (nibble >> 1 & 3).astype(np.uint8), nibble >> 3
        slices = (slices - _former(slices)) % np.uint8(SLICES)
        live = second
    return Windows(
        x=x & live,
        intensity=np.where(live, intensity, np.uint8(0)),
        slice=np.where(live, slices, np.uint8(0)),
        key=key.astype(bool) & live,
    )


def _bits(table: int, place: NDArray[np.int64], mask: int = 1) -> NDArray[np.int64]:
    return (np.uint64(table) >> place.astype(np.uint64) & np.uint64(mask)).astype(np.int64)


def reveals(
    tables: RuleTables, live: NDArray[np.bool_], x: NDArray[np.bool_], peer_x: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where a user of types ``x`` tells the intensity to one of types ``peer_x``."""
    return live & _bits(tables.reveal, x.astype(np.int64) << 1 | peer_x).astype(bool)


def level(reveals: NDArray[np.bool_], intensity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Intensity as announced."""
    return np.where(reveals, intensity, np.uint8(UNREVEALED))


def by_codes(
    table: int,
    live: NDArray[np.bool_],
    x: NDArray[np.bool_],
    level: NDArray[np.uint8],
    peer_x: NDArray[np.bool_],
    peer_level: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """A table's bit for each pair of announced codes."""
    k = x.astype(np.int64) << 5 | level.astype(np.int64) << 3 | peer_x.astype(np.int64) << 2 | peer_level
    return live & _bits(table, k).astype(bool)


def outcome(
    tables: RuleTables,
    announced: Announced,
    is_x: NDArray[np.bool_],
    is_z: NDArray[np.bool_],
    slice_a: NDArray[np.uint8],
    slice_b: NDArray[np.uint8],
    slice_width_turns: int,
) -> Outcome:
    """Slice test of ``d = (sliceA - sliceB) 4096 + psi``; psi that is not valid (both flags) keeps nothing."""
    d = ((slice_a.astype(np.int64) - slice_b) << SLICE_SHIFT) + announced.psi
    s = (d + (slice_width_turns >> 1)) & ((1 << TURN_BITS) - 1)
    valid = (announced.flags & BOTH_VALID) == BOTH_VALID
    kept = is_x & valid & (s % HALF_TURN <= slice_width_turns)
    branch = (s >> (TURN_BITS - 1)).astype(np.uint8)
    return Outcome(
        is_x=is_x,
        is_z=is_z & ~is_x,
        kept=kept,
        error=kept & (announced.detector != branch) if tables.error else np.zeros_like(kept),
        branch=branch,
    )


def sifted_words(
    announced: Announced,
    result: Outcome,
    level: NDArray[np.uint8],
    own: Windows,
    peer_slice: NDArray[np.uint8],
) -> NDArray[np.uint32]:
    """SIFTED words where there is an X or a Z record; ``level`` is the own one as announced."""
    valid = (announced.flags & BOTH_VALID) == BOTH_VALID
    words = (
        SIFTED_X
        | result.kept * np.uint32(SIFTED_KEEP)
        | result.error * np.uint32(SIFTED_ERROR)
        | result.branch * np.uint32(SIFTED_BRANCH)
        | announced.detector * np.uint32(SIFTED_DETECTOR)
        | valid * np.uint32(SIFTED_PSI_VALID)
        | level.astype(np.uint32) << np.uint32(SIFTED_INTENSITY_SHIFT)
        | own.slice.astype(np.uint32) << np.uint32(SIFTED_OWN_SLICE_SHIFT)
        | peer_slice.astype(np.uint32) << np.uint32(SIFTED_PEER_SLICE_SHIFT)
        | announced.psi
    ).astype(np.uint32)
    return np.where(result.is_x, words, own.key.astype(np.uint32))


def count_cells(
    announced: Announced, level_a: NDArray[np.uint8], level_b: NDArray[np.uint8], result: Outcome
) -> NDArray[np.uint64]:
    """Present heralds per counter cell."""
    index: Any = cell_index  # the spec's formula holds for arrays as it does for integers
    fields = (level_a, level_b, announced.detector, result.kept, result.error)
    cells = index(*(field[announced.present].astype(np.int64) for field in fields))
    return np.bincount(cells, minlength=CELLS).astype(np.uint64)
