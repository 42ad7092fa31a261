"""The clients' symbol generator, symbols and modulator codes, for arrays of pulses.

Source: `twinphase_spec.symbols` (ROUNDS ARX rounds of Speck64; statistically flat, not secure).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.frame import FrameConfig, SlotClass
from twinphase_spec.symbols import KEY_WORDS, PHASE_CODE_BITS, ROUNDS, Intensity, Level, SymbolConfig

CHUNK_PULSES = 1 << 15
"""Pulses per pass of the rounds: both halves of the state stay in the processor's cache."""


@dataclass(frozen=True)
class Symbols:
    """What a client prepares, one element per pulse.

    * ``x``: X window; otherwise Z.
    * ``send``: the Z window is sent (False in X windows).
    * ``intensity``: `Intensity` (Z: MU_Z if sent, else VAC).
    * ``slice``: bits[39:36], the phase slice of an X window.
    * ``phase``: modulator phase in 2^-8 turn: ``slice << 4`` in X windows, all 8 bits in Z windows.
    """

    x: NDArray[np.bool_]
    send: NDArray[np.bool_]
    intensity: NDArray[np.uint8]
    slice: NDArray[np.uint8]
    phase: NDArray[np.uint8]


def symbol_bits(key: tuple[int, int, int, int], pulses: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 generator bits of every pulse index (56 bits) under a key of four 32-bit words."""
    pulses = np.asarray(pulses, dtype=np.uint64)
    bits = np.empty(pulses.shape, dtype=np.uint64)
    flat, out = pulses.reshape(-1), bits.reshape(-1)
    round_keys = [np.uint32((key[i % KEY_WORDS] + i) & 0xFFFFFFFF) for i in range(ROUNDS)]
    for start in range(0, flat.size, CHUNK_PULSES):
        chunk = flat[start : start + CHUNK_PULSES]
        x = (chunk >> np.uint64(32)).astype(np.uint32)
        y = chunk.astype(np.uint32)
        for round_key in round_keys:
            x = (x >> np.uint32(8)) | (x << np.uint32(24))
            x += y
            x ^= round_key
            y = (y << np.uint32(3)) | (y >> np.uint32(29))
            y ^= x
        out[start : start + CHUNK_PULSES] = (x.astype(np.uint64) << np.uint64(32)) | y
    return bits


def decode(config: SymbolConfig, bits: NDArray[np.uint64]) -> Symbols:
    """Symbols that generator bits mean under the thresholds of ``config``."""
    bits = np.asarray(bits, dtype=np.uint64)
    type_draw = bits.astype(np.uint16)
    level_draw = (bits >> np.uint64(16)).astype(np.uint16)
    raw_phase = (bits >> np.uint64(32)).astype(np.uint8)
    is_x = type_draw >= config.z_threshold
    send = ~is_x & (level_draw < config.send_threshold)
    mu_1_or_2 = np.where(level_draw < config.mu1_threshold, np.uint8(Intensity.MU_1), np.uint8(Intensity.MU_2))
    level = np.where(level_draw < config.vac_threshold, np.uint8(Intensity.VAC), mu_1_or_2)
    return Symbols(
        x=is_x,
        send=send,
        intensity=np.where(is_x, level, np.where(send, np.uint8(Intensity.MU_Z), np.uint8(Intensity.VAC))),
        slice=raw_phase >> np.uint8(4),
        phase=np.where(is_x, raw_phase & np.uint8(0xF0), raw_phase),
    )


def symbols(config: SymbolConfig, pulses: NDArray[np.uint64]) -> Symbols:
    """Symbols of the pulses with the given indices."""
    return decode(config, symbol_bits(config.key, pulses))


def slot_bytes(frame: FrameConfig, pulses: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Table entry (q class | r class << 4) of every pulse."""
    slots = np.asarray(pulses, dtype=np.uint64) % np.uint64(frame.frame_pulses) // np.uint64(frame.slot_pulses)
    return np.array(frame.table, dtype=np.uint8)[slots.astype(np.int64)]


def modulator_codes(
    frame: FrameConfig, role: Literal["alice", "bob"], config: SymbolConfig, pulses: NDArray[np.uint64]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Codes ``level << 8 | phase`` of the quantum and of the reference band for every pulse index."""
    if role not in ("alice", "bob"):
        raise ValueError(f"modulator codes: role is {role!r}; allowed: 'alice' or 'bob'")
    table = reference_codes(role)
    entries = slot_bytes(frame, pulses)
    class_q, class_r = entries & np.uint8(15), entries >> np.uint8(4)
    drawn = symbols(config, pulses)
    symbol = drawn.intensity.astype(np.uint16) << np.uint16(PHASE_CODE_BITS) | drawn.phase
    return np.where(class_q == SlotClass.SIG, symbol, table[class_q]), table[class_r]


def reference_codes(role: Literal["alice", "bob"]) -> NDArray[np.uint16]:
    """Code of every `SlotClass` value (16 entries) but a q-band SIG: that of the bright reference or VAC."""
    codes = np.zeros(16, dtype=np.uint16)
    bright = Level.REF << PHASE_CODE_BITS
    codes[SlotClass.REF_A if role == "alice" else SlotClass.REF_B] = bright
    for k in range(4):
        codes[SlotClass.REF0 + k] = bright | (64 * k if role == "alice" else 0)
    return codes
