"""All that `twinphase phase` says of a trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from twinphase_spec.registers import NodeType

from ..device import Device
from ..errors import DeviceError
from .allan import AllanDeviation, allan_deviation
from .fibre_fit import FibreFit, fibre_fit
from .phase_events import PhaseEvents, phase_events
from .phase_lines import PhaseLine, phase_lines
from .phase_spectrum import PhaseSpectrum, phase_spectrum
from .phase_trace import PhaseTrace, PhaseTracer
from .structure_function import StructureFunction, structure_function
from .track_events import TrackEvent
from .track_trace import TrackTracer
from .walk_fit import WalkFit, walk_fit

SHOWN_LINES = 8
MODEL_PROBABILITY = 0.01
"""Below this chance of fit a model is said not to describe the trace."""
BARS = "▁▂▃▄▅▆▇█"


@dataclass(kw_only=True)
class PhaseAnalysis:
    """Results so far; None where not yet done."""

    trace: PhaseTrace
    """What is fitted and transformed: samples with white noise."""
    tracked: PhaseTrace | None = None
    """The node's own estimates, where a click tracker made them: what is drawn, and searched for slips."""
    track: dict[str, Any] | None = None
    """`TrackTracer.figures`."""
    track_events: list[TrackEvent] | None = None
    spectrum: PhaseSpectrum | None = None
    lines: list[PhaseLine] | None = None
    structure: StructureFunction | None = None
    allan: AllanDeviation | None = None
    walk: WalkFit | None = None
    fibre: FibreFit | None = None
    events: PhaseEvents | None = None

    def run(
        self, *, resolution_hz: float | None = None, length_km: float | None = None, optical_hz: float | None = None
    ) -> Iterator[str]:
        """Do one part after the other; yields the name of each before it begins. Raises TwinphaseError when the trace is too short."""
        yield "spectrum"
        self.spectrum = phase_spectrum(self.trace, resolution_hz=resolution_hz)
        self.lines = phase_lines(self.spectrum)
        yield "structure function"
        self.structure = structure_function(self.trace)
        yield "Allan deviation"
        self.allan = allan_deviation(self.trace, optical_hz=optical_hz)
        yield "fits"
        self.walk = walk_fit(self.trace)
        self.fibre = fibre_fit(self.spectrum, self.lines, length_km=length_km)
        yield "events"
        self.events = phase_events(self.shown)

    @property
    def shown(self) -> PhaseTrace:
        """The trace to draw."""
        return self.trace if self.tracked is None else self.tracked

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        named = ("spectrum", "structure", "allan", "walk", "fibre", "events")
        parts = {name: getattr(self, name) for name in named}
        return {
            "trace": trace_figures(self.trace),
            **{name: None if part is None else part.as_dict() for name, part in parts.items()},
            "lines": None if self.lines is None else [line.as_dict() for line in self.lines],
            "track": self.track,
            "track_events": None if self.track_events is None else [event.as_dict() for event in self.track_events],
        }


def analysis_of(tracer: PhaseTracer | TrackTracer, seconds: float | None = None) -> PhaseAnalysis:
    """An analysis, not yet run, of a tracer's trace or its last ``seconds``."""
    if isinstance(tracer, PhaseTracer):
        return PhaseAnalysis(trace=tracer.trace(seconds))
    recent = tracer.recent(seconds)
    return PhaseAnalysis(
        trace=recent.samples(seconds),
        tracked=recent.tracked(seconds),
        track=recent.figures(),
        track_events=recent.events(),
    )


def check_phase(device: Device) -> None:
    """Raise DeviceError when the device sends no phases."""
    node = device.identity().node
    if node is not NodeType.SERVER:
        raise DeviceError(f"{device.url} is a {node.name.lower()} node, which tracks no phase: give its server")


def trace_figures(trace: PhaseTrace) -> dict[str, Any]:
    """Extent of a trace and its quality, in a few numbers."""
    part = trace.segments(2)
    steps = np.concatenate([np.diff(trace.phase_rad[run]) for run in part]) if part else np.empty(0)
    return {
        "origin_ticks": trace.origin_ticks,
        "interval_s": trace.interval_s,
        "duration_s": trace.duration_s,
        "samples": len(trace.index),
        "invalid_samples": int(np.count_nonzero(~trace.valid)),
        "lost_samples": int(np.sum(np.diff(trace.index) - 1)) if len(trace.index) else 0,
        "stretches": len(np.unique(trace.stretch)),
        "noise_rad2": trace.noise_rad2,
        "mean_rate_rad_per_s": float(np.mean(steps)) / trace.interval_s if len(steps) else None,
        "rate_rms_rad_per_s": float(np.sqrt(np.mean(steps**2))) / trace.interval_s if len(steps) else None,
    }


def live_table(trace: PhaseTrace, title: str, track: dict[str, Any] | None = None) -> Table:
    """A trace while it grows, with a line of the last second; ``track``: `TrackTracer.figures`."""
    figures = trace_figures(trace)
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_row("phase now", f"{trace.phase_rad[-1]:+.2f} rad" if len(trace.index) else "-")
    table.add_row("last second", bars(trace.last(1.0)))
    for name, key, unit in (
        ("rate", "mean_rate_rad_per_s", "rad/s"),
        ("rate, rms, noise included", "rate_rms_rad_per_s", "rad/s"),
    ):
        table.add_row(name, "-" if figures[key] is None else f"{figures[key]:+.1f} {unit}")
    table.add_row("estimation noise", _noise(figures["noise_rad2"]))
    table.add_row("samples", f"{figures['samples']:,} ({_missing(figures)})")
    for row in track_rows(track):
        table.add_row(*row)
    return table


