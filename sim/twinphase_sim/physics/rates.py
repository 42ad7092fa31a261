"""Mean click rates of every detector, class by class, and how much of them dead time and recovery leave.

Where the power fluctuates, the mean fringe is smaller by `interference_factor`; the mean of ``1 - exp(-I)`` is taken as that of the
mean light, good where pulses are weak (I^2 times the relative variance is left out).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.configure import frame_config, gate_ticks, symbol_config
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Client, Detector, Lab
from twinphase_spec.lab_live import recovery_pulses
from twinphase_spec.registers import CHANNELS
from twinphase_spec.symbols import Intensity, Level

from .optics import REFERENCE_STEPS, Band, Port, level_photons, ports
from .power import interference_factor
from .slots import band_classes

PHASES: NDArray[np.float64] = np.arange(64).astype(np.float64) * (2 * np.pi / 64)
"""Uniform average over a phase: the mean over 64 steps is exact to rounding for exponentials of cosines (what it misses are
Bessel functions of order 64, below 1e-80 for intensities of order 1)."""


def symbol_probabilities(client: Client) -> dict[tuple[bool, Intensity], float]:
    """Probability of (X window, intensity) of a pulse, as the symbols' steps give it. Raises LabError for one that they cannot give."""
    drawn = symbol_config(client, (0, 0, 0, 0)).probabilities()
    return {(is_x, level): drawn.get((is_x, level), 0.0) for is_x in (False, True) for level in Intensity}


@dataclass(frozen=True, eq=False)
class PortRates:
    """A detector's clicks.

    ``mean``: clicks per second of lab time by slot class (and ``dark``), before dead time. ``alive``: the fraction of them that the
    dead time and recovery leave. ``recovered``: that of clicks in SIG slots in windows that are live.
    """

    port: Port
    mean: dict[str, float]
    alive: dict[str, float]
    recovered: float

    def clicks(self, key: str) -> float:
        """Clicks per second after dead time; 0 for a class that the table lacks."""
        return self.mean.get(key, 0.0) * self.alive.get(key, 1.0)


def port_rates(lab: Lab, band: Band) -> tuple[PortRates, PortRates]:
    """Rates of L and R of a band, averaged over phi.

    Alive fraction of a click: ``1 / (1 + m)``, m the mean number of raw clicks in the dead time before it at the same phi (phi
    stands still in a dead time; bright steps shadow themselves more than a mean rate would), and of those before that with the
    weight of the efficiency that is still missing, ``exp(-t / recovery)``. For steady light of rate R that is exact without
    recovery, and with it too small by about ``(R recovery)^2 / 2``.
    """
    classes = band_classes(frame_config(lab), band)
    slot_s = lab.frame.slot_pulses / lab.frame.pulse_rate_hz
    results = []
    for port in _fringed_ports(lab, band):
        inside = {c: _rate_inside(lab, band, port, c) for c in SlotClass if (classes == c).any()}
        profile = _profile(classes, inside, port)
        alive = 1 / (1 + _clicks_before(profile, slot_s, port.detector, lab.server.dead_time_ns))
        sharp = port.detector.model_copy(update={"recovery_ns": 0.0})
        blind = _clicks_before(profile, slot_s, sharp, lab.server.dead_time_ns)
        recovered = (alive * (1 + blind))[classes == SlotClass.SIG]
        mean, fraction = {"dark": port.detector.dark_hz}, {"dark": float(alive.mean())}
        for slot_class, rate in inside.items():
            total = float(rate.mean())
            if total > 0:
                chosen = alive[classes == slot_class]
                mean[slot_class.name] = total * chosen.shape[0] / classes.size
                fraction[slot_class.name] = float((chosen * rate).mean()) / total
        results.append(PortRates(port, mean, fraction, float(recovered.mean()) if recovered.size else 1.0))
    return results[0], results[1]


def live_share(lab: Lab) -> float:
    """Fraction of the SIG windows that are live (docs/live.md); 1 where the lab does not ask for live windows.

    Neither detector may have clicked in the R pulses before (nor before the gate in its own pulse, where there is no light). As in
    `port_rates` that has, at one phi, the probability ``1 / (1 + m)`` for each of them, m the mean of raw clicks in that time.
    """
    frame = frame_config(lab)
    recovery = recovery_pulses(lab, gate_ticks(lab, "q")[0])
    if not recovery:
        return 1.0
    looked_back_ns = 1e9 * recovery / lab.frame.pulse_rate_hz
    classes = band_classes(frame, "q")
    slot_s = lab.frame.slot_pulses / lab.frame.pulse_rate_hz
    share = np.ones((classes.size, PHASES.size))
    for port in _fringed_ports(lab, "q"):
        inside = {c: _rate_inside(lab, "q", port, c) for c in SlotClass if (classes == c).any()}
        sharp = port.detector.model_copy(update={"recovery_ns": 0.0})
        share /= 1 + _clicks_before(_profile(classes, inside, port), slot_s, sharp, looked_back_ns)
    return float(share[classes == SlotClass.SIG].mean())


