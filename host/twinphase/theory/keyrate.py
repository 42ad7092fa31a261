"""Asymptotic key rate of SNS with actively odd-parity pairing (AOPP).

Source: Bertaina et al. 2024, arXiv:2310.08621, App. A. The formula counts a window with *any* click, heralds count exactly one:
2.8 % apart at 50 km, equal far out. It does not forecast absolute rates well far out (0 against 0.32 bit/s published
at 615.59 km by Zhou et al. 2023). It is asymptotic: no finite-key term is in it, so it is not a secure key length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .entropy import binary_entropy


@dataclass(frozen=True, kw_only=True)
class SnsSource:
    """Sources of both users together and the protocol's probabilities.

    ``u > v > w``: total intensities (both users) of signal, decoy and weakest decoy, per user u/2 and w/2; ``z_probability``: of a
    signal window; ``send_probability``: eps; ``error_correction``: f. Raises ValueError naming the field.
    """

    u: float
    v: float
    w: float
    z_probability: float
    send_probability: float
    error_correction: float = 1.1

    def __post_init__(self) -> None:
        if not self.u > self.v > self.w >= 0:
            raise ValueError(f"key rate: u, v, w are {self.u}, {self.v}, {self.w}; allowed: u > v > w >= 0")
        if self.u <= self.v + self.w:
            raise ValueError(
                f"key rate: u is {self.u}; allowed: above v + w = {self.v + self.w} (the decoy formula needs it)"
            )
        for name in ("z_probability", "send_probability"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"key rate: {name} is {getattr(self, name)}; allowed: above 0 and below 1")
        if self.error_correction < 1:
            raise ValueError(f"key rate: error_correction is {self.error_correction}; allowed: at least 1")


@dataclass(frozen=True, kw_only=True)
class KeyRate:
    """Result per window (pulse). ``rate`` may be negative: there is then no key, and its size says how far away it is."""

    rate: float
    phase_error: float
    """e1', after pairing."""
    bit_error: float
    """E', after pairing."""
    single_photon_yield: float
    """Y1."""
    single_photons: float
    """n1', pairs per window and p_z^2."""
    pairs: float
    """nt, pairs per window and p_z^2."""


def phase_noise_error(sigma_rad: float) -> float:
    """``(1 - exp(-sigma^2 / 2)) / 2``: error of interference under Gaussian phase noise of rms sigma."""
    return -math.expm1(-(sigma_rad**2) / 2) / 2


def slice_error(slice_width_rad: float) -> float:
    """``1/2 - sin(Ds/2) / Ds``: error from the width of the phase slice, uniform phase. Add it to e_d."""
    if not 0 <= slice_width_rad <= math.pi:
        raise ValueError(f"key rate: slice width is {slice_width_rad} rad; allowed: 0 to pi")
    return 0.5 - math.sin(slice_width_rad / 2) / slice_width_rad if slice_width_rad > 0 else 0.0


def sns_aopp(
    source: SnsSource,
    *,
    arm_transmittance: float,
    dark_probability: float,
    detector_error: float = 0.0,
    sigma_rad: float = 0.0,
) -> KeyRate:
    """Key rate per window.

    ``arm_transmittance``: eta of the lossier arm with the detector's efficiency; ``dark_probability``: p_d per detector and
    window; ``detector_error``: e_d, misalignment (add the slice error); ``sigma_rad``: rms of the phase error.

    With ``E(m) Q(m) = p_d + (e_d + e_phi - p_d)(1 - e^(-m eta))`` and ``Q(m) = 1 - (1-p_d)^2 e^(-m eta)``::

        Y0 = (v Q(w) e^w - w Q(v) e^v) / (v - w)
        Y1 = [u^2 (Q(v) e^v - Q(w) e^w) - (v^2 - w^2)(Q(u) e^u - Y0)] / (u (u - v - w)(v - w))
        e1 = (E(v) Q(v) e^v - E(w) Q(w) e^w) / ((v - w) Y1)
        n1x = eps (1-eps)(s e^-s e^-n + e^-s n e^-n) Y1;  nC = eps (1-eps) Q(s+n);  nD = eps^2 Q(2s);  nV = (1-eps)^2 Q(2n)
        N0 = nD + nC, N1 = nV + nC, ng = min(N0, N1);  nvd = ng nD nV / (N0 N1), ncc = ng nC^2 / (N0 N1)
        nt = nvd + ncc, E' = nvd / nt, n1' = ng n1x^2 / (N0 N1), e1' = 2 e1 (1 - e1)
        R = p_z^2 (n1' [1 - H(e1')] - f nt H(E'))

    Raises ValueError for a transmittance or probability out of range, and where the decoy bound leaves no single photons.
    """
    if not 0 < arm_transmittance <= 1:
        raise ValueError(f"key rate: arm_transmittance is {arm_transmittance}; allowed: above 0, at most 1")
    if not 0 <= dark_probability < 1:
        raise ValueError(f"key rate: dark_probability is {dark_probability}; allowed: 0 to below 1")
    u, v, w, eps = source.u, source.v, source.w, source.send_probability
    error = detector_error + phase_noise_error(sigma_rad)

    def gain(m: float) -> float:
        return 1 - (1 - dark_probability) ** 2 * math.exp(-m * arm_transmittance)

    def error_gain(m: float) -> float:
        return dark_probability - (error - dark_probability) * math.expm1(-m * arm_transmittance)

    y0 = (v * gain(w) * math.exp(w) - w * gain(v) * math.exp(v)) / (v - w)
    y1 = u**2 * (gain(v) * math.exp(v) - gain(w) * math.exp(w)) - (v**2 - w**2) * (gain(u) * math.exp(u) - y0)
    y1 /= u * (u - v - w) * (v - w)
    if y1 <= 0:
        raise ValueError(
            f"key rate: the decoy bound on the single-photon yield is {y1:.3g}; choose v and w closer to 0"
        )
    e1 = (error_gain(v) * math.exp(v) - error_gain(w) * math.exp(w)) / ((v - w) * y1)
    s, n = u / 2, w / 2
    n1x = eps * (1 - eps) * math.exp(-s - n) * (s + n) * y1
    n_c, n_d, n_v = eps * (1 - eps) * gain(s + n), eps**2 * gain(2 * s), (1 - eps) ** 2 * gain(2 * n)
    zeros, ones = n_d + n_c, n_v + n_c
    scale = min(zeros, ones) / (zeros * ones)
    pairs = scale * (n_d * n_v + n_c**2)
    bit_error = scale * n_d * n_v / pairs
    single_photons = scale * n1x**2
    # beyond 1/2 the bound on e1 says nothing: no phase information is left, H = 1
    e1 = min(e1, 0.5)
    phase_error = 2 * e1 * (1 - e1)
    rate = single_photons * (1 - binary_entropy(phase_error)) - source.error_correction * pairs * binary_entropy(
        bit_error
    )
    return KeyRate(
        rate=source.z_probability**2 * rate,
        phase_error=phase_error,
        bit_error=bit_error,
        single_photon_yield=y1,
        single_photons=single_photons,
        pairs=pairs,
    )
