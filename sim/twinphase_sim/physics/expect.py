"""What a lab should measure, computed from its file alone: rates, phase errors, error rates.

Approximations, all checked against the drawn physics: phi is uniform over a run; dead time, recovery and fluctuating power as in
`rates`; phase errors are Gaussian in the X-QBER. Of a scene, lines and power are in; ramps, trucks and knocks pass, and what is
computed here is the time without them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase.theory.aopp import expected_pairing
from twinphase.theory.phase import (
    drift_variance,
    effective_visibility,
    four_phase_variance,
    line_variance,
    noise_window_variance,
    walk_variance,
)
from twinphase_spec.configure import frame_config
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Lab
from twinphase_spec.symbols import Intensity, Level
from twinphase_spec.track_setup import track_setup
from twinphase_spec.units import TICKS_PER_SECOND

from .optics import REFERENCE_STEPS, Band, Port, level_photons
from .phase import fibre_rate_rms
from .rates import PHASES, all_click_rates, live_share, port_rates, symbol_probabilities
from .slots import band_classes

QUADRATURE = 32


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """Rates per second of lab time, phases in rad (rms of the error), error rates as fractions.

    The phases are those of the lab's source: smoothed ones of the click tracker, or those of windows. ``click_rates``: per channel
    and slot class name, plus ``dark``, after dead time, gate or not. ``psi_q_rms_rad`` is that of the psi a herald gets, against phi_q
    at its click; ``psi_d_rms_rad`` that of psi_d alone; ``x_kept_per_second``: X heralds in the slice. ``live_share``: fraction of the
    SIG windows that may give heralds, 1 where the lab does not ask for live windows.
    """

    click_rates: dict[str, dict[str, float]]
    clicks_per_second: float
    heralds_per_second: float
    live_share: float
    psi_r_rms_rad: float
    psi_d_rms_rad: float
    psi_q_rms_rad: float
    x_heralds_per_second: float
    x_kept_per_second: float
    kept_fraction: float
    x_qber: float
    z_heralds_per_second: float
    z_error_raw: float
    z_error_after_pairing: float
    pairs_per_second: float


def expectations(lab: Lab) -> Expectations:
    """All expectations of a lab."""
    frame = frame_config(lab)
    click_rates = all_click_rates(lab)
    window_s = frame.window_ticks / TICKS_PER_SECOND
    psi_r, psi_d, psi_q = _phase_errors(lab, window_s)
    live = live_share(lab)
    signal_rate = live * lab.frame.pulse_rate_hz * float(np.mean(band_classes(frame, "q") == SlotClass.SIG))
    receiver = Receiver(lab)
    symbols_a, symbols_b = symbol_probabilities(lab.clients.alice), symbol_probabilities(lab.clients.bob)
    gains = {
        (ka, kb): float(
            receiver.single_clicks(_arriving(lab, "alice", ka), _arriving(lab, "bob", kb), PHASES).sum(axis=0).mean()
        )
        for ka in Intensity
        for kb in Intensity
    }

    def both(type_a: bool, type_b: bool) -> dict[tuple[Intensity, Intensity], float]:
        """Heralds per second by both intensities, for X (True) or Z windows of either user."""
        return {
            pair: signal_rate * symbols_a[type_a, pair[0]] * symbols_b[type_b, pair[1]] * gain
            for pair, gain in gains.items()
        }

    heralds = sum(sum(both(a, b).values()) for a in (False, True) for b in (False, True))
    z = both(False, False)
    sent, vacuum = Intensity.MU_Z, Intensity.VAC
    z_total = sum(z.values())
    survivors, paired_error = expected_pairing(
        both_sent=z[sent, sent], alice_sent=z[sent, vacuum], bob_sent=z[vacuum, sent], none_sent=z[vacuum, vacuum]
    )

    half_slice = math.radians(lab.protocol.slice_width_deg) / 2
    x = both(True, True)
    x_total = sum(x[level, level] for level in (Intensity.MU_1, Intensity.MU_2))
    kept = wrong = 0.0
    for level in (Intensity.MU_1, Intensity.MU_2):
        arriving = _arriving(lab, "alice", level), _arriving(lab, "bob", level)
        right_clicks, wrong_clicks = receiver.sliced_clicks(*arriving, half_slice, psi_q)
        rate = signal_rate * symbols_a[True, level] * symbols_b[True, level] * 2 * half_slice / math.pi
        kept += rate * (right_clicks + wrong_clicks)
        wrong += rate * wrong_clicks
    return Expectations(
        click_rates=click_rates,
        clicks_per_second=sum(sum(rates.values()) for rates in click_rates.values()),
        heralds_per_second=heralds,
        live_share=live,
        psi_r_rms_rad=psi_r,
        psi_d_rms_rad=psi_d,
        psi_q_rms_rad=psi_q,
        x_heralds_per_second=x_total,
        x_kept_per_second=kept,
        kept_fraction=kept / x_total if x_total else 0.0,
        x_qber=wrong / kept if kept else 0.0,
        z_heralds_per_second=z_total,
        z_error_raw=(z[sent, sent] + z[vacuum, vacuum]) / z_total if z_total else 0.0,
        z_error_after_pairing=paired_error,
        pairs_per_second=survivors,
    )


class Receiver:
    """Both quantum detectors as heralding sees them: gate, jitter, dark counts in the gate, dead time (in live windows, recovery)."""

    def __init__(self, lab: Lab) -> None:
        rates = port_rates(lab, "q")
        alive = [
            rate.recovered if lab.server.live_windows else rate.alive.get(SlotClass.SIG.name, 1.0) for rate in rates
        ]
        self._ports = [rate.port for rate in rates]
        self._gate = [live * gate_fraction(lab, port, "q") for live, port in zip(alive, self._ports, strict=True)]
        self._dark = [
            live * port.detector.dark_hz * lab.frame.gate_q_ps * 1e-12
            for live, port in zip(alive, self._ports, strict=True)
        ]

    def single_clicks(self, a: float, b: float, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of exactly one click at theta, rows: by L, by R. a, b: photons arriving from the arms."""
        quiet = []
        for port, gate, dark in zip(self._ports, self._gate, self._dark, strict=True):
            light = -np.expm1(-port.intensity(np.full(theta.shape, a), np.full(theta.shape, b), np.cos(theta)))
            quiet.append((1 - dark) * (1 - gate * light))
        return np.stack(((1 - quiet[0]) * quiet[1], quiet[0] * (1 - quiet[1])))

    def sliced_clicks(self, a: float, b: float, half_slice: float, sigma_rad: float) -> tuple[float, float]:
        """Probabilities of (right, wrong) port per window that the slice test keeps, averaged over slice and psi error."""
        slice_nodes, slice_weights = np.polynomial.legendre.leggauss(QUADRATURE)
        error_nodes, error_weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        weights = np.outer(slice_weights, error_weights) / (2 * math.sqrt(2 * math.pi))
        theta = half_slice * slice_nodes[:, None] + sigma_rad * error_nodes[None, :]
        near_zero = self.single_clicks(a, b, theta)
        near_pi = self.single_clicks(a, b, theta + math.pi)
        right = (near_zero[0] + near_pi[1]) / 2
        wrong = (near_zero[1] + near_pi[0]) / 2
        return float((weights * right).sum()), float((weights * wrong).sum())


