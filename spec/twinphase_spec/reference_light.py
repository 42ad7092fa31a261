"""Clicks that a lab's light gives at the server: those that inform the click tracker, and heralds.

Per port and pulse ``P = 1 - exp(-eff ((a + b)/2 +- V sqrt(a b) cos(theta)))``, a and b the photons that arrive from the arms
(docs/physics.md), averaged over the phases theta that the reference has (`fringe_phases`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from .frame import SlotClass
from .fringe_phases import Band, FringePhases, fringe_phases, step_parts
from .lab import Client, Detector, Lab, LabError

MOST_VISIBILITY = 0.998
"""What the tracker's V is limited to."""
EVEN_STEPS, ODD_STEPS = (SlotClass.REF0, SlotClass.REF2), (SlotClass.REF1, SlotClass.REF3)


@dataclass(frozen=True, kw_only=True)
class ReferenceLight:
    """Gated clicks of both ports in the REF(k) slots of a band."""

    click_rate_hz: float
    """All of them, background among them, per second of lab time."""
    visibility: float
    """Of their fringe: lasers, unequal arms and powers, saturation and background together."""
    phases: FringePhases

    @property
    def information(self) -> float:
        """Fisher information per click in rad^-2 at the phases that it has."""
        return self.phases.information(self.visibility)

    @property
    def fisher_hz(self) -> float:
        """J in rad^-2/s."""
        return self.information * self.click_rate_hz

    def blurred(self, variance_rad2: float) -> ReferenceLight:
        """The same seen with a reference that is itself unsure: ``V exp(-sigma^2/2)``."""
        return replace(self, visibility=self.visibility * math.exp(-variance_rad2 / 2))


def detectors_of(lab: Lab, band: Band) -> tuple[Detector, Detector]:
    """Those of a band's L and R, as they are after SWAP."""
    left, right = (lab.detectors.qL, lab.detectors.qR) if band == "q" else (lab.detectors.rL, lab.detectors.rR)
    swapped = lab.server.swap_q if band == "q" else lab.server.swap_r
    return (right, left) if swapped else (left, right)


def check_references(lab: Lab, band: Band) -> None:
    """Refuse a table whose reference cannot tell a phase. LabError.

    Two steps a quarter turn apart are needed: of one (or of two half a turn apart) psi and -psi look the same.
    """
    classes = {entry[0] if band == "q" else entry[1] for entry in lab.frame.table()}
    for steps in (EVEN_STEPS, ODD_STEPS):
        if not classes & set(steps):
            raise LabError(
                f"lab {lab.name}: frame.slots has neither {steps[0].name} nor {steps[1].name} in the {band} band; allowed for tracking "
                "by clicks: slots of REF0 or REF2 and slots of REF1 or REF3, a quarter turn apart"
            )


def check_steps_alike(lab: Lab) -> None:
    """Refuse a table from which windows cannot tell a phase. LabError.

    ``atan2(D3 - D1, D0 - D2)`` takes all four steps for equally long (docs/physics.md).
    """
    bands: tuple[Band, Band] = ("q", "r")
    for band in bands:
        parts = step_parts(lab, band)
        if len(set(parts)) > 1 or not parts[0]:
            shown = ", ".join(f"{part:.3g}" for part in parts)
            raise LabError(
                f"lab {lab.name}: frame.slots has REF0 to REF3 of the {band} band in the parts {shown}; allowed: equal parts, where psi "
                "comes from windows"
            )


def reference_light(lab: Lab, band: Band, error_rad: float = 0.0) -> ReferenceLight:
    """Rate and visibility of a band's REF(k) clicks; ``error_rad``: RMS of psi around the lock point, where it is steered."""
    phases = fringe_phases(lab, band, error_rad)
    theta, weights = phases.points
    left, right = port_rates(lab, band, theta)
    clicks = float(weights @ (left + right))
    visibility = likely_visibility(phases, left, right) if clicks else 0.0
    return ReferenceLight(click_rate_hz=clicks, visibility=visibility, phases=phases)


