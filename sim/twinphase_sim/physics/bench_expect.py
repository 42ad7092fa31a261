"""What a bench should show, computed from its file alone: click rates, coincidence rates, g2, start-stop times.

Approximations, all checked against the drawn edges: dead time acts on mean rates (a pulse that fired hides the next pulses one by
one) and does not shape g2; after-pulses are hidden by other clicks' dead time like any click, wrong by at most their probability
times the dead fraction. Of the tagger only delays and coincidence windows count, so its dead times should not exceed the detectors'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfcx, ndtr

from twinphase_spec.bench import Bench, Emitter, Light, Pairs, Periodic, Pulsed, Thermal

from .bench_sources import efficiency


@dataclass(frozen=True, kw_only=True)
class ClickRates:
    """Clicks per second of one detector: ``raw`` light and dark counts before dead time, and what is left with after-pulses."""

    raw: float
    total: float
    alive: float
    """Fraction of steady light that does not meet a dead detector."""


def click_rates(bench: Bench) -> dict[str, float]:
    """Edges per second at every enabled channel, by its label."""
    result = {}
    for channel in bench.tagger.channels:
        if channel.enabled:
            electrical = [
                source.rate_hz
                for source in bench.sources
                if isinstance(source, Periodic) and bench.number(source.channel) == channel.number
            ]
            result[channel.label] = sum(electrical) + detector_rates(bench, channel.number).total
    return result


def detector_rates(bench: Bench, number: int) -> ClickRates:
    """Rates of a channel's detector; zeros where there is none.

    Candidates c = r + p m: steady light and dark counts r, after-pulses of all m clicks with probability p. A pulse train f with
    a candidate in q = 1 - exp(-mean) of its pulses gives ``m_p = f q / ((1 + c t) (1 + q k))`` clicks, t the dead time, k the
    pulses after a click that come before t; steady light then ``m - m_p = c (1 - m_p t) / (1 + c t)``. Bunched light
    hides itself more: by its rate squared times the integral of g2 - 1 over t.
    """
    detector = bench.detector(number)
    if detector is None:
        return ClickRates(raw=0.0, total=0.0, alive=1.0)
    dead_s = detector.dead_time_ns * 1e-9
    steady, pulsed, bunched = detector.dark_hz, [], 0.0
    for source in bench.sources:
        share = _share(bench, source, number)
        if isinstance(source, Pulsed):
            pulsed.append((source.rate_hz, source.photons * share))
        elif not isinstance(source, Periodic):
            steady += source.rate_hz * share
        if isinstance(source, Thermal):
            half_s = source.coherence_ns * 1e-9 / 2
            bunched += (source.rate_hz * share) ** 2 * half_s * -math.expm1(-dead_s / half_s)
    raw = steady + sum(rate * mean for rate, mean in pulsed)
    total = steady
    for _ in range(60):  # contracts by (total * dead_s + p) each time
        candidates = steady + detector.afterpulse_probability * total
        alive = 1 / (1 + candidates * dead_s)
        trains = 0.0
        for rate, mean in pulsed:
            q = -math.expm1(-mean)
            trains += rate * q * alive / (1 + q * (math.ceil(dead_s * rate - 1e-6) - 1))
        total = (candidates - bunched * alive) * alive * (1 - trains * dead_s) + trains
    return ClickRates(raw=raw, total=total, alive=max(0.0, 1 - total * dead_s))


def coincidence_rates(bench: Bench) -> dict[str, float]:
    """Virtual tags per second of every coincidence of two lit channels, by its name (or ``coincidence v``).

    ``m_a m_b (integral of g2 over the window)``: pairs and accidentals. Pulsed light must not reach both channels: ValueError.
    """
    result = {}
    for v, coincidence in enumerate(bench.tagger.coincidences):
        numbers = sorted({bench.number(reference) for reference in coincidence.channels})
        if len(numbers) != 2 or None in [bench.detector(number) for number in numbers]:
            continue
        a, b = numbers
        rates = detector_rates(bench, a), detector_rates(bench, b)
        window_ps = coincidence.window_ps
        tau = np.linspace(-window_ps, window_ps, 4001)
        smooth = float(np.trapezoid(_steady_g2(bench, a, b, tau), tau)) * 1e-12
        pairs = sum(
            _pair_rate(bench, source, a, b)
            * float(_normal_between(-window_ps, window_ps, *_pair_delay(bench, source, a, b)))
            for source in bench.sources
            if isinstance(source, Pairs)
        )
        accidentals = rates[0].total * rates[1].total * smooth
        result[coincidence.name or f"coincidence {v}"] = accidentals + pairs * rates[0].alive * rates[1].alive
    return result


def g2(
    bench: Bench, a: int | str, b: int | str, tau_ps: NDArray[np.float64], bin_ps: float = 0.0
) -> NDArray[np.float64]:
    """g2 of tags at two channels against ``tau_ps``, tag b minus tag a, averaged over a bin of ``bin_ps`` (pair peaks only).

    Coherent light: 1. Emitter with shares s of the raw clicks: ``1 - s_a s_b exp(-k |tau|)``, thermal light
    ``1 + s_a s_b exp(-2 |tau| / coherence)``, convolved with both jitters. Pairs: their rate over ``r_a r_b``, times the density of
    their time difference. Raises ValueError for one channel with itself or pulsed light at both.
    """
    first, second = bench.number(a), bench.number(b)
    result = _steady_g2(bench, first, second, tau_ps)
    raw = detector_rates(bench, first).raw * detector_rates(bench, second).raw
    for source in bench.sources:
        if isinstance(source, Pairs) and (rate := _pair_rate(bench, source, first, second)):
            mean, sigma = _pair_delay(bench, source, first, second)
            width = max(bin_ps, 1e-3)
            within = _normal_between(tau_ps - width / 2, tau_ps + width / 2, mean, sigma)
            result = result + rate / raw * within / (width * 1e-12)
    return result


def delay_density(bench: Bench, channel: int | str, tau_ps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density (per ps) of a pulsed source's clicks at ``tau_ps`` after its pulse at offset 0, as tags of the channel.

    Photons: a normal distribution, with a lifetime T convolved by its exponential, ``f = exp(-u^2 / 2) erfcx(z) / 2 T`` with
    u = (tau - mean) / s, z = (s / T - u) / sqrt(2). Clicks: the first photon of a pulse hides the others (pile-up),
    ``n f exp(-n F) / (1 - exp(-n))`` for n photons in the mean, F the integral of f.
    Raises ValueError unless exactly one pulsed source reaches it.
    """
    number = bench.number(channel)
    reaching = [source for source in bench.sources if isinstance(source, Pulsed) and _share(bench, source, number) > 0]
    if len(reaching) != 1:
        raise ValueError(
            f"bench {bench.name}: {len(reaching)} pulsed sources reach {channel}; allowed: 1 for a start-stop density"
        )
    (source,) = reaching
    sigma = math.hypot(source.jitter_ps, _jitter(bench, number)) or 1e-3
    u = (np.asarray(tau_ps) - source.offset_ps - _path_ps(bench, number)) / sigma
    photons = np.exp(-(u**2) / 2) / (sigma * math.sqrt(2 * math.pi))
    before = ndtr(u)
    if source.lifetime_ns:
        lifetime = source.lifetime_ns * 1000
        z = (sigma / lifetime - u) / math.sqrt(2)
        late = z < -5  # erfcx overflows far behind the pulse, where the plain exponential is exact
        tail = np.exp(np.where(late, sigma**2 / (2 * lifetime**2) - u * sigma / lifetime, 0.0)) / lifetime
        photons = np.where(late, tail, np.exp(-(u**2) / 2) * erfcx(np.where(late, 0.0, z)) / (2 * lifetime))
        before = before - lifetime * photons
    mean = source.photons * _share(bench, source, number)
    return photons * np.exp(-mean * before) * (mean / -math.expm1(-mean))


