"""Expectations against closed forms."""

import math

import numpy as np
import pytest
from physics_labs import changed
from scipy import special

from twinphase.theory.keyrate import phase_noise_error, slice_error
from twinphase_sim.physics.expect import Receiver, expectations
from twinphase_sim.physics.rates import PHASES
from twinphase_spec.lab import Lab, load_lab


@pytest.fixture
def plain() -> Lab:
    """Equal detectors, full visibility, no dead time to speak of, a gate that keeps everything."""
    lab = changed(load_lab("seed-370km"), lasers__visibility=1.0, frame__gate_q_ps=1000.0, fibre__extra_loss_b_db=1.0)
    for name in ("qL", "qR"):
        detector = {"efficiency": 0.7, "dark_hz": 1e4, "dead_time_ns": 16.0, "jitter_ps": 0.0, "offset_ps": 10.0}
        lab = changed(lab, **{f"detectors__{name}": detector})
    return lab


@pytest.mark.parametrize(("k_a", "k_b"), [(0.1, 0.1), (0.5, 0.0), (300.0, 800.0)])
def test_single_click_gain_is_the_bessel_formula(plain: Lab, k_a: float, k_b: float) -> None:
    """Q = 2 y (I0(x) - y); dead time takes about 1e-3 of it (16 ns at 1e4 clicks/s and more)."""
    a, b = k_a * plain.fibre.transmittance("a"), k_b * plain.fibre.transmittance("b")
    y = (1 - 1e-5) * math.exp(-0.7 * (a + b) / 2)
    expected = 2 * y * (special.i0(0.7 * math.sqrt(a * b)) - y)
    gain = Receiver(plain).single_clicks(a, b, PHASES).sum(axis=0).mean()
    assert gain == pytest.approx(expected, rel=2e-3)


def test_x_qber_is_the_sum_of_its_parts() -> None:
    """For weak pulses, equal arms and few dark counts: 1/2 - V/2 (1 - 2 slice error)(1 - 2 phase error)."""
    lab = load_lab("seed-370km")
    result = expectations(lab)
    coherence = lab.lasers.visibility
    coherence *= 1 - 2 * slice_error(math.radians(lab.protocol.slice_width_deg))
    coherence *= 1 - 2 * phase_noise_error(result.psi_q_rms_rad)
    dark = (8 + 10) * 0.8e-9 / (2 * 0.1 * lab.fibre.transmittance("a") * 0.71)
    assert result.x_qber == pytest.approx((1 - coherence) / 2 * (1 - dark) + dark / 2, rel=3e-3)


def test_kept_fraction_is_the_slice() -> None:
    lab = load_lab("seed-370km")
    assert expectations(lab).kept_fraction == pytest.approx(lab.protocol.slice_width_deg / 180, rel=1e-3)


def test_rates_sum_up() -> None:
    result = expectations(load_lab("zhou-403km"))
    total = sum(rate for rates in result.click_rates.values() for rate in rates.values())
    assert result.clicks_per_second == pytest.approx(total)
    assert result.heralds_per_second < sum(result.click_rates[name]["SIG"] for name in ("qL", "qR")) * 1.001
    assert 0.25 < result.z_error_raw < 0.28  # about eps
    # Pairs of "both sent" with "neither sent" over all pairs, n = 0.0002, s = 0.493: about 4 s n / (s + n)^2 = 1.6e-3, and
    # dark counts on top.
    assert 1.6e-3 < result.z_error_after_pairing < 2e-3


def test_worse_phase_means_more_errors() -> None:
    lab = load_lab("seed-370km")
    faster = changed(lab, fibre__noise_rad2_hz_per_km=50.0)
    assert expectations(faster).psi_q_rms_rad > expectations(lab).psi_q_rms_rad
    assert expectations(faster).x_qber > expectations(lab).x_qber
    unlit = changed(lab, clients__bob__reference_r=0.0)
    assert np.isclose(expectations(unlit).x_qber, 0.5, atol=0.1)
