"""The virtual lab's quantum random number generators: pseudorandom words that a seed tells, for simulation only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.symbols import SymbolConfig

SEED_BITS = 64
GOLDEN = 0x9E3779B97F4A7C15
MIXES = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31
WORDS_PER_DRAW = 4


@dataclass(frozen=True, kw_only=True)
class QrngConfig(SymbolConfig):
    """Bounds of a client whose bits come from the generator of ``seed``; its key and nonce have no meaning.

    The generator's first word is that of pulse 0, and no pulse is left out: with framing from pulse 0 on, without starvation and without
    corrections of whole pulses. Raises ValueError for a seed that is not one of 64 bits.
    """

    key: tuple[int, int, int, int] = (0, 0, 0, 0)
    seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 1 << SEED_BITS:
            raise ValueError(f"QRNG: seed is {self.seed}; allowed: 0 to 2^{SEED_BITS} - 1")


def qrng_words(seed: int, numbers: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Words of 16 bits, by their number in the stream (any shape).

    Four words are a draw of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) whose state is ``seed + (draw + 1) GOLDEN``, lowest word first.
    """
    numbers = np.asarray(numbers, dtype=np.uint64)
    draws = numbers // np.uint64(WORDS_PER_DRAW)
    mixed = np.uint64(seed) + (draws + np.uint64(1)) * np.uint64(GOLDEN)
    for shift, factor in MIXES:
        mixed = (mixed ^ mixed >> np.uint64(shift)) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(LAST_SHIFT)
    return (mixed >> np.uint64(16) * (numbers % np.uint64(WORDS_PER_DRAW))).astype(np.uint16)
