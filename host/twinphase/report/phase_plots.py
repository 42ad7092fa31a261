"""Plots of a tracked phase: trace, spectrum, structure function, Allan deviation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..measure.fibre_fit import fibre_model
from ..measure.phase_analysis import PhaseAnalysis
from .plots import COLOURS, GREY, _figure

MAX_POINTS = 20_000
NAMED_LINES = 6


def overview(analysis: PhaseAnalysis) -> Figure:
    """All four on one page."""
    figure = Figure(figsize=(11.0, 8.0), layout="constrained")
    for axes, draw in zip(figure.subplots(2, 2).flat, PANELS.values(), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        draw(axes, analysis)
    return figure


def single(name: str, analysis: PhaseAnalysis) -> Figure:
    """One of `PANELS`."""
    figure, axes = _figure(8.0, 4.5)
    PANELS[name](axes, analysis)
    return figure


def _trace(axes: Any, analysis: PhaseAnalysis) -> None:
    """Phase over time, with a band of one sigma; broken at gaps; slips and jumps marked."""
    trace = analysis.shown
    step = max(1, len(trace.index) // MAX_POINTS)
    begin = trace.times_s[0] if len(trace.index) else 0.0
    for part in trace.segments():
        times, phase = trace.times_s[part][::step] - begin, trace.phase_rad[part][::step]
        axes.plot(times, phase, color=COLOURS["qL"], lw=0.8)
        if trace.variance_rad2 is not None:
            sigma = np.sqrt(trace.variance_rad2[part][::step])
            axes.fill_between(times, phase - sigma, phase + sigma, color=COLOURS["qL"], alpha=0.2, lw=0)
    if analysis.events is not None:
        for event in analysis.events.steps:
            axes.axvline(event.time_s - begin, color=COLOURS["qR"] if event.half_turns else GREY, lw=0.8, ls="--")
        for gap in analysis.events.gaps:
            first = gap.start_s - begin - trace.interval_s / 2
            axes.axvspan(first, first + gap.length_s, color=GREY, alpha=0.2, lw=0)
    axes.set(xlabel="time (s); grey: lost, dashed: slips and jumps", ylabel="phase (rad)")


def _spectrum(axes: Any, analysis: PhaseAnalysis) -> None:
    """Density with its band, the estimation's floor, the fibre's model and the names of the strongest lines."""
    spectrum = analysis.spectrum
    if spectrum is None:
        return
    f = spectrum.frequency_hz
    axes.fill_between(f, spectrum.low, spectrum.high, color=COLOURS["qL"], alpha=0.25, lw=0)
    axes.loglog(f, spectrum.density, color=COLOURS["qL"], lw=0.8, label=f"measured, {spectrum.confidence:.0%} band")
    if spectrum.floor is not None:
        axes.axhline(spectrum.floor, color=GREY, ls=":", label="estimation noise by the counts")
    if analysis.fibre is not None:
        axes.loglog(
            f, fibre_model(spectrum, f, analysis.fibre), color=COLOURS["qR"], lw=1.2, label="fibre model and floor"
        )
    for line in (analysis.lines or [])[:NAMED_LINES]:
        top = spectrum.density[int(np.argmin(np.abs(f - line.frequency_hz)))]
        text = f"{line.frequency_hz:.4g} Hz\n{line.amplitude_rad:.2g} rad"
        axes.annotate(
            text, (line.frequency_hz, top), xytext=(0, 6), textcoords="offset points", fontsize=7, ha="center"
        )
    axes.set(xlabel="frequency (Hz)", ylabel="S (rad$^2$/Hz)")
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def _structure(axes: Any, analysis: PhaseAnalysis) -> None:
    """Structure function; the part that noise makes negative is left out."""
    result = analysis.structure
    if result is None:
        return
    seen = result.value_rad2 > 0
    low, value, high = (array[seen] for array in (result.low_rad2, result.value_rad2, result.high_rad2))
    axes.errorbar(
        result.lag_s[seen],
        value,
        np.clip([value - low, high - value], 0, None),
        fmt="o",
        ms=3,
        lw=0.8,
        color=COLOURS["qL"],
        label="less the noise, 95 %",
    )
    if result.noise_rad2 is not None:
        axes.axhline(result.noise_rad2, color=GREY, ls=":", label="noise of a pair")
    axes.set(xlabel="lag (s)", ylabel="structure function (rad$^2$)", xscale="log", yscale="log")
    axes.legend(frameon=False, fontsize=8)


def _allan(axes: Any, analysis: PhaseAnalysis) -> None:
    """Allan deviation; fractional on the right where the optical frequency is known."""
    result = analysis.allan
    if result is None:
        return
    error = [result.deviation_hz - result.low_hz, result.high_hz - result.deviation_hz]
    axes.errorbar(
        result.tau_s, result.deviation_hz, error, fmt="o", ms=3, lw=0.8, color=COLOURS["qL"], label="overlapping, 95 %"
    )
    if result.noise_hz is not None:
        axes.plot(result.tau_s, result.noise_hz, color=GREY, ls=":", label="estimation noise")
    axes.set(xlabel="averaging time (s)", ylabel="Allan deviation (Hz)", xscale="log", yscale="log")
    if (optical := result.optical_hz) is not None:
        right = axes.secondary_yaxis("right", functions=(lambda y: y / optical, lambda y: y * optical))
        right.set_ylabel("fractional")
    axes.legend(frameon=False, fontsize=8)


PANELS: dict[str, Callable[[Any, PhaseAnalysis], None]] = {
    "trace": _trace,
    "spectrum": _spectrum,
    "structure": _structure,
    "allan": _allan,
}
