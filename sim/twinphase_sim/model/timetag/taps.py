"""Tap encoder: from what the tap flip-flops show to hits with polarity and code.

Source: "Tap encoder" of docs/timetagger.md. With ``q_K`` the taps at TDC clock K (all 0 before the first):
a hit is ``q_K[0] != q_{K-1}[0]``, its polarity ``p = q_K[0]``, its code the number of taps i >= 1 with ``q_K[i] = p`` in the
groups (taps 1 .. 15, 16 .. 31, ...) before the first group without any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import CHAINS, CHAINS_ALLOWED, ENCODER_GROUP, code_bits


@dataclass(frozen=True)
class Hits:
    """Hits of one channel in the order of time."""

    clocks: NDArray[np.int64]
    """TDC clock of each hit."""
    polarities: NDArray[np.uint8]
    """1: the toggle rose."""
    codes: NDArray[np.uint16]
    """Per hit and chain, shape (hits, chains)."""
    runt_clocks: NDArray[np.int64]
    """TDC clocks in which a runt was counted."""
    echoes: NDArray[np.uint16] | None = None
    """Codes of the TDC clock behind each hit, likewise; taps - 1, which is none, if it brings another hit. None: not known."""

    @property
    def size(self) -> int:
        return self.clocks.size


@numba.njit(cache=True)
def code_of(taps: NDArray[np.uint8], polarity: int, group: int) -> int:
    """The code of one tap vector against a polarity."""
    code = 0
    for first in range(0, taps.size, group):
        agree = 0
        for i in range(max(first, 1), first + group):
            if taps[i] == polarity:
                agree += 1
        if agree == 0:
            break
        code += agree
    return code


@numba.njit(cache=True)
def _encode(
    taps: NDArray[np.uint8],
    before: NDArray[np.uint8],
    after_hit: bool,
    group: int,
    hit: NDArray[np.bool_],
    codes: NDArray[np.uint16],
    echoes: NDArray[np.uint16],
    runt: NDArray[np.bool_],
) -> bool:
    last = before[0]
    for k in range(taps.shape[0]):
        now = taps[k, 0, 0]
        hit[k] = now != last
        if hit[k]:
            for chain in range(taps.shape[1]):
                codes[k, chain] = code_of(taps[k, chain], now, group)
                if k + 1 < taps.shape[0] and taps[k + 1, 0, 0] == now:
                    echoes[k, chain] = code_of(taps[k + 1, chain], now, group)
        elif not after_hit:
            runt[k] = (taps[k, 0] != now).any()
        after_hit = hit[k]
        last = now
    return after_hit


class TapEncoder:
    """The encoder of one channel, over consecutive stretches of TDC clocks.

    taps : multiple of 16 from 32 to 512
    chains : 1, 2, 4 or 8; chain 0 gives hit, polarity and runts

    One hit per TDC clock. Raises ValueError for other sizes and for arrays that do not fit them.
    """

    def __init__(self, *, taps: int, chains: int = 1):
        code_bits(taps)
        if chains not in CHAINS:
            raise ValueError(f"tap encoder: chains is {chains}; allowed: {CHAINS_ALLOWED}")
        self.taps = taps
        self.chains = chains
        self.clock = 0
        """Number of the next TDC clock."""
        self._last = np.zeros(taps, dtype=np.uint8)
        self._after_hit = False

    def encode(self, taps: NDArray[np.uint8]) -> Hits:
        """Hits and runts of the next clocks; ``taps`` has the shape (clocks, chains, taps), or (clocks, taps) for one chain.

        A hit in the last of them is given no echo, as the clock behind it is not known.
        """
        vectors = np.ascontiguousarray(taps, dtype=np.uint8)
        if vectors.ndim == 2 and self.chains == 1:
            vectors = vectors[:, np.newaxis, :]
        if vectors.ndim != 3 or vectors.shape[1:] != (self.chains, self.taps):
            raise ValueError(
                f"tap encoder: the taps have the shape {np.shape(taps)}; allowed: (clocks, {self.chains}, {self.taps})"
            )
        clocks = vectors.shape[0]
        hit = np.zeros(clocks, dtype=np.bool_)
        runt = np.zeros(clocks, dtype=np.bool_)
        codes = np.zeros((clocks, self.chains), dtype=np.uint16)
        echoes = np.full_like(codes, self.taps - 1)
        self._after_hit = bool(_encode(vectors, self._last, self._after_hit, ENCODER_GROUP, hit, codes, echoes, runt))
        if clocks:
            self._last = vectors[-1, 0].copy()
        found = np.flatnonzero(hit)
        first = self.clock
        self.clock += clocks
        return Hits(
            clocks=first + found,
            polarities=vectors[found, 0, 0],
            codes=codes[found],
            runt_clocks=first + np.flatnonzero(runt),
            echoes=echoes[found],
        )


def encode_taps(taps: NDArray[np.uint8], *, chains: int = 1) -> Hits:
    """`TapEncoder` over one stretch from reset on; ``taps`` as in `TapEncoder.encode`."""
    return TapEncoder(taps=np.shape(taps)[-1], chains=chains).encode(taps)
