"""Limits of phase tracking from single clicks: Fisher information per click, and the least error of causal estimators.

Ports: ``lambda_L,R = (R (1 +- V cos theta) + B) / 2`` clicks per second, ``theta = psi + k pi/2 (+ shift)``; R counts the signal of
both ports while the reference is on, B the background of both ports. All clicks together come at the rate R + B whatever psi
is, so only the port informs, with ``V_eff = V R / (R + B)`` (`phase.effective_visibility`). Every function here that takes
a *visibility* means V_eff, and every *count rate* means all clicks, R + B.

Phase: ``dpsi = s dt + sqrt(D) dW1``, ``ds = sqrt(Q) dW2``, D in rad^2/s, Q in rad^2/s^3. Sources: Kalman and Bucy,
J. Basic Eng. 83, 95 (1961), the filter's Riccati equation with information rate J in the place of 1/noise; van Trees,
Detection, Estimation and Modulation Theory I (1968), the information of a Poisson process; docs/physics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

ORTHOGONAL_FRACTION = 1 / 16
"""Fraction of steered slots at the fringe's extremes."""
NORMAL_NODES, NORMAL_WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
"""Gauss-Hermite rule of averages over a standard normal error; the integrand is smooth over sqrt(2 (1 - V))."""
NORMAL_WEIGHTS = NORMAL_WEIGHTS / NORMAL_WEIGHTS.sum()
SPLIT_STEP = 0.05
"""Largest gain times step of the Riccati equation along a path: splitting errs by its square over 12, 0.02 %."""


def port_information(visibility: float, theta_rad: ArrayLike) -> NDArray[np.float64]:
    """Fisher information per click about theta in rad^-2: ``V^2 sin^2 theta / (1 - V^2 cos^2 theta)``; any shape."""
    theta = np.asarray(theta_rad, dtype=np.float64)
    return (visibility * np.sin(theta)) ** 2 / (1 - (visibility * np.cos(theta)) ** 2)


def mid_fringe_information(visibility: float) -> float:
    """``V^2`` rad^-2 per click, theta = +-pi/2: the most that any reference gives."""
    return visibility**2


def four_phase_information(visibility: float, psi_rad: ArrayLike) -> NDArray[np.float64]:
    """Mean of `port_information` over the four steps at psi: from V^2/2 (psi = 0) to V^2/(2 - V^2) (psi = pi/4)."""
    psi = np.asarray(psi_rad, dtype=np.float64)
    return (port_information(visibility, psi) + port_information(visibility, psi + math.pi / 2)) / 2


def four_phase_mean_information(visibility: float) -> float:
    """``1 - sqrt(1 - V^2)`` rad^-2 per click: mean of `four_phase_information` over uniform psi."""
    return 1 - math.sqrt(1 - visibility**2)


def steered_information(
    visibility: float, *, orthogonal_fraction: float = ORTHOGONAL_FRACTION, error_rms_rad: float = 0.0
) -> float:
    """Information per click in rad^-2 of slots steered to mid-fringe, a fraction of them to the fringe's extremes.

    ``(1 - f) E F(pi/2 + e) + f E F(e)`` over the Gaussian steering error e. Without error the extremes tell nothing: (1 - f) V^2.
    """
    error = error_rms_rad * NORMAL_NODES
    mid = float(NORMAL_WEIGHTS @ port_information(visibility, error + math.pi / 2))
    orthogonal = float(NORMAL_WEIGHTS @ port_information(visibility, error))
    return (1 - orthogonal_fraction) * mid + orthogonal_fraction * orthogonal


def fisher_rate(information: float, count_rate_hz: float, duty: float = 1.0) -> float:
    """``J = F R duty`` in rad^-2/s. R: all clicks per second, background among them, while the reference is on; F at V_eff."""
    return information * count_rate_hz * duty


@dataclass(frozen=True)
class Covariance:
    """Covariance of (phase, slope) before the delay: rad^2, rad^2/s, rad^2/s^2; arrays along a path."""

    p11: NDArray[np.float64]
    p12: NDArray[np.float64]
    p22: NDArray[np.float64]

    def after(self, delay_s: float, diffusion: float, slope_noise: float) -> NDArray[np.float64]:
        """Mean square error tau later: ``P11 + 2 tau P12 + tau^2 P22 + D tau + Q tau^3 / 3`` in rad^2."""
        tau = delay_s
        return self.p11 + 2 * tau * self.p12 + tau**2 * self.p22 + diffusion * tau + slope_noise * tau**3 / 3


def steady_covariance(diffusion: float, rate: ArrayLike, slope_noise: float = 0.0) -> Covariance:
    """Steady state for a constant J: ``P12 = sqrt(Q/J)``, ``P11 = sqrt((D + 2 P12)/J)``, ``P22 = J P11 P12``."""
    j = np.asarray(rate, dtype=np.float64)
    p12 = np.sqrt(slope_noise / j)
    p11 = np.sqrt((diffusion + 2 * p12) / j)
    return Covariance(p11, p12, j * p11 * p12)


