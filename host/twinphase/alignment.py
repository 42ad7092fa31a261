"""The control law that keeps an arm's pulses in their places: from ARRIVAL measurements to emission delays (docs/alignment.md).

An arm's lateness d without correction moves with a rate r that changes slowly. Both are followed by the filter that is optimal for
``dd = r dt + sqrt(w) dW1, dr = sqrt(Q) dW2`` and measurements of known variance (Kalman); a command is minus the lateness expected in the
middle of the time in which it will be in force. r is the loop's integral term: a client's clock that is wrong by 1 ppb is r = 1000 ps/s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import TwinphaseError

KEPT_COMMANDS = 64


class AlignmentLost(TwinphaseError):
    """The fraction says nothing of the pulse any more: search for whole pulses again."""


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """Noise that the loop is to expect and what the client can do. Raises ValueError."""

    period_ps: float
    rate_walk_ps2_per_s3: float = 1e-3
    """Q."""
    walk_ps2_per_s: float = 0.0
    """w, of the arm's random walk."""
    start_rate_ps_per_s: float = 1e3
    """Standard deviation of r at the start: 1 ppb."""
    most_step_ps: float = 50.0
    """Largest change of the fraction by one command; whole pulses are another index and cost nothing."""
    unit_ps: float = 125 / 128
    """Resolution of the client's delay."""

    def __post_init__(self) -> None:
        for name in ("period_ps", "rate_walk_ps2_per_s3", "start_rate_ps_per_s", "unit_ps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"alignment: {name} is {getattr(self, name)}; allowed: above 0")
        if not 0 <= self.walk_ps2_per_s < math.inf:
            raise ValueError(f"alignment: walk_ps2_per_s is {self.walk_ps2_per_s}; allowed: 0 and above")
        if not self.unit_ps <= self.most_step_ps <= self.period_ps / 4:
            raise ValueError(
                f"alignment: most_step_ps is {self.most_step_ps}; allowed: unit_ps ({self.unit_ps}) to a quarter of the period "
                f"({self.period_ps / 4})"
            )


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Emission delay in force from ``from_s`` on: whole pulses and a fraction 0 to before one period. Total ``delay_ps``."""

    from_s: float
    delay_ps: float
    pulses: int
    fraction_ps: float


class ArmLoop:
    """One arm. `start`, then `measure` for each interval and `command` wherever a correction may be sent; seconds of any origin."""

    def __init__(self, config: AlignmentConfig) -> None:
        self.config = config
        self._time_s: float | None = None
        self._late = self._rate = 0.0
        self._p = (0.0, 0.0, 0.0)
        self._commands: list[Correction] = []
        self._fresh = True

    @property
    def rate_ps_per_s(self) -> float:
        """r as estimated."""
        return self._rate

    @property
    def error_ps(self) -> float:
        """Standard deviation that the filter gives d, at its last measurement."""
        return math.sqrt(self._p[0])

    def start(self, time_s: float, late_ps: float, error_ps: float) -> None:
        """What a search for whole pulses has found, with the last command (if any) in force all the while."""
        corrected = self._commands[-1].delay_ps if self._commands else 0.0
        self._time_s, self._late, self._rate, self._fresh = time_s, late_ps - corrected, 0.0, True
        self._p = (error_ps**2, 0.0, self.config.start_rate_ps_per_s**2)

    def measure(self, begin_s: float, end_s: float, offset_ps: float, variance_ps2: float) -> None:
        """Fraction of the arm's lateness, mean over an interval. Raises AlignmentLost when the loop is too unsure to know its pulse."""
        if self._time_s is None:
            raise AlignmentLost("the arm's pulses have not been searched for yet: search for whole pulses first")
        period = self.config.period_ps
        self._predict((begin_s + end_s) / 2)
        p11, p12, p22 = self._p
        if 4 * math.sqrt(p11) > period / 2:
            self._time_s = None
            raise AlignmentLost(
                f"the arm may be {math.sqrt(p11):.0f} ps off after {end_s - begin_s:.3g} s; allowed: an eighth of the period, "
                f"{period / 8:.0f} ps: search for whole pulses again"
            )
        off = offset_ps - self._late - self._mean_delay(begin_s, end_s)
        off -= period * math.floor(off / period + 0.5)
        total = p11 + variance_ps2
        gain, gain_rate = p11 / total, p12 / total
        self._late += gain * off
        self._rate += gain_rate * off
        self._p = ((1 - gain) * p11, (1 - gain) * p12, p22 - gain_rate * p12)

    def command(self, from_s: float, until_s: float) -> Correction:
        """The delay to be in force from ``from_s`` on; the next one is expected at ``until_s``.

        The first after a start steps as far as it must.
        """
        if self._time_s is None:
            raise AlignmentLost("the arm's pulses have not been searched for yet: search for whole pulses first")
        config = self.config
        wanted = -(self._late + self._rate * ((from_s + until_s) / 2 - self._time_s))
        before = self._commands[-1].delay_ps if self._commands else 0.0
        whole = round((wanted - before) / config.period_ps) * config.period_ps
        most, self._fresh = (config.period_ps if self._fresh else config.most_step_ps), False
        step = min(most, max(-most, wanted - before - whole))
        units = round((before + whole + step) / config.unit_ps)
        delay = units * config.unit_ps
        pulses = math.floor(delay / config.period_ps)
        made = Correction(from_s=from_s, delay_ps=delay, pulses=pulses, fraction_ps=delay - pulses * config.period_ps)
        self._commands = [*self._commands[-KEPT_COMMANDS:], made]
        return made

    def _predict(self, time_s: float) -> None:
        assert self._time_s is not None
        t = time_s - self._time_s
        p11, p12, p22 = self._p
        q, w = self.config.rate_walk_ps2_per_s3, self.config.walk_ps2_per_s
        self._late += self._rate * t
        p11 += 2 * t * p12 + t * t * p22 + q * t**3 / 3 + w * t
        self._p = (p11, p12 + t * p22 + q * t * t / 2, p22 + q * t)
        self._time_s = time_s

    def _mean_delay(self, begin_s: float, end_s: float) -> float:
        """Of the delays in force between two times."""
        total, until = 0.0, end_s
        for made in reversed(self._commands):
            if made.from_s < until:
                since = max(begin_s, made.from_s)
                total += made.delay_ps * (until - since)
                until = since
                if until <= begin_s:
                    break
        return total / (end_s - begin_s)


def residual_bound_ps(
    config: AlignmentConfig,
    *,
    noise_ps2_s: float,
    interval_s: float,
    wait_s: float,
    rate_ps_per_s: float,
    bend_ps_per_s2: float,
) -> float:
    """What the arm's misalignment stays within once the loop has settled, but for 6e-5 of the time (4 sigma of the noise)::

        r = noise_ps2_s, variance of a click times the interval between clicks;  horizon h = wait + 3/2 interval
        P12 = sqrt(Q r),  P11 = sqrt(r (w + 2 P12)),  P22 = P11 P12 / r          steady filter
        v = P11 + 2 h P12 + h^2 P22 + Q h^3 / 3 + w h                             error of a prediction over h

    and bound = ``4 sqrt(v) + |rate| interval / 2 + bend (sqrt(r/Q) + h P11 / P12 + h^2 / 2) + unit / 2``: noise, the delay that stands
    still for an interval while the arm goes on, the lag of a filter that does not know of curvature, resolution. The filter is the steady
    one of continuous measurement: right where an interval is short against r / P11. Raises ValueError where commands cannot keep up.
    """
    if abs(rate_ps_per_s) * interval_s > config.most_step_ps:
        raise ValueError(
            f"alignment: rate_ps_per_s is {rate_ps_per_s:g}; allowed: at most most_step_ps per interval, "
            f"{config.most_step_ps / interval_s:g}"
        )
    q, w, r = config.rate_walk_ps2_per_s3, config.walk_ps2_per_s, noise_ps2_s
    h = wait_s + 1.5 * interval_s
    p12 = math.sqrt(q * r)
    p11 = math.sqrt(r * (w + 2 * p12))
    p22 = p11 * p12 / r
    v = p11 + 2 * h * p12 + h * h * p22 + q * h**3 / 3 + w * h
    lag = abs(bend_ps_per_s2) * (math.sqrt(r / q) + h * p11 / p12 + h * h / 2)
    return 4 * math.sqrt(v) + abs(rate_ps_per_s) * interval_s / 2 + lag + config.unit_ps / 2