def gate_fraction(lab: Lab, port: Port, band: Band) -> float:
    """Fraction of a port's light that falls into the gate: ``erf(width / (2 sqrt(2) jitter))``."""
    width = lab.frame.gate_q_ps if band == "q" else lab.frame.gate_r_ps
    jitter = port.detector.jitter_ps
    return math.erf(width / (2 * math.sqrt(2) * jitter)) if jitter > 0 else 1.0


def _arriving(lab: Lab, user: str, level: Intensity) -> float:
    """Photons of a level that reach the server from ``alice`` or ``bob``."""
    arm = lab.fibre.transmittance("a" if user == "alice" else "b")
    return float(level_photons(getattr(lab.clients, user), "q")[level]) * arm


def _phase_errors(lab: Lab, window_s: float) -> tuple[float, float, float]:
    """RMS errors of psi_r, psi_d and of a herald's psi_q.

    By clicks: those of the smoothers (`ChannelSetup.smoothed_mse_rad2`), psi_q taken as the sum of both. What the
    steps of fixed point and the finite lag cost, 2 % of the RMS, is not in it.

    By windows: psi_r: shot noise of a window, and of the motion inside it ``(r T)^2 / 12``, ``D T / 6`` and, of lines,
    ``a^2 / 2 (1 - sinc^2(f T))``. psi_d: shot noise of a d-window's in-band counts, whose contrast the noise of psi_r reduces; the
    mean of that noise, 1/W of it, goes into psi_d with minus and is so taken off a herald's psi_q.
    """
    setup = track_setup(lab)
    r, d = setup.channels
    if setup.source == "clicks" and r is not None and d is not None:
        variances = r.smoothed_mse_rad2, d.smoothed_mse_rad2
        return math.sqrt(variances[0]), math.sqrt(variances[1]), math.sqrt(sum(variances))
    fibre = lab.fibre
    rate_rms = fibre_rate_rms(fibre.noise_rad2_hz_per_km, fibre.length_a_km + fibre.length_b_km, fibre.noise_corner_hz)
    motion = noise_window_variance(rate_rms, fibre.noise_corner_hz, window_s)
    motion += drift_variance(fibre.drift_rad_per_s, window_s)
    motion += walk_variance(lab.lasers.diffusion_rad2_per_s, window_s)
    motion += sum(line_variance(line.amplitude_rad, line.frequency_hz, window_s) for line in lab.scene.lines)
    windows = lab.frame.windows_per_dwindow
    dwindow_s = window_s * windows
    counts_r, visibility_r = _reference_counts(lab, "r")
    counts_d, visibility_d = _reference_counts(lab, "q")
    shot_r = four_phase_variance(counts_r * window_s, visibility_r)
    shot_d = four_phase_variance(counts_d * dwindow_s, visibility_d * math.exp(-shot_r / 2))
    differential = noise_window_variance(lab.bands.differential_drift_rad_per_s, fibre.noise_corner_hz, dwindow_s)
    return (
        math.sqrt(shot_r + motion),
        math.sqrt(shot_d + shot_r / windows + differential),
        math.sqrt(shot_r * (1 - 1 / windows) + motion + shot_d + differential),
    )


