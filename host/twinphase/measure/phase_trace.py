"""The tracked optical phase as a trace: times, unwrapped phase, variance, and where it is missing.

Everything that analyses a phase knows `PhaseTrace` only. `PhaseTracer` makes one from the PHASE records of a device: one per
estimation window, with the node's own unwrapped phase; `track_trace` has those of a click tracker. Where packets were lost the
trace has a gap, where a window had no fringe a hole; neither is filled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from twinphase_spec.fixed import UNWRAPPED_BITS
from twinphase_spec.frame import WINDOW_BITS
from twinphase_spec.packets import FLAG_R_VALID, Stream
from twinphase_spec.units import TICKS_PER_CLOCK, TICKS_PER_SECOND, TURN, turns_to_radians

from ..batch import Batch
from ..device import Device
from ..theory.phase import four_phase_variances

VISIBILITY_WINDOWS = 33
"""Windows, centred, over which the visibility behind a window's variance is taken: alone a window's fringe says too little."""
MAX_VARIANCE_RAD2 = 1.0
"""A window whose surroundings promise no better is a hole; a phase that is uniform over the turn has pi^2 / 3."""
BRIDGED_WINDOWS = 3
"""Over so many windows in a row without a fringe the node's next step is still taken as the short way round."""
LONGEST_LOSS = 1 << 20
"""Windows; a longer loss begins a new stretch, so that a trace never needs memory for what it does not have."""
CLOCK_TOLERANCE_S = 0.1
"""Packets are closed at least every 10 ms: packet times and window numbers that drift further apart mean a restart."""


@dataclass(frozen=True)
class TraceGap:
    """A place where a trace has no phase."""

    start_s: float
    """Time of the first missing sample, on the trace's time."""
    samples: int
    length_s: float
    kind: str
    """lost: records did not arrive (the unwrapping of windows went on); invalid: no fringe; restart: the node counts anew."""


