"""Keeps a pair's pulses aligned: search, control law, corrections for the clients (docs/alignment.md).

Everything comes from the packets that the server sends. A correction is in force from an emission slot stated in it, some time after the
ARRIVAL record of which it is made: it must have reached its client before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twinphase_spec.emission import SLOT_STEP
from twinphase_spec.frame import FrameConfig
from twinphase_spec.packets import Stream
from twinphase_spec.registers import SERVER
from twinphase_spec.units import CLOCK_HZ, TICKS_PER_SECOND

from ..alignment import AlignmentConfig, AlignmentLost, ArmLoop
from ..emission import EmissionCorrection
from ..errors import TwinphaseError
from ..measure.arrival import Arrival
from ..measure.pulse_index import PulseIndex, PulseOffset
from ..packets import Decoder

SEARCH_ERROR_PS = 20.0
"""Standard deviation of what a search finds, at least: an arm moves while its clicks are counted."""
ARMS = "ab"


class PulseAligner:
    """The loop of both arms. ``interval_s``: of ARRIVAL records; ``wait_s``: from a record to the slot of its correction; ``correct``:
    takes the corrections of arms 0 and 1. TwinphaseError for a frame whose pulses cannot be told."""

    def __init__(
        self,
        frame: FrameConfig,
        *,
        interval_s: float,
        wait_s: float,
        correct: Callable[[int, EmissionCorrection], None],
    ) -> None:
        self._frame, self._correct = frame, correct
        self._interval_s, self._wait_s = interval_s, wait_s
        self._period_ticks = frame.period_q32 >> 32
        self._period_ps = self._period_ticks / TICKS_PER_SECOND * 1e12
        self._loops = [ArmLoop(AlignmentConfig(period_ps=self._period_ps, start_rate_ps_per_s=100.0)) for _ in ARMS]
        self._decoder = Decoder(SERVER)
        self._index: PulseIndex | None = PulseIndex(frame)
        self._search_begin_s = 0.0
        self._acting_s = 0.0
        """Intervals that begin before this have light of the wrong pulses in their one-sided slots."""
        self.found: tuple[PulseOffset, PulseOffset] | None = None
        """What the last search has found."""

    def take(self, packets: Iterable[bytes], stop_clock: int) -> None:
        """What the server has sent up to ``stop_clock``, behind what it has sent before."""
        batch = self._decoder.decode([packet for packet in packets if packet[0] in (Stream.ARRIVAL, Stream.TAG)])
        now_s = (stop_clock - self._frame.start_clock) / CLOCK_HZ
        if self._index is not None:
            self._index.update(batch)
        records = batch.get(Stream.ARRIVAL)
        if records is None:
            return
        if self._index is not None:
            self._search(self._index, now_s)
            return
        window_s = self._frame.window_ticks / TICKS_PER_SECOND
        for record in records.reshape(-1, 1):
            if self._index is not None:  # just lost
                break
            arrival = Arrival(self._frame.period_q32 / 2**32)
            batch.records = {Stream.ARRIVAL: record}
            arrival.update(batch)
            [offset] = arrival.newest()
            end_s = (int(record["window"][0]) + 1) * window_s
            begin_s = end_s - self._interval_s
            if offset.band != "r" or begin_s < self._acting_s or offset.offset_ps is None or offset.error_ps is None:
                continue
            self._step(ARMS.index(offset.arm), begin_s, end_s, offset.offset_ps, offset.error_ps**2, now_s)

    def _search(self, index: PulseIndex, now_s: float) -> None:
        try:
            self.found = index.find()
        except TwinphaseError:  # not yet
            return
        self._index = None
        self._acting_s = now_s + self._wait_s + self._interval_s
        for arm, offset in enumerate(self.found):
            late_ps = offset.pulses * self._period_ps + offset.fraction_ps
            self._loops[arm].start((self._search_begin_s + now_s) / 2, late_ps, max(SEARCH_ERROR_PS, offset.error_ps))
            self._command(arm, now_s)

    def _step(
        self, arm: int, begin_s: float, end_s: float, offset_ps: float, variance_ps2: float, now_s: float
    ) -> None:
        try:
            self._loops[arm].measure(begin_s, end_s, offset_ps, variance_ps2)
            self._command(arm, now_s)
        except AlignmentLost:
            self._index, self._search_begin_s = PulseIndex(self._frame), now_s

    def _command(self, arm: int, now_s: float) -> None:
        from_s = now_s + self._wait_s
        made = self._loops[arm].command(from_s, from_s + self._interval_s)
        pulses, fraction = divmod(round(made.delay_ps * TICKS_PER_SECOND / 1e12), self._period_ticks)
        slot = from_s * TICKS_PER_SECOND / self._period_ticks
        named = -int(-slot // SLOT_STEP) * SLOT_STEP
        self._correct(arm, EmissionCorrection(slot=named, pulses=pulses, fraction_ticks=fraction))
