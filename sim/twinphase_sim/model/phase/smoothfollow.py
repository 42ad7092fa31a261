"""Gains of the smoother that follow the tracker's. Source: "Gains that follow" of docs/phase.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import smoothing
from twinphase_spec.fixed import wrap_signed
from twinphase_spec.smooth_follow import CENTRE, ENTRIES, LD_STEPS, NODES, WORDS

from .nodes import CLICKS, LOCKED, Nodes, P

GAINS = 4


@dataclass(frozen=True)
class GainTable:
    """A channel's part of SMOOTH_TABLE, and its SMOOTH_FROM."""

    words: Sequence[int]
    start: int


def binary_logs(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """ld of each, below 2^53."""
    place = np.maximum(np.frexp(values)[1].astype(np.int64) - 1, 0)
    return LD_STEPS * place + ((values * LD_STEPS >> place) & (LD_STEPS - 1))


def entries(
    nodes: Nodes, channel: int, *, step_log: int, first_block: int, blocks: int, start: int
) -> NDArray[np.int64]:
    """Entry in use after each of ``blocks`` blocks of NODES nodes of ``channel``, the first one ``first_block``. Shape (blocks,).

    ``step_log`` is its g, ``start`` its SMOOTH_FROM. A block of which not all nodes are there or locked leaves it as it was, CENTRE at
    first.
    """
    turns = (np.arange(NODES * first_block, NODES * (first_block + blocks)) << step_log) - nodes.first_epoch
    there = (turns >= 0) & (turns < nodes.released.size)
    of = (
        nodes.table[channel][np.where(there, turns, 0)]
        if nodes.released.size
        else np.zeros((turns.size, 8), dtype=np.int64)
    )
    whole = (there & (of[:, LOCKED] == 1)).reshape(-1, NODES).all(axis=1)
    variances = of[:, P].reshape(-1, NODES).sum(axis=1)
    # a block that is whole has a node before it, as no run begins with a phase
    before = np.clip(turns[::NODES] - (1 << step_log), 0, max(nodes.released.size - 1, 0))
    clicks = of[NODES - 1 :: NODES, CLICKS]
    if nodes.released.size:
        clicks = clicks - nodes.table[channel, before, CLICKS]
    told = np.clip((binary_logs(variances) + binary_logs(np.maximum(clicks, 0)) - start) >> 2, 0, ENTRIES - 1)
    last = np.maximum.accumulate(np.where(whole, np.arange(1, blocks + 1), 0))
    return np.concatenate([[CENTRE], told])[last]


def following_gains(
    nodes: Nodes,
    channel: int,
    table: Sequence[int],
    *,
    step_log: int,
    first_block: int,
    blocks: int,
    later: int,
    start: int,
) -> NDArray[np.int64]:
    """H11, H12, H21, H22 of the passes that give blocks ``first_block`` on, shape (blocks, 4), from the words of its table.

    The pass of block b begins at node 16 (b + 2) + ``later``, SMOOTH_LATER: its entry is that of all NODES nodes that are complete with
    it. ValueError for a table of another length.
    """
    if len(table) != WORDS:
        raise ValueError(f"server model: a channel's table of gains has {len(table)} words; allowed: {WORDS}")
    words = np.array([wrap_signed(word & ((1 << smoothing.GAIN_BITS) - 1), smoothing.GAIN_BITS) for word in table])
    begins = smoothing.BLOCK * (first_block + 2 + np.arange(blocks)) + later
    first = smoothing.BLOCK * first_block // NODES
    complete = (begins + 1) // NODES - first
    used = entries(
        nodes, channel, step_log=step_log, first_block=first, blocks=int(complete.max(initial=0)), start=start
    )
    return words.reshape(ENTRIES, GAINS)[np.concatenate([[CENTRE], used])[complete]].astype(np.int64)
