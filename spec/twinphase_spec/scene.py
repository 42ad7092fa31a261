"""Scenes of a lab file (``[scene]``): what happens to the fibres while the lab runs.

Times are seconds after pulse 0. Phases are those of the reference band and belong to an arm: ``phi = phi_A - phi_B``, so what
happens to arm b counts with minus (docs/physics.md). The quantum band sees them times ``nu_q / nu_r``. Everything is optional;
a lab without a scene has its fibre noise, drift and lasers only.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .tagger_parts import Part

Seconds = Annotated[float, Field(ge=0, le=1e6)]
Radians = Annotated[float, Field(ge=-1e6, le=1e6)]
POWER_CLIP_SIGMAS = 4.0
"""The logarithm of a fluctuating transmittance is clipped at this many standard deviations, so that it has a largest value."""


class _OnArm(Part):
    arm: Literal["a", "b"] = "a"

    @property
    def sign(self) -> int:
        """How the arm's phase counts in phi."""
        return 1 if self.arm == "a" else -1


class Line(_OnArm):
    """An acoustic or mains line: ``amplitude sin(2 pi frequency t + phase)``, for ever."""

    frequency_hz: float = Field(gt=0, le=1e6)
    amplitude_rad: float = Field(ge=0, le=1e6)
    phase_rad: float = Field(default=0.0, ge=-1000, le=1000)


class Ramp(_OnArm):
    """A steady change of temperature: a constant rate from ``start_s`` for ``duration_s``; what it added stays.

    The rate is ``rad_per_s``, or ``kelvin_per_s rad_per_kelvin``, with the latter that of the whole warmed length.
    """

    start_s: Seconds
    duration_s: float = Field(gt=0, le=1e6)
    rad_per_s: float | None = Field(default=None, ge=-1e9, le=1e9)
    kelvin_per_s: float | None = Field(default=None, ge=-1000, le=1000)
    rad_per_kelvin: float | None = Field(default=None, ge=-1e9, le=1e9)

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        kelvins = self.kelvin_per_s is not None, self.rad_per_kelvin is not None
        if (self.rad_per_s is None) != all(kelvins) or (self.rad_per_s is not None and any(kelvins)):
            names = ("rad_per_s", "kelvin_per_s", "rad_per_kelvin")
            given = [name for name in names if getattr(self, name) is not None]
            raise ValueError(
                f"its rate is given by {' and '.join(given) or 'nothing'}; allowed: rad_per_s alone, or kelvin_per_s and rad_per_kelvin"
            )
        return self

    @property
    def rate_rad_per_s(self) -> float:
        """Rate of the arm's phase."""
        if self.kelvin_per_s is not None and self.rad_per_kelvin is not None:
            return self.kelvin_per_s * self.rad_per_kelvin
        return self.rad_per_s or 0.0


class Truck(_OnArm):
    """Something heavy passes: noise of a band under a Gaussian envelope.

    ``rms_rad``: RMS of the phase at ``time_s``, in the middle; ``duration_s``: full width at half maximum of the envelope of that
    RMS; the noise's spectrum is flat from ``low_hz`` to ``high_hz``.
    """

    time_s: Seconds
    duration_s: float = Field(gt=0, le=10_000)
    rms_rad: float = Field(ge=0, le=10_000)
    low_hz: float = Field(ge=0, le=1e6)
    high_hz: float = Field(gt=0, le=1e6)

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.low_hz >= self.high_hz:
            raise ValueError(
                f"low_hz is {self.low_hz:g} and high_hz is {self.high_hz:g}; allowed: low_hz below high_hz"
            )
        if (self.high_hz - self.low_hz) * self.duration_s < 1:
            raise ValueError(
                f"duration_s is {self.duration_s:g} with a band of {self.high_hz - self.low_hz:g} Hz; allowed: duration_s times "
                "(high_hz - low_hz) of at least 1, or there is no noise of that band in that time"
            )
        if self.high_hz * self.duration_s > 10_000:
            raise ValueError(
                f"high_hz times duration_s is {self.high_hz * self.duration_s:g}; allowed: at most 10000 periods, which are drawn at once"
            )
        return self


class Knock(_OnArm):
    """A splice is knocked at ``time_s``: it comes to lie elsewhere and rings until then. With t from there,

    ``step (1 - e^(-t / decay) cos(2 pi ring_hz t)) + ring e^(-t / decay) sin(2 pi ring_hz t)``; continuous at t = 0.
    """

    time_s: Seconds
    step_rad: Radians = 0.0
    ring_rad: Radians = 0.0
    ring_hz: float = Field(ge=0, le=1e6)
    decay_s: float = Field(gt=0, le=1e6)


class Power(_OnArm):
    """Fluctuation of an arm's transmittance, in both bands alike, by a factor of mean 1 (docs/physics.md).

    The factor is ``exp(s g - s^2 / 2)``, ``s^2 = ln(1 + relative_rms^2)``, g a Gaussian of variance 1 with the one-pole spectrum of
    ``corner_hz``, clipped at +-POWER_CLIP_SIGMAS.
    """

    relative_rms: float = Field(ge=0, le=1)
    corner_hz: float = Field(ge=1e-3, le=10_000)

    @property
    def log_sigma(self) -> float:
        """s: standard deviation of the factor's logarithm."""
        return math.sqrt(math.log1p(self.relative_rms**2))

    @property
    def largest(self) -> float:
        """Largest value of the factor."""
        return math.exp(POWER_CLIP_SIGMAS * self.log_sigma - self.log_sigma**2 / 2)


class Scene(Part):
    """Everything that happens: see the module."""

    lines: tuple[Line, ...] = Field(default=(), max_length=100)
    ramps: tuple[Ramp, ...] = Field(default=(), max_length=100)
    trucks: tuple[Truck, ...] = Field(default=(), max_length=100)
    knocks: tuple[Knock, ...] = Field(default=(), max_length=100)
    power: tuple[Power, ...] = ()

    @model_validator(mode="after")
    def _one_power_per_arm(self) -> Self:
        for arm in ("a", "b"):
            if sum(power.arm == arm for power in self.power) > 1:
                raise ValueError(f"power has arm {arm} more than once; allowed: one entry per arm")
        return self

    def power_of(self, arm: Literal["a", "b"]) -> Power | None:
        """Fluctuation of an arm's transmittance; None where it is steady."""
        return next((power for power in self.power if power.arm == arm and power.relative_rms > 0), None)
