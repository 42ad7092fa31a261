"""The delay lines of all channels of a time tagger on its bench: edges in ticks to what the encoders find, chunk after chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.tdc import HIT_WORD_CHAINS, code_bits, span_ticks
from twinphase_spec.units import FRACTION_BITS, TICK_PS

from .tap_tables import Part
from .taps import Chain, DelayLineModel, TapModel

LOOKAHEAD_CLOCKS = 8
"""Edges are needed this far ahead: a hit is final only when those of the next TDC clocks are known."""
CHAIN_ROUTE_PS = 37.0
"""Route of each further chain of a channel, beyond that of the one before."""


@dataclass(frozen=True, eq=False)
class LineHits:
    """Hits in the order of their clocks, as a node with delay lines takes them."""

    ticks: NDArray[np.int64]
    """``clock << 13`` with the beginning of the lane as fine time."""
    channels: NDArray[np.uint8]
    values: NDArray[np.uint64]
    """Bit 0 the polarity, then the code of each chain. With 8 chains two words, ``(hits, 2)``: the codes of the last four in the second
    one, in the same bits. Chains with twins: as many words more, ``(hits, 2)`` or ``(hits, 4)``, with the echoes (`Hits.echoes`) in the
    bits of the codes."""

    def __len__(self) -> int:
        return self.ticks.size


class DelayLines:
    """One `TapModel` per channel, all on one clock (and its jitter), each with a fabric of its own.

    A hit at time t is found at the TDC edge behind it and belongs to the lane that t lies in, so that the node's tag is t but for
    quantisation. ``options`` say lanes, chains and taps; the part is the one that the span asks for: 4 ns 5G -8, 8 ns -6, with
    the delays of its SDF table, with or without twins, at the slowest corner.
    """

    def __init__(self, options: TaggerOptions, seed: int):
        self._span = span_ticks(options.lanes)
        self._bits = code_bits(options.taps)
        part: Part = "5G-8" if options.lanes == 2 else "6"
        self._models = [
            TapModel(
                DelayLineModel(
                    chains=tuple(
                        Chain(
                            part=part,
                            source="twins" if options.twins else "sdf",
                            taps=options.taps,
                            offset_ps=CHAIN_ROUTE_PS * chain,
                            skew_tap_ps=3.0,
                            seed=seed + 64 * channel + chain,
                        )
                        for chain in range(options.chains)
                    ),
                    lanes=options.lanes,
                    aperture_ps=8.0,
                    clock_jitter_ps=2.0,
                    clock_seed=seed,
                    seed=seed + 64 * channel,
                )
            )
            for channel in range(options.channels)
        ]
        self._code_words = -(-options.chains // HIT_WORD_CHAINS)
        self._words = self._code_words * (1 + options.twins)
        shape = (0,) if self._words == 1 else (0, self._words)
        self._held = LineHits(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(shape, np.uint64))

    def hits(self, times_ticks: NDArray[np.int64], channels: NDArray[np.uint8], until_clock: int) -> LineHits:
        """Hits before ``until_clock``, from the next edges: all of those before ``until_clock + LOOKAHEAD_CLOCKS``."""
        known = (until_clock + LOOKAHEAD_CLOCKS << FRACTION_BITS) // self._span
        parts = [self._held]
        for channel, model in enumerate(self._models):
            times = times_ticks[channels == channel]
            clocks, within = np.divmod(times, self._span)
            found, _ = model.codes(*model.jittered(clocks, within * TICK_PS), until_clock=known)
            words = np.zeros((found.size, self._words), np.uint64)
            words[:, 0] = found.polarities
            self._fill(words[:, : self._code_words], found.codes)
            if found.echoes is not None:
                self._fill(words[:, self._code_words :], found.echoes)
            values = words[:, 0] if self._words == 1 else words
            # Found at the edge that ends the TDC clock in which the hit was.
            ticks = (found.clocks - 1) * self._span
            parts.append(LineHits(ticks, np.full(ticks.size, channel, np.uint8), values))
        joined = LineHits(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("ticks", "channels", "values"))
        )
        order = np.argsort(joined.ticks, kind="stable")
        joined = LineHits(joined.ticks[order], joined.channels[order], joined.values[order])
        ready = int(np.searchsorted(joined.ticks, until_clock << FRACTION_BITS))
        self._held = LineHits(joined.ticks[ready:], joined.channels[ready:], joined.values[ready:])
        return LineHits(joined.ticks[:ready], joined.channels[:ready], joined.values[:ready])

    def _fill(self, words: NDArray[np.uint64], codes: NDArray[np.uint16]) -> None:
        """Put the codes, shape (hits, chains), to their places."""
        for chain in range(codes.shape[1]):
            word, place = divmod(chain, HIT_WORD_CHAINS)
            words[:, word] |= codes[:, chain].astype(np.uint64) << np.uint64(1 + self._bits * place)
