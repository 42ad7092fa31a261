"""An external reference (10 MHz and PPS) that gives the node's ticks their SI time."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICK_PS, TICKS_PER_SECOND

from ..batch import Batch
from ..errors import TwinphaseError
from .clock_fit import BLOCK_TICKS, ClockFit, Point, fit_clock, points_of
from .cycles import START_ERROR, CycleCounter
from .pps import SecondLabels
from .tag_stream import TagStream

Status = Literal["absent", "acquiring", "wrong", "locked", "holdover"]
MOST_PPS = 4096
"""PPS pulses that wait for a fit."""
LATE_S = 0.1
"""A reference whose last pulse is older than this and five periods is in holdover."""


class ReferenceError(TwinphaseError):
    """A time cannot be given in SI seconds; the sentence says why."""


class ReferenceClock:
    """Fits node ticks to reference time, from the tags of a channel with a (divided) reference, ``clock_hz / divider`` pulses per
    second, and labels seconds from a PPS channel.

    The last ``fit_s`` seconds of pulses are averaged over 50 ms and fitted by a parabola (`ClockFit`). Missing, doubled and
    spurious pulses are sorted out and counted (`CycleCounter`). Times may be asked for up to ``holdover_s`` before the first and
    after the last pulse of the fit, and no further. ``first_second``: what the first PPS pulse is called.
    """

    def __init__(
        self,
        *,
        clock_channel: int,
        clock_hz: int = 10_000_000,
        divider: int = 1,
        pps_channel: int | None = None,
        first_second: int = 0,
        fit_s: float = 10.0,
        holdover_s: float = 1.0,
    ) -> None:
        if clock_hz < 1 or divider < 1:
            raise ValueError(f"reference: {clock_hz} Hz divided by {divider}; allowed: whole numbers from 1 up")
        if pps_channel == clock_channel and clock_hz != divider:
            raise ValueError(
                f"reference: channel {clock_channel} is clock and PPS; allowed: two different channels, or a clock of 1 Hz"
            )
        if not 0 < holdover_s <= 1000 or not 0 < fit_s <= 10_000:
            raise ValueError(
                f"reference: holdover {holdover_s:g} s, fit {fit_s:g} s; allowed: above 0, at most 1000 s and 10000 s"
            )
        self.clock_channel, self.pps_channel = clock_channel, pps_channel
        self.hz = Fraction(clock_hz, divider)
        self.holdover_s = holdover_s
        self.stream = TagStream()
        self.counter = CycleCounter(float(TICKS_PER_SECOND / self.hz))
        self.labels = SecondLabels(self.hz, first_second)
        self.fit: ClockFit | None = None
        self.now_ticks: int | None = None
        """Newest node time known."""
        self.last_ticks: int | None = None
        """Last pulse of the reference that fitted."""
        self.numbering = 0
        """Changes whenever the count of cycles begins anew: what was derived from an earlier count no longer holds."""
        self._fit_ticks = round(fit_s * TICKS_PER_SECOND)
        self._points: deque[Point] = deque()
        self._cycle: int | None = None
        self._pps: list[int] = []
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        for piece in self.stream.split(batch):
            if self.last_ticks is not None and piece.times[0] < self.last_ticks:  # the node's time was set back
                self.counter.restart()
                self._begin()
                self.labels.forget()
                self._pps, self.now_ticks, self.last_ticks = [], None, None
            self._take_clock(piece.times[piece.channels == self.clock_channel])
            if self.pps_channel is not None:
                self._pps += piece.times[piece.channels == self.pps_channel].tolist()[-MOST_PPS:]
            self.now_ticks = max(self.now_ticks or 0, int(piece.times[-1]))
        if batch.time_ticks is not None:
            self.now_ticks = max(self.now_ticks or 0, batch.time_ticks)
        if self._pending and (self.now_ticks or 0) - int(self._pending[0][0][0]) >= BLOCK_TICKS:
            self._refit()
        if self.fit is not None and self._pps:
            self._take_pps(self.fit)
        self._pps = self._pps[-MOST_PPS:]

    def _take_clock(self, times: NDArray[np.int64]) -> None:
        runs = self.counter.number(times)
        for i, (kept, numbers) in enumerate(runs):
            if i:
                self._begin()
            if not len(kept):
                continue
            before = int(numbers[0]) - 1 if self._cycle is None else self._cycle
            self.counter.note_missing(int(numbers[-1]) - before, len(numbers))
            self._cycle, self.last_ticks = int(numbers[-1]), int(kept[-1])
            self._pending.append((kept, numbers))

    def _begin(self) -> None:
        """A new numbering: nothing that was fitted holds any more."""
        self.numbering += 1
        self._points.clear()
        self._pending.clear()
        self.fit, self._cycle = None, None
        self.counter.period_ticks, self.counter.period_error = float(TICKS_PER_SECOND / self.hz), START_ERROR
        self.labels.renumber()

    def _refit(self) -> None:
        kept, numbers = (np.concatenate(part) for part in zip(*self._pending, strict=True))
        self._pending.clear()
        self._points += points_of(kept, numbers, self.counter.period_ticks)
        while self._points and self._points[-1].ticks - self._points[0].ticks > self._fit_ticks:
            self._points.popleft()
        self.fit = fit_clock(list(self._points), float(self.hz))
        if self.fit is not None:
            self.counter.period_ticks = TICKS_PER_SECOND / (float(self.hz) + float(self.fit.terms[1]))
            # the clocks may drift while the reference is away
            self.counter.period_error = min(START_ERROR, 10 * self.fit.offset_sigma + 1e-7)

    def _take_pps(self, fit: ClockFit) -> None:
        """Label by those PPS pulses that the fit covers; earlier ones are dropped, later ones wait."""
        limit = round(self.holdover_s * TICKS_PER_SECOND)
        latest = (self.last_ticks or 0) + limit
        ready = [time for time in self._pps if fit.first_ticks - limit <= time <= latest]
        self._pps = [time for time in self._pps if time > latest]
        times = np.array(ready, np.int64)
        cycle, rest = fit.cycles(times)
        for time, part, sigma in zip(ready, rest.tolist(), fit.cycles_sigma(times).tolist(), strict=True):
            self.labels.take(time, cycle, part, sigma)

    @property
    def age_s(self) -> float | None:
        """Node time since the last pulse of the reference; None when there was none."""
        if self.last_ticks is None or self.now_ticks is None:
            return None
        return max(0, self.now_ticks - self.last_ticks) / TICKS_PER_SECOND

    @property
    def status(self) -> Status:
        """``locked``: the fit holds and pulses come; ``holdover``: pulses have stopped, for less than holdover_s; ``absent``;
        ``wrong``: the frequency is further from what it should be than two clocks can be (1e-4)."""
        age = self.age_s
        if age is None or age > self.holdover_s + float(5 / self.hz):
            return "absent"
        if self.fit is None:
            return "acquiring"
        if abs(self.fit.offset) > START_ERROR + 5 * self.fit.offset_sigma:
            return "wrong"
        return "locked" if age <= LATE_S + float(5 / self.hz) else "holdover"

    def sentence(self) -> str:
        """The state in one sentence."""
        where = f"the reference on channel {self.clock_channel}"
        if self.age_s is None:
            return f"{where} is absent: it has no pulse of {float(self.hz):g} per second"
        if self.status == "absent":
            return f"{where} is absent: its last pulse came {self.age_s:.3g} s ago, allowed are {self.holdover_s:g} s"
        if self.fit is None:
            return f"{where} is being acquired: {len(self._points)} of 3 points of 50 ms"
        if self.status == "wrong":
            found = float(self.hz) / (1 + self.fit.offset)
            return (
                f"{where} has {found:.7g} pulses per second of the node's clock, {float(self.hz):.7g} were expected: "
                "its frequency or divider is not as was said"
            )
        state = "is locked" if self.status == "locked" else f"is in holdover for {self.age_s:.3g} s"
        labelled = "seconds are labelled"
        if not self.labels.labelled:
            pps = "there is no PPS channel" if self.pps_channel is None else "too few PPS pulses have come"
            labelled = f"seconds are not labelled, for {pps}"
        return f"{where} {state}: the node's clock is {self.fit.offset:+.3e} +- {self.fit.offset_sigma:.1e} fast, {labelled}"

    def seconds(self, times: NDArray[np.int64] | int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """``(second, fraction)`` of node times in ticks: whole labelled SI seconds and the rest, 0 to 1.

        Raises ReferenceError when the reference is absent, seconds are not labelled, or a time is out of reach.
        """
        wanted = np.atleast_1d(np.asarray(times, np.int64))
        fit = self._covering(wanted)
        cycle, rest = fit.cycles(wanted)
        return self.labels.second_of(cycle, rest)

    def seconds_sigma(self, times: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """Standard uncertainty of `seconds`: of the fit at these times and of the place of the PPS (cables not included)."""
        wanted = np.atleast_1d(np.asarray(times, np.int64))
        sigma = self._covering(wanted).cycles_sigma(wanted) / float(self.hz)
        return np.hypot(sigma, self.labels.place[1])

    def _covering(self, wanted: NDArray[np.int64]) -> ClockFit:
        fit = self.fit
        if fit is None or self.status in ("absent", "wrong") or not self.labels.labelled or self.last_ticks is None:
            raise ReferenceError(self.sentence())
        limit = round(self.holdover_s * TICKS_PER_SECOND)
        if len(wanted) and (wanted.min() < fit.first_ticks - limit or wanted.max() > self.last_ticks + limit):
            raise ReferenceError(
                f"a time is more than {self.holdover_s:g} s away from the pulses of the reference that were fitted; "
                f"allowed: {fit.first_ticks - limit} to {self.last_ticks + limit} ticks"
            )
        return fit

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        fit, counts = self.fit, self.counter.counts
        return {
            "status": self.status,
            "sentence": self.sentence(),
            "age_s": self.age_s,
            "offset": fit.offset if fit else None,
            "offset_sigma": fit.offset_sigma if fit else None,
            "drift_per_s": fit.drift_per_s if fit else None,
            "pulse_rms_ps": fit.pulse_rms_ticks * TICK_PS if fit else None,
            "fitted_s": (fit.ticks - fit.first_ticks) / TICKS_PER_SECOND if fit else 0.0,
            "pulses": counts.pulses,
            "missing": counts.missing,
            "rejected": counts.rejected,
            "restarts": counts.restarts,
            "pps": self.labels.as_dict() if self.pps_channel is not None else None,
            "gaps": self.stream.gaps,
        }