def _reference_counts(lab: Lab, band: Band) -> tuple[float, float]:
    """Gated counts per second in the four reference steps of a band, and their visibility.

    Power that fluctuates more slowly than windows close varies the noise ``2 / (N V^2)`` of a window in proportion to ``1 / (f_A a) +
    1 / (f_B b)``, a and b the arms' light; the counts returned are those whose noise is the mean of that, by ``<1 / f> = exp(s^2)``.
    """
    classes = band_classes(frame_config(lab), band)
    fraction = float(np.mean(np.isin(classes, [int(c) for c in REFERENCE_STEPS])))
    gate_s = (lab.frame.gate_q_ps if band == "q" else lab.frame.gate_r_ps) * 1e-12
    signal = background = 0.0
    for rates in port_rates(lab, band):
        light = sum(rates.clicks(step.name) for step in REFERENCE_STEPS)
        signal += gate_fraction(lab, rates.port, band) * light
        background += rates.clicks("dark") * fraction * gate_s * lab.frame.pulse_rate_hz
    a = float(level_photons(lab.clients.alice, band)[Level.REF]) * lab.fibre.transmittance("a")
    b = float(level_photons(lab.clients.bob, band)[Level.REF]) * lab.fibre.transmittance("b")
    if signal <= 0 or a * b == 0:
        return signal + background, 0.0
    balance = 2 * math.sqrt(a * b) / (a + b)
    powers = lab.scene.power_of("a"), lab.scene.power_of("b")
    growth = [math.exp(power.log_sigma**2) if power else 1.0 for power in powers]
    signal *= (1 / a + 1 / b) / (growth[0] / a + growth[1] / b)
    return signal + background, effective_visibility(lab.lasers.visibility * balance, signal, background)
