"""Nodes of time: the phases of the click tracker's channels at its turns, and the TRACK records made of them.

Source: "Nodes of time" of docs/phase.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec import smoothing
from twinphase_spec import tracking as t
from twinphase_spec.fixed import RATIO_FRACTION_BITS
from twinphase_spec.packets import (
    TRACK_BROKE,
    TRACK_CHANNEL_SHIFT,
    TRACK_DTYPE,
    TRACK_FLAGS_SHIFT,
    TRACK_LOCKED,
)
from twinphase_spec.units import CLOCK_BITS

R, D = range(2)
"""Channels of the server's tracker: `smoothing.CHANNELS`."""
U, B, P, V, LOCKED, BROKE, CLICKS, MEMBERS = range(8)
"""Members of a node in `Nodes.table`."""
PHASE_MASK = (1 << smoothing.STEP_BITS) - 1
SLOPE_SHIFT = t.B_FRACTION - 42
"""A TRACK record's slope has 2^-42 turn/clock."""
VISIBILITY_SHIFT = t.V_BITS - t.VISIBILITY_BITS


@numba.njit(cache=True)
def quantum_phase(unwrapped: int, ratio: int) -> int:
    """``(U + ((U C) >> 32)) mod 2^32``: of the product's 96 bits only 32 to 63 count, which wrapping 64-bit products give."""
    return (unwrapped + (unwrapped * ratio >> RATIO_FRACTION_BITS)) & PHASE_MASK


@dataclass(frozen=True)
class Nodes:
    """Outputs of consecutive turns, the first to ``first_epoch``; n turns."""

    epoch_bits: int
    first_epoch: int
    table: NDArray[np.int64]
    """Shape (2 channels, n, MEMBERS): U, B, p, V, locked, broke of the turn's output, and clicks among the outputs before."""
    released: NDArray[np.int64]
    """Shape (n,): T, the clock in which the feed lets the turn go."""
    phase: NDArray[np.int64]
    """Shape (2, n): F, 2^-32 turn at the quantum wavelength."""

    @property
    def slope(self) -> NDArray[np.int64]:
        """G, shape (2, n), 2^-44 turn/clock."""
        return self.table[..., B] >> t.B_DROP

    @property
    def locked(self) -> NDArray[np.bool_]:
        return self.table[..., LOCKED] == 1

    @property
    def broke(self) -> NDArray[np.bool_]:
        return self.table[..., BROKE] == 1

    @property
    def epochs(self) -> NDArray[np.int64]:
        """e, not wrapped, shape (n,)."""
        return self.first_epoch + np.arange(self.released.size)

    def first(self, count: int) -> Nodes:
        """The first ``count`` of them."""
        return Nodes(
            epoch_bits=self.epoch_bits,
            first_epoch=self.first_epoch,
            table=self.table[:, :count],
            released=self.released[:count],
            phase=self.phase[:, :count],
        )


def track_records(nodes: Nodes, every_bits: int) -> NDArray[np.void]:
    """TRACK records of both channels at every turn to an e with ``e mod 2^every_bits = 0``; ``applied_turns`` is 0 (no actuator).

    A channel's break stays until its next turn's output shows it, so the turns' outputs since the last record tell of all.
    """
    places = np.flatnonzero(nodes.epochs % (1 << every_bits) == 0)
    chosen = nodes.table[:, places]
    broken = np.cumsum(nodes.table[..., BROKE], axis=1)[:, places]
    clock = (nodes.epochs[places] << nodes.epoch_bits) & ((1 << CLOCK_BITS) - 1)
    flags = chosen[..., LOCKED] * TRACK_LOCKED | (np.diff(broken, axis=1, prepend=0) > 0) * TRACK_BROKE
    records = np.zeros(chosen.shape[:2], dtype=TRACK_DTYPE)
    records["clock_low"] = clock & 0xFFFFFFFF
    channel = np.arange(2)[:, None] << TRACK_CHANNEL_SHIFT
    records["clock_high_channel"] = clock >> 32 | channel | flags << TRACK_FLAGS_SHIFT
    records["phase_turns"] = chosen[..., U]
    records["slope"] = chosen[..., B] >> SLOPE_SHIFT
    records["variance"] = chosen[..., P]
    records["visibility"] = chosen[..., V] >> VISIBILITY_SHIFT
    records["clicks"] = np.diff(chosen[..., CLICKS], axis=1, prepend=0) & 0xFFFFFFFF
    return records.T.ravel()
