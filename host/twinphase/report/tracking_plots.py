"""Plots of how near phase estimators come to the physical optimum, on a grid of scenarios and in a lab."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .plots import COLOURS, GREY, _figure


def efficiencies(rows: list[dict[str, Any]]) -> Figure:
    """Efficiency with its interval over the bound in rad, one colour per estimator; filled: four-phase, open: steered."""
    figure, axes = _figure(height=4.2)
    names = sorted({row["estimator"] for row in rows})
    for number, name in enumerate(names):
        colour = list(COLOURS.values())[number % len(COLOURS)]
        for scheme, face in (("four-phase", colour), ("steered", "white")):
            chosen = [row for row in rows if row["estimator"] == name and row["scheme"] == scheme]
            if not chosen:
                continue
            value = np.array([row["efficiency"] for row in chosen])
            limits = np.array([row["efficiency_ci95"] for row in chosen]).T
            axes.errorbar(
                [row["bound_rad2"] ** 0.5 for row in chosen],
                value,
                np.maximum(np.abs(limits - value), 0),
                fmt="o",
                ms=5,
                lw=0.8,
                color=colour,
                mfc=face,
                label=f"{name}, {scheme}",
            )
    axes.axhline(1, color=GREY, lw=0.8)
    axes.set(xlabel="bound (rad)", ylabel="bound / mean square error", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def residuals(errors: dict[str, NDArray[np.float64]], bounds_rad: dict[str, float]) -> Figure:
    """Histograms of the errors (rad) of several estimates at the same heralds, each with the normal density of its bound, dashed."""
    figure, axes = _figure(height=4.0)
    largest = max((float(np.sqrt(np.mean(e**2))) for e in errors.values() if e.size), default=0.5)
    limit = min(4 * largest, np.pi)
    x = np.linspace(-limit, limit, 400)
    for (name, error), colour in zip(errors.items(), COLOURS.values(), strict=False):
        if not error.size:
            continue
        rms = float(np.sqrt(np.mean(error**2)))
        axes.hist(
            error,
            bins=np.linspace(-limit, limit, 101),
            density=True,
            histtype="step",
            color=colour,
            label=f"{name}, rms {rms:.3f} rad (bound {bounds_rad[name]:.3f})",
        )
        if 0 < bounds_rad[name] < np.inf:
            sigma = bounds_rad[name]
            axes.plot(x, np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)), color=colour, ls="--", lw=0.8)
    axes.set(xlabel="psi_q minus truth at the heralds (rad)", ylabel="density")
    if any(error.size for error in errors.values()):
        axes.legend(frameon=False, fontsize=8)
    return figure


def error_rates(
    names: list[str], qber: list[float], intervals: list[tuple[float, float]], by_phase: list[float], perfect: float
) -> Figure:
    """X-QBER that each estimate leads to, with its 95 % interval, beside that of a perfect phase plus what its error adds."""
    figure, axes = _figure(height=3.4)
    place = np.arange(len(names))
    value, limits = np.array(qber), np.array(intervals).reshape(-1, 2).T
    axes.errorbar(
        place,
        100 * value,
        100 * np.maximum(np.abs(limits - value), 0),
        fmt="o",
        color=COLOURS["qL"],
        label="measured, 95 %",
    )
    axes.plot(
        place,
        100 * (perfect + (1 - 2 * perfect) * np.array(by_phase)),
        "_",
        ms=24,
        color=COLOURS["qR"],
        label="of a perfect phase, with the error of this one",
    )
    axes.axhline(100 * perfect, color=GREY, ls="--", lw=0.8, label="of a perfect phase, measured")
    axes.set_xticks(place, names)
    axes.set(ylabel="X-QBER (%)", ylim=(0, None), xlim=(-0.5, len(names) - 0.5))
    axes.legend(frameon=False, fontsize=8)
    return figure
