"""Key figures of a lab, from its file and the formulas alone."""

from __future__ import annotations

import math
from typing import Any

from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Client, Lab
from twinphase_spec.track_setup import track_setup

from ..theory.keyrate import SnsSource, slice_error, sns_aopp
from ..theory.plob import plob_bound


def lab_figures(lab: Lab) -> dict[str, Any]:
    """Losses, expected click rate of signal slots, key rate per clock slot and PLOB. All units are in the names.

    ``signal_clicks_hz`` is the mean detected photon number of signal pulses (in the gate, dark counts included) times their
    rate, good where that number is small. ``key_rate_per_slot`` is the SNS-AOPP formula for the lossier arm without phase noise,
    with the error of visibility and phase slice; None where the formula does not apply. ``psi_sigma_rad`` is the error expected of
    smoothed psi. LabError for a lab that asks for tracking that it cannot have.
    """
    setup = track_setup(lab)
    channels = [channel for channel in setup.channels if channel is not None]
    clicks = setup.source == "clicks"
    sigma = math.sqrt(sum(channel.smoothed_mse_rad2 for channel in channels)) if clicks else None
    table = lab.frame.table()
    signal = signal_fraction(lab)
    arms = lab.fibre.transmittance("a"), lab.fibre.transmittance("b")
    efficiency, dark = quantum_detectors(lab)
    alice, bob = lab.clients.alice, lab.clients.bob
    photons = efficiency * (arms[0] * _mean_photons(alice) + arms[1] * _mean_photons(bob)) + 2 * dark
    channel = arms[0] * arms[1]
    error = (1 - lab.lasers.visibility) / 2 + slice_error(math.radians(lab.protocol.slice_width_deg))
    try:
        key_rate: float | None = key_rate_per_slot(lab, error)
    except ValueError:
        key_rate = None
    return {
        "name": lab.name,
        "description": lab.description,
        "length_km": lab.fibre.length_a_km + lab.fibre.length_b_km,
        "loss_db": -10 * math.log10(channel) if channel else None,
        "pulse_rate_hz": lab.frame.pulse_rate_hz,
        "signal_fraction": signal,
        "window_s": len(table) * lab.frame.slot_pulses * lab.frame.frames_per_window / lab.frame.pulse_rate_hz,
        "slice_width_deg": lab.protocol.slice_width_deg,
        "signal_clicks_hz": photons * signal * lab.frame.pulse_rate_hz,
        "key_rate_per_slot": key_rate,
        "plob_per_slot": plob_bound(channel) if channel < 1 else None,
        "plob_per_slot_with_detectors": plob_bound(channel * efficiency) if channel * efficiency < 1 else None,
        "psi_source": setup.source,
        "psi_source_reason": setup.reason,
        "psi_lag_s": setup.lag_s if setup.source == "clicks" else None,
        "psi_sigma_rad": sigma,
        "assumed": list(lab.assumed),
    }


def signal_fraction(lab: Lab) -> float:
    """Share of SIG slots in the quantum band."""
    table = lab.frame.table()
    return sum(q is SlotClass.SIG for q, _ in table) / len(table)


def quantum_detectors(lab: Lab) -> tuple[float, float]:
    """Mean efficiency of qL and qR, and their mean dark counts per gate."""
    left, right = lab.detectors.qL, lab.detectors.qR
    return (left.efficiency + right.efficiency) / 2, (left.dark_hz + right.dark_hz) / 2 * lab.frame.gate_q_ps * 1e-12


def key_rate_per_slot(lab: Lab, error: float, extra_km: float = 0.0) -> float:
    """SNS-AOPP formula per clock slot for the lossier arm, with ``error`` as the detector error and no further phase noise.

    ``extra_km``: fibre added to both arms. Raises ValueError where the formula does not apply.
    """
    alice, bob = lab.clients.alice, lab.clients.bob
    source = SnsSource(
        u=alice.mu_z + bob.mu_z,
        v=alice.mu_1 + bob.mu_1,
        w=alice.mu_0 + bob.mu_0,
        z_probability=math.sqrt(alice.z_probability * bob.z_probability),
        send_probability=math.sqrt(alice.send_probability * bob.send_probability),
        error_correction=lab.protocol.error_correction_efficiency,
    )
    arm = min(lab.fibre.transmittance("a"), lab.fibre.transmittance("b"))
    arm *= 10 ** (-extra_km * lab.fibre.attenuation_db_per_km / 10)
    efficiency, dark = quantum_detectors(lab)
    rate = sns_aopp(
        source, arm_transmittance=min(1.0, arm * efficiency), dark_probability=dark, detector_error=error
    ).rate
    return signal_fraction(lab) * rate


def _mean_photons(client: Client) -> float:
    """Mean photon number per signal pulse of one client."""
    mu2_probability = 1 - client.vacuum_probability - client.mu1_probability
    x = client.vacuum_probability * client.mu_0 + client.mu1_probability * client.mu_1 + mu2_probability * client.mu_2
    z = client.send_probability * client.mu_z + (1 - client.send_probability) * client.mu_0
    return client.z_probability * z + (1 - client.z_probability) * x
