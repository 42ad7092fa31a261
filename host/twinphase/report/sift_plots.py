"""One figure of a pair's sifting: psi of X windows, error over time, cells, classical cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..theory.statistics import clopper_pearson
from .plots import COLOURS, GREY

TIME_BINS = 20


def overview(result: dict[str, Any], by_block: list[tuple[int, int, int]]) -> Figure:
    """``result``: `SiftSession.as_dict`; ``by_block``: (block, kept, errors) of the closed blocks in order."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for part in axes.flat:
        part.spines[["top", "right"]].set_visible(False)
        part.grid(alpha=0.25)
    _psi(axes[0, 0], result["psi_histogram"])
    _errors(axes[0, 1], by_block)
    _cells(axes[1, 0], result["cells"])
    _costs(axes[1, 1], result["bits_per_survivor"])
    return figure


def _psi(axes: Any, histogram: dict[str, list[int]]) -> None:
    counts, kept = np.array(histogram["counts"]), np.array(histogram["kept"])
    edges = np.linspace(0, 360, counts.size + 1)
    axes.stairs(counts, edges, color=COLOURS["qL"], label="X windows")
    axes.stairs(kept, edges, color=COLOURS["qR"], fill=True, alpha=0.6, label="kept")
    axes.set(xlabel="psi (degrees)", ylabel="heralds", xlim=(0, 360), ylim=(0, None))
    axes.legend(frameon=False)


def _errors(axes: Any, by_block: list[tuple[int, int, int]]) -> None:
    rows = []
    for part in np.array_split(np.array(by_block, np.int64).reshape(-1, 3), min(TIME_BINS, max(1, len(by_block)))):
        kept, errors = part[:, 1].sum(), part[:, 2].sum()
        if kept:
            rows.append((part[:, 0].mean(), errors / kept, *clopper_pearson(int(errors), int(kept))))
    if rows:
        block, qber, low, high = np.array(rows).T
        bars = 100 * np.vstack([qber - low, high - qber])
        axes.errorbar(block, 100 * qber, bars, fmt="o", ms=4, color=COLOURS["qL"], label="95 %")
        axes.legend(frameon=False)
    axes.set(xlabel="block", ylabel="X-QBER (%)", ylim=(0, None))


def _cells(axes: Any, rows: list[dict[str, Any]]) -> None:
    grid = np.zeros((4, 4))
    for row in rows:
        grid[row["cell"] >> 5, row["cell"] >> 3 & 3] += row["heralds"]
    names = ("vacuum", "mu_1", "mu_2", "not revealed")
    shade = np.log10(np.maximum(grid, 1))
    axes.imshow(shade, cmap="Blues", origin="lower")
    for (a, b), count in np.ndenumerate(grid):
        colour = "white" if shade[a, b] > 0.6 * shade.max() else "black"
        axes.text(b, a, f"{count:,.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(4), names)
    axes.set_yticks(range(4), names)
    axes.set(xlabel="Bob", ylabel="Alice", title="heralds by intensities")
    axes.grid(False)


def _costs(axes: Any, cost: dict[str, Any] | None) -> None:
    axes.set(xlabel="bits per survivor")
    if cost is None or not cost["messages"]:
        return
    names = list(cost["messages"])
    place = np.arange(len(names))
    sent = [cost["messages"][name]["sent"] for name in names]
    coded = [cost["messages"][name]["coded"] for name in names]
    axes.barh(place, sent, color=GREY, alpha=0.35, label=f"sent, {cost['sent']:.0f} in all")
    axes.barh(place, coded, height=0.5, color=COLOURS["qL"], label=f"coded, {cost['coded']:.0f} in all")
    axes.set_yticks(place, names)
    axes.set(xscale="log")
    axes.legend(frameon=False)
