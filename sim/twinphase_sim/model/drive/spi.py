"""Pins of a serial DAC by clock. Source: "Serial DAC" of docs/actuator.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class SpiFrame:
    """The configuration of a driver, with the names of its constructor."""

    bits: int = 16
    half_clocks: int
    cpol: int = 0
    cpha: int = 0
    prefix: int = 0
    prefix_bits: int = 0
    suffix_bits: int = 0
    gap: int = 1

    @property
    def frame_bits(self) -> int:
        """B."""
        return self.prefix_bits + self.bits + self.suffix_bits


def spi_frame(word: int, config: SpiFrame) -> NDArray[np.uint8]:
    """Rows (select, clock, data) from the clock behind the transfer of ``word`` to the last clock before the next transfer can be."""
    count = config.frame_bits
    value = (config.prefix << config.bits | word) << config.suffix_bits
    sent = [value >> (count - 1 - j) & 1 for j in range(count)]
    halves = []
    for half in range(2 * count + 1 + config.gap):
        inside = half <= 2 * count
        away = inside and half % 2 == 1
        j = (half - config.cpha) // 2
        data = sent[j] if 0 <= j < count else 0
        halves.append((int(not inside), config.cpol ^ int(away), data))
    return np.repeat(np.array(halves, dtype=np.uint8), config.half_clocks, axis=0)
