"""The clients' symbols in counter mode: what a client sends at pulse n is a function of its key, its nonce and n alone.

Key stream: AES-128 (FIPS-197) in CTR mode (SP 800-38A, 6.5). Block b = n >> 3 is the encryption of the counter block of 16 bytes
``nonce (8 bytes) | b (8 bytes)``, both with the highest byte first. Pulse n takes bytes 2n and 2n + 1 of the stream, that is bytes 2i and
2i + 1 of block b with i = n & 7, as ``word = byte[2i] << 8 | byte[2i + 1]``.

Symbol of a word: ``u = word >> 4`` draws type and intensity at once, ``slice = word & 15`` the phase::

    u < sent_below               Z, sent: MU_Z
    else u < z_below             Z, not sent: VAC
    else u < vacuum_below        X, VAC
    else u < mu1_below           X, MU_1
    else                         X, MU_2
    slice = slice & slices_z or slices_x (Z, X windows): bits that the protocol uses, 15 for all
    phase = slice << 4           in 2^-8 turn: 16 phases, in Z windows as in X windows

The bounds are cumulative probabilities in 1/4096, 0 to 4096: a class has probability (its bound - the bound before) / 4096 exactly.

Security, rates and how the gateware does it: docs/symbols.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

KEY_WORDS = 4
"""A key is four words of 32 bits as FIPS-197 writes them: its first byte is the highest of word 0."""
NONCE_BITS = 64
BLOCK_PULSES = 8
"""Pulses that one block of the key stream gives symbols to."""
WORD_BITS = 16
DRAW_BITS = 12
"""Bits of u."""
BOUND_BITS = DRAW_BITS + 1
SLICE_BITS = 4
SLICES = 1 << SLICE_BITS
PHASE_CODE_BITS = 8
BOUNDS = ("sent_below", "z_below", "vacuum_below", "mu1_below")
"""Bounds of u, rising: fields of `SymbolConfig`, registers in capitals."""


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
    """Key, nonce and bounds of one client's generator. Raises ValueError naming the field."""

    key: tuple[int, int, int, int]
    nonce: int = 0
    sent_below: int
    z_below: int
    vacuum_below: int
    mu1_below: int
    slices_z: int = SLICES - 1
    slices_x: int = SLICES - 1

    def __post_init__(self) -> None:
        if len(self.key) != KEY_WORDS or any(not 0 <= word < 1 << 32 for word in self.key):
            raise ValueError(f"symbols: key is not usable; allowed: {KEY_WORDS} words of 32 bits")
        if not 0 <= self.nonce < 1 << NONCE_BITS:
            raise ValueError(f"symbols: nonce is {self.nonce}; allowed: 0 to 2^{NONCE_BITS} - 1")
        for name in ("slices_z", "slices_x"):
            if not 0 <= getattr(self, name) < SLICES:
                raise ValueError(f"symbols: {name} is {getattr(self, name)}; allowed: 0 to {SLICES - 1}")
        before = 0
        for name in BOUNDS:
            value = getattr(self, name)
            if not before <= value <= 1 << DRAW_BITS:
                raise ValueError(
                    f"symbols: {name} is {value}; allowed: {before} to {1 << DRAW_BITS} (bounds rise, in probability times 4096)"
                )
            before = value

    @property
    def key_bytes(self) -> bytes:
        """The key as FIPS-197 takes it."""
        return b"".join(word.to_bytes(4, "big") for word in self.key)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """The bounds of u in the order of BOUNDS."""
        return self.sent_below, self.z_below, self.vacuum_below, self.mu1_below

    def probabilities(self) -> dict[tuple[bool, Intensity], float]:
        """Probability of each (X window, intensity) that a symbol can have, exactly."""
        edges = (0, *self.bounds, 1 << DRAW_BITS)
        classes = (
            (False, Intensity.MU_Z),
            (False, Intensity.VAC),
            (True, Intensity.VAC),
            (True, Intensity.MU_1),
            (True, Intensity.MU_2),
        )
        return {
            member: (edges[k + 1] - edges[k]) / (1 << DRAW_BITS) for k, member in enumerate(classes)
        }  # fmt: skip
