"""All estimates of psi_q in a run, judged by its truth and drawn beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinphase.report import tracking_plots
from twinphase_spec.frame import FrameConfig
from twinphase_spec.fringe_phases import step_parts
from twinphase_spec.lab import Lab
from twinphase_spec.packets import Stream
from twinphase_spec.track_setup import track_setup

from .estimates import (
    CAUSAL,
    PERFECT,
    SMOOTHED,
    WINDOWS,
    bounds_rad,
    figures_of,
    from_records,
    from_windows,
    perfect,
    residual_rad,
)


class JudgedEstimates:
    """``server``: the server's records; ``sifted``: X records of `with_own_slices`; ``pulses`` and ``truth_turns``: of every herald."""

    def __init__(
        self,
        lab: Lab,
        frame: FrameConfig,
        server: Mapping[Stream, NDArray[Any]],
        sifted: NDArray[Any],
        pulses: NDArray[np.uint64],
        truth_turns: NDArray[np.float64],
    ) -> None:
        self.setup = track_setup(lab)
        of_source = from_records(server[Stream.PSI], pulses.size)
        causal = from_records(server[Stream.PSI_CAUSAL], pulses.size)
        windows = from_windows(server[Stream.PHASE], server[Stream.DPHASE], pulses, lab, frame)
        if self.setup.source == "clicks":
            self.estimates = {SMOOTHED: of_source, CAUSAL: causal}
            if len(set(step_parts(lab, "r") + step_parts(lab, "q"))) == 1:  # windows take the steps for equally long
                self.estimates[WINDOWS] = windows
        else:
            self.estimates = {CAUSAL: causal, WINDOWS: of_source}
        bounds, four_phase = bounds_rad(lab, self.setup), bounds_rad(lab, self.setup, four_phase=True)
        self.reference = {
            "information_per_click": self.setup.channels[0].light.information if self.setup.channels[0] else None,
            "bounds_rad": {name: bounds[name] for name in (SMOOTHED, CAUSAL)},
            "four_phase_bounds_rad": {name: four_phase[name] for name in (SMOOTHED, CAUSAL)},
        }
        """What the reference of psi_r gives as it is held, and what four equal steps would."""
        self.figures = [
            figures_of(name, estimate, truth_turns, sifted, lab, bounds[name])
            for name, estimate in (*self.estimates.items(), (PERFECT, perfect(truth_turns)))
        ]
        """Of each estimate; of the perfect one last."""
        self._errors = {name: residual_rad(estimate, truth_turns) for name, estimate in self.estimates.items()}

    def plots(self) -> dict[str, tuple[Figure, str]]:
        """Errors of all estimates, and the X-QBER that they lead to, with captions."""
        judged, best = self.figures[:-1], self.figures[-1]
        return {
            "estimates": (
                tracking_plots.residuals(self._errors, {figures.name: figures.bound_rad for figures in judged}),
                "Errors of estimates of the same psi_q: clicks smoothed, clicks so far (what is known at the herald), and, of four equal "
                f"steps, angles of whole windows; sifting uses {self.setup.source}. "
                "Dashed: the least error that the clicks allow, smoothed or causal.",
            ),
            "estimates_qber": (
                tracking_plots.error_rates(
                    [figures.name for figures in judged],
                    [figures.x_qber for figures in judged],
                    [figures.x_qber_ci95 for figures in judged],
                    [figures.phase_qber for figures in judged],
                    best.x_qber,
                ),
                "X-QBER of the same X events under each estimate.",
            ),
        }
