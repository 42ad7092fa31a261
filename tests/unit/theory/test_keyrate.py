"""SNS-AOPP key rate, PLOB and decoy bounds against reference values of docs/physics.md."""

import math

import numpy as np
import pytest

from twinphase.theory.decoy import one_sided_yield, phase_error_bound, sns_rate_without_pairing
from twinphase.theory.entropy import binary_entropy
from twinphase.theory.keyrate import SnsSource, slice_error, sns_aopp
from twinphase.theory.plob import plob_bound

ZHOU = SnsSource(u=0.986, v=0.21, w=0.0004, z_probability=0.735, send_probability=0.269, error_correction=1.1)


def zhou_rate(loss_db: float, detector_error: float, sigma: float) -> float:
    eta = 0.60 * 10 ** (-loss_db / 20)
    result = sns_aopp(
        ZHOU, arm_transmittance=eta, dark_probability=4 / 500e6, detector_error=detector_error, sigma_rad=sigma
    )
    return 500e6 * result.rate


@pytest.mark.parametrize(
    ("detector_error", "sigma", "expected", "digits"),
    [(0, 0, 34.171166, 6), (0, 0.099, 31.606518, 6), (0.03140869, 0.05, 14.38, 4)],
)
def test_golden_values_at_518_km(detector_error: float, sigma: float, expected: float, digits: int) -> None:
    assert zhou_rate(94.14, detector_error, sigma) == pytest.approx(expected, abs=0.51 * 10**-digits)


def test_rate_is_not_clipped() -> None:
    assert zhou_rate(130, 0.03, 0.2) < 0


@pytest.mark.parametrize(("degrees", "percent"), [(20, 0.25), (45, 1.28)])
def test_slice_error(degrees: float, percent: float) -> None:
    assert 100 * slice_error(math.radians(degrees)) == pytest.approx(percent, abs=0.006)


def test_slice_error_is_the_mean_over_the_slice() -> None:
    width = math.radians(45)
    d = (np.arange(100_000) + 0.5) / 100_000 * width - width / 2
    assert slice_error(width) == pytest.approx(float(np.mean((1 - np.cos(d)) / 2)), rel=1e-8)


def test_plob() -> None:
    assert plob_bound(0.5) == pytest.approx(1)
    assert plob_bound(1e-9) == pytest.approx(1e-9 / math.log(2))
    with pytest.raises(ValueError, match="transmittance"):
        plob_bound(1.0)


def test_entropy() -> None:
    assert binary_entropy(0.5) == 1
    assert binary_entropy(0.0) == 0
    assert binary_entropy(0.11) == pytest.approx(0.4999, abs=1e-4)


@pytest.mark.parametrize("field", [{"v": 1.2}, {"w": 0.9}, {"send_probability": 0.0}, {"error_correction": 0.9}])
def test_bad_source(field: dict[str, float]) -> None:
    values = {"u": 0.986, "v": 0.21, "w": 0.0004, "z_probability": 0.735, "send_probability": 0.269, **field}
    with pytest.raises(ValueError, match="key rate"):
        SnsSource(**values)


def gains(mu_1: float, mu_2: float) -> tuple[float, float, float]:
    """Exactly-one-click gains S00, S01, S02 at 37 dB per arm, eta_d 0.7, p_d 1e-8."""
    eta, dark = 0.7 * 10**-3.7, 1e-8

    def gain(k: float) -> float:
        quiet = (1 - dark) * math.exp(-eta * k / 2)
        return 2 * quiet * (1 - quiet)

    return gain(0.0), gain(mu_1), gain(mu_2)


@pytest.mark.parametrize(("swaps", "x_percent", "phase_percent"), [(0.0, 0.289, 0.325), (0.03, 3.27, 4.06)])
def test_decoy_bounds_at_74_db(swaps: float, x_percent: float, phase_percent: float) -> None:
    eta, dark, mu_1, mu_2, width = 0.7 * 10**-3.7, 1e-8, 0.1, 0.4, math.radians(20)
    s00, s01, s02 = gains(mu_1, mu_2)
    single = one_sided_yield(mu_1=mu_1, mu_2=mu_2, vacuum=s00, weak=s01, strong=s02)
    theta = ((np.arange(20_000) + 0.5) / 20_000 - 0.5) * width
    quiet_l = (1 - dark) * np.exp(-eta * mu_1 * (1 + np.cos(theta)))
    quiet_r = (1 - dark) * np.exp(-eta * mu_1 * (1 - np.cos(theta)))
    right = float(np.mean((1 - quiet_l) * quiet_r))
    wrong = float(np.mean((1 - quiet_r) * quiet_l))
    wrong, right = wrong * (1 - swaps) + right * swaps, right * (1 - swaps) + wrong * swaps
    assert 100 * wrong / (wrong + right) == pytest.approx(x_percent, rel=3e-3)
    bound = phase_error_bound(mu_1=mu_1, x_error_rate=wrong, vacuum=s00, single_yield=single)
    assert 100 * bound == pytest.approx(phase_percent, rel=3e-3)


@pytest.mark.parametrize("seed", range(8))
def test_one_sided_yield_is_the_bound_of_a_single_source(seed: int) -> None:
    """Ma et al. 2005, eq. 34 (mu, nu_1, nu_2 = 0), and Wang et al. 2018, eq. 44, which has both users' light, at 2 mu."""
    rng = np.random.default_rng(seed)
    nu, mu = sorted(rng.uniform(0.01, 1.0, 2).tolist())
    y0, q_nu, q_mu = rng.uniform(0, 1e-3, 3).tolist()
    rest = (nu**2 / mu**2) * (q_mu * math.exp(mu) - y0)
    ma = mu / (mu * nu - nu**2) * (q_nu * math.exp(nu) - y0 - rest)
    assert one_sided_yield(mu_1=nu, mu_2=mu, vacuum=y0, weak=q_nu, strong=q_mu) == pytest.approx(ma, rel=1e-9)
    both = mu**2 * math.exp(2 * nu) * q_nu - nu**2 * math.exp(2 * mu) * q_mu - (mu**2 - nu**2) * y0
    wang = both / (2 * nu * mu * (mu - nu))
    doubled = one_sided_yield(mu_1=2 * nu, mu_2=2 * mu, vacuum=y0, weak=q_nu, strong=q_mu)
    assert doubled == pytest.approx(wang, rel=1e-9)


def test_no_key_without_pairing_at_large_eps() -> None:
    s00, s01, s02 = gains(0.1, 0.4)
    single = one_sided_yield(mu_1=0.1, mu_2=0.4, vacuum=s00, weak=s01, strong=s02)
    eps, (_, sent, both) = 0.27, gains(0.45, 0.9)
    z_gain = 2 * eps * (1 - eps) * sent + eps**2 * both + (1 - eps) ** 2 * s00
    rate = sns_rate_without_pairing(
        z_probability=0.735,
        send_probability=eps,
        mu_z=0.45,
        single_yield=single,
        phase_error=0.05,
        z_gain=z_gain,
        z_error=(eps**2 * both + (1 - eps) ** 2 * s00) / z_gain,
        error_correction=1.1,
    )
    assert rate < 0


def test_decoy_needs_a_yield() -> None:
    with pytest.raises(ValueError, match="yield"):
        phase_error_bound(mu_1=0.1, x_error_rate=1e-6, vacuum=0, single_yield=-1e-9)
