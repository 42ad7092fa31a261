"""The phase of a click tracker's channel as traces, from the TRACK records of a device.

Two traces come from the same records. The *tracked* phase is the node's estimate at instants, with its own variance; its error is what
a causal loop leaves, alike from record to record. The *samples* are what the clicks between two records say of the phase, the loop
taken out: means over the interval with white noise, as everything that fits and transforms a trace wants them.

For a loop ``dpsi = s dt + K1 (z - psi) dt`` with a measured phase z that moves with the slope s, over an interval h::

    nu = psi(h) - psi(0) - h s,   z(h/2) = psi(0) + h s/2 + nu / (1 - e^-a),   a = K1 h = P F N

P the variance, ``F = 1 - sqrt(1 - v^2)`` the information of one of N clicks at the blurred visibility ``v = V (1 - P/2)``. The noise
has the variance ``(a/2) coth(a/2) / (F N)`` and is white, as no click is in two samples. N is a mean over CLICK_RECORDS records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from twinphase_spec import tracking
from twinphase_spec.packets import (
    TRACK_BROKE,
    TRACK_CHANNEL_SHIFT,
    TRACK_CLOCK_HIGH_BITS,
    TRACK_FLAGS_SHIFT,
    TRACK_LOCKED,
    Stream,
)
from twinphase_spec.smoothing import CHANNELS
from twinphase_spec.units import CLOCK_HZ, TICKS_PER_CLOCK

from ..batch import Batch
from ..device import Device
from .phase_trace import LONGEST_LOSS, PhaseTrace
from .track_events import TrackEvent, track_events

CLICK_RECORDS = 65
TURN_2_32 = 1 << 32
RAD_PER_UNIT = 2 * np.pi / TURN_2_32
SLOPE_RAD_PER_S = 2 * np.pi * 2.0**-42 * CLOCK_HZ
VARIANCE_RAD2 = 2 * np.pi * 2.0**-tracking.P_FRACTION


class TrackTracer:
    """Makes traces of one channel's TRACK records in batches as they come; 33 bytes of memory per record.

    A record that was lost on the way may have told of a jump, so the unwrapped phase is not carried over one: a new stretch begins, as
    after every break that the node tells of. Records whose clock does not rise mean that the node counts anew.
    """

    def __init__(self, *, step_clocks: int, channel: int = 0) -> None:
        """``step_clocks``: from record to record."""
        self.channel = channel
        self._step_clocks = step_clocks
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._origin_clock = 0
        self._last: tuple[int, int] | None = None
        """Grid place and clock of the newest record."""
        self.locked = False
        """The channel has had a phase at least once."""

    @property
    def name(self) -> str:
        """r or d."""
        return CHANNELS[self.channel]

    @property
    def records(self) -> int:
        """Records kept."""
        return sum(len(part["index"]) for part in self._parts)

    @property
    def interval_s(self) -> float:
        """From record to record."""
        return self._step_clocks / CLOCK_HZ

    def forget_before(self, seconds: float) -> None:
        """Drop what is older than the last ``seconds``, in whole batches."""
        newest = self._last[0] if self._last else 0
        while len(self._parts) > 1 and (newest - int(self._parts[0]["index"][-1])) * self.interval_s > seconds:
            del self._parts[0]

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        records = batch.get(Stream.TRACK)
        if records is None:
            return
        high = records["clock_high_channel"].astype(np.int64)
        chosen = high >> TRACK_CHANNEL_SHIFT & 31 == self.channel
        if not chosen.any():
            return
        records, high = records[chosen], high[chosen]
        clock = (high & (1 << TRACK_CLOCK_HIGH_BITS) - 1) << 32 | records["clock_low"]
        if self._last is None:
            self._origin_clock = int(clock[0])
            self._last = -1, int(clock[0]) - self._step_clocks
        place, last_clock = self._last
        passed = np.diff(clock, prepend=last_clock)
        restart = passed <= 0
        step = np.where(restart, 2, np.maximum(passed // self._step_clocks, 1))
        index = place + np.cumsum(step)
        flags = high >> TRACK_FLAGS_SHIFT
        self._parts.append(
            {
                "index": index,
                "phase": records["phase_turns"].astype(np.int64),
                "slope": records["slope"],
                "variance": records["variance"],
                "visibility": records["visibility"],
                "clicks": records["clicks"],
                "locked": flags & TRACK_LOCKED != 0,
                "broke": flags & TRACK_BROKE != 0,
                "restart": restart,
            }
        )
        self.locked = self.locked or bool(self._parts[-1]["locked"].any())
        self._last = int(index[-1]), int(clock[-1])

    def recent(self, seconds: float | None) -> TrackTracer:
        """The same with the last ``seconds`` only, in whole batches."""
        if seconds is None:
            return self
        tracer = TrackTracer(step_clocks=self._step_clocks, channel=self.channel)
        tracer._parts, tracer._last, tracer._origin_clock = list(self._parts), self._last, self._origin_clock
        tracer.forget_before(seconds)
        return tracer

    def tracked(self, seconds: float | None = None) -> PhaseTrace:
        """The node's estimates; ``variance_rad2`` is that of their error, which is not white."""
        r = self.recent(seconds)._joined()
        return self._trace(
            r, r["phase"], 0.0, r["locked"], r["variance"] * VARIANCE_RAD2, shift_clocks=self._step_clocks // 2
        ).last(seconds)

    def samples(self, seconds: float | None = None) -> PhaseTrace:
        """What the clicks of each interval say: see the module."""
        r = self.recent(seconds)._joined()
        phase, index = r["phase"], r["index"]
        h = self.interval_s
        p = r["variance"] * VARIANCE_RAD2
        v = np.minimum(r["visibility"], tracking.VISIBILITY_MOST) / 2.0**16 * (1 - p / 2)
        information = 1 - np.sqrt(1 - np.clip(v, 0, 1) ** 2)
        rate = uniform_filter1d(r["clicks"].astype(np.float64), CLICK_RECORDS, mode="nearest") if len(phase) else p
        told = information * rate
        a = np.maximum(p * told, 1e-9)[1:]
        motion = (r["slope"][1:] + r["slope"][:-1]) / 2.0 * SLOPE_RAD_PER_S * h
        steps = np.diff(phase) * RAD_PER_UNIT
        z = phase[:-1] + np.rint((motion / 2 + (steps - motion) / -np.expm1(-a)) / RAD_PER_UNIT).astype(np.int64)
        noise = a / 2 / np.tanh(a / 2) / np.maximum(told[1:], 1e-9)
        valid = r["locked"][1:] & r["locked"][:-1] & ~r["broke"][1:] & (np.diff(index) == 1)
        pairs = {name: values[:-1] for name, values in r.items()} | {"broke": r["broke"][:-1]}
        return self._trace(pairs, z, h, valid, noise).last(seconds)

    def events(self) -> list[TrackEvent]:
        """Losses, jumps and phases found again, in the order of time."""
        r = self._joined()
        return track_events(
            r["index"],
            r["locked"],
            r["broke"],
            np.diff(r["phase"]) * RAD_PER_UNIT - r["slope"][:-1] * (SLOPE_RAD_PER_S * self.interval_s),
            self.interval_s,
        )

    def figures(self) -> dict[str, Any]:
        """How well the channel is tracked, for JSON."""
        r = self._joined()
        locked = r["locked"]
        kinds = [event.kind for event in self.events()]
        seconds = len(locked) * self.interval_s
        return {
            "channel": self.name,
            "records": len(locked),
            "records_per_s": 1 / self.interval_s,
            "locked_fraction": float(locked.mean()) if len(locked) else None,
            "sigma_rad": float(np.sqrt(r["variance"][locked].mean() * VARIANCE_RAD2)) if locked.any() else None,
            "visibility": float(r["visibility"][locked].mean()) / 2**16 if locked.any() else None,
            "clicks_per_s": float(r["clicks"].sum(dtype=np.float64)) / seconds if seconds else None,
            "losses": kinds.count("lost"),
            "jumps": kinds.count("jump"),
            "found_again": kinds.count("found"),
        }

    def _joined(self) -> dict[str, NDArray[Any]]:
        types = {
            "index": np.int64,
            "phase": np.int64,
            "slope": np.int32,
            "variance": np.uint32,
            "visibility": np.uint16,
            "clicks": np.uint32,
            "locked": np.bool_,
            "broke": np.bool_,
            "restart": np.bool_,
        }
        return {
            name: np.concatenate([part[name] for part in self._parts] or [np.empty(0, kind)])
            for name, kind in types.items()
        }

    def _trace(
        self,
        r: dict[str, NDArray[Any]],
        phase: NDArray[np.int64],
        averaging_s: float,
        valid: NDArray[np.bool_],
        variance: NDArray[np.float64],
        *,
        shift_clocks: int = 0,
    ) -> PhaseTrace:
        """On the grid of the records; ``shift_clocks``: the grid's middles lie so much after the values."""
        index = r["index"]
        first = int(phase[0]) // TURN_2_32 * TURN_2_32 if len(phase) else 0
        anew = r["restart"] | r["broke"]
        anew[1:] |= np.diff(index) != 1
        restart = r["restart"].copy()
        restart[1:] |= np.diff(index) > LONGEST_LOSS
        return PhaseTrace(
            origin_ticks=(self._origin_clock - shift_clocks) * TICKS_PER_CLOCK,
            interval_s=self.interval_s,
            averaging_s=averaging_s,
            index=index,
            phase_rad=np.asarray((phase - first) * RAD_PER_UNIT, np.float64),
            valid=valid,
            restart=restart,
            stretch=np.cumsum(anew),
            variance_rad2=variance,
        )


def track_tracers(device: Device) -> tuple[TrackTracer, ...]:
    """A tracer for each channel of a device's TRACK records, from its registers."""
    step = 1 << (device.read("TRACK_EPOCH") + device.read("TRACK_EVERY"))
    return tuple(TrackTracer(step_clocks=step, channel=channel) for channel in range(len(CHANNELS)))
