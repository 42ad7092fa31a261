"""Sifting of a pair in one vectorised pass: what both clients' block sifters give when every record reaches both.

Source: `twinphase_spec.sns` and ``sift.block`` of docs/contract.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.model.sift.rule import Announced, count_cells, revealed, sifted_x_words, slice_test, x_record
from twinphase_sim.model.sift.symbols import Symbols, symbols
from twinphase_spec.packets import SIFTED_DTYPE
from twinphase_spec.symbols import SymbolConfig


@dataclass(frozen=True)
class SiftedPair:
    """Both clients' SIFTED records of all complete blocks, their (equal) cells and counters."""

    alice: NDArray[np.void]
    bob: NDArray[np.void]
    cells: NDArray[np.uint32]
    blocks: int
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
) -> SiftedPair:
    """Sift HERALD and PSI records, each in rising numbers below 2^32, that both clients have.

    A block is complete when the last of its psi numbers has come or been passed.
    """
    blocks = (int(psi["number"][-1]) + 1) // block_heralds if psi.size else 0
    count = blocks * block_heralds
    known = announced_heralds(heralds, psi, count)
    a, b = symbols(alice, known.pulse), symbols(bob, known.pulse)
    is_z = known.present & ~a.x & ~b.x
    is_x = known.present & x_record(a.x, b.x, a.intensity, b.intensity)
    test = slice_test(known, a.slice, b.slice, slice_width_turns)

    def records(own: Symbols, peer: Symbols, key_bits: NDArray[np.bool_]) -> NDArray[np.void]:
        words = sifted_x_words(known, test, own.intensity, own.slice, peer.slice)
        numbers = np.flatnonzero(is_z | is_x)
        result = np.zeros(numbers.size, dtype=SIFTED_DTYPE)
        result["number"] = numbers
        result["word"] = np.where(is_x, words, key_bits)[numbers]
        return result

    kept, error = is_x & test.keep, is_x & test.error
    code_a, code_b = revealed(a.x, a.intensity), revealed(b.x, b.intensity)
    return SiftedPair(
        alice=records(a, b, a.send),
        bob=records(b, a, ~b.send),
        cells=count_cells(known, code_a, code_b, kept, error),
        blocks=blocks,
        sifted_z=int(np.count_nonzero(is_z)),
        sifted_x=int(np.count_nonzero(is_x)),
        kept_x=int(np.count_nonzero(kept)),
        error_x=int(np.count_nonzero(error)),
    )
