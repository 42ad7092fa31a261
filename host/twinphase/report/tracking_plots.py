"""Plots of how near phase estimators come to the physical optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

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
