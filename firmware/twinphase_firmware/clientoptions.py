"""What a client's bitstream is built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from twinphase_spec.symbol_ring import QRNG_BITS_PER_PULSE, RING_STEP, RingConfig

Recall = Literal["own", "shared"]
RECALLS: tuple[Recall, ...] = get_args(Recall)
LANES = (1, 2, 4, 8)
Outputs = Literal["symbols", "dac"]
OUTPUTS: tuple[Outputs, ...] = get_args(Outputs)
DAC_LANES = (1, 2)
"""Pulses per clock whose DAC words the pins hold: one column of words, with a value in each half of a clock."""
Symbols = Literal["counter", "ring"]
SYMBOLS: tuple[Symbols, ...] = get_args(Symbols)
RING_LANES = (1, 2)
"""Pulses per clock whose bits a QRNG can bring: 16 lines, with a bit in each half of a clock."""
BOARD_RING = 16 * RING_STEP
"""Symbols of a ring unless asked otherwise: 262 144, with which a client of one lane has 143 DP16KD."""
MOST_RING = 23 * RING_STEP
"""The largest ring on a board: 376 832, with which a client has 181 of an 85F's 208 DP16KD."""


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """``lanes``: pulses per clock. ``recall``: symbols of heralds from an AES core of their ``own`` or ``shared`` from the emission's
    pipeline (`twinphase_hdl.sift.counter`). ``outputs``: on the pins are the ``symbols``' levels and phases (`modulators`), or the
    words of the modulator tables for parallel ``dac``s (`drives`). ``symbols``: in ``counter`` mode, or from a QRNG on pins, kept in a
    ``ring`` (`qrng`); ``ring``: how many it keeps, `BOARD_RING` if None. ValueError for what cannot be built."""

    lanes: int = 8
    recall: Recall = "own"
    outputs: Outputs = "symbols"
    symbols: Symbols = "counter"
    ring: int | None = None

    def __post_init__(self) -> None:
        if self.lanes not in LANES:
            raise ValueError(f"client: lanes is {self.lanes}; allowed: 1, 2, 4 or 8")
        if self.recall not in RECALLS:
            raise ValueError(f"client: recall is {self.recall!r}; allowed: {' or '.join(map(repr, RECALLS))}")
        if self.recall == "shared" and self.lanes == LANES[-1]:
            raise ValueError(
                "client: recall is 'shared' with 8 lanes, which take a block in every clock; allowed: 'own', or fewer lanes"
            )
        if self.outputs not in OUTPUTS:
            raise ValueError(f"client: outputs is {self.outputs!r}; allowed: {' or '.join(map(repr, OUTPUTS))}")
        if self.outputs == "dac" and self.lanes not in DAC_LANES:
            raise ValueError(
                f"client: outputs is 'dac' with {self.lanes} lanes, but pins are there for one column of DAC words, which changes "
                "twice a clock at most; allowed: 1 or 2 lanes, or 'symbols'"
            )
        if self.symbols not in SYMBOLS:
            raise ValueError(f"client: symbols is {self.symbols!r}; allowed: {' or '.join(map(repr, SYMBOLS))}")
        if self.symbols == "ring":
            self._check_ring()
        elif self.ring is not None:
            raise ValueError(
                f"client: ring is {self.ring} with symbols 'counter', which keeps none; allowed: symbols 'ring', or no ring"
            )

    def _check_ring(self) -> None:
        if self.lanes not in RING_LANES:
            raise ValueError(
                f"client: symbols is 'ring' with {self.lanes} lanes, which take {QRNG_BITS_PER_PULSE * self.lanes} bits of a QRNG in "
                "every clock, but pins are there for 16, which change twice a clock at most; allowed: 1 or 2 lanes, or 'counter'"
            )
        if self.outputs != "symbols":
            raise ValueError(
                "client: symbols is 'ring' with outputs 'dac', whose words leave no 19 pins for a QRNG; "
                "allowed: outputs 'symbols', or 'counter'"
            )
        if self.recall != "own":
            raise ValueError(
                "client: recall is 'shared' with symbols 'ring', which are recalled from the ring; allowed: 'own', or 'counter'"
            )
        if self.ring_symbols > MOST_RING:
            raise ValueError(
                f"client: ring is {self.ring_symbols} symbols; allowed: {MOST_RING} at most, for which the part has block RAM"
            )
        RingConfig(symbols=self.ring_symbols)

    @property
    def ring_symbols(self) -> int:
        """Symbols of the ring, 0 in counter mode."""
        if self.symbols == "counter":
            return 0
        return BOARD_RING if self.ring is None else self.ring
