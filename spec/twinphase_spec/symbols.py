"""The clients' symbols in counter mode: what a client sends at pulse n is a function of its key and n alone.

**Not secure.** The generator is ROUNDS rounds of the ARX round of Speck64 (Beaulieu et al., ePrint 2013/404) with a
trivial key schedule. It gives statistically flat, recallable symbols; a standard cipher takes its place behind the
same interface (key, pulse index -> 64 bits).

Generator, all on 32-bit words, ``key`` being KEY_WORDS words k[0..3] and n the 56-bit pulse index::

    x, y = n >> 32, n & 0xFFFFFFFF
    for i in 0 .. ROUNDS-1:
        x = (rotr(x, 8) + y) ^ (k[i mod 4] + i mod 2^32)
        y = rotl(y, 3) ^ x
    bits = x << 32 | y

Symbol of `bits` (thresholds are 16-bit registers; "u < t" has probability t / 65536)::

    type       X if bits[15:0] >= z_threshold, else Z
    Z: send    bits[31:16] < send_threshold;  intensity MU_Z if sent, else VAC
    X: level   VAC if bits[31:16] < vac_threshold, else MU_1 if bits[31:16] < mu1_threshold, else MU_2
    phase      bits[39:32], 8 bits in 2^-8 turn; in X windows rounded down to a slice: slice = bits[39:36], phase = slice << 4
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ROUNDS = 8
KEY_WORDS = 4
BITS = 64
SLICES = 16
SLICE_BITS = 4
PHASE_CODE_BITS = 8


class Intensity(IntEnum):
    """Intensity levels of a symbol, and the codes in reveals and counter cells; MU_Z also stands for "Z, not revealed"."""

    VAC = 0
    MU_1 = 1
    MU_2 = 2
    MU_Z = 3


class Level(IntEnum):
    """Level of a modulator code: the intensities, or the bright reference."""

    VAC = 0
    MU_1 = 1
    MU_2 = 2
    MU_Z = 3
    REF = 4


LEVEL_BITS = 3
CODE_BITS = LEVEL_BITS + PHASE_CODE_BITS
"""A modulator code per band and pulse: ``level << 8 | phase`` (phase in 2^-8 turn).

q band: SIG -> the symbol; REF(k) -> REF, phase ``k * 64`` at Alice, 0 at Bob; REF-A (REF-B) -> REF at Alice (Bob) only,
phase 0; everything else VAC, phase 0. r band: the same without SIG (a SIG slot there is VAC).
"""


@dataclass(frozen=True, kw_only=True)
class SymbolConfig:
    """Thresholds and key of one client's generator. Raises ValueError naming the field."""

    key: tuple[int, int, int, int]
    z_threshold: int
    send_threshold: int
    vac_threshold: int
    mu1_threshold: int

    def __post_init__(self) -> None:
        if len(self.key) != KEY_WORDS or any(not 0 <= word < 1 << 32 for word in self.key):
            raise ValueError(f"symbols: key is {self.key}; allowed: {KEY_WORDS} words of 32 bits")
        for name in ("z_threshold", "send_threshold", "vac_threshold", "mu1_threshold"):
            value = getattr(self, name)
            if not 0 <= value <= 0xFFFF:
                raise ValueError(f"symbols: {name} is {value}; allowed: 0 to 65535 (probability times 65536)")
        if self.vac_threshold > self.mu1_threshold:
            raise ValueError(
                f"symbols: vac_threshold is {self.vac_threshold}; allowed: at most mu1_threshold ({self.mu1_threshold})"
            )
