"""How many windows could have given a herald: N_live from the frame's table and LIVE records (docs/live.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.frame import FrameConfig, SlotClass
from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType

from ..batch import Batch
from ..device import Device
from ..errors import TwinphaseError

BEYOND = 1 << 62
"""Later than every pulse."""


class SignalPulses:
    """SIG pulses of the quantum band in a frame that repeats: ``table`` of slot bytes, each for ``slot_pulses`` pulses."""

    def __init__(self, table: Sequence[int] | NDArray[Any], slot_pulses: int) -> None:
        self._signal = (np.asarray(table, np.int64) & 15) == SlotClass.SIG
        self._slot_pulses = slot_pulses
        self._before = np.concatenate(([0], np.cumsum(self._signal))).astype(np.int64) * slot_pulses
        """SIG pulses before each slot of the frame."""

    def below(self, pulse: Any) -> Any:
        """How many of the pulses 0 to ``pulse`` - 1 are SIG; number or array (i8)."""
        frames, rest = np.divmod(pulse, self._signal.size * self._slot_pulses)
        slot, inside = np.divmod(rest, self._slot_pulses)
        return frames * self._before[-1] + self._before[slot] + self._signal[slot] * inside


class LiveWindows:
    """Live SIG windows, stretch by stretch in rising pulses.

    ``recovery_pulses``: RECOVERY_PULSES; 0: all windows count, whether detectors were dead or not. What lies before the first run that
    comes is known if LIVE is followed from its first record on (``whole`` of `update`).

    N_live of ``[start, stop)`` is ``SIG pulses - SIG pulses in runs``, exactly: runs rise, so that all below the end of the newest is
    known, and a stretch in which records were lost is not counted. Two of the server's counters are the caller's to look at: clicks
    that it ``dropped`` hide the recovery after them, and windows whose herald found no room (``unjoined``) count as live here.
    """

    def __init__(self, signal: SignalPulses, recovery_pulses: int) -> None:
        self.signal = signal
        self.recovery_pulses = recovery_pulses
        self.known_pulse = 0 if recovery_pulses else BEYOND
        """All runs are known that begin below this."""
        self.restarted = False
        """Pulses have begun anew; nothing is known from then on."""
        self._firsts = self._ends = np.empty(0, np.int64)
        self._newest = 0
        self._unknown: list[tuple[int, int]] = []
        """Stretches of which records were lost."""
        self._started = False

    @classmethod
    def of_device(cls, device: Device, frame: FrameConfig) -> LiveWindows:
        """Of a server that runs this frame. Raises TwinphaseError where it does not send what is needed."""
        node = device.identity().node
        if node is not NodeType.SERVER:
            raise TwinphaseError(f"{device.url} is a {node.name.lower()} node, which has no detectors: give its server")
        recovery = device.read("RECOVERY_PULSES")
        if recovery and not device.read("STREAM_ENABLE") >> Stream.LIVE & 1:
            raise TwinphaseError(
                f"{device.url} does not send LIVE (bit {int(Stream.LIVE)} of STREAM_ENABLE is 0) while RECOVERY_PULSES is {recovery}"
            )
        return cls(SignalPulses(frame.table, frame.slot_pulses), recovery)

    def update(self, batch: Batch, *, whole: bool) -> None:
        """Take the LIVE records of a batch, and where some are missing among them.

        ``whole``: the first that ever comes is the node's first (``earlier_records`` of `StreamState` is 0).
        """
        records, gaps = batch.get(Stream.LIVE), batch.gaps.get(Stream.LIVE, [])
        if records is None:
            records = np.empty(0, [("pulse_low", "<u4"), ("pulse_high", "<u4"), ("length", "<u4")])
        first = records["pulse_high"].astype(np.int64) << 32 | records["pulse_low"]
        end = first + records["length"]
        rising = np.append(first[:1] >= self._newest, first[1:] >= end[:-1])
        if self.restarted or not rising.all():
            self.restarted = True
            return
        if first.size and not self._started:
            self._started = True
            if not whole:
                self._unknown.append((0, int(first[0])))
        packet_ticks = batch.packet_ticks.get(Stream.LIVE, np.empty(0, np.int64))
        for gap in gaps:
            since = int(end[gap.index - 1]) if gap.index else self._newest
            # A packet that tells of a loss may hold records from before it: only behind that packet all is there again.
            behind = int(np.searchsorted(packet_ticks, gap.time_ticks, side="right"))
            self._unknown.append((since, int(first[behind]) if behind < first.size else BEYOND))
        if not first.size:
            return
        # A loss told at the end of an earlier batch is over with the first record of this one.
        self._unknown = [(a, int(first[0]) if b == BEYOND and a <= first[0] else b) for a, b in self._unknown]
        self._firsts, self._ends = np.append(self._firsts, first), np.append(self._ends, end)
        self.known_pulse = self._newest = int(end[-1])

    def contradicted(self, heralds: NDArray[np.int64]) -> int:
        """How many of these pulses cannot be heralds: they lie in a run, or have none right behind them. Rising, below `known_pulse`, not
        passed by `count`. 0 unless records are wrong, and where all windows count."""
        if not self.recovery_pulses:
            return 0
        run = np.searchsorted(self._ends, heralds, side="right")
        behind = np.append(self._firsts, BEYOND)[run]
        return int(np.count_nonzero(behind != heralds + 1))

    def count(self, start: int, stop: int) -> int | None:
        """Live SIG windows among pulses ``start`` to ``stop`` - 1; None where records were lost.

        ``start`` must not fall from call to call, and ``stop`` not be above `known_pulse` (ValueError).
        """
        if stop > self.known_pulse:
            raise ValueError(
                f"live windows: asked up to pulse {stop}; allowed: up to {self.known_pulse}, which is known"
            )
        passed = int(np.searchsorted(self._ends, start, side="right"))
        self._firsts, self._ends = self._firsts[passed:], self._ends[passed:]
        self._unknown = [stretch for stretch in self._unknown if stretch[1] > start]
        if any(first < stop for first, _ in self._unknown):
            return None
        inside = int(np.searchsorted(self._firsts, stop))
        below = self.signal.below
        firsts, ends = np.maximum(self._firsts[:inside], start), np.minimum(self._ends[:inside], stop)
        return int(below(stop) - below(start) - (below(ends) - below(firsts)).sum())
