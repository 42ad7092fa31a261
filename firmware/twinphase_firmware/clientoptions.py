"""What a client's bitstream is built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Recall = Literal["own", "shared"]
RECALLS: tuple[Recall, ...] = get_args(Recall)
LANES = (1, 2, 4, 8)


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """``lanes``: pulses per clock. ``recall``: symbols of heralds from an AES core of their ``own`` or ``shared`` from the emission's
    pipeline (`twinphase_hdl.sift.counter`). ValueError for what cannot be built."""

    lanes: int = 8
    recall: Recall = "own"

    def __post_init__(self) -> None:
        if self.lanes not in LANES:
            raise ValueError(f"client: lanes is {self.lanes}; allowed: 1, 2, 4 or 8")
        if self.recall not in RECALLS:
            raise ValueError(f"client: recall is {self.recall!r}; allowed: {' or '.join(map(repr, RECALLS))}")
        if self.recall == "shared" and self.lanes == LANES[-1]:
            raise ValueError(
                "client: recall is 'shared' with 8 lanes, which take a block in every clock; allowed: 'own', or fewer lanes"
            )
