"""Where a device's phase comes from: its click tracker where it sends one's records, its estimation windows otherwise."""

from __future__ import annotations

from typing import Any, Literal

from twinphase_spec.packets import Stream

from ..batch import Batch
from ..device import Device
from ..errors import DeviceError
from .phase_analysis import PhaseAnalysis, analysis_of
from .phase_trace import PhaseTracer, phase_tracer
from .track_status import track_status
from .track_trace import TrackTracer, track_tracers

Asked = Literal["auto", "clicks", "windows"]


class PhaseSources:
    """Follows TRACK and PHASE records side by side, until it is known which of them are wanted.

    ``asked``: auto takes the click tracker as soon as it has had a phase once.
    """

    def __init__(self, device: Device, asked: Asked = "auto") -> None:
        self._asked = asked
        self._windows: PhaseTracer = phase_tracer(device)
        self._tracks: tuple[TrackTracer, ...] = ()
        self._epoch_bits = 0
        self.status: list[dict[str, Any]] = []
        """`track_status` of the last STATUS packet."""
        try:
            self._tracks = track_tracers(device)
            self._epoch_bits = device.read("TRACK_EPOCH")
        except DeviceError:  # a recording from before there were TRACK records holds none of their registers
            if asked == "clicks":
                raise

    @property
    def source(self) -> str:
        """clicks or windows."""
        if self._asked != "auto":
            return self._asked
        return "clicks" if self._tracks and self._tracks[0].locked else "windows"

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        counters = batch.get(Stream.STATUS)
        if counters is not None and len(counters):
            last = {name: int(counters[name][-1]) for name in counters.dtype.names or ()}
            self.status = track_status(last, self._epoch_bits)
        if self._asked != "clicks":
            self._windows.update(batch)
        if self._asked != "windows":
            for tracer in self._tracks:
                tracer.update(batch)

    def forget_before(self, seconds: float) -> None:
        """Drop what is older than the last ``seconds``."""
        self._windows.forget_before(seconds)
        for tracer in self._tracks:
            tracer.forget_before(seconds)

    def recent(self, seconds: float | None = None) -> PhaseAnalysis:
        """Of psi_r, not yet run."""
        return analysis_of(self._tracks[0] if self.source == "clicks" else self._windows, seconds)

    def differential(self, seconds: float | None = None) -> PhaseAnalysis | None:
        """Of psi_d, not yet run; None where clicks do not tell it."""
        if self.source != "clicks" or not self._tracks[1].locked:
            return None
        return analysis_of(self._tracks[1], seconds)