@dataclass(frozen=True, kw_only=True)
class PhaseTrace:
    """Unwrapped phase on a grid of times; arrays have one entry per sample that arrived.

    Sample i lies at node time ``origin_ticks / TICKS_PER_SECOND + times_s[i]``, with ``times_s = (index + 1/2) interval_s``: the
    middle of its window. Differences of phase mean something within a `stretch` only.
    """

    origin_ticks: int
    """Node time of the start of sample 0 of the grid, in ticks."""
    interval_s: float
    """Step of the grid."""
    averaging_s: float
    """Length of time over which the phase is averaged in a sample; 0 for samples of an instant."""
    index: NDArray[np.int64]
    """Place on the grid, rising."""
    phase_rad: NDArray[np.float64]
    """Unwrapped, from the whole turn at or before the first sample. Held where not valid."""
    valid: NDArray[np.bool_]
    restart: NDArray[np.bool_]
    """The node counted anew before this sample."""
    stretch: NDArray[np.int64]
    """Number of the stretch over which the node's unwrapping went on; it ends at a restart and at a long hole."""
    variance_rad2: NDArray[np.float64] | None = None
    """Variance of the estimation noise, white from sample to sample (of a tracker's own estimates: of their error, which is not
    white; nothing is fitted to those); None where unknown."""

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Seconds since ``origin_ticks``."""
        return (self.index.astype(np.float64) + 0.5) * self.interval_s

    @property
    def noise_rad2(self) -> float | None:
        """Mean variance of the valid samples."""
        if self.variance_rad2 is None or not self.valid.any():
            return None
        return float(np.mean(self.variance_rad2[self.valid]))

    @property
    def duration_s(self) -> float:
        """From the start of the first to the end of the last sample."""
        return float(self.index[-1] + 1 - self.index[0]) * self.interval_s if len(self.index) else 0.0

    def last(self, seconds: float | None) -> PhaseTrace:
        """The last ``seconds`` of the trace; all of it without."""
        if seconds is None or not len(self.index):
            return self
        after = self.index[-1] - int(seconds / self.interval_s)
        part = slice(int(np.searchsorted(self.index, after, side="right")), None)
        names = ("index", "phase_rad", "valid", "restart", "stretch")
        arrays: dict[str, Any] = {name: getattr(self, name)[part] for name in names}
        if self.variance_rad2 is not None:
            arrays["variance_rad2"] = self.variance_rad2[part]
        return replace(self, **arrays)

    def segments(self, samples: int = 1) -> list[slice]:
        """Runs of at least ``samples`` valid samples without a gap."""
        places = np.flatnonzero(self.valid)
        if not len(places):
            return []
        follows = (np.diff(self.index[places]) == 1) & (np.diff(self.stretch[places]) == 0)
        cuts = np.flatnonzero(~follows) + 1
        return [
            slice(int(part[0]), int(part[-1]) + 1)
            for part in np.split(places, cuts)
            if part[-1] + 1 - part[0] >= samples
        ]

    def dense(self) -> list[NDArray[np.float64]]:
        """The phase of each stretch on the whole grid, NaN where a sample is missing or not valid."""
        places = np.flatnonzero(self.valid)
        cuts = np.flatnonzero(np.diff(self.stretch[places])) + 1
        filled = []
        for part in np.split(places, cuts):
            if len(part):
                at = self.index[part] - self.index[part[0]]
                values = np.full(int(at[-1]) + 1, np.nan)
                values[at] = self.phase_rad[part]
                filled.append(values)
        return filled

    def gaps(self) -> list[TraceGap]:
        """All places without a phase between the first and the last sample, in the order of time."""
        step = np.diff(self.index)
        found: list[tuple[int, int, str]] = [
            (int(self.index[i]) + 1, int(step[i]) - 1, "restart" if self.restart[i + 1] else "lost")
            for i in np.flatnonzero(step > 1)
        ]
        cuts = np.flatnonzero((np.diff(self.valid) != 0) | (step > 1)) + 1
        for begin, end in pairwise([0, *cuts.tolist(), len(self.index)]):
            if end > begin and not self.valid[begin]:
                found.append((int(self.index[begin]), end - begin, "invalid"))
        return [
            TraceGap((start + 0.5) * self.interval_s, samples, samples * self.interval_s, kind)
            for start, samples, kind in sorted(found)
        ]


class PhaseTracer:
    """Makes a `PhaseTrace` of the PHASE records in batches as they come; 30 bytes of memory per window.

    Variance of a window: `four_phase_variances` at the mean counts N and the visibility V of the VISIBILITY_WINDOWS around it, ``V^2 = 4
    (sum(C^2 + S^2) - sum N) / sum N (N - 1)`` with C = D0 - D2, S = D3 - D1, which carry a shot noise of N/2 each; N (N - 1) is what
    Poisson counts have for the square of their mean. A window is not valid when the node says so, or when this promises more than
    MAX_VARIANCE_RAD2 (light or fringe lost; the edges of such a loss are known to about half of VISIBILITY_WINDOWS).
    Both counters of a record may wrap: the 32-bit
    window number and the 48-bit unwrapped phase. Across a restart of the node the time is that of its packets, good to 10 ms.
    """

    def __init__(self, *, window_ticks: float, start_ticks: int = 0) -> None:
        """``window_ticks``: length of a window; ``start_ticks``: node time at which window 0 starts."""
        self._window_ticks, self._start_ticks = window_ticks, start_ticks
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._origin_ticks: int | None = None
        self._last: tuple[int, int, int, int | None] | None = None
        """Grid place, window number, unwrapped phase in node units, and packet time of the newest record."""
        self._turns = 0

    @property
    def windows(self) -> int:
        """Records so far."""
        return sum(len(part["index"]) for part in self._parts)

    @property
    def interval_s(self) -> float:
        """Length of a window in s."""
        return self._window_ticks / TICKS_PER_SECOND

    def forget_before(self, seconds: float) -> None:
        """Drop what is older than the last ``seconds``, in whole batches."""
        newest = self._last[0] if self._last else 0
        while len(self._parts) > 1 and (newest - int(self._parts[0]["index"][-1])) * self.interval_s > seconds:
            del self._parts[0]

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        records = batch.get(Stream.PHASE)
        if records is None or not len(records):
            return
        ticks = batch.packet_ticks.get(Stream.PHASE)
        window, turns = records["window"].astype(np.int64), records["unwrapped_turns"].astype(np.int64)
        if self._last is None:
            self._begin(int(window[0]), None if ticks is None else int(ticks[0]), int(turns[0]))
        place, last_window, last_turns, last_ticks = self._last  # type: ignore[misc]
        step = _wrapped(np.diff(window, prepend=last_window), WINDOW_BITS)
        restart = step <= 0
        if ticks is not None and last_ticks is not None:
            passed = np.diff(ticks, prepend=last_ticks)
            restart |= (step > 1) & (np.abs(passed - step * self._window_ticks) > CLOCK_TOLERANCE_S * TICKS_PER_SECOND)
            elapsed = np.round(passed / self._window_ticks).astype(np.int64)
            step = np.where(restart, np.maximum(elapsed, 2), step)
        step[restart] = np.maximum(step[restart], 2)  # a restart always loses something
        rises = np.cumsum(_wrapped(np.diff(turns, prepend=last_turns), UNWRAPPED_BITS)) + self._turns
        index = place + np.cumsum(step)
        cosine, sine = (records[name].astype(np.float64) for name in ("cosine_r", "sine_r"))
        self._parts.append(
            {
                "index": index,
                "turns": rises,
                "fringe": cosine**2 + sine**2,
                "counts": records["clicks_r"].astype(np.int32),
                "valid": records["flags"] & FLAG_R_VALID != 0,
                "restart": restart,
            }
        )
        self._turns = int(rises[-1])
        self._last = int(index[-1]), int(window[-1]), int(turns[-1]), None if ticks is None else int(ticks[-1])

    def _begin(self, window: int, ticks: int | None, turns: int) -> None:
        """The grid starts with the first window; its packet's time tells how often the window number has wrapped."""
        if ticks is not None:
            wrap = self._window_ticks * 2**WINDOW_BITS
            window += round((ticks - self._start_ticks - window * self._window_ticks) / wrap) << WINDOW_BITS
        self._origin_ticks = self._start_ticks + round(window * self._window_ticks)
        self._turns = turns % TURN
        self._last = -1, window - 1, turns, ticks

    def trace(self, seconds: float | None = None) -> PhaseTrace:
        """The trace so far, or its last ``seconds`` at the cost of these alone."""
        if seconds is not None:
            recent = PhaseTracer(window_ticks=self._window_ticks)
            recent._parts, recent._last, recent._origin_ticks = list(self._parts), self._last, self._origin_ticks
            recent.forget_before(seconds)
            return recent.trace().last(seconds)
        names = ("index", "turns", "fringe", "counts", "valid", "restart")
        joined = {name: np.concatenate([part[name] for part in self._parts] or [np.empty(0)]) for name in names}
        index, turns, restart = (
            joined["index"].astype(np.int64),
            joined["turns"].astype(np.int64),
            joined["restart"] > 0,
        )
        variance = _variances(joined["counts"].astype(np.float64), joined["fringe"])
        valid = (joined["valid"] > 0) & (variance <= MAX_VARIANCE_RAD2)
        first = int(turns[0]) // TURN * TURN if len(turns) else 0
        return PhaseTrace(
            origin_ticks=self._origin_ticks or 0,
            interval_s=self.interval_s,
            averaging_s=self.interval_s,
            index=index,
            phase_rad=turns_to_radians(turns - first),
            valid=valid,
            restart=restart,
            stretch=_stretches(index, valid, restart),
            variance_rad2=variance,
        )


