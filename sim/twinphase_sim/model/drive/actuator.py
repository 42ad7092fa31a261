"""The whole actuator by clock. Source: docs/actuator.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.drive.endless import Positions, endless
from twinphase_sim.model.drive.hold import hold
from twinphase_sim.model.drive.table import codes, look_up
from twinphase_sim.model.drive.target import TargetWords, scale_targets
from twinphase_spec.actuator import DEFAULT_SLOPE_LOG, LIMIT_BITS, PHASE_BITS
from twinphase_spec.units import TURN_BITS

TABLE_CLOCKS = 6
CODE_CLOCKS = 1
_ROUND = PHASE_BITS - TURN_BITS


@dataclass(frozen=True)
class Driven:
    """Outputs by clock."""

    code: NDArray[np.int64]
    position: NDArray[np.int64]
    """x in 2^-16 turn, 17 bits."""
    acting: NDArray[np.int64]
    blank: NDArray[np.bool_]
    held: NDArray[np.bool_]
    positions: Positions


def delayed(values: NDArray, clocks: int) -> NDArray:
    """``values`` so many clocks later; 0 before."""
    return np.concatenate([np.zeros(clocks, dtype=values.dtype), values])[: values.size]


def table_words(
    positions: Positions, bank: NDArray[np.bool_], banks: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Words by clock, each from the bank of its step's clock; 0 until the first is there."""
    at = np.flatnonzero(positions.step)
    per_bank = np.stack([look_up(positions.position[at], words) for words in banks])
    words = np.where(bank[at], per_bank[1], per_bank[0])
    newest = np.cumsum(delayed(positions.step, TABLE_CLOCKS)) - 1
    return np.where(newest >= 0, words[np.maximum(newest, 0)], 0) if at.size else np.zeros(bank.size, dtype=np.int64)


def actuate(
    words: TargetWords,
    settings: dict[str, NDArray[np.int64]],
    slot: NDArray[np.bool_],
    taken: NDArray[np.bool_],
    banks: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    bits: int,
    slope_log: int = DEFAULT_SLOPE_LOG,
) -> Driven:
    """``settings`` by clock: ratio, lock, slew, low, high, top, settle, coast, seek, speed, dither, bank; each bank's table as it is
    when it acts."""
    coast, seek = (settings[name].astype(np.bool_) for name in ("coast", "seek"))
    phase, held = hold(scale_targets(words, settings["ratio"]), coast, seek, settings["speed"], slope_log=slope_log)
    positions = endless(phase, slot, settings)
    word = table_words(positions, settings["bank"].astype(np.bool_), banks)
    code = codes(word, settings["dither"].astype(np.bool_), taken, bits=bits)

    later = TABLE_CLOCKS + CODE_CLOCKS
    rounded = (positions.position + (1 << (_ROUND - 1)) >> _ROUND) & ((1 << LIMIT_BITS) - 1)
    begun = np.cumsum(positions.step) > 0
    shown = delayed(np.where(begun, rounded, 0), later)
    taken_before = delayed(np.where(taken, np.arange(1, taken.size + 1), 0), 1)
    last = np.maximum.accumulate(taken_before) - 1
    return Driven(
        code=code,
        position=shown,
        acting=np.where(last >= 0, shown[np.maximum(last, 0)], 0),
        blank=delayed(positions.blank, later),
        held=held,
        positions=positions,
    )
