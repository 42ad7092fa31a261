"""The way of light behind a node's actuator, as a run with ``light`` has it (`light.h`)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .harness import POINTER


class LightWords(ctypes.Structure):
    _fields_ = [
        ("turns", POINTER),
        ("codes", ctypes.c_uint64),
        ("delay_clocks", ctypes.c_uint64),
        ("dead_ticks", POINTER),
        ("recovery_ticks", POINTER),
        ("ratio", POINTER),
        ("channels", ctypes.c_uint64),
    ]


@dataclass(frozen=True, kw_only=True)
class LightPath:
    """What a node's actuator does to the light of its channels, and the detectors behind it.

    ``turns`` (codes): the modulator's phase by DAC code, of light whose ``ratio`` is 1; it is taken off. ``delay_clocks``: from a code
    on the node's output to the clock count of the clicks on which it has acted. ``dead_ticks``, ``recovery_ticks``, ``ratio``
    (channels): as `twinphase_sim.physics.detectors`; a band's optical frequency over that of ``turns``.
    """

    turns: NDArray[np.float64]
    delay_clocks: int
    dead_ticks: NDArray[np.float64]
    recovery_ticks: NDArray[np.float64]
    ratio: NDArray[np.float64]

    def words(self, codes: int, channels: int) -> tuple[LightWords, list[NDArray[Any]]]:
        """For a node with so many codes and channels, as the harness takes it, and the arrays whose addresses it has. ValueError if this
        is of another number."""
        columns = [
            np.ascontiguousarray(values, dtype=np.float64)
            for values in (self.turns, self.dead_ticks, self.recovery_ticks, self.ratio)
        ]
        turns, dead, recovery, ratio = columns
        if turns.size != codes or {dead.size, recovery.size, ratio.size} != {channels}:
            raise ValueError(
                f"light path: {turns.size} codes, {dead.size} detectors; allowed: {codes} codes and a dead time, "
                f"a recovery and a ratio for each of {channels} channels"
            )
        setup = LightWords(
            turns=turns.ctypes.data,
            codes=turns.size,
            delay_clocks=self.delay_clocks,
            dead_ticks=dead.ctypes.data,
            recovery_ticks=recovery.ctypes.data,
            ratio=ratio.ctypes.data,
            channels=dead.size,
        )
        return setup, columns