def phase_tracer(device: Device) -> PhaseTracer:
    """The tracer for a device's PHASE records, from its frame registers."""
    window_q32 = device.read("PERIOD") * device.read("FRAME_PULSES") * device.read("FRAMES_PER_WINDOW")
    return PhaseTracer(window_ticks=window_q32 / 2**32, start_ticks=device.read("START_CLOCK") * TICKS_PER_CLOCK)


def _wrapped(steps: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Differences of counters of ``bits`` bits, in the signed range."""
    half = 1 << (bits - 1)
    return ((steps + half) & (2 * half - 1)) - half


def _variances(counts: NDArray[np.float64], fringe: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance in rad^2 of each window, by the mean counts and the fringe around it."""
    if not len(counts):
        return counts
    mean, square, signal = (
        uniform_filter1d(values, VISIBILITY_WINDOWS, mode="nearest")
        for values in (counts, counts * (counts - 1), fringe - counts)
    )
    share = np.divide(4 * signal, square, out=np.zeros_like(square), where=square > 0)
    return four_phase_variances(mean, np.sqrt(np.clip(share, 0, 1)))


def _stretches(index: NDArray[np.int64], valid: NDArray[np.bool_], restart: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of each sample's stretch: a new one after a restart, a very long loss, or more holes than BRIDGED_WINDOWS."""
    anew = restart.copy()
    anew[1:] |= np.diff(index) > LONGEST_LOSS
    number = np.arange(len(index))
    last_valid = np.maximum.accumulate(np.where(valid, number, -1))
    holes = number - np.concatenate(([-1], last_valid[:-1]))[: len(index)] - 1
    return np.cumsum(anew | (valid & (holes > BRIDGED_WINDOWS)))
