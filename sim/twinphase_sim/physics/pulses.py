"""What light comes to each place of the server's grid: groups of places in which both users are equally bright at most, and the
users' pulses there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.symbols import symbols
from twinphase_spec.frame import FrameConfig, SlotClass
from twinphase_spec.lab import Lab
from twinphase_spec.symbols import Level, SymbolConfig

from .optics import REFERENCE_STEPS, Band, level_photons
from .slots import ClassPulses, band_classes

MOST_FRAME_PULSES = 1 << 20
"""Of frames whose pulses are displaced: a few bytes per pulse are kept of each displacement."""
KEPT_SHIFTS = 4
BANDS: tuple[Band, Band] = ("q", "r")
Classes = NDArray[np.uint8]


class Kind(IntEnum):
    """What a user sends in a slot."""

    DARK = 0
    SYMBOLS = 1
    REFERENCE = 2


STRAIGHT: tuple[tuple[Band, tuple[SlotClass, ...], tuple[Kind, Kind]], ...] = (
    ("q", (SlotClass.SIG,), (Kind.SYMBOLS, Kind.SYMBOLS)),
    ("q", REFERENCE_STEPS, (Kind.REFERENCE, Kind.REFERENCE)),
    ("q", (SlotClass.REF_A,), (Kind.REFERENCE, Kind.DARK)),
    ("q", (SlotClass.REF_B,), (Kind.DARK, Kind.REFERENCE)),
    ("r", REFERENCE_STEPS, (Kind.REFERENCE, Kind.REFERENCE)),
    ("r", (SlotClass.REF_A,), (Kind.REFERENCE, Kind.DARK)),
    ("r", (SlotClass.REF_B,), (Kind.DARK, Kind.REFERENCE)),
)
"""Slot classes with light and what the users send there, where every pulse is in its own place; every other class sends no light."""


class Members(Protocol):
    """Places of a group, numbered on their own: ordinal 0, 1, 2 ... in rising order."""

    @property
    def per_frame(self) -> int: ...

    def count_before(self, pulse: int) -> int:
        """How many of them have an index below ``pulse``."""

    def at(self, ordinals: NDArray[np.int64]) -> tuple[NDArray[np.int64], Classes, Classes]:
        """(place, class of Alice's pulse there, class of Bob's) of each ordinal."""


class StraightPlaces(ClassPulses):
    """Members where every pulse is in its own place."""

    def at(self, ordinals: NDArray[np.int64]) -> tuple[NDArray[np.int64], Classes, Classes]:
        places, classes = self.pulse(ordinals)
        return places, classes, classes


class DisplacedPlaces:
    """Members where Alice's and Bob's frames are displaced: classes of both by place in the frame, and which places are members."""

    def __init__(self, classes: tuple[Classes, Classes], member: NDArray[np.bool_]) -> None:
        self._classes, self._length, self._inside = classes, member.size, np.flatnonzero(member)
        self.per_frame = self._inside.size

    def count_before(self, pulse: int) -> int:
        frames, inside = divmod(pulse, self._length)
        return frames * self.per_frame + int(np.searchsorted(self._inside, inside))

    def at(self, ordinals: NDArray[np.int64]) -> tuple[NDArray[np.int64], Classes, Classes]:
        frames, entry = np.divmod(ordinals, self.per_frame)
        inside = self._inside[entry]
        return frames * self._length + inside, self._classes[0][inside], self._classes[1][inside]


@dataclass(frozen=True, eq=False)
class Group:
    """Places of one band that share an upper bound of their light: what Alice and Bob send there."""

    band: Band
    kinds: tuple[Kind, Kind]
    members: Members


class UserLight:
    """Both users' pulses by place. ``alice`` and ``bob`` are the generators of the two clients."""

    def __init__(self, lab: Lab, frame: FrameConfig, alice: SymbolConfig, bob: SymbolConfig) -> None:
        self._frame, self._symbols = frame, (alice, bob)
        clients = lab.clients.alice, lab.clients.bob
        self._photons = {band: tuple(level_photons(client, band) for client in clients) for band in BANDS}
        straight = [Group(band, kinds, StraightPlaces(frame, band, classes)) for band, classes, kinds in STRAIGHT]
        self._groups = OrderedDict({(0, 0): [group for group in straight if group.members.per_frame]})

    def groups(self, shift: tuple[int, int]) -> list[Group]:
        """Groups where place n holds Alice's pulse ``n - shift[0]`` and Bob's ``n - shift[1]``. ValueError for too long a frame."""
        length = self._frame.frame_pulses
        turned = shift[0] % length, shift[1] % length
        if turned not in self._groups:
            if length > MOST_FRAME_PULSES:
                raise ValueError(
                    f"arms: pulses are displaced in a frame of {length}; allowed: frames of up to {MOST_FRAME_PULSES} pulses"
                )
            self._groups[turned] = [group for band in BANDS for group in self._displaced(band, turned)]
            if len(self._groups) > KEPT_SHIFTS:
                self._groups.pop(next(key for key in self._groups if key != (0, 0)))
        return self._groups[turned]

    def _displaced(self, band: Band, shift: tuple[int, int]) -> list[Group]:
        own = np.repeat(band_classes(self._frame, band), self._frame.slot_pulses)
        classes = np.roll(own, shift[0]), np.roll(own, shift[1])
        kinds = [
            _kinds(those, band, mine) for those, mine in zip(classes, (SlotClass.REF_A, SlotClass.REF_B), strict=True)
        ]
        groups = [
            Group(band, (a, b), DisplacedPlaces(classes, (kinds[0] == a) & (kinds[1] == b)))
            for a in reversed(Kind)
            for b in reversed(Kind)
            if a or b
        ]
        return [group for group in groups if group.members.per_frame]

    def brightest(self, group: Group, user: int) -> float:
        """Largest mean photon number that a user sends in the group."""
        photons = self._photons[group.band][user]
        if group.kinds[user] is Kind.SYMBOLS:
            return float(photons[: Level.REF].max())
        return float(photons[Level.REF]) if group.kinds[user] is Kind.REFERENCE else 0.0

    def at(
        self, group: Group, places: NDArray[np.int64], class_a: Classes, shift: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(Alice's photons, Bob's, thetaA - thetaB in rad) of the pulses that come to ``places`` of the group."""
        sent, angles = [], []
        for user in range(2):
            photons, pulses = self._photons[group.band][user], places - shift[user]
            if group.kinds[user] is Kind.SYMBOLS:
                drawn = symbols(self._symbols[user], np.maximum(pulses, 0).astype(np.uint64))
                sent.append(np.where(pulses >= 0, photons[drawn.intensity], 0.0))
                angles.append(drawn.phase.astype(np.float64))
            else:
                level = photons[Level.REF] if group.kinds[user] is Kind.REFERENCE else 0.0
                sent.append(np.where(pulses >= 0, level, 0.0))
                steps = np.where(class_a >= SlotClass.REF0, class_a.astype(np.int64) - SlotClass.REF0, 0)
                angles.append(steps * 64.0 if user == 0 else np.zeros(places.size))
        return sent[0], sent[1], (angles[0] - angles[1]) * (2 * np.pi / 256)


def _kinds(classes: Classes, band: Band, mine: SlotClass) -> NDArray[np.uint8]:
    """`Kind` of each of a user's classes; ``mine``: the one-sided class in which it sends."""
    reference = (classes == mine) | ((classes >= SlotClass.REF0) & (classes <= SlotClass.REF3))
    kinds = np.where(reference, np.uint8(Kind.REFERENCE), np.uint8(Kind.DARK))
    return np.where((classes == SlotClass.SIG) & (band == "q"), np.uint8(Kind.SYMBOLS), kinds)