def _fringed_ports(lab: Lab, band: Band) -> list[Port]:
    """A band's ports with the visibility that fluctuating power leaves."""
    fringe = interference_factor(lab)
    return [replace(port, visibility=port.visibility * fringe) for port in ports(lab, band)]


def _profile(
    classes: NDArray[np.integer[Any]], inside: dict[SlotClass, NDArray[np.float64]], port: Port
) -> NDArray[np.float64]:
    """Raw clicks per second, (slots of a frame, PHASES)."""
    profile = np.empty((classes.size, PHASES.size))
    for slot_class, rate in inside.items():
        profile[classes == slot_class] = rate + port.detector.dark_hz
    return profile


def all_click_rates(lab: Lab) -> dict[str, dict[str, float]]:
    """Clicks per second after dead time, by channel name and slot class name (or ``dark``)."""
    bands: tuple[Band, ...] = ("q", "r")
    by_channel = {rates.port.channel: rates for band in bands for rates in port_rates(lab, band)}
    return {
        name: {key: by_channel[channel].clicks(key) for key in by_channel[channel].mean}
        for channel, name in enumerate(CHANNELS)
    }


def _rate_inside(lab: Lab, band: Band, port: Port, slot_class: SlotClass) -> NDArray[np.float64]:
    """Clicks per second of light inside slots of a class, for every phi in PHASES."""
    clients = lab.clients.alice, lab.clients.bob
    arms = lab.fibre.transmittance("a"), lab.fibre.transmittance("b")
    photons = [level_photons(client, band) * arm for client, arm in zip(clients, arms, strict=True)]

    def click(a: float, b: float, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.expm1(-port.intensity(np.full(theta.shape, a), np.full(theta.shape, b), np.cos(theta)))

    if slot_class == SlotClass.SIG and band == "q":
        # the users' random phases average theta out, whatever phi is
        mean = sum(
            pa * pb * float(click(float(photons[0][ka]), float(photons[1][kb]), PHASES).mean())
            for (_, ka), pa in symbol_probabilities(clients[0]).items()
            for (_, kb), pb in symbol_probabilities(clients[1]).items()
            if pa and pb
        )
        return np.full(PHASES.size, lab.frame.pulse_rate_hz * mean)
    if slot_class in (SlotClass.REF_A, SlotClass.REF_B, *REFERENCE_STEPS):
        a = 0.0 if slot_class == SlotClass.REF_B else float(photons[0][Level.REF])
        b = 0.0 if slot_class == SlotClass.REF_A else float(photons[1][Level.REF])
        step = slot_class - SlotClass.REF0 if slot_class in REFERENCE_STEPS else 0
        return lab.frame.pulse_rate_hz * click(a, b, PHASES + step * np.pi / 2)
    return np.zeros(PHASES.size)


def _clicks_before(
    profile: NDArray[np.float64], slot_s: float, detector: Detector, server_dead_ns: float
) -> NDArray[np.float64]:
    """Mean raw clicks before a time that is uniform in each slot, weighted with the efficiency that the click would miss there.

    profile: rates, (slots of a frame, phases). A circular convolution over the frame: a slot j before counts with the mean of
    ``W(u + j) - W(u + j - 1)`` over u from 0 to 1, W(s) the integral of the missing efficiency over the s slots before.
    """
    slots = profile.shape[0]
    dead = max(detector.dead_time_ns, server_dead_ns) * 1e-9 / slot_s
    own_dead, recovery = detector.dead_time_ns * 1e-9 / slot_s, detector.recovery_ns * 1e-9 / slot_s
    lags = np.arange(int(np.ceil(dead + 37 * recovery)) + 2)[:, None]  # e^-37 is the rounding of 1
    u = (np.arange(256) + 0.5)[None, :] / 256

    def missing(s: NDArray[np.float64]) -> NDArray[np.float64]:
        if not recovery:
            return np.clip(s, 0.0, dead)
        tail = np.exp((own_dead - dead) / recovery) - np.exp((own_dead - np.maximum(s, dead)) / recovery)
        return np.clip(s, 0.0, dead) + recovery * tail

    kernel = np.zeros(slots)
    np.add.at(kernel, lags[:, 0] % slots, (missing(u + lags) - missing(u + lags - 1.0)).mean(axis=1))
    spectrum = np.fft.rfft(profile, axis=0) * np.fft.rfft(kernel)[:, None]
    return np.fft.irfft(spectrum, slots, axis=0) * slot_s
