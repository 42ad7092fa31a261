"""The ring of symbols of a client that draws them from a quantum random number generator (docs/symbols.md)."""

from __future__ import annotations

from dataclasses import dataclass

from .symbols import WORD_BITS

WORD_SYMBOLS = 8
"""Symbols of a word of the ring, of pulses that begin with a multiple of it."""
CODE_SYMBOL_BITS = 6
"""Of a symbol in the ring: ``intensity << 4 | slice``, of vacuum ``x``."""
VOID = 2
"""In the ring, of a pulse that has no symbol."""
RING_STEP = 16384
"""RING_SYMBOLS is a multiple of it: 2048 words, the depth of a block RAM (ECP5 DP16KD) of 9 bits."""
MOST_RING_STEPS = 32
RING_SYMBOLS = 23 * RING_STEP
"""Default: 376 832 symbols, 0.377 ms at 1 GHz, in 124 DP16KD."""
SPARE_WORDS = 16
"""Oldest words that are not offered: they could be overwritten while a recall is under way."""
LAG_PULSES = 8192
"""Pulses that may be asked for again and are passed; twice the step of an emission correction (`twinphase_spec.emission.MOST_STEP`)."""
QRNG_BITS_PER_PULSE = WORD_BITS


@dataclass(frozen=True, kw_only=True)
class RingConfig:
    """Size of a ring: ``symbols``, a multiple of RING_STEP up to MOST_RING_STEPS of them. Raises ValueError."""

    symbols: int = RING_SYMBOLS

    def __post_init__(self) -> None:
        if self.symbols % RING_STEP or not RING_STEP <= self.symbols <= MOST_RING_STEPS * RING_STEP:
            raise ValueError(
                f"symbol ring: symbols is {self.symbols}; allowed: multiples of {RING_STEP} up to {MOST_RING_STEPS * RING_STEP}"
            )

    @property
    def words(self) -> int:
        """Words that the ring has places for."""
        return self.symbols // WORD_SYMBOLS

    @property
    def held_words(self) -> int:
        """Words that are offered at most."""
        return self.words - SPARE_WORDS

    @property
    def held_symbols(self) -> int:
        """Symbols that are offered at most."""
        return self.held_words * WORD_SYMBOLS
