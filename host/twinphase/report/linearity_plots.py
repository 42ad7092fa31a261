"""Plots of a time tagger's delay lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..measure.calibration import ChannelCalibration
from .plots import GREY

POLARITIES = ("falling", "rising")
COLOURS = ("#1f6fb4", "#d1562c", "#5aa469", "#8f62a8", "#b58900", "#2aa198", "#6c71c4", "#dc322f")


def linearity(channels: Sequence[ChannelCalibration]) -> Figure:
    """Code density, bin widths, DNL, INL of the calibrated line and raw INL over the code, for all channels and chains."""
    figure = Figure(figsize=(9.0, 11.0), layout="constrained")
    axes = figure.subplots(5, 1, sharex=True)
    panels = ("hits per code", "bin width (ps)", "DNL (LSB)", "INL, calibrated (ps)", "INL, raw (ps)")
    for axis, label in zip(axes, panels, strict=True):
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    lines = [
        (f"channel {c.channel}" + (f" chain {h}" if len(c.chains) > 1 else ""), len(chain) > 1, line)
        for c in channels
        for h, chain in enumerate(c.chains)
        for line in chain
    ]
    end = 1
    for i, (name, both, line) in enumerate(lines):
        colour, label = COLOURS[i % len(COLOURS)], f"{name} {POLARITIES[line.polarity]}" if both else name
        codes = np.arange(len(line.histogram))
        end = max(end, int(line.used[-1]) + 2 if line.hits else 1)
        for axis, values in zip(
            axes, (line.histogram, line.widths_ps, line.dnl_lsb, line.inl_ps, line.raw_inl_ps), strict=True
        ):
            axis.step(codes, values, where="mid", lw=0.9, color=colour, label=label)
    for axis in axes[2:]:
        axis.axhline(0, color=GREY, lw=0.6)
    axes[-1].set(xlabel="code", xlim=(-1, end))
    if lines:
        axes[0].legend(ncols=4, fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
