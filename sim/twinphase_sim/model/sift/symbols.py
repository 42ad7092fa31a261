"""The clients' key stream, symbols and modulator codes, for arrays of pulses.

Source: `twinphase_spec.symbols`. AES-128 itself is the `cryptography` package's (OpenSSL), a statement of it that shares nothing with
the gateware.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from twinphase_sim.model.sift.qrng import QrngConfig, qrng_words
from twinphase_spec.frame import FrameConfig, SlotClass
from twinphase_spec.symbols import BLOCK_PULSES, PHASE_CODE_BITS, SLICE_BITS, SLICES, Intensity, Level, SymbolConfig

BLOCK_BYTES = 16
PULSE_INDEX_BITS = BLOCK_PULSES.bit_length() - 1


@dataclass(frozen=True)
class Symbols:
    """What a client prepares, one element per pulse.

    * ``x``: X window; otherwise Z.
    * ``send``: the Z window is sent (False in X windows).
    * ``intensity``: `Intensity` (Z: MU_Z if sent, else VAC).
    * ``slice``: the phase slice, 0 .. 15.
    * ``phase``: modulator phase in 2^-8 turn, ``slice << 4``.
    """

    x: NDArray[np.bool_]
    send: NDArray[np.bool_]
    intensity: NDArray[np.uint8]
    slice: NDArray[np.uint8]
    phase: NDArray[np.uint8]


def key_stream(key: bytes, nonce: int, blocks: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Blocks of the key stream, (n, 16) bytes: AES-128 of ``nonce | block`` for each of n block numbers."""
    counters = np.empty((blocks.size, 2), dtype=">u8")
    counters[:, 0] = nonce
    counters[:, 1] = blocks
    # Every block is a counter block of CTR mode, of which ECB gives the key stream at any place.
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return np.frombuffer(encryptor.update(counters.tobytes()), dtype=np.uint8).reshape(-1, BLOCK_BYTES)


def symbol_words(config: SymbolConfig, pulses: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """The 16 bits of the key stream, or of a QRNG, that belong to every pulse index (56 bits)."""
    pulses = np.asarray(pulses, dtype=np.uint64)
    if isinstance(config, QrngConfig):
        return qrng_words(config.seed, pulses)
    flat = pulses.reshape(-1)
    blocks = flat >> np.uint64(PULSE_INDEX_BITS)
    # Pulses come in runs of a block, or far apart.
    first = np.flatnonzero(np.diff(blocks, prepend=blocks[:1] + np.uint64(1)))
    run = np.repeat(np.arange(first.size), np.diff(first, append=blocks.size))
    stream = key_stream(config.key_bytes, config.nonce, blocks[first]).view(">u2")
    words = stream[run, (flat % np.uint64(BLOCK_PULSES)).astype(np.intp)]
    return words.astype(np.uint16).reshape(pulses.shape)


def decode(config: SymbolConfig, words: NDArray[np.uint16]) -> Symbols:
    """Symbols that words of the key stream mean under the bounds of ``config``."""
    words = np.asarray(words, dtype=np.uint16)
    place = np.searchsorted(np.array(config.bounds), words >> np.uint16(SLICE_BITS), side="right")
    levels = (Intensity.MU_Z, Intensity.VAC, Intensity.VAC, Intensity.MU_1, Intensity.MU_2)
    masks = np.where(place >= 2, np.uint8(config.slices_x), np.uint8(config.slices_z))
    number = (words & np.uint16(SLICES - 1)).astype(np.uint8) & masks
    return Symbols(
        x=place >= 2,
        send=place == 0,
        intensity=np.array(levels, dtype=np.uint8)[place],
        slice=number,
        phase=number << np.uint8(PHASE_CODE_BITS - SLICE_BITS),
    )


def symbols(config: SymbolConfig, pulses: NDArray[np.uint64]) -> Symbols:
    """Symbols of the pulses with the given indices."""
    return decode(config, symbol_words(config, pulses))


def slot_bytes(frame: FrameConfig, pulses: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Table entry (q class | r class << 4) of every pulse."""
    slots = np.asarray(pulses, dtype=np.uint64) % np.uint64(frame.frame_pulses) // np.uint64(frame.slot_pulses)
    return np.array(frame.table, dtype=np.uint8)[slots.astype(np.int64)]


def modulator_codes(
    frame: FrameConfig, role: Literal["alice", "bob"], config: SymbolConfig, pulses: NDArray[np.uint64]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Codes ``level << 8 | phase`` of the quantum and of the reference band for every pulse index."""
    return codes_of(slot_bytes(frame, pulses), role, symbols(config, pulses))


def codes_of(
    entries: NDArray[np.uint8], role: Literal["alice", "bob"], drawn: Symbols
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Codes of both bands for table entries and symbols. ValueError for another role."""
    if role not in ("alice", "bob"):
        raise ValueError(f"modulator codes: role is {role!r}; allowed: 'alice' or 'bob'")
    table = reference_codes(role)
    class_q, class_r = entries & np.uint8(15), entries >> np.uint8(4)
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