def _share(bench: Bench, source: Light | Periodic, number: int) -> float:
    """Clicks at a channel per photon (or pair) of a source, before dead time."""
    if isinstance(source, Periodic):
        return 0.0
    if isinstance(source, Pairs):
        ends = zip(source.to, source.efficiencies, strict=True)
        return sum(kept * efficiency(bench, number) for to, kept in ends if bench.number(to) == number)
    return sum(part * efficiency(bench, number) for to, part in source.to.items() if bench.number(to) == number)


def _steady_g2(bench: Bench, a: int, b: int, tau_ps: NDArray[np.float64]) -> NDArray[np.float64]:
    """g2 without the pair peaks."""
    if a == b:
        raise ValueError(f"bench {bench.name}: g2 of channel {a} with itself; allowed: two channels")
    raw = detector_rates(bench, a).raw * detector_rates(bench, b).raw
    tau_s = (np.asarray(tau_ps, dtype=np.float64) - _path_ps(bench, b) + _path_ps(bench, a)) * 1e-12
    sigma = math.hypot(_jitter(bench, a), _jitter(bench, b)) * 1e-12
    result = np.ones(tau_s.shape)
    for source in bench.sources:
        shares = _share(bench, source, a) * _share(bench, source, b)
        if isinstance(source, Pulsed) and shares:
            raise ValueError(f"bench {bench.name}: pulsed light reaches channels {a} and {b}; allowed: one of them")
        if isinstance(source, Emitter) and shares:
            result -= shares * source.rate_hz**2 / raw * _blurred_exponential(source.total_hz, tau_s, sigma)
        if isinstance(source, Thermal) and shares:
            rate = 2e9 / source.coherence_ns
            result += shares * source.rate_hz**2 / raw * _blurred_exponential(rate, tau_s, sigma)
    return result


