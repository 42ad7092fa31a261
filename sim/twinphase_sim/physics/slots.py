"""Pulses of chosen slot classes, numbered on their own, so that clicks can be drawn over them alone."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.frame import FrameConfig, SlotClass

from .optics import Band


def band_classes(frame: FrameConfig, band: Band) -> NDArray[np.uint8]:
    """`SlotClass` of every table slot in a band."""
    table = np.array(frame.table, dtype=np.uint8)
    return table & np.uint8(15) if band == "q" else table >> np.uint8(4)


class ClassPulses:
    """The pulses whose slot's class in ``band`` is one of ``classes``, in rising order: ordinal 0, 1, 2 ..."""

    def __init__(self, frame: FrameConfig, band: Band, classes: Collection[SlotClass]) -> None:
        self._slot_pulses = frame.slot_pulses
        self._frame_pulses = frame.frame_pulses
        self._classes = band_classes(frame, band)
        member = np.isin(self._classes, [int(c) for c in classes])
        self._member = member
        self._slots = np.flatnonzero(member)
        self._before = np.concatenate(([0], np.cumsum(member)))
        self.per_frame = int(member.sum()) * frame.slot_pulses

    def count_before(self, pulse: int) -> int:
        """How many of them have an index below ``pulse``."""
        frames, frame_pulse = divmod(pulse, self._frame_pulses)
        slot, inside = divmod(frame_pulse, self._slot_pulses)
        whole = int(self._before[slot]) * self._slot_pulses
        return frames * self.per_frame + whole + (inside if self._member[slot] else 0)

    def pulse(self, ordinals: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Pulse index and class of each ordinal."""
        frames, inside = np.divmod(ordinals, self.per_frame)
        entry, inside = np.divmod(inside, self._slot_pulses)
        slots = self._slots[entry]
        return frames * self._frame_pulses + slots * self._slot_pulses + inside, self._classes[slots]
