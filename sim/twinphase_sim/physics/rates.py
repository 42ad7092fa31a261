"""Mean click rates of every detector, class by class, and how much of them the dead time leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.configure import frame_config
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Client, Lab
from twinphase_spec.registers import CHANNELS
from twinphase_spec.symbols import Intensity, Level

from .optics import REFERENCE_STEPS, Band, Port, level_photons, ports
from .slots import band_classes

PHASES: NDArray[np.float64] = np.arange(64).astype(np.float64) * (2 * np.pi / 64)
"""Uniform average over a phase: the mean over 64 steps is exact to rounding for exponentials of cosines (what it misses are
Bessel functions of order 64, below 1e-80 for intensities of order 1)."""


def symbol_probabilities(client: Client) -> dict[tuple[bool, Intensity], float]:
    """Probability of (X window, intensity) of a pulse."""
    z, x = client.z_probability, 1 - client.z_probability
    mu_2 = 1 - client.vacuum_probability - client.mu1_probability
    result = {(is_x, level): 0.0 for is_x in (False, True) for level in Intensity}
    result[False, Intensity.MU_Z] = z * client.send_probability
    result[False, Intensity.VAC] = z * (1 - client.send_probability)
    result[True, Intensity.VAC] = x * client.vacuum_probability
    result[True, Intensity.MU_1] = x * client.mu1_probability
    result[True, Intensity.MU_2] = x * mu_2
    return result


@dataclass(frozen=True, eq=False)
class PortRates:
    """A detector's clicks.

    ``mean``: clicks per second of lab time by slot class (and ``dark``), before dead time. ``alive``: the fraction of them that the
    dead time leaves.
    """

    port: Port
    mean: dict[str, float]
    alive: dict[str, float]

    def clicks(self, key: str) -> float:
        """Clicks per second after dead time; 0 for a class that the table lacks."""
        return self.mean.get(key, 0.0) * self.alive.get(key, 1.0)


def port_rates(lab: Lab, band: Band) -> tuple[PortRates, PortRates]:
    """Rates of L and R of a band, averaged over phi.

    Alive fraction of a click: ``1 / (1 + m)``, m the mean number of raw clicks in the dead time before it at the same phi (phi
    stands still in a dead time; bright steps shadow themselves more than a mean rate would).
    """
    classes = band_classes(frame_config(lab), band)
    slot_s = lab.frame.slot_pulses / lab.frame.pulse_rate_hz
    results = []
    for port in ports(lab, band):
        inside = {c: _rate_inside(lab, band, port, c) for c in SlotClass if (classes == c).any()}
        profile = np.empty((classes.size, PHASES.size))
        for slot_class, rate in inside.items():
            profile[classes == slot_class] = rate + port.detector.dark_hz
        dead_s = max(port.detector.dead_time_ns, lab.server.dead_time_ns) * 1e-9
        alive = 1 / (1 + _clicks_before(profile, slot_s, dead_s))
        mean, fraction = {"dark": port.detector.dark_hz}, {"dark": float(alive.mean())}
        for slot_class, rate in inside.items():
            total = float(rate.mean())
            if total > 0:
                chosen = alive[classes == slot_class]
                mean[slot_class.name] = total * chosen.shape[0] / classes.size
                fraction[slot_class.name] = float((chosen * rate).mean()) / total
        results.append(PortRates(port, mean, fraction))
    return results[0], results[1]


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


def _clicks_before(profile: NDArray[np.float64], slot_s: float, dead_s: float) -> NDArray[np.float64]:
    """Mean raw clicks in the ``dead_s`` before a time that is uniform in each slot; profile: rates, (slots of a frame, phases).

    A circular convolution over the frame with the mean overlap of [u - dead, u], u uniform in slot 0, with slot -j.
    """
    slots = profile.shape[0]
    width = dead_s / slot_s
    lags = np.arange(int(np.ceil(width)) + 2)[:, None]
    u = (np.arange(256) + 0.5)[None, :] / 256
    overlap = np.minimum(u, 1.0 - lags) - np.maximum(u - width, -lags)
    kernel = np.zeros(slots)
    np.add.at(kernel, lags[:, 0] % slots, np.maximum(overlap, 0).mean(axis=1))
    spectrum = np.fft.rfft(profile, axis=0) * np.fft.rfft(kernel)[:, None]
    return np.fft.irfft(spectrum, slots, axis=0) * slot_s
