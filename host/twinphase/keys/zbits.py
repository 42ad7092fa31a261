"""A user's Z bits of closed herald blocks: what the pairing works on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import sns
from twinphase_spec.aopp import MAX_POSITIONS

from .refused import Refused


@dataclass(frozen=True, kw_only=True, eq=False)
class ZBits:
    """Z heralds of ``blocks`` blocks of ``block_heralds`` heralds from ``first_block`` on.

    * ``numbers``: their herald numbers, rising (u4); index into it is the position that the pairing speaks of.
    * ``bits``: the user's key bit of each (u1).

    Raises `Refused` for numbers outside of the blocks, not rising, or bits other than 0 and 1.
    """

    first_block: int
    blocks: int
    block_heralds: int
    numbers: NDArray[np.uint32]
    bits: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.first_block < 0 or self.blocks < 1 or self.block_heralds < 1:
            raise Refused(
                f"pairing: blocks {self.first_block} + {self.blocks} of {self.block_heralds} heralds; allowed: first block 0 or more, "
                "at least one block and one herald"
            )
        if self.numbers.shape != self.bits.shape or self.numbers.ndim != 1:
            raise Refused(
                f"pairing: {self.numbers.shape} herald numbers and {self.bits.shape} bits; give two lists of equal length"
            )
        if self.numbers.size > MAX_POSITIONS:
            raise Refused(
                f"{self.span}: {self.numbers.size} Z bits; allowed: {MAX_POSITIONS}: pair fewer blocks at once"
            )
        start, stop = self.first_block * self.block_heralds, (self.first_block + self.blocks) * self.block_heralds
        if self.numbers.size:
            steps = np.flatnonzero(np.diff(self.numbers.astype(np.int64)) <= 0)
            if steps.size:
                raise Refused(
                    f"{self.span}: Z herald {self.numbers[steps[0] + 1]} after {self.numbers[steps[0]]}; numbers must rise"
                )
            for number in (int(self.numbers[0]), int(self.numbers[-1])):
                if not start <= number < stop:
                    raise Refused(f"{self.span}: Z herald {number} lies outside; allowed: {start} to {stop - 1}")
            if int(self.bits.max()) > 1:
                place = int(np.argmax(self.bits > 1))
                raise Refused(f"{self.span}: the bit of herald {self.numbers[place]} is {self.bits[place]}, not 0 or 1")

    @property
    def span(self) -> str:
        """For messages."""
        last = self.first_block + self.blocks - 1
        return f"block {last}" if self.blocks == 1 else f"blocks {self.first_block} to {last}"

    @property
    def numbers_crc(self) -> int:
        """CRC-32 of the herald numbers, which both users must have alike."""
        return zlib.crc32(self.numbers.astype("<u4").tobytes())

    @classmethod
    def from_sifted(cls, sifted: NDArray[Any], *, first_block: int, blocks: int, block_heralds: int) -> ZBits:
        """Those of SIFTED records (`twinphase_spec.packets.SIFTED_DTYPE`), which may hold X windows and other blocks as well.

        Raises `Refused` for a Z word with more than its lowest bit set.
        """
        inside = sifted["number"].astype(np.int64) // block_heralds - first_block
        chosen = sifted[(inside >= 0) & (inside < blocks) & (sifted["word"] & sns.SIFTED_X == 0)]
        strange = np.flatnonzero(chosen["word"] > 1)
        if strange.size:
            number, word = chosen[strange[0]]
            raise Refused(
                f"pairing: herald {number} has the word {word:#010x}, which is neither a Z bit nor an X window"
            )
        return cls(
            first_block=first_block,
            blocks=blocks,
            block_heralds=block_heralds,
            numbers=chosen["number"].astype(np.uint32),
            bits=chosen["word"].astype(np.uint8),
        )
