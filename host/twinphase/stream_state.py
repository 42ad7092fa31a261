"""What a receiver knows of one stream: order of its packets, numbering of its records, losses, silences.

Order: packets are put back into the order of their sequence numbers. Behind a missing one the later ones wait, for at
most HOLD_S or HOLD_PACKETS, then it counts as lost; each missing one for itself. Numbering: ``first_record`` tells how many
records were in the missing packets; ``lost`` how many the node itself lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICKS_PER_SECOND

HOLD_S = 0.02
HOLD_PACKETS = 256
WINDOW_PACKETS = 1 << 16
"""A sequence number further ahead than this is a stray."""
RESTART_PACKETS = 16
"""So many strays with rising numbers, and nothing else, mean a long gap (numbers ahead) or that the node counts anew."""
SILENCE_TICKS = TICKS_PER_SECOND // 100
"""An enabled stream sends something at least every 10 ms."""
REMEMBERED_PACKETS = 4096
MAX_LOST_RECORDS = 1 << 32
"""A loss counter that rises by more between two packets is damage."""


@dataclass
class StreamState:
    """Counts of one stream since the receiver started. Plain numbers: they go into JSON as they are."""

    packets: int = 0
    """Packets accepted in order, heartbeats included."""
    records: int = 0
    heartbeats: int = 0
    """Packets without payload."""
    lost_packets: int = 0
    lost_records: int = 0
    """Records of lost packets."""
    node_lost_records: int = 0
    """Records that the node lost since the receiver started."""
    duplicates: int = 0
    reordered: int = 0
    """Packets that came after one with a higher number and were put back in order."""
    late: int = 0
    """Packets that came after they had been given up; they stay lost."""
    strays: int = 0
    """Packets whose number fits nothing."""
    restarts: int = 0
    """Times that the node's numbering began anew; losses across a restart are unknown."""
    silences: int = 0
    """Pauses of more than 10 ms of node time without even a heartbeat."""
    earlier_records: int | None = None
    """Records that the node had sent (modulo 2^32) or lost before those of the first packet; 0: followed from the stream's start."""
    sequence: int | None = None
    """Last sequence number accepted."""
    last_ticks: int | None = None
    """Time base of the last packet."""

    def as_dict(self) -> dict[str, int | None]:
        """All counts by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass
class StreamOrder:
    """Puts the packets of one stream in order and checks the numbering of their records."""

    state: StreamState
    max_records: int
    """Most records in a packet."""
    by_run: bool = False
    """Whether a run of the node numbers the stream's records from 0 on."""
    _expected: int | None = None
    _held_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """When the packets that wait came."""
    _missing: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED_PACKETS))
    _stray_run: int = 0
    _last_stray: int = -1
    _next_record: int | None = None
    _suspect_record: int | None = None
    _lost: int | None = None
    _suspect_lost: int | None = None
    _dropped: int = 0

    def order(
        self, sequence: NDArray[np.uint32], now_s: float, final: bool = False
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.intp]]:
        """``(accepted, skipped, held)``: indices of accepted packets in order, the number of packets given up before each,
        and indices of those that wait and must be presented again, first, at the next call."""
        state = self.state
        if self._expected is None:
            self._expected = int(sequence[0])
        ahead = (sequence - np.uint32(self._expected)).view(np.int32).astype(np.int64)
        count = len(sequence)
        if np.array_equal(ahead, np.arange(count)):
            self._held_s = np.zeros(0)
            return self._accept(np.arange(count), np.zeros(count, np.int64), int(ahead[-1]), int(sequence[-1]))
        came_s = np.full(count, now_s)
        known = min(count, len(self._held_s))
        came_s[:known] = self._held_s[:known]
        fits = (ahead >= 0) & (ahead < WINDOW_PACKETS)
        self._count_misfits(sequence[~fits], ahead[~fits], alone=not fits.any())
        order = np.flatnonzero(fits)
        order = order[np.argsort(ahead[order], kind="stable")]
        number = ahead[order]
        fresh = np.diff(number, prepend=-1) > 0
        state.duplicates += int(np.count_nonzero(~fresh))
        order, number = order[fresh], number[fresh]
        skipped = np.diff(number, prepend=-1) - 1
        gaps = np.flatnonzero(skipped)
        ready = len(order)
        if len(gaps) and not final:
            given_up = (now_s - came_s[order[gaps]] >= HOLD_S) | (len(order) - gaps > HOLD_PACKETS)
            if not given_up.all():
                ready = int(gaps[np.argmin(given_up)])
        accepted, held = order[:ready], order[ready:]
        self._held_s = came_s[held]
        if not ready:
            return accepted, skipped[:0], held
        state.reordered += int(np.count_nonzero(np.maximum.accumulate(accepted) != accepted))
        for gap in gaps[gaps < ready]:
            stop = int(sequence[order[gap]])
            missing = min(int(skipped[gap]), REMEMBERED_PACKETS)
            self._missing.extend((stop - missing + i) & 0xFFFFFFFF for i in range(missing))
        self._accept(accepted, skipped[:ready], int(number[ready - 1]), int(sequence[accepted[-1]]))
        return accepted, skipped[:ready], held

    def _accept(
        self, accepted: NDArray[np.intp], skipped: NDArray[np.int64], last_ahead: int, last: int
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.intp]]:
        self._expected = (last + 1) & 0xFFFFFFFF
        self._stray_run = 0
        self.state.sequence = last
        self.state.lost_packets += last_ahead + 1 - len(accepted)
        return accepted, skipped, accepted[:0]

    def _count_misfits(self, sequence: NDArray[np.uint32], ahead: NDArray[np.int64], alone: bool) -> None:
        """Late, duplicate or stray; a run of strays alone moves the numbering."""
        for number, distance in zip(sequence.tolist(), ahead.tolist(), strict=True):
            self._stray_run = self._stray_run + 1 if number == self._last_stray + 1 else 1
            self._last_stray = number
            if alone and self._stray_run >= RESTART_PACKETS:
                self._move_to(number)
            if number in self._missing:
                self._missing.remove(number)
                self.state.late += 1
            elif -REMEMBERED_PACKETS <= distance < 0:
                self.state.duplicates += 1
            else:
                self.state.strays += 1

    def _move_to(self, number: int) -> None:
        """Go on behind ``number``. Ahead of what was expected: a long gap, whose records `number` counts with the next packet; else the
        node counts anew."""
        assert self._expected is not None
        gap = (number + 1 - self._expected) & 0xFFFFFFFF
        self._expected, self._stray_run = (number + 1) & 0xFFFFFFFF, 0
        if gap < 1 << 31:
            self.state.lost_packets += gap
            self._dropped += gap
        else:
            self._next_record, self._lost = None, None
            self.state.restarts += 1

    def number(
        self, header: NDArray[Any], count: NDArray[np.int64], skipped: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """``(good, missing, lost)`` of packets in order with ``count`` records each: whether the numbering of records is
        right, records missing before it with lost packets, and records that the node lost before it."""
        first = header["first_record"].astype(np.int64)
        node = header["lost"].astype(np.int64)
        follows = (first + count) & 0xFFFFFFFF
        before = first[0] if self._next_record is None else self._next_record
        expected = np.concatenate(([before], follows[:-1]))
        missing = (first - expected) & 0xFFFFFFFF
        if self.by_run:
            missing[(first == 0) & (missing > skipped * self.max_records)] = 0
        lost = np.diff(node, prepend=node[0] if self._lost is None else self._lost)
        good = (missing <= skipped * self.max_records) & (lost >= 0) & (lost < MAX_LOST_RECORDS)
        if not good.all():
            good, missing, lost = self._number_one_by_one(first, node, follows, skipped)
        else:
            self._next_record, self._suspect_record, self._lost = int(follows[-1]), None, int(node[-1])
            self._dropped, self._suspect_lost = 0, None
        missing = np.where(good, missing, 0)
        lost = np.where(good, lost, 0)
        state = self.state
        if state.earlier_records is None:
            state.earlier_records = int(first[0] + node[0])
        state.lost_records += int(missing.sum())
        state.node_lost_records += int(lost.sum())
        state.records += int(count[good].sum())
        state.packets += int(np.count_nonzero(good))
        state.heartbeats += int(np.count_nonzero(good & (count == 0)))
        return good, missing, lost

    def _number_one_by_one(
        self,
        first: NDArray[np.int64],
        node: NDArray[np.int64],
        follows: NDArray[np.int64],
        skipped: NDArray[np.int64],
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """As `number`, when something is wrong: a packet that does not follow is damaged and dropped; when the next agrees
        with it instead of with the stream, the stream has moved and goes on from there."""
        good = np.ones(len(first), bool)
        missing, lost = np.zeros(len(first), np.int64), np.zeros(len(first), np.int64)
        for i in range(len(first)):
            room = (int(skipped[i]) + self._dropped) * self.max_records
            expected = int(first[i]) if self._next_record is None else self._next_record
            gap = (int(first[i]) - expected) & 0xFFFFFFFF
            if self.by_run and not first[i] and gap > room:
                gap = 0
            moved = self._suspect_record == int(first[i])
            increase = 0 if self._lost is None else int(node[i]) - self._lost
            plausible = 0 <= increase < MAX_LOST_RECORDS
            if not plausible and self._suspect_lost is not None:
                increase, plausible = 0, 0 <= int(node[i]) - self._suspect_lost < MAX_LOST_RECORDS
            if not plausible or (gap > room and not moved):
                good[i] = False
                self._dropped += 1 + int(skipped[i])
                self._suspect_record = int(follows[i])
                self._suspect_lost = None if plausible else int(node[i])
                continue
            missing[i], lost[i] = (gap if gap <= room else 0), increase
            self._next_record, self._suspect_record = int(follows[i]), None
            self._lost, self._suspect_lost, self._dropped = int(node[i]), None, 0
        return good, missing, lost
