"""Sifting of a pair in one vectorised pass: what both clients' block sifters give when every record reaches both.

Source: docs/rules.md, `twinphase_spec.sns` and ``sift.block`` of docs/contract.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.model.sift.rule import (
    Announced,
    Windows,
    by_codes,
    count_cells,
    level,
    outcome,
    reveals,
    seconds_of_pairs,
    sifted_words,
    windows,
)
from twinphase_sim.model.sift.symbols import symbols
from twinphase_spec.packets import SIFTED_DTYPE
from twinphase_spec.rules import SNS, Definition, rule_tables
from twinphase_spec.symbols import SymbolConfig


@dataclass(frozen=True)
class SiftedPair:
    """Both clients' SIFTED records of all complete blocks, their (equal) cells and counters."""

    alice: NDArray[np.void]
    bob: NDArray[np.void]
    cells: NDArray[np.uint64]
    blocks: int
    unpaired: int
    sifted_z: int
    sifted_x: int
    kept_x: int
    error_x: int


def announced_heralds(heralds: NDArray[np.void], psi: NDArray[np.void], count: int) -> Announced:
    """Heralds 0 to ``count - 1`` by number, from HERALD and PSI records of which some may be missing."""
    present = np.zeros(count, dtype=np.bool_)
    pulse, detector = np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.uint8)
    value, flags = np.zeros(count, dtype=np.uint16), np.zeros(count, dtype=np.uint16)
    heralds = heralds[heralds["number"] < count]
    numbers = heralds["number"]
    present[numbers] = True
    pulse[numbers], detector[numbers] = herald_pulses(heralds)
    psi = psi[psi["number"] < count]
    value[psi["number"]], flags[psi["number"]] = psi["psi_turns"], psi["flags"]
    return Announced(
        present=present,
        pulse=pulse,
        detector=detector,
        psi=np.where(present, value, np.uint16(0)),
        flags=np.where(present, flags, np.uint16(0)),
    )


def sift_pair(
    heralds: NDArray[np.void],
    psi: NDArray[np.void],
    alice: SymbolConfig,
    bob: SymbolConfig,
    *,
    block_heralds: int,
    slice_width_turns: int,
    protocol: Definition = SNS,
    pair_span: int = 0,
) -> SiftedPair:
    """Sift HERALD and PSI records, each in rising numbers below 2^32, that both clients have.

    A block is complete when the last of its psi numbers has come or been passed.
    """
    tables_a, tables_b = rule_tables(protocol, "alice"), rule_tables(protocol, "bob")
    blocks = (int(psi["number"][-1]) + 1) // block_heralds if psi.size else 0
    known = announced_heralds(heralds, psi, blocks * block_heralds)
    second, unpaired = None, 0
    symbols_a, symbols_b = symbols(alice, known.pulse), symbols(bob, known.pulse)
    present = known.present
    if pair_span:
        second = seconds_of_pairs(present, known.pulse, block_heralds, pair_span)
        unpaired = int(np.count_nonzero(present & ~second))
        known = known.paired(second)
    a = windows(tables_a, symbols_a, present, second)
    b = windows(tables_b, symbols_b, present, second)
    live = known.present
    level_a = level(reveals(tables_a, live, a.x, b.x), a.intensity)
    level_b = level(reveals(tables_b, live, b.x, a.x), b.intensity)
    codes = (live, a.x, level_a, b.x, level_b)
    revealed = by_codes(tables_a.slice, *codes) * np.uint8(tables_a.slice_mask)
    slice_a, slice_b = a.slice & revealed, b.slice & revealed
    result = outcome(
        tables_a,
        known,
        by_codes(tables_a.x, *codes),
        by_codes(tables_a.z, *codes),
        slice_a,
        slice_b,
        slice_width_turns,
    )

    def records(own: Windows, own_level: NDArray[np.uint8], peer_slice: NDArray[np.uint8]) -> NDArray[np.void]:
        numbers = np.flatnonzero(result.is_z | result.is_x)
        given = np.zeros(numbers.size, dtype=SIFTED_DTYPE)
        given["number"] = numbers
        given["word"] = sifted_words(known, result, own_level, own, peer_slice)[numbers]
        return given

    return SiftedPair(
        alice=records(a, level_a, slice_b),
        bob=records(b, level_b, slice_a),
        cells=count_cells(known, level_a, level_b, result),
        blocks=blocks,
        unpaired=unpaired,
        sifted_z=int(np.count_nonzero(result.is_z)),
        sifted_x=int(np.count_nonzero(result.is_x)),
        kept_x=int(np.count_nonzero(result.kept)),
        error_x=int(np.count_nonzero(result.error)),
    )