def port_rates(
    lab: Lab, band: Band, theta_rad: NDArray[np.float64], *, step: SlotClass | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gated clicks of L and of R per second of lab time, if all REF(k) slots of the band were at ``theta_rad``.

    Covered: transmittances and their fluctuation (the mean fringe), intensities, saturation of a pulse, the gate, dark counts, a
    detector's dead time after its own reference clicks of the same step. With a ``step``, the dead time is that of its own runs, and
    also after clicks of the step before them, at their mean rate. Not covered: recovery, and what signal clicks shadow (below 1e-7 s
    times their rate).
    """
    classes = [entry[0] if band == "q" else entry[1] for entry in lab.frame.table()]
    fraction = sum(c in EVEN_STEPS or c in ODD_STEPS for c in classes) / len(classes)
    sent_a, sent_b = (
        client.reference_q if band == "q" else client.reference_r for client in (lab.clients.alice, lab.clients.bob)
    )
    light_a, light_b = sent_a * lab.fibre.transmittance("a"), sent_b * lab.fibre.transmittance("b")
    gate_ps = lab.frame.gate_q_ps if band == "q" else lab.frame.gate_r_ps
    fringe = math.exp(-sum(power.log_sigma**2 for power in lab.scene.power) / 8)
    amplitude = lab.lasers.visibility * fringe * math.sqrt(light_a * light_b)
    rates = []
    for sign, detector in zip((1, -1), detectors_of(lab, band), strict=True):
        mean = detector.efficiency * (light_a + light_b) / 2
        click = -np.expm1(-np.maximum(mean + sign * detector.efficiency * amplitude * np.cos(theta_rad), 0.0))
        raw_hz = click * lab.frame.pulse_rate_hz
        dead_s = max(detector.dead_time_ns, lab.server.dead_time_ns) * 1e-9
        shadowed = raw_hz * _shadow_s(lab, classes, dead_s, step)
        if step is not None:
            shadowed = shadowed + mean * lab.frame.pulse_rate_hz * _neighbour_s(lab, classes, dead_s, step)
        gated = raw_hz / (1 + shadowed) * gate_fraction(gate_ps, detector.jitter_ps) * fraction
        dark = detector.dark_hz * gate_ps * 1e-12 * lab.frame.pulse_rate_hz * fraction
        rates.append(gated + dark)
    return rates[0], rates[1]


def likely_visibility(phases: FringePhases, left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """The V of the likelihood ``1 +- V cos(theta)`` that describes the ports' clicks best, at their rates at the points of ``phases``.

    Where the mean gradient ``cos/(1 + V cos)`` of L less ``cos/(1 - V cos)`` of R is zero: what the tracker's own V settles at. Dead
    time flattens the fringe's flanks more than its extremes, so this is not the fringe's first harmonic.
    """
    theta, weights = phases.points
    cosine = np.cos(theta)
    low, high = 0.0, MOST_VISIBILITY
    for _ in range(40):
        v = (low + high) / 2
        gradient = float(weights @ ((left / (1 + v * cosine) - right / (1 - v * cosine)) * cosine))
        low, high = (v, high) if gradient > 0 else (low, v)
    return low


def _shadow_s(lab: Lab, classes: list[SlotClass], dead_s: float, only: SlotClass | None) -> float:
    """Mean time of the same reference step within the dead time before a reference pulse: ``dead - dead^2/(2 T)`` in a run of length T
    of one step, T/2 in a run shorter than the dead time. Of all steps, or of one ``only``."""
    slot_s = lab.frame.slot_pulses / lab.frame.pulse_rate_hz
    chosen = (*EVEN_STEPS, *ODD_STEPS) if only is None else (only,)
    runs = [len(list(run)) * slot_s for step, run in groupby(classes) if step in chosen]
    shadows = [dead_s * (t - dead_s / 2) if t > dead_s else t * t / 2 for t in runs]
    return sum(shadows) / sum(runs) if runs else 0.0


def _neighbour_s(lab: Lab, classes: list[SlotClass], dead_s: float, chosen: SlotClass) -> float:
    """Mean time of another reference step within the dead time before a pulse of the step ``chosen``: ``dead^2/(2 T)`` where such a step
    comes before a run of length T, ``dead - T/2`` where the run is shorter than the dead time."""
    slot_s = lab.frame.slot_pulses / lab.frame.pulse_rate_hz
    shadow = total = 0.0
    before = classes[-1]
    for step, run in groupby(classes):
        t = len(list(run)) * slot_s
        if step == chosen:
            total += t
            if before != step and (before in EVEN_STEPS or before in ODD_STEPS):
                shadow += dead_s**2 / 2 if t > dead_s else t * (dead_s - t / 2)
        before = step
    return shadow / total if total else 0.0


def gate_fraction(gate_ps: float, jitter_ps: float) -> float:
    """Part of the light that falls into the gate: ``erf(width / (2 sqrt(2) jitter))``."""
    return math.erf(gate_ps / (2 * math.sqrt(2) * jitter_ps)) if jitter_ps > 0 else 1.0


def most_heralds_hz(lab: Lab) -> float:
    """An upper limit of the heralds per second: all gated signal clicks and dark counts, no dead time."""
    fraction = sum(q == SlotClass.SIG for q, _ in lab.frame.table()) / len(lab.frame.table())
    photons = _mean_photons(lab.clients.alice) * lab.fibre.transmittance("a")
    photons += _mean_photons(lab.clients.bob) * lab.fibre.transmittance("b")
    return fraction * sum(
        lab.frame.pulse_rate_hz
        * (-math.expm1(-detector.efficiency * photons / 2) + detector.dark_hz * lab.frame.gate_q_ps * 1e-12)
        for detector in detectors_of(lab, "q")
    )


def _mean_photons(client: Client) -> float:
    """Mean photons of a SIG slot at a client's output."""
    z, x = client.z_probability, 1 - client.z_probability
    mu_2 = 1 - client.vacuum_probability - client.mu1_probability
    vacuum = z * (1 - client.send_probability) + x * client.vacuum_probability
    bright = client.mu1_probability * client.mu_1 + mu_2 * client.mu_2
    return z * client.send_probability * client.mu_z + x * bright + vacuum * client.mu_0
