"""What a client emits in each slot of its grid under corrections (docs/alignment.md, Emission)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import emission as spec
from twinphase_spec.frame import PULSE_BITS, FrameConfig
from twinphase_spec.symbols import SymbolConfig
from twinphase_spec.units import TICKS_PER_CLOCK

from .symbols import codes_of, slot_bytes, symbols

SLOT_MASK = (1 << PULSE_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class Correction:
    """From slot N on pulse p - K is emitted in slot p, ``fraction`` ticks late: a write of EMIT_SLOT, EMIT_PULSES and EMIT_FRACTION."""

    slot: int
    pulses: int
    fraction: int


@dataclass(frozen=True, eq=False)
class Emitted:
    """Slot by slot: ``pulse`` (n, as it would be without wrapping), whether there is ``light``, ``fraction`` in ticks."""

    pulse: NDArray[np.int64]
    light: NDArray[np.bool_]
    fraction: NDArray[np.int64]


class EmissionSchedule:
    """Corrections of a client with ``lanes`` pulses per clock, since the start of its frame.

    Slots here do not wrap: those of a `Correction`, 56 bits, are those next to the slot at which it is written.
    """

    def __init__(self, *, lanes: int) -> None:
        self._lanes = lanes
        self.taken = self.refused = 0
        self.stop()

    def stop(self) -> None:
        """The frame stops: there are no corrections."""
        self._slots, self._pulses, self._fractions = [0], [0], [0]
        self._dark: list[tuple[int, int]] = []
        self._any = False
        self._arrays: tuple[NDArray[np.int64], ...] | None = None

    def write(self, correction: Correction, slot: int) -> bool:
        """Hand over a correction while the anchor stands at ``slot``, not before that of the write before. Whether it was taken."""
        named = correction.slot & ~(spec.SLOT_STEP - 1) & SLOT_MASK
        ahead = named - slot & SLOT_MASK
        begin = slot + (ahead if ahead < 1 << (PULSE_BITS - 1) else ahead - (1 << PULSE_BITS))
        change = correction.pulses - self._pulses[-1]
        waiting = len(self._slots) - max(1, bisect_right(self._slots, slot))
        good = (
            begin - slot >= spec.LEAD_SLOTS
            and (not self._any or begin - self._slots[-1] >= spec.APART_SLOTS)
            and waiting < spec.QUEUE
            and -spec.MOST_STEP <= change < spec.MOST_STEP
            and 0 <= correction.fraction < TICKS_PER_CLOCK // self._lanes
        )
        if not good:
            self.refused += 1
            return False
        self.taken += 1
        if change:
            light = max(begin + spec.DARK_SLOTS, begin - self._lanes + change)
            self._dark.append((begin - self._lanes, -(-light // spec.SLOT_STEP) * spec.SLOT_STEP))
        self._slots.append(begin)
        self._pulses.append(correction.pulses)
        self._fractions.append(correction.fraction)
        self._any, self._arrays = True, None
        return True

    def begins(self, first: int, last: int) -> list[int]:
        """Slots between those two from which on corrections are in force."""
        low, high = bisect_right(self._slots, first), bisect_left(self._slots, last)
        return self._slots[max(1, low) : high]

    def at(self, slots: NDArray[np.int64]) -> Emitted:
        """What is emitted in these slots."""
        if self._arrays is None:
            edges = [edge for stretch in self._dark for edge in stretch]
            self._arrays = tuple(
                np.array(part, np.int64) for part in (self._slots, self._pulses, self._fractions, edges)
            )
        begins, pulses, fractions, edges_of_dark = self._arrays
        number = np.maximum(np.searchsorted(begins, slots, side="right") - 1, 0)
        light = np.searchsorted(edges_of_dark, slots, side="right") % 2 == 0
        return Emitted(slots - pulses[number], light, fractions[number])


def emitted_codes(
    schedule: EmissionSchedule,
    frame: FrameConfig,
    role: Literal["alice", "bob"],
    config: SymbolConfig,
    slots: NDArray[np.int64],
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Codes ``level << 8 | phase`` of both bands in every slot; 0 where it is dark."""
    emitted = schedule.at(slots)
    places = np.mod(emitted.pulse, frame.frame_pulses).astype(np.uint64)
    drawn = symbols(config, emitted.pulse.astype(np.uint64) & np.uint64(SLOT_MASK))
    q, r = codes_of(slot_bytes(frame, places), role, drawn)
    return np.where(emitted.light, q, 0).astype(np.uint16), np.where(emitted.light, r, 0).astype(np.uint16)
