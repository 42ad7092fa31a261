"""Bench files: what shines on a time tagger in the virtual lab: light sources, detectors and electrical signals.

``load_bench("hbt")`` loads a preset, ``load_bench("path/to/bench.toml")`` a file. Channels are those of the bench's tagger, by
name or number. Every error is a `BenchError` whose text names the key, the value and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from .config_file import ConfigError, ConfigFile
from .tagger_config import TaggerConfig, TaggerError, load_tagger
from .tagger_parts import ChannelRef, Part
from .units import CLOCK_HZ

Probability = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1e9)]
PulseRate = Annotated[float, Field(ge=0.01, le=1e9)]
Offset = Annotated[float, Field(ge=-1e6, le=1e6)]
Jitter = Annotated[float, Field(ge=0, le=1e5)]
"""Standard deviation of a Gaussian, ps."""
Lifetime = Annotated[float, Field(gt=0, le=1e6)]
Split = Annotated[dict[str, Probability], Field(min_length=1)]
"""Fraction of the light by channel name (or number, as text); the rest is lost."""
CLOCK_PS = 1e12 / CLOCK_HZ
MAX_CLOCK_PPM = 100.0
MAX_PHOTON_RATE = 1e8
"""Photons per second that one source may send; every one is drawn."""


class BenchError(ConfigError):
    """A bench file that cannot be used; the text is one sentence per fault."""


def _check_split(split: dict[str, float]) -> None:
    if sum(split.values()) > 1 + 1e-12:
        raise ValueError(f"to adds up to {sum(split.values()):g}; allowed: at most 1")


class Poisson(Part):
    """Steady coherent light, or any background: photons come independently."""

    kind: Literal["poisson"]
    rate_hz: float = Field(ge=0, le=MAX_PHOTON_RATE)
    to: Split

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _check_split(self.to)
        return self


class Pulsed(Part):
    """Laser pulses n at ``offset_ps + n / rate_hz``, Poissonian; with a lifetime, the fluorescence that they excite."""

    kind: Literal["pulsed"]
    rate_hz: PulseRate
    photons: float = Field(ge=0, le=100)
    """Mean per pulse."""
    offset_ps: Offset = 0.0
    jitter_ps: Jitter = 0.0
    """Of a photon within its pulse."""
    lifetime_ns: float = Field(default=0.0, ge=0, le=1e6)
    to: Split

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _check_split(self.to)
        if self.rate_hz * self.photons > MAX_PHOTON_RATE:
            raise ValueError(
                f"rate_hz times photons is {self.rate_hz * self.photons:g}; allowed: at most {MAX_PHOTON_RATE:g} photons per second"
            )
        return self


class Emitter(Part):
    """One two-level system under steady light: excited at ``excitation_hz`` when it is down, down again after ``lifetime_ns``.

    Its photons are antibunched: ``g2 = 1 - exp(-(R + 1 / lifetime) |tau|)``.
    """

    kind: Literal["emitter"]
    excitation_hz: float = Field(gt=0, le=MAX_PHOTON_RATE)
    lifetime_ns: Lifetime
    to: Split

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _check_split(self.to)
        return self

    @property
    def total_hz(self) -> float:
        """Total rate R + 1 / lifetime at which its state is forgotten."""
        return self.excitation_hz + 1e9 / self.lifetime_ns

    @property
    def rate_hz(self) -> float:
        """Photons per second: ``R G / (R + G)``."""
        return self.excitation_hz * (1e9 / self.lifetime_ns) / self.total_hz


class Thermal(Part):
    """Chaotic light of one mode with a Lorentzian line, bunched: ``g2 = 1 + exp(-2 |tau| / coherence)``."""

    kind: Literal["thermal"]
    rate_hz: float = Field(ge=0, le=MAX_PHOTON_RATE)
    coherence_ns: float = Field(ge=1000, le=1e6)
    """Of the field, whose correlation is ``exp(-|tau| / coherence)``; at least 1000 ns, as it is drawn in steps of a twentieth."""
    to: Split

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _check_split(self.to)
        return self


class Pairs(Part):
    """Photon pairs, Poissonian in time, one photon to each of two channels."""

    kind: Literal["pairs"]
    rate_hz: float = Field(ge=0, le=MAX_PHOTON_RATE)
    to: tuple[ChannelRef, ChannelRef]
    efficiencies: tuple[Probability, Probability] = (1.0, 1.0)
    """Probability that a photon reaches its detector."""
    jitter_ps: Jitter = 0.0
    """Of the time difference of a pair."""


class Periodic(Part):
    """An electrical signal, edge n at ``offset_ps + n / rate_hz``: a laser's trigger, a reference, a pulse per second. With ``until_s``
    it is switched off then: no edge whose place is there or later."""

    kind: Literal["periodic"]
    rate_hz: float = Field(ge=0.01, le=5e7)
    channel: ChannelRef
    offset_ps: Offset = 0.0
    jitter_ps: Jitter = 0.0
    until_s: float | None = Field(default=None, ge=0, le=1e6)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        fault = self.too_close(1.0)
        if fault:
            raise ValueError(fault)
        return self

    def too_close(self, speed: float) -> str:
        """What is wrong if two edges may meet in one clock of a node whose oscillator is ``speed`` times as fast as it should be."""
        limit = (1e12 / self.rate_hz - CLOCK_PS / speed) / 16
        if self.jitter_ps <= limit:
            return ""
        return f"jitter_ps is {self.jitter_ps:g}; allowed: at most {limit:g} at this rate, so that no two edges meet in one clock"


class Detector(Part):
    """A single-photon detector, non-paralysable. After-pulses come ``dead_time_ns`` plus an exponential delay after a click."""

    channel: ChannelRef
    efficiency: Probability = 1.0
    dark_hz: float = Field(default=0.0, ge=0, le=1e7)
    dead_time_ns: float = Field(ge=16, le=1e6)
    """At least 16 ns, so that no two edges meet in one clock."""
    jitter_ps: Jitter = 0.0
    offset_ps: Offset = 0.0
    """Extra arrival time of this detector's path and cable."""
    afterpulse_probability: float = Field(default=0.0, ge=0, le=0.5)
    afterpulse_delay_ns: Lifetime = 50.0
    """Mean of the delay beyond the dead time."""


