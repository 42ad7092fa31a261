"""What a client's bitstream is built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Recall = Literal["own", "shared"]
RECALLS: tuple[Recall, ...] = get_args(Recall)
LANES = (1, 2, 4, 8)
Outputs = Literal["symbols", "dac"]
OUTPUTS: tuple[Outputs, ...] = get_args(Outputs)
DAC_LANES = (1, 2)
"""Pulses per clock whose DAC words the pins hold: one column of words, with a value in each half of a clock."""


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """``lanes``: pulses per clock. ``recall``: symbols of heralds from an AES core of their ``own`` or ``shared`` from the emission's
    pipeline (`twinphase_hdl.sift.counter`). ``outputs``: on the pins are the ``symbols``' levels and phases (`modulators`), or the
    words of the modulator tables for parallel ``dac``s (`drives`). ValueError for what cannot be built."""

    lanes: int = 8
    recall: Recall = "own"
    outputs: Outputs = "symbols"

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
