"""Plots of measurements on tags, from what their ``as_dict`` says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..errors import TwinphaseError
from .plots import COLOURS, GREY, _figure

FORMATS = (".png", ".svg", ".pdf")


def rates(result: dict[str, Any]) -> Figure:
    """Rate of each channel with its interval."""
    figure, axes = _figure()
    rows = result["channels"]
    names = [row["name"] for row in rows]
    values = np.array([row["rate_hz"] or 0.0 for row in rows])
    limits = np.array([row["rate_ci95_hz"] or (0.0, 0.0) for row in rows]).reshape(-1, 2)
    axes.bar(names, values, color=[COLOURS.get(name, COLOURS["qL"]) for name in names], width=0.6)
    if rows:
        error = np.abs(limits.T - values)
        axes.errorbar(range(len(names)), values, error, fmt="none", color=GREY, capsize=4)
    axes.set(ylabel="tags per second", ylim=(0, None))
    return figure


def histogram(result: dict[str, Any], names: dict[int, str]) -> Figure:
    """Counts over the time difference, one line per stop channel."""
    figure, axes = _figure()
    edges = result["low_ps"] + result["bin_ps"] * np.arange(result["bins"] + 1)
    for i, (stop, row) in enumerate(zip(result["stops"], result["counts"], strict=True)):
        axes.stairs(row, edges, label=names.get(stop, str(stop)), color=list(COLOURS.values())[i % len(COLOURS)])
    start = names.get(result["start"], result["start"])
    axes.set(xlabel=f"t(stop) - t({start}) (ps)", ylabel=f"counts per {result['bin_ps']:.4g} ps", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def g2(result: dict[str, Any], names: dict[int, str]) -> Figure:
    """g2 with its error bars."""
    figure, axes = _figure()
    tau = np.array(result["tau_ps"])
    value, error = (np.array([np.nan if x is None else x for x in result[key]]) for key in ("g2", "error"))
    axes.errorbar(tau * 1e-3, value, error, fmt=".", ms=3, lw=0.8, color=COLOURS["qL"])
    axes.axhline(1, color=GREY, lw=0.8)
    first, second = (names.get(channel, str(channel)) for channel in result["channels"])
    axes.set(xlabel=f"t({second}) - t({first}) (ns)", ylabel="g2", ylim=(0, None))
    return figure


def coincidences(results: list[dict[str, Any]], names: dict[int, str]) -> Figure:
    """Measured coincidences and expected accidentals of each set of channels, per second."""
    figure, axes = _figure()
    labels = [" & ".join(names.get(channel, str(channel)) for channel in row["channels"]) for row in results]
    place = np.arange(len(results))
    rate = np.array([row["rate_hz"] or 0.0 for row in results])
    limits = np.array([row["rate_ci95_hz"] or (0.0, 0.0) for row in results]).reshape(-1, 2)
    accidental = [
        row["accidentals"] / row["live_s"] if row["accidentals"] is not None and row["live_s"] else np.nan
        for row in results
    ]
    axes.errorbar(place, rate, np.abs(limits.T - rate), fmt="o", color=COLOURS["qL"], capsize=4, label="measured, 95 %")
    axes.plot(place, accidental, "_", ms=24, color=COLOURS["qR"], label="accidentals expected")
    axes.set_xticks(place, labels)
    axes.set(ylabel="coincidences per second", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def check_plot_file(path: Path | None) -> None:
    """Refuse a file that is no picture, or whose folder does not exist. Raises TwinphaseError."""
    if path is None:
        return
    if path.suffix.lower() not in FORMATS:
        raise TwinphaseError(f"--plot {path} has the ending {path.suffix or 'none'}; allowed: {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise TwinphaseError(f"--plot {path}: the folder {path.parent} does not exist; make it first")


def save(figure: Figure, path: Path) -> None:
    """Write a figure so that a viewer never sees half of it."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    figure.savefig(part, dpi=150)
    os.replace(part, path)