def causal_mse(diffusion: float, rate: float, delay_s: float = 0.0, slope_noise: float = 0.0) -> float:
    """Least mean square error in rad^2 of psi(t + tau) from clicks up to t."""
    return float(steady_covariance(diffusion, rate, slope_noise).after(delay_s, diffusion, slope_noise))


def fixed_lag_mse(diffusion: float, rate: float, lag_s: float) -> float:
    """Least error in rad^2 of psi(t) from clicks up to t + L: ``sqrt(D/J) (1 + exp(-2 K L)) / 2``, ``K = sqrt(D J)``."""
    return math.sqrt(diffusion / rate) * (1 + math.exp(-2 * math.sqrt(diffusion * rate) * lag_s)) / 2


def integrator_mse(diffusion: float, rate: float, gain_per_s: float, delay_s: float) -> float:
    """Error in rad^2 of an integrating loop whose correction acts tau late:
    ``(D + K^2/J) (1 + sin K tau) / (2 K cos K tau)``, infinite from K tau = pi/2."""
    angle = gain_per_s * delay_s
    if angle >= math.pi / 2:
        return math.inf
    return (diffusion + gain_per_s**2 / rate) * (1 + math.sin(angle)) / (2 * gain_per_s * math.cos(angle))


def best_integrator_gain(diffusion: float, rate: float, delay_s: float) -> float:
    """The gain K in 1/s of least `integrator_mse`; sqrt(D J) without delay, less with it."""
    top = math.sqrt(diffusion * rate)
    if delay_s > 0:
        top = min(top, math.pi / 2 / delay_s)
    found = minimize_scalar(
        lambda log_gain: integrator_mse(diffusion, rate, math.exp(log_gain), delay_s),
        bounds=(math.log(top) - 12, math.log(top)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(float(found.x))


def window_filter_mse(diffusion: float, rate: float, window_s: float) -> float:
    """Steady error in rad^2 of a filter fed once per window: ``(-q + sqrt(q^2 + 4 q r)) / 2``, q = D T, r = 1/(J T)."""
    q, r = diffusion * window_s, 1 / (rate * window_s)
    return (-q + math.sqrt(q * q + 4 * q * r)) / 2


def last_window_mse(
    diffusion: float, count_rate_hz: float, visibility: float, window_s: float, delay_s: float = 0.0
) -> float:
    """Error in rad^2 of the four-phase angle of the last complete window: ``2/(R T V^2) + 5 D T / 6 + D tau``.

    D T/3 is the walk between a window's mean and its end, D T/2 from there to the mean time of use. R: all clicks, times duty.
    """
    return 2 / (count_rate_hz * window_s * visibility**2) + 5 * diffusion * window_s / 6 + diffusion * delay_s


def best_last_window_s(diffusion: float, count_rate_hz: float, visibility: float) -> float:
    """``T = sqrt(12 / (5 D R V^2))``, where `last_window_mse` is least."""
    return math.sqrt(12 / (5 * diffusion * count_rate_hz * visibility**2))


def frozen_mse(diffusion: float, rates: ArrayLike, delay_s: float = 0.0, slope_noise: float = 0.0) -> float:
    """Mean of `causal_mse` over J of equally likely psi that stay for many time constants of the loop.

    The slow limit of `path_mse`; never below `causal_mse` of the mean J, the fast limit, since 1/sqrt(J) is convex.
    """
    steady = steady_covariance(diffusion, rates, slope_noise)
    return float(np.mean(steady.after(delay_s, diffusion, slope_noise)))


def path_mse(
    times_s: NDArray[np.float64],
    rates: NDArray[np.float64],
    *,
    diffusion: float,
    delay_s: float = 0.0,
    slope_noise: float = 0.0,
) -> NDArray[np.float64]:
    """Least error in rad^2 along a path on which the information rate is known: the Riccati equation, solved.

    ``dP/dt = A P + P A' + diag(D, Q) - J(t) P C'C P``. ``times_s`` and ``rates`` have the shape (..., n), time along the last axis;
    so has the result. Each row starts from the steady state of its first rate. Steps are split (half of the information,
    propagation, half of the information) and no longer than SPLIT_STEP of the loop's time constant.
    """
    start = steady_covariance(diffusion, rates[..., 0], slope_noise)
    p11, p12, p22 = start.p11.copy(), start.p12.copy(), start.p22.copy()
    result = np.empty(rates.shape)
    result[..., 0] = start.after(delay_s, diffusion, slope_noise)
    gain = float(np.max(steady_covariance(diffusion, rates, slope_noise).p11 * rates))
    parts = max(1, math.ceil(gain * float(np.max(np.diff(times_s))) / SPLIT_STEP)) if rates.shape[-1] > 1 else 1
    for i in range(1, rates.shape[-1]):
        step = (times_s[..., i] - times_s[..., i - 1]) / parts
        for part in range(parts):
            share = (part + 0.5) / parts
            half = (rates[..., i - 1] * (1 - share) + rates[..., i] * share) * step / 2
            for propagate in (True, False):
                scale = 1 / (1 + half * p11)
                p22 = p22 - half * p12 * p12 * scale
                p11, p12 = p11 * scale, p12 * scale
                if propagate:
                    p11 = p11 + (2 * p12 + diffusion) * step + p22 * step**2 + slope_noise * step**3 / 3
                    p12 = p12 + p22 * step + slope_noise * step**2 / 2
                    p22 = p22 + slope_noise * step
        result[..., i] = Covariance(p11, p12, p22).after(delay_s, diffusion, slope_noise)
    return result


def require_budget(
    residual_rad: float, *, diffusion: float, rate: float, delay_s: float = 0.0, slope_noise: float = 0.0
) -> float:
    """The least residual in rad that a photon budget allows. ValueError where it is above the asked ``residual_rad``."""
    least = math.sqrt(causal_mse(diffusion, rate, delay_s, slope_noise))
    if least > residual_rad:
        floor = math.sqrt(diffusion * delay_s + slope_noise * delay_s**3 / 3)
        remedy = (
            "give more photons"
            if floor < residual_rad
            else f"the delay alone leaves {floor:.3g} rad, so shorten the delay or steady the phase"
        )
        raise ValueError(
            f"phase tracking: a residual of {residual_rad:.3g} rad is asked, but D = {diffusion:.3g} rad^2/s with an information"
            f" rate of {rate:.3g} /s and a delay of {delay_s:.3g} s allows no less than {least:.3g} rad: {remedy}"
        )
    return least


def fibre_slope_noise(rate_rms_rad_per_s: float, corner_hz: float) -> float:
    """Q in rad^2/s^3 that fibre noise looks like above its corner: ``2 pi^2 r^2 fc``.

    The rate's one-sided PSD there is ``r^2 fc / f^2`` (docs/physics.md); that of a slope walk ``2 Q / (2 pi f)^2``.
    """
    return 2 * math.pi**2 * rate_rms_rad_per_s**2 * corner_hz


def spectral_mse(
    rate: float, *, diffusion: float, slope_noise: float, rate_rms_rad_per_s: float, corner_hz: float
) -> float:
    """Least causal error in rad^2 without delay of walk, slope walk and fibre noise together.

    ``(1/J) integral over all f of ln(1 + J S(f)) df`` with the two-sided
    ``S = [D + Q/(2 pi f)^2 + (r^2 / 2 fc) (fc/(f + fc))^2] / (2 pi f)^2``: Yovits and Jackson, IRE
    Conv. Rec. 4, 193 (1955), for white noise 1/J.
    """
    width = float(
        steady_covariance(diffusion, rate, slope_noise + fibre_slope_noise(rate_rms_rad_per_s, corner_hz)).p11
    )
    f = np.geomspace(1e-6, 1e5, 6000) * (width * rate + corner_hz)
    square = (2 * math.pi * f) ** 2
    fibre = rate_rms_rad_per_s**2 / (2 * corner_hz) * (corner_hz / (f + corner_hz)) ** 2
    logarithm = np.log1p(rate * (diffusion + slope_noise / square + fibre) / square)
    return 2 * float(np.trapezoid(logarithm * f, np.log(f))) / rate


def matched_slope_noise(
    rate: float, *, diffusion: float, slope_noise: float, rate_rms_rad_per_s: float, corner_hz: float
) -> float:
    """The Q in rad^2/s^3 with which a slope walk is as hard to track at this J as the slope walk and fibre noise are.

    From `spectral_mse` = P11: ``P12 = (J P11^2 - D) / 2``, ``Q = J P12^2``. Exact without delay, below `fibre_slope_noise` where the loop
    is not much faster than the corner.
    """
    if rate_rms_rad_per_s == 0:
        return slope_noise
    p11 = spectral_mse(
        rate,
        diffusion=diffusion,
        slope_noise=slope_noise,
        rate_rms_rad_per_s=rate_rms_rad_per_s,
        corner_hz=corner_hz,
    )
    return rate * (max(rate * p11**2 - diffusion, 0.0) / 2) ** 2


def slip_time_s(variance_rad2: float, gain_per_s: float) -> float:
    """Mean time in s to a cycle slip of a first-order loop with a sine characteristic and no delay.

    ``pi^2 rho I0(rho)^2 / (2 B_L)``, ``rho = 1 / sigma^2`` of the linear theory, ``B_L = K / 4``: Viterbi, Proc. IEEE 51, 1737 (1963).
    """
    rho = 1 / variance_rad2
    return math.pi**2 * rho * float(np.i0(rho)) ** 2 / (gain_per_s / 2)
