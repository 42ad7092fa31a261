"""A client's ring of symbols from a QRNG: what is drawn, what is held, what is refused. Source: docs/symbols.md."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.symbols import Symbols, decode
from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.symbol_ring import LAG_PULSES, WORD_SYMBOLS, RingConfig
from twinphase_spec.symbols import Intensity, SymbolConfig

PULSE_MASK = (1 << PULSE_BITS) - 1


class SymbolRing:
    """Ask for groups with `ask`, recall with `recall`; each as of all groups asked for before.

    ``lanes``: pulses of a group. ``starved``: pulses so far that found no bits. Pulse indices have 56 bits and wrap.
    """

    def __init__(self, *, config: SymbolConfig, lanes: int, ring: RingConfig) -> None:
        self._config, self._lanes, self._ring = config, lanes, ring
        self._words = np.zeros(ring.symbols, dtype=np.uint16)
        self._has = np.zeros(ring.symbols, dtype=np.bool_)
        self.starved = 0
        self.stop()

    def stop(self) -> None:
        """Framing ends: forget everything but the count."""
        self._first: int | None = None
        """First pulse that was drawn since the ring forgot."""
        self._drawn = 0
        """Pulses since then."""

    def ask(self, pulse: int, bits: NDArray[np.uint16], has: NDArray[np.bool_]) -> tuple[Symbols, int]:
        """Groups that follow each other, the first beginning with ``pulse``, one per row of ``has``.

        ``has`` (n): whether the stream has a word in the clock in which the group would take it; ``bits`` (m, lanes): the words that it
        will give. Gives their symbols, all of vacuum (0) where none was drawn, and the words taken.
        """
        lanes = self._lanes
        lag = None if self._first is None else (self._first + self._drawn - pulse) & PULSE_MASK
        if lag is None or lag >= LAG_PULSES:
            self._first, self._drawn, lag = pulse, 0, 0
        passed = min(lag // lanes, has.size)
        takes = has[passed:]
        taken = np.cumsum(takes)
        words = np.zeros((has.size, lanes), dtype=np.uint16)
        words[passed:][takes] = bits[: int(takes.sum())]
        drawn = decode(self._config, words)
        given = np.zeros((has.size, 1), dtype=np.bool_)
        given[passed:, 0] = takes
        places = (self._drawn + np.arange(takes.size * lanes)) % self._ring.symbols
        self._words[places] = words[passed:].reshape(-1)
        self._has[places] = np.repeat(takes, lanes)
        self._drawn += takes.size * lanes
        self.starved += int(np.count_nonzero(~takes)) * lanes
        return _only(drawn, given), int(taken[-1]) if takes.size else 0

    def recall(self, pulse: int) -> tuple[Symbols, bool]:
        """(the symbol of a pulse, 1 element, False) or (all 0, True) where it is refused. Of vacuum slice and phase are 0."""
        distance = -1
        if self._first is not None:
            distance = (pulse - self._first) & PULSE_MASK  # since the first drawn
            next_word = (self._first + self._drawn) // WORD_SYMBOLS
            before = (next_word * WORD_SYMBOLS - self._first) - distance  # of pulses in whole words
            age = -(-before // WORD_SYMBOLS)
            if not (before > 0 and age <= self._ring.held_words and distance < self._drawn):
                distance = -1
        place = distance % self._ring.symbols
        known = distance >= 0 and bool(self._has[place])
        symbol = decode(self._config, self._words[place : place + 1])
        shines = symbol.intensity != Intensity.VAC
        symbol = replace(symbol, slice=symbol.slice * shines, phase=symbol.phase * shines)
        return _only(symbol, np.array([known])), not known


def _only(drawn: Symbols, given: NDArray[np.bool_]) -> Symbols:
    """The symbols where ``given``, 0 elsewhere."""
    return Symbols(**{part.name: np.where(given, getattr(drawn, part.name), 0) for part in fields(Symbols)})
