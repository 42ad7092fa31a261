"""DAC words of a client's modulators (docs/modulators.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.drive import BAND_WORDS, BANDS, DRIVE_BITS, ENTRY_BITS, FULL_SCALE, PHASE_STEP_BITS, identity_table


class ModulatorTable:
    """MODULATOR_TABLE, as it is at power-up."""

    def __init__(self) -> None:
        self._words = np.array(identity_table(), np.uint32)

    def write(self, address: int, word: int) -> None:
        """A write of word ``address``."""
        self._words[address] = word & ((1 << ENTRY_BITS) - 1)

    def drive(self, band: str, codes: NDArray[np.uint16]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """(intensity words, phase words) of codes that an emitter can give in this band."""
        entries = self._words[BANDS.index(band) * BAND_WORDS + (codes >> np.uint16(PHASE_STEP_BITS))]
        return (entries & np.uint32(FULL_SCALE)).astype(np.uint16), (entries >> np.uint32(DRIVE_BITS)).astype(np.uint16)
