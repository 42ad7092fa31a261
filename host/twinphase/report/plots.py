"""The plots of a run's report. Each function draws one figure and returns it; nothing is shown or saved here."""

from __future__ import annotations

from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinphase_spec.units import TICK_PS, TICKS_PER_SECOND, TURN

COLOURS = {"qL": "#1f6fb4", "qR": "#d1562c", "rL": "#5aa469", "rR": "#8f62a8"}
GREY = "#5a6572"


def _figure(width: float = 8.0, height: float = 3.4) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def click_rates(times_ticks: NDArray[np.int64], channels: NDArray[np.uint8], names: tuple[str, ...]) -> Figure:
    """Rate of tags per channel over lab time, in 50 bins."""
    figure, axes = _figure()
    seconds = times_ticks / TICKS_PER_SECOND
    edges = np.linspace(seconds.min(initial=0.0), max(seconds.max(initial=0.0), 1e-3), 51)
    width = edges[1] - edges[0]
    for number, name in enumerate(names):
        counts, _ = np.histogram(seconds[channels == number], edges)
        axes.step(edges[:-1], counts / width / 1e3, where="post", label=name, color=COLOURS.get(name))
    axes.set(xlabel="lab time (s)", ylabel="tags (1000/s)", ylim=(0, None))
    axes.legend(ncols=4, loc="lower center", frameon=False)
    return figure


def arrival_histogram(
    positions_ticks: NDArray[np.int64], channels: NDArray[np.uint8], names: tuple[str, ...], gate_ticks: tuple[int, int]
) -> Figure:
    """Position of the tags in the pulse, with the quantum gate shaded."""
    figure, axes = _figure()
    period = int(positions_ticks.max(initial=1)) + 1
    edges = np.linspace(0, period, 121)
    for number, name in enumerate(names):
        counts, _ = np.histogram(positions_ticks[channels == number], edges)
        axes.step(edges[:-1] * TICK_PS, counts, where="post", label=name, color=COLOURS.get(name))
    axes.axvspan(gate_ticks[0] * TICK_PS, gate_ticks[1] * TICK_PS, color=GREY, alpha=0.12, label="gate")
    axes.set(xlabel="position in the pulse (ps)", ylabel="tags per bin", yscale="log")
    axes.legend(ncols=5, frameon=False, fontsize=8)
    return figure


def phase_trace(
    seconds: NDArray[np.float64], estimate_turns: NDArray[np.float64], truth_turns: NDArray[np.float64], span_s: float
) -> Figure:
    """psi_q at the heralds and the physics' truth over the first ``span_s`` of the data, both unwrapped modulo one turn."""
    figure, axes = _figure()
    if seconds.size:
        chosen = seconds <= seconds[0] + span_s
        axes.plot(seconds[chosen] * 1e3, truth_turns[chosen] % 1, ".", ms=2.5, color=GREY, label="truth")
        axes.plot(
            seconds[chosen] * 1e3, estimate_turns[chosen] % 1, ".", ms=3, color=COLOURS["qL"], label="psi_q, gateware"
        )
        axes.legend(loc="upper right", markerscale=3)
    axes.set(xlabel="lab time (ms)", ylabel="phase (turns)", ylim=(0, 1))
    return figure


def phase_residual(residual_rad: NDArray[np.float64], expected_rms_rad: float) -> Figure:
    """Histogram of psi_q minus truth with the normal density of the estimator's formula."""
    figure, axes = _figure()
    limit = 4 * expected_rms_rad if np.isfinite(expected_rms_rad) else 3.0
    axes.hist(
        residual_rad,
        bins=np.linspace(-limit, limit, 81),
        density=bool(residual_rad.size),
        color=COLOURS["qL"],
        alpha=0.7,
        label="gateware",
    )
    if np.isfinite(expected_rms_rad):
        x = np.linspace(-limit, limit, 400)
        density = np.exp(-0.5 * (x / expected_rms_rad) ** 2) / (expected_rms_rad * np.sqrt(2 * np.pi))
        axes.plot(x, density, color=GREY, label=f"formula, rms {expected_rms_rad:.3f} rad")
    axes.set(xlabel="psi_q minus truth (rad)", ylabel="density")
    axes.legend()
    return figure


def fringe(d_turns: NDArray[np.uint16], detector: NDArray[np.bool_], slice_width_turns: int) -> Figure:
    """X events with equal intensities over d = thetaA - thetaB + psi: counts of both detectors; kept slices shaded."""
    figure, axes = _figure()
    edges = np.linspace(0, TURN, 33)
    centres = (edges[:-1] + edges[1:]) / 2 / TURN * 360
    for value, name in ((False, "qL"), (True, "qR")):
        counts, _ = np.histogram(d_turns[detector == value], edges)
        axes.errorbar(
            centres,
            counts,
            np.sqrt(np.maximum(counts, 1)),
            fmt="o",
            ms=4,
            color=COLOURS[name],
            label=f"herald on {name}",
        )
    half = slice_width_turns / 2 / TURN * 360
    for left, right in ((0, half), (180 - half, 180 + half), (360 - half, 360)):
        axes.axvspan(left, right, color=GREY, alpha=0.12)
    axes.set(
        xlabel="d = thetaA - thetaB + psi (degrees; kept slices shaded)",
        ylabel="X events",
        xlim=(0, 360),
        ylim=(0, None),
    )
    axes.set_xticks(range(0, 361, 45))
    axes.legend()
    return figure


def error_by_time(
    seconds: NDArray[np.float64],
    qber: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    expected: float,
) -> Figure:
    """X-QBER in equal parts of the run with 95 % intervals, and the expectation."""
    figure, axes = _figure()
    axes.errorbar(seconds, 100 * qber, 100 * np.vstack([qber - low, high - qber]), fmt="o", ms=4, color=COLOURS["qL"])
    if np.isfinite(expected):
        axes.axhline(100 * expected, color=GREY, ls="--", label=f"expected {100 * expected:.2f} %")
        axes.legend()
    axes.set(xlabel="lab time (s)", ylabel="X-QBER (%)", ylim=(0, None))
    return figure


def rate_over_distance(
    km: NDArray[np.float64],
    rate: NDArray[np.float64],
    plob: NDArray[np.float64],
    plob_detectors: NDArray[np.float64],
    here: tuple[float, float],
) -> Figure:
    """Key rate per slot of the formula at the measured noise over total fibre length, PLOB, and this lab's point."""
    figure, axes = _figure(8.0, 4.0)
    positive = rate > 0
    axes.semilogy(km[positive], rate[positive], color=COLOURS["qL"], label="SNS-AOPP formula at the measured noise")
    axes.semilogy(km, plob, color=GREY, label="PLOB, fibre only")
    axes.semilogy(km, plob_detectors, color=GREY, ls="--", label="PLOB with the detectors")
    if here[1] > 0:
        axes.plot(*here, "o", ms=8, color=COLOURS["qR"], label="this lab")
    axes.set(xlabel="fibre between the clients (km)", ylabel="bits per clock slot")
    axes.legend()
    return figure