def track_rows(track: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What a click tracker says of a channel, as rows of a table; none for windows."""
    if track is None or track["locked_fraction"] is None:
        return []
    rows = [("tracked", f"{track['locked_fraction']:.2%} of the time, {track['clicks_per_s']:,.0f} clicks/s")]
    if track["visibility"] is not None:
        rows.append(("visibility", f"{track['visibility']:.3f}"))
    named = (("losses", "lost"), ("jumps", "jumped by half a turn"), ("found_again", "found again"))
    rows.append(("told by the tracker", ", ".join(f"{text} {track[key]}" for key, text in named)))
    return rows


def bars(trace: PhaseTrace, width: int = 60) -> str:
    """The phase in ``width`` parts as a line of bars, from the least to the largest; a blank where there is none."""
    if not trace.valid.any():
        return "-"
    place = (trace.index - trace.index[0]) * width // (trace.index[-1] - trace.index[0] + 1)
    means = np.full(width, np.nan)
    for k in np.unique(place[trace.valid]).tolist():
        means[k] = np.mean(trace.phase_rad[trace.valid & (place == k)])
    least, largest = np.nanmin(means), np.nanmax(means)
    scale = (len(BARS) - 1) / (largest - least) if largest > least else 0.0
    line = "".join(" " if np.isnan(value) else BARS[round((value - least) * scale)] for value in means)
    return f"{line} {least:+.1f} to {largest:+.1f} rad"


def result_table(analysis: PhaseAnalysis, title: str) -> Table:
    """The results for a terminal."""
    figures = trace_figures(analysis.shown)
    table = Table(title=title, title_justify="left", show_header=False)
    samples = f"{figures['samples']:,} of {1e3 * figures['interval_s']:g} ms, {_missing(figures)}"
    table.add_row("samples", samples)
    table.add_row("estimation noise", _noise(figures["noise_rad2"]))
    for row in track_rows(analysis.track):
        table.add_row(*row)
    if (walk := analysis.walk) is not None:
        table.add_row("random walk D", f"{_value(walk.walk_rad2_per_s, walk.walk_error)} rad^2/s")
        table.add_row("walk of rate Q", f"{_value(walk.rate_walk_rad2_per_s3, walk.rate_walk_error)} rad^2/s^3")
        table.add_row("white noise", f"{_value(walk.noise_rad2, walk.noise_error)} rad^2{_doubt(walk.probability)}")
    if (fibre := analysis.fibre) is not None:
        per_km = "" if fibre.per_km_rad2_hz is None else f", l {fibre.per_km_rad2_hz:.3g} rad^2 Hz/km"
        table.add_row("fibre l L", f"{_value(fibre.strength_rad2_hz, fibre.strength_error)} rad^2 Hz{per_km}")
        table.add_row("fibre fc", f"{_value(fibre.corner_hz, fibre.corner_error)} Hz{_doubt(fibre.probability)}")
    if analysis.lines is not None and analysis.spectrum is not None:
        shown = [f"{line.frequency_hz:.4g} Hz {line.amplitude_rad:.2g} rad" for line in analysis.lines[:SHOWN_LINES]]
        more = len(analysis.lines) - len(shown)
        resolution = f"resolution {analysis.spectrum.resolution_hz:.3g} Hz"
        table.add_row("lines", f"{', '.join(shown) or 'none'}{f' and {more} more' if more else ''} ({resolution})")
    if analysis.allan is not None and len(analysis.allan.tau_s):
        for k in sorted({0, len(analysis.allan.tau_s) // 2, len(analysis.allan.tau_s) - 1}):
            table.add_row(f"Allan deviation at {analysis.allan.tau_s[k]:.3g} s", _allan(analysis.allan, k))
    if (events := analysis.events) is not None:
        unit = events.slip_rad
        told = "slips cannot be told from jumps here" if unit is None else f"slips from {unit:.2f} rad up"
        jumps = len(events.steps) - len(events.slips)
        table.add_row("events", f"slips {len(events.slips)}, jumps {jumps}, losses {len(events.gaps)} ({told})")
    return table


def _allan(allan: AllanDeviation, k: int) -> str:
    text = f"{allan.deviation_hz[k]:.4g} Hz (95 %: {allan.low_hz[k]:.4g} to {allan.high_hz[k]:.4g})"
    return text if allan.optical_hz is None else f"{text}, {allan.deviation_hz[k] / allan.optical_hz:.3g} of the light"


def _value(value: float, error: float) -> str:
    """An estimate with its error, or the upper limit (95 %) of one that does not differ from 0."""
    return f"{value:.4g} +- {error:.2g}" if value > 2 * error else f"below {value + 1.645 * error:.2g}"


def _doubt(probability: float) -> str:
    if probability >= MODEL_PROBABILITY:
        return ""
    chance = f"p = {probability:.1g}" if probability > 1e-12 else "p below 1e-12"
    return f" (the model does not describe the trace, {chance})"


def _noise(variance: float | None) -> str:
    return "unknown" if variance is None else f"{variance**0.5:.3f} rad rms"


def _missing(figures: dict[str, Any]) -> str:
    return f"{figures['lost_samples']:,} lost, {figures['invalid_samples']:,} without a fringe"
