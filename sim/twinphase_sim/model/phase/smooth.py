"""Smoother: phases of a channel between nodes, from the clicks before and after. Source: "Smoother" of docs/phase.md."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec import smoothing
from twinphase_spec import tracking as t

from .clicktracker_kernel import saturate
from .nodes import PHASE_MASK, Nodes
from .smoothfollow import GainTable, following_gains

BLOCK_BITS = smoothing.BLOCK.bit_length() - 1


@numba.njit(cache=True)
def wrap_step(value: int) -> int:
    """``value`` to 32 bits signed."""
    half = 1 << (smoothing.STEP_BITS - 1)
    return ((value + half) & PHASE_MASK) - half


@dataclass(frozen=True)
class Intervals:
    """Consecutive intervals of a channel, the first of index ``first``; interval k begins at clock ``k 2^step_bits``. Shape (n,)."""

    step_bits: int
    """E + g."""
    first: int
    start: NDArray[np.int64]
    """f', 2^-32 turn, unsigned."""
    way: NDArray[np.int64]
    """To the next interval's start, signed."""
    valid: NDArray[np.bool_]

    @property
    def covered(self) -> int:
        """Clock, not wrapped, before which the intervals are complete."""
        return (self.first + self.start.size) << self.step_bits


@numba.njit(cache=True)
def _smooth(
    phase: NDArray[np.int64],
    step: NDArray[np.int64],
    linked: NDArray[np.bool_],
    gains: NDArray[np.int64],
    later: int,
    start: NDArray[np.int64],
    way: NDArray[np.int64],
) -> None:
    """Blocks from the first node on, as many as have 2 BLOCK + ``later`` nodes after their first; ``gains`` of each: (blocks, 4)."""
    for first in range(0, start.size, smoothing.BLOCK):
        h11, h12, h21, h22 = gains[first // smoothing.BLOCK]
        k = first + 2 * smoothing.BLOCK + later
        f, s = phase[k], step[k]
        while k > first:
            k -= 1
            new, slope = phase[k], step[k]
            if linked[k + 1]:
                e1 = wrap_step(f - new - slope)
                e2 = saturate(s - slope, smoothing.STEP_BITS)
                new = (new + ((h11 * e1 + h12 * e2) >> smoothing.GAIN_FRACTION)) & PHASE_MASK
                slope = saturate(slope + ((h21 * e1 + h22 * e2) >> smoothing.GAIN_FRACTION), smoothing.STEP_BITS)
            if k < first + smoothing.BLOCK:
                start[k], way[k] = new, wrap_step(f - new)
            f, s = new, slope


def smooth(
    nodes: Nodes,
    channel: int,
    *,
    step_log: int,
    gains: tuple[int, int, int, int] | GainTable,
    from_clock: int,
    later: int = 0,
) -> Intervals:
    """Intervals that the nodes complete, from the block on that holds ``from_clock``, which is not after the first node.

    ``step_log`` is g, ``later`` SMOOTH_LATER, ``gains`` the words H11, H12, H21, H22, or a table that is followed. A node
    before the first of ``nodes`` has F = s = 0 and is not locked.
    """
    step_bits = nodes.epoch_bits + step_log
    low = (from_clock >> step_bits) >> BLOCK_BITS << BLOCK_BITS
    earliest = -(-nodes.first_epoch >> step_log)
    latest = (nodes.first_epoch + nodes.released.size - 1) >> step_log
    count = max(0, latest + 1 - low)
    phase, step = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    locked, linked = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    if latest >= earliest:
        places = np.arange(earliest, latest + 1)
        turns = (places << step_log) - nodes.first_epoch
        places -= low
        phase[places] = nodes.phase[channel, turns]
        step[places] = _steps(nodes.slope[channel, turns], step_bits)
        locked[places] = nodes.locked[channel, turns]
        broken = np.cumsum(nodes.broke[channel])[turns]
        linked[places[1:]] = locked[places[1:]] & locked[places[:-1]] & (np.diff(broken) == 0)
    blocks = max(0, (count - 1 - later >> BLOCK_BITS) - 1)
    start, way = np.zeros((2, blocks << BLOCK_BITS), dtype=np.int64)
    if isinstance(gains, GainTable):
        of_blocks = following_gains(
            nodes,
            channel,
            gains.words,
            step_log=step_log,
            first_block=low >> BLOCK_BITS,
            blocks=blocks,
            later=later,
            start=gains.start,
        )
    else:
        of_blocks = np.tile(np.array(gains, dtype=np.int64), (blocks, 1))
    _smooth(phase, step, linked, of_blocks, later, start, way)
    return Intervals(step_bits=step_bits, first=low, start=start, way=way, valid=linked[1 : start.size + 1])


def _steps(slope: NDArray[np.int64], step_bits: int) -> NDArray[np.int64]:
    """``sat_32((G 2^(E+g)) >> 12)``."""
    top = (1 << (smoothing.STEP_BITS - 1)) - 1
    return np.clip((slope << step_bits) >> t.B_SHIFT, -top - 1, top)
