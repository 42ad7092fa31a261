"""Configuration words of a click tracker's channel, from physical values."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from . import tracking as t
from .units import CLOCK_HZ

GAIN_UNIT_RAD2 = 2 * math.pi * 2.0**-t.Q_FRACTION
"""Unit of the gain q."""
LEAST_GAIN = 16
"""Least steady variance in units of the gain (2^-22 of rad^2/(2 pi)): below it the steps of the gain are coarser than 6 %."""
LOST_RAD2 = 0.65
"""Variance above which the phase is given up, as silence or unlucky clicks have lost it. Slips announce themselves by it: at
0.15 rad^2 of a loop's noise, V 0.98, limits of 0.7, 0.65, 0.6 rad^2 leave 0.88, 0.66, 0.47 times a first-order loop's slips (95 %:
+-0.17, 0.07, 0.07; splitting) and give the phase up for 0.08, 0.13, 0.22 % of the time."""
MOST_STEADY_RAD2 = 0.25
"""Most steady variance of a tracker. Above Q_MAX, 0.196 rad^2, the gain stays at Q_MAX (`held_growth`)."""
MOST_START_RAD2 = 0.5
"""A cold start that knows the phase no better is refused."""


@dataclass(frozen=True, kw_only=True)
class ChannelConfig:
    """Configuration words of one channel; widths as in `tracking`. ValueError where one does not fit."""

    d: int
    """Growth of the variance per clock."""
    kappa: int
    """Gain of the slope over that of the phase."""
    p_min: int
    """Least variance."""
    p_start: int
    """Variance after the cold start."""
    p_lost: int
    """Variance above which an epoch's turn gives the phase, or an unfinished cold start, up."""
    v_start: int
    """Visibility at reset, 2^-16."""
    v_gain: int = 0
    """0, or the visibility's gain 2^-(9 + v_gain)."""
    j_alarm: int = 0
    """Evidence in 2^-9 nat at which the phase is half a turn further, or 0."""
    w_alarm: int = 0
    """Evidence in 2^-9 nat at which there is no fringe, or 0."""
    dark: int = 0
    """Clocks without a click that lose the phase, or 0."""
    a_gain: int = 0
    """0, or the gains adapt in steps of 2^-(12 + a_gain)."""
    k_follows: int = 0
    """1: the slope's gain goes with the phase's."""

    def __post_init__(self) -> None:
        bits = {"d": t.D_BITS, "kappa": t.KAPPA_BITS, "p_min": t.P_BITS, "p_start": t.P_BITS, "p_lost": t.P_BITS}
        limits = {name: (0, (1 << width) - 1) for name, width in bits.items()}
        limits["v_start"] = (t.VISIBILITY_LEAST, t.VISIBILITY_MOST)
        limits["v_gain"] = (0, (1 << t.V_GAIN_BITS) - 1)
        limits |= {name: (0, (1 << t.EVIDENCE_BITS) - 1) for name in ("j_alarm", "w_alarm")}
        limits["a_gain"] = (0, (1 << t.A_GAIN_BITS) - 1)
        limits["k_follows"] = (0, 1)
        limits["dark"] = (0, (1 << t.QUIET_BITS) - 1)
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"click tracker: {name} is {getattr(self, name)}; allowed: {low} to {high}")

    def words(self) -> tuple[int, ...]:
        """In the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))


def _word(name: str, value: float, unit: float, bits: int, physical_unit: str) -> int:
    """``round(value / unit)``. ValueError where it does not fit, or where a value above 0 would become 0."""
    most = ((1 << bits) - 1) * unit
    word = round(value / unit) if math.isfinite(value) else -1
    if not 0 <= word < 1 << bits or (value > 0 and word == 0):
        raise ValueError(
            f"click tracker: {name} of {value:.4g} {physical_unit} cannot be represented; give 0 or {unit:.3g} to {most:.3g}"
        )
    return word


def variance_word(variance_rad2: float, name: str = "a variance") -> int:
    """``P / (2 pi)`` in 2^-34."""
    return _word(name, variance_rad2, 2 * math.pi * 2.0**-t.P_FRACTION, t.P_BITS, "rad^2")


def diffusion_word(diffusion_rad2_per_s: float) -> int:
    """``D / (2 pi)`` per clock in 2^-46."""
    unit = 2 * math.pi * CLOCK_HZ * 2.0**-t.D_FRACTION
    return _word("a diffusion", diffusion_rad2_per_s, unit, t.D_BITS, "rad^2/s")


def kappa_word(ratio_per_s: float) -> int:
    """``P12 / P11`` per clock in 2^-28."""
    return _word("a slope gain", ratio_per_s, CLOCK_HZ * 2.0**-t.KAPPA_FRACTION, t.KAPPA_BITS, "1/s")


def visibility_word(visibility: float) -> int:
    """V in 2^-16. ValueError outside the range in which the tracker keeps it."""
    scale = 1 << t.VISIBILITY_BITS
    low, high = t.VISIBILITY_LEAST / scale, t.VISIBILITY_MOST / scale
    if not low <= visibility <= high:
        raise ValueError(f"click tracker: visibility is {visibility}; give {low} to {high:.3f}")
    return round(visibility * scale)


FOLLOWS = 0.7
"""kappa follows the gain where it is above 0.7 of the K/2 that slope noise alone would make it."""


def alarm_nats(click_rate_hz: float) -> float:
    """``ln(86400 R)``: a log-likelihood ratio of n nat comes up once in e^n clicks by chance, at most (Wald 1947, ch. 3)."""
    return max(0.0, math.log(86400 * click_rate_hz))


def dark_clocks(click_rate_hz: float, epoch_bits: int) -> int:
    """`ChannelConfig.dark` for one false alarm a day, of epochs of 2^E clocks.

    Darkness is judged at turns: a silence of x expected clicks is taken for it if a turn lies in its last ``x - n``. With m clicks per
    epoch that is one silence in ``e^n m / (1 - e^-m)``, so at most ``e^-n`` of the clicks and of the turns, whichever are fewer:
    ``n = ln(86400 min(R, f / 2^E))``. From the end of the light to the turn it takes ``n + m/2 - ln 2`` expected clicks in the median.
    """
    silence_s = alarm_nats(min(click_rate_hz, CLOCK_HZ / (1 << epoch_bits))) / click_rate_hz
    return min(math.ceil(silence_s * CLOCK_HZ), (1 << t.QUIET_BITS) - 1)


def held_growth(information_hz: float, visibility: float) -> float:
    """Growth of the variance in rad^2/s that the largest gain q balances: ``q^2 J'``. J' is the information of a fringe blurred to
    ``V (1 - q)``, as the tracker blurs it, J = ``information_hz`` that of the sharp one, both in the ratio of their four-phase means.

    A filter that is told of more believes itself lost over and over, as the variance that it counts runs away from clicks that it
    cannot use: at 0.2, 0.25 rad^2 of a loop's noise (V 0.98) for 16, 52 % of the time. Told of what it holds: for 2.4, 4.3 %, 7.7 %
    at 0.3, and it slips a fifth as often as the loop or less.
    """
    most = t.Q_MAX * GAIN_UNIT_RAD2
    blurred = visibility * (1 - most)
    return most**2 * information_hz * _four_phase_mean(blurred) / _four_phase_mean(visibility)


def _four_phase_mean(visibility: float) -> float:
    """Fisher information per click in rad^-2, averaged over psi (docs/phase.md)."""
    return 1 - math.sqrt(1 - visibility**2)


def channel_config(
    *,
    diffusion_rad2_per_s: float,
    click_rate_hz: float,
    visibility: float,
    slope_noise_rad2_per_s3: float = 0.0,
    slope_rms_rad_per_s: float = 0.0,
    information: float | None = None,
    v_gain: int = 0,
    detect: bool = False,
    a_gain: int = 0,
    start_rad2: float | None = None,
    epoch_bits: int = t.EPOCH_LEAST,
) -> ChannelConfig:
    """Words for a walk D, a slope walk Q, all clicks R of both ports per second and the visibility V among them.

    With ``J = F R`` and the steady covariance (Kalman and Bucy 1961) ``P12 = sqrt(Q/J)``, ``P11 = sqrt((D + 2 P12)/J)``:
    ``d = D + 2 P12``, at most `held_growth`; ``kappa = P12/P11``, ``p_min = P11/4``, and after the cold start of N clicks in the time N/R
    ``p_start = 2/(N V^2) + d N/(3 R) + (S N/R)^2/4``, S the rms slope before any click; ``start_rad2`` in the place of the first term
    for a reference other than four equal steps (`cold_start`). ``information``: F in rad^-2 per click, by
    default the four-phase mean ``1 - sqrt(1 - V^2)``. ``detect`` sets the alarms to one false one a day: `alarm_nats` for jump and
    fringe, `dark_clocks` for darkness, with ``epoch_bits`` E (the least is safe for all). ``a_gain`` 1 lets the gains adapt: they settle
    within some hundred time constants and cost 1 %. ValueError where a gain cannot be represented.
    """
    if not 0 < click_rate_hz < CLOCK_HZ:
        raise ValueError(
            f"click tracker: {click_rate_hz:.4g} clicks per second; give more than 0 and less than {CLOCK_HZ:.3g}"
        )
    v_start = visibility_word(visibility)
    rate = click_rate_hz * (_four_phase_mean(visibility) if information is None else information)
    p12 = math.sqrt(slope_noise_rad2_per_s3 / rate)
    growth = diffusion_rad2_per_s + 2 * p12
    p11 = math.sqrt(growth / rate)
    if not LEAST_GAIN * GAIN_UNIT_RAD2 <= p11 <= MOST_STEADY_RAD2:
        raise ValueError(
            f"click tracker: a steady variance of {p11:.3g} rad^2 cannot be represented as a gain; diffusion and click rate must"
            f" give {LEAST_GAIN * GAIN_UNIT_RAD2:.3g} to {MOST_STEADY_RAD2} rad^2"
        )
    span = t.START_CLICKS / click_rate_hz
    start = 2 / (t.START_CLICKS * visibility**2) if start_rad2 is None else start_rad2
    start += growth * span / 3 + (slope_rms_rad_per_s * span) ** 2 / 4
    if start >= MOST_START_RAD2:
        raise ValueError(
            f"click tracker: {t.START_CLICKS} clicks at {click_rate_hz:.4g} per second tell the phase to {start:.3g} rad^2 only, no"
            f" better than the {MOST_START_RAD2} rad^2 that are the most"
        )
    alarm = alarm_nats(click_rate_hz) if detect else 0.0
    return ChannelConfig(
        d=diffusion_word(min(growth, held_growth(rate, visibility))),
        kappa=kappa_word(p12 / p11),
        p_min=variance_word(p11 / 4),
        p_start=variance_word(start, "a starting variance"),
        p_lost=variance_word(LOST_RAD2),
        v_start=v_start,
        v_gain=v_gain,
        j_alarm=math.ceil(alarm * (1 << t.EVIDENCE_FRACTION)),
        w_alarm=math.ceil(alarm * (1 << t.EVIDENCE_FRACTION)),
        a_gain=a_gain,
        k_follows=int(a_gain > 0 and 2 * p12 > FOLLOWS * p11**2 * rate),
        dark=dark_clocks(click_rate_hz, epoch_bits) if detect else 0,
    )