def _blurred_exponential(rate: float, tau: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Mean of ``exp(-rate |tau + x|)`` over a normal x of this sigma."""
    if sigma == 0:
        return np.exp(-rate * np.abs(tau))
    near = np.clip(tau / sigma, -30, 30)  # beyond, the normal has no weight on the other side
    u, v = np.abs(near), rate * sigma
    half = np.exp(-(u**2) / 2) / 2
    right = half * erfcx((v + u) / math.sqrt(2))
    # erfcx(x) = 2 exp(x^2) - erfcx(-x) where its argument is negative
    x = (v - u) / math.sqrt(2)
    left = np.where(x >= 0, half * erfcx(np.maximum(x, 0)), np.exp(v**2 / 2 - u * v) - half * erfcx(np.maximum(-x, 0)))
    return np.where(np.abs(tau) > 30 * sigma, np.exp(v**2 / 2 - rate * np.abs(tau)), left + right)


def _pair_rate(bench: Bench, source: Pairs, a: int, b: int) -> float:
    return source.rate_hz * _share(bench, source, a) * _share(bench, source, b)


def _pair_delay(bench: Bench, source: Pairs, a: int, b: int) -> tuple[float, float]:
    """Mean and standard deviation of tag b minus tag a of a pair, ps."""
    mean = _path_ps(bench, b) - _path_ps(bench, a)
    return mean, math.sqrt(source.jitter_ps**2 + _jitter(bench, a) ** 2 + _jitter(bench, b) ** 2) or 1e-3


def _path_ps(bench: Bench, number: int) -> float:
    """Delay from the detector to its tag: cable and the tagger's own."""
    detector = bench.detector(number)
    own = sum(channel.delay_ps for channel in bench.tagger.channels if channel.number == number)
    return own + (detector.offset_ps if detector else 0.0)


def _jitter(bench: Bench, number: int) -> float:
    detector = bench.detector(number)
    return detector.jitter_ps if detector else 0.0


def _normal_between(
    low: float | NDArray[np.float64], high: float | NDArray[np.float64], mean: float, sigma: float
) -> NDArray[np.float64]:
    """Probability that a normal number lies between ``low`` and ``high``."""
    scale = sigma * math.sqrt(2)
    return (erf((np.asarray(high) - mean) / scale) - erf((np.asarray(low) - mean) / scale)) / 2