Light = Poisson | Pulsed | Emitter | Thermal | Pairs
Source = Annotated[Light | Periodic, Field(discriminator="kind")]


class Bench(Part):
    """A whole bench: see the module."""

    name: str = Field(min_length=1)
    description: str
    tagger: TaggerConfig
    """In the file a preset's name, or the tables of a tagger file."""
    clock_ppm: float = Field(default=0.0, ge=-MAX_CLOCK_PPM, le=MAX_CLOCK_PPM)
    """By how much the tagger's oscillator is fast: in a second of sources and detectors it counts ``(1 + clock_ppm 1e-6)`` seconds."""
    sources: tuple[Source, ...] = ()
    detectors: tuple[Detector, ...] = ()

    @field_validator("tagger", mode="before")
    @classmethod
    def _load(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return load_tagger(value)
        except TaggerError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = []
        lit = {}
        for i, source in enumerate(self.sources):
            key = f"sources.{i}.{'channel' if isinstance(source, Periodic) else 'to'}"
            if isinstance(source, Periodic) and (fault := source.too_close(1 + self.clock_ppm * 1e-6)):
                faults.append(f"sources.{i}: {fault}")
            for reference in _targets(source):
                number, fault = self._known(reference)
                faults += [f"{key} {fault}"] if fault else []
                lit[key, number] = source
            if isinstance(source, Pairs) and len({self._known(reference)[0] for reference in source.to}) < 2:
                faults.append(f"{key} has one channel twice; allowed: two different channels")
        detecting = []
        for i, detector in enumerate(self.detectors):
            number, fault = self._known(detector.channel)
            faults += [f"detectors.{i}.channel {fault}"] if fault else []
            if number in detecting and not fault:
                faults.append(
                    f"detectors.{i}.channel is {detector.channel!r}, which has a detector; allowed: one per channel"
                )
            detecting.append(number)
        electrical = [number for (_, number), source in lit.items() if isinstance(source, Periodic)]
        for (key, number), source in lit.items():
            if number is None:
                continue
            if isinstance(source, Periodic) and (number in detecting or electrical.count(number) > 1):
                faults.append(
                    f"{key} is {number}, which has another signal or a detector; allowed: a channel of its own"
                )
            if not isinstance(source, Periodic) and number not in detecting:
                faults.append(
                    f"{key} lights channel {number}, which has no detector; allowed: channels with a detector"
                )
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _known(self, reference: int | str) -> tuple[int | None, str]:
        """(number, "") of an enabled channel, or (None, what is wrong with the reference)."""
        known = ", ".join(f"{channel.label} ({channel.number})" for channel in self.tagger.channels if channel.enabled)
        for channel in self.tagger.channels:
            if channel.enabled and reference in (channel.number, channel.label, str(channel.number)):
                return channel.number, ""
        return None, f"names {reference!r}, which is not an enabled channel of the tagger; allowed: {known}"

    def number(self, reference: int | str) -> int:
        """Number of a channel given by name or number. Raises BenchError when there is none."""
        number, fault = self._known(reference)
        if number is None:
            raise BenchError(f"bench {self.name}: channel {fault}")
        return number

    def detector(self, number: int) -> Detector | None:
        """The detector of a channel; None where there is none."""
        for detector in self.detectors:
            if self.number(detector.channel) == number:
                return detector
        return None


def _targets(source: Light | Periodic) -> tuple[int | str, ...]:
    return (source.channel,) if isinstance(source, Periodic) else tuple(source.to)


BENCH_FILE = ConfigFile(kind="bench", model=Bench, error=BenchError, folder="benches")


def load_bench(name_or_path: str | Path) -> Bench:
    """The bench of a preset's name or of a TOML file. Raises `BenchError`."""
    return BENCH_FILE.load(name_or_path)


def parse_bench(text: str, name: str) -> Bench:
    """The bench that ``text`` (TOML) describes; ``name`` is used in errors. Raises `BenchError`."""
    return BENCH_FILE.parse(text, name)
