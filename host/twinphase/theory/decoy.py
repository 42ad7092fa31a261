"""Three-intensity decoy bounds of SNS, asymptotic.

Sources: Wang, Yu, Hu, Phys. Rev. A 98, 062323 (2018), arXiv:1805.09222; Ma, Qi, Zhao, Lo, Phys. Rev. A 72, 012326 (2005).
Where their numbers of equations are from: docs/protocols/sns.md.
"""

from __future__ import annotations

import math

from .entropy import binary_entropy


def one_sided_yield(*, mu_1: float, mu_2: float, vacuum: float, weak: float, strong: float) -> float:
    """Lower bound of s01 (or s10): counting rate of windows in which one user sent one photon, the other none.

    ``s01 >= [mu2^2 e^mu1 S01 - mu1^2 e^mu2 S02 - (mu2^2 - mu1^2) S00] / (mu1 mu2 (mu2 - mu1))``, with the counting rates per
    window ``vacuum`` (S00), ``weak`` (S01: vacuum and mu_1) and ``strong`` (S02: vacuum and mu_2). May be negative: there
    is then no bound. One user's light is a single source, so this is Ma et al., eq. 34, with mu_2, mu_1 and vacuum for their
    mu, nu_1 and nu_2 and S00 for Y0. ValueError unless 0 < mu_1 < mu_2.
    """
    if not 0 < mu_1 < mu_2:
        raise ValueError(f"decoy: mu_1, mu_2 are {mu_1}, {mu_2}; allowed: 0 < mu_1 < mu_2")
    bound = mu_2**2 * math.exp(mu_1) * weak - mu_1**2 * math.exp(mu_2) * strong - (mu_2**2 - mu_1**2) * vacuum
    return bound / (mu_1 * mu_2 * (mu_2 - mu_1))


def phase_error_bound(*, mu_1: float, x_error_rate: float, vacuum: float, single_yield: float) -> float:
    """Upper bound of the phase-flip error of single photons, Wang et al., eq. 45.

    ``e1ph <= [T_X - e^(-2 mu1) S00 / 2] / (2 mu1 e^(-2 mu1) s1)``; ``x_error_rate`` T_X: wrong heralds per sent X window (both
    mu_1, in the slice); ``single_yield`` s1 = (s01 + s10) / 2. ValueError where s1 is not positive.
    """
    if single_yield <= 0:
        raise ValueError(
            f"decoy: the single-photon yield is {single_yield:.3g}; allowed: above 0 (no bound without it)"
        )
    weight = math.exp(-2 * mu_1)
    return (x_error_rate - weight * vacuum / 2) / (2 * mu_1 * weight * single_yield)


def sns_rate_without_pairing(
    *,
    z_probability: float,
    send_probability: float,
    mu_z: float,
    single_yield: float,
    phase_error: float,
    z_gain: float,
    z_error: float,
    error_correction: float,
) -> float:
    """``R = p_z^2 (2 eps (1-eps) mu_z e^(-mu_z) s1 [1 - H(e1ph)] - f S_Z H(E_Z))`` per window, Wang et al., eq. 4.

    ``z_gain`` S_Z: heralds per Z window. Zero or negative at eps = 0.27: use pairing there. Never clipped.
    """
    raw = 2 * send_probability * (1 - send_probability) * mu_z * math.exp(-mu_z) * single_yield
    kept = raw * (1 - binary_entropy(min(max(phase_error, 0.0), 0.5)))
    return z_probability**2 * (kept - error_correction * z_gain * binary_entropy(z_error))
