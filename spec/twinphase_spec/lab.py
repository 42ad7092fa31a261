"""Lab files: one TOML file says what a TF-QKD pair is made of; gateware, physics and host are all set up from it.

``load_lab("seed-370km")`` loads a preset, ``load_lab("path/to/lab.toml")`` a file. Every error is a `LabError` whose text
names the key, the value and what is allowed. ``assumed`` lists the keys whose values the lab's sources do not state.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .config_file import ConfigError, ConfigFile
from .frame import LAG_CLOCKS, MIN_WINDOW_TICKS, SlotClass
from .lab_actuator import Actuator
from .lab_arms import Arms
from .lab_protocol import check_protocol
from .lab_symbols import Source, check_symbol_source
from .lab_tracking import Tracking
from .scene import Scene
from .sns import MAX_BLOCK_HERALDS
from .symbol_ring import RING_SYMBOLS
from .units import TICKS_PER_SECOND

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, le=20_000)]
"""Half way around the earth."""
Intensity = Annotated[float, Field(gt=0, le=100)]
"""Mean photons per pulse; exp of a few times it stays a number."""
Rate = Annotated[float, Field(ge=0, le=1e9)]
LIGHT_IN_FIBRE_KM_PER_S = 299_792.458 / 1.468
"""Group velocity in standard fibre (group index 1.468, ITU-T G.652 fibres at 1550 nm)."""


class LabError(ConfigError):
    """A lab file that cannot be used; the text is one sentence per fault."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slots(_Part):
    """``repeat`` equal table entries: the class in the quantum band and in the reference band."""

    q: Literal["VAC", "SIG", "REF_A", "REF_B", "REF0", "REF1", "REF2", "REF3", "GUARD"]
    r: Literal["VAC", "SIG", "REF_A", "REF_B", "REF0", "REF1", "REF2", "REF3", "GUARD"]
    repeat: int = Field(default=1, ge=1, le=32768)


class Frame(_Part):
    """Pulse grid, slot table and estimation windows."""

    pulse_rate_hz: Positive
    slot_pulses: int = Field(ge=1, le=65535)
    slots: tuple[Slots, ...] = Field(min_length=1)
    frames_per_window: int = Field(ge=1, lt=1 << 24)
    windows_per_dwindow: int = Field(ge=2, le=128)
    gate_q_ps: Positive
    """Width of the gate around the pulse centre, quantum band."""
    gate_r_ps: Positive

    def table(self) -> tuple[tuple[SlotClass, SlotClass], ...]:
        """(q class, r class) of every slot."""
        return tuple((SlotClass[entry.q], SlotClass[entry.r]) for entry in self.slots for _ in range(entry.repeat))


class Bands(_Part):
    """Optical frequencies of the quantum and the reference band, and what differs between them."""

    quantum_hz: Positive
    reference_hz: Positive
    differential_drift_rad_per_s: Rate
    """RMS rate of psi_d = psi_q - psi_r nu_q / nu_r."""

    @model_validator(mode="after")
    def _ratio(self) -> Self:
        if not 0.5 < self.quantum_hz / self.reference_hz < 1.5:
            raise ValueError(
                f"quantum_hz is {self.quantum_hz:g}; allowed: above 0.5 and below 1.5 times reference_hz ({self.reference_hz:g})"
            )
        return self


class Fibre(_Part):
    """Both arms and their phase noise ``l L / f^2 (fc / (f + fc))^2`` rad^2/Hz with L = both arms together."""

    length_a_km: Length
    length_b_km: Length
    attenuation_db_per_km: NotNegative
    extra_loss_a_db: NotNegative = 0.0
    extra_loss_b_db: NotNegative = 0.0
    noise_rad2_hz_per_km: Rate
    noise_corner_hz: float = Field(default=100.0, ge=1e-3, le=1e9)
    drift_rad_per_s: float = Field(default=0.0, ge=-1e9, le=1e9)
    """Steady drift on top of the noise (asymmetric on purpose: a wrong sign must show)."""

    def transmittance(self, arm: Literal["a", "b"]) -> float:
        """Transmittance of one arm without the detector."""
        length, extra = (
            (self.length_a_km, self.extra_loss_a_db) if arm == "a" else (self.length_b_km, self.extra_loss_b_db)
        )
        return 10 ** (-(length * self.attenuation_db_per_km + extra) / 10)

    @property
    def flight_s(self) -> float:
        """One-way time of the longer arm."""
        return max(self.length_a_km, self.length_b_km) / LIGHT_IN_FIBRE_KM_PER_S


class Lasers(_Part):
    """Lorentzian linewidths (FWHM) of the two users' light and its visibility. Linewidths of independent light add up in the beat."""

    beat_linewidth_hz: Rate
    """What is left on the beat of injection-locked users; 0 for two lasers of their own."""
    alice_linewidth_hz: Rate = 0.0
    """Of Alice's own laser, where it is not locked."""
    bob_linewidth_hz: Rate = 0.0
    visibility: Probability

    @property
    def diffusion_rad2_per_s(self) -> float:
        """D of the beat's random walk ``<dphi^2> = D t``: 2 pi times its FWHM (white frequency noise)."""
        return 2 * math.pi * (self.beat_linewidth_hz + self.alice_linewidth_hz + self.bob_linewidth_hz)


class Detector(_Part):
    """One SNSPD. ``offset_ps``: extra arrival time of this detector's path and cable.

    Imbalance of a pair is two different efficiencies.
    """

    efficiency: Probability
    dark_hz: Rate
    dead_time_ns: float = Field(ge=16, le=1e6)
    """At least 16 ns: the fine-time input takes one edge per channel and clock."""
    recovery_ns: float = Field(default=0.0, ge=0, le=1000)
    """Saturation: t after the dead time of a click the efficiency is back to ``1 - exp(-t / recovery)`` of its value."""
    jitter_ps: NotNegative
    offset_ps: float = Field(default=0.0, ge=-1e6, le=1e6)


class Detectors(_Part):
    """The four detectors of a pair."""

    qL: Detector
    qR: Detector
    rL: Detector
    rR: Detector


class Client(_Part):
    """What a client sends. Intensities are mean photon numbers at its output; references, those of REF slots."""

    z_probability: Probability
    send_probability: Probability
    vacuum_probability: Probability
    """P(vacuum | X)."""
    mu1_probability: Probability
    """P(mu_1 | X); mu_2 takes the rest."""
    mu_0: float = Field(default=0.0, ge=0, le=100)
    """What a vacuum symbol still has in a SIG slot: the weakest decoy of a source that never gets dark."""
    mu_1: Intensity
    mu_2: Intensity
    mu_z: Intensity
    reference_q: Rate
    reference_r: Rate

    @model_validator(mode="after")
    def _sum(self) -> Self:
        if self.vacuum_probability + self.mu1_probability > 1:
            raise ValueError(
                f"vacuum_probability + mu1_probability is {self.vacuum_probability + self.mu1_probability:g}; allowed: at most 1"
            )
        return self


class Clients(_Part):
    alice: Client
    bob: Client
    symbols: Source = "aes"
    ring_symbols: int = RING_SYMBOLS
    """AES-128 in counter mode, or a QRNG, of which a ring of ``ring_symbols`` keeps the last symbols (docs/symbols.md)."""


class Protocol(_Part):
    """Sifting and key figures; the protocols are those of `twinphase_spec.rules`."""

    name: Literal["SNS", "PM", "CAL", "MP", "BB84"] = "SNS"
    slice_width_deg: float = Field(gt=0, le=180)
    block_heralds: int = Field(ge=32, le=MAX_BLOCK_HERALDS, multiple_of=32)
    error_correction_efficiency: float = Field(default=1.1, ge=1)
    pair_span_pulses: int = Field(default=0, ge=0, lt=1 << 32)
    """Mode pairing: largest distance of the two heralds of a pair."""


class Server(_Part):
    """Settings of the server's electronics."""

    dead_time_ns: float = Field(default=0.0, ge=0, le=1e6)
    """Programmed dead time of the tagger channels."""
    live_windows: bool = False
    """Heralds only in windows in which both detectors could have clicked (docs/live.md), and runs of the others sent as LIVE records."""
    swap_q: bool = False
    swap_r: bool = False


class Lab(_Part):
    """A whole lab: see the module."""

    name: str = Field(min_length=1)
    description: str
    sources: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    """Keys (``frame.gate_q_ps``) whose values are assumptions."""
    server: Server = Server()
    frame: Frame
    bands: Bands
    fibre: Fibre
    scene: Scene = Scene()
    lasers: Lasers
    detectors: Detectors
    clients: Clients
    protocol: Protocol
    tracking: Tracking = Tracking()
    arms: Arms = Arms()
    """When the light of each arm comes; left out, in the middle of its place for ever."""
    actuator: Actuator | None = None
    """A phase modulator that the server drives; without one the phase is only measured."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        period = TICKS_PER_SECOND / self.frame.pulse_rate_hz
        if period < 1024 or period not in (1024, 2048, 4096, 8192):
            raise ValueError(
                f"frame.pulse_rate_hz is {self.frame.pulse_rate_hz:g}; allowed: 1, 0.5, 0.25 or 0.125 GHz "
                "(the clients emit 8, 4, 2 or 1 pulses per clock)"
            )
        lanes = round(8192 / period)
        frame_pulses = len(self.frame.table()) * self.frame.slot_pulses
        if (self.frame.slot_pulses % lanes and self.frame.slot_pulses != 1) or frame_pulses % lanes:
            raise ValueError(
                f"frame.slot_pulses is {self.frame.slot_pulses} in a frame of {frame_pulses} pulses; allowed: 1 or a "
                f"multiple of {lanes}, with a frame of a multiple of {lanes} pulses"
            )
        window = frame_pulses * self.frame.frames_per_window * period
        if window < MIN_WINDOW_TICKS:
            raise ValueError(
                f"frame.frames_per_window is {self.frame.frames_per_window}; allowed: at least "
                f"{math.ceil(MIN_WINDOW_TICKS / (frame_pulses * period))} (a window is longer than "
                f"{LAG_CLOCKS * 2} clocks)"
            )
        for key, width in (("gate_q_ps", self.frame.gate_q_ps), ("gate_r_ps", self.frame.gate_r_ps)):
            if width > 1e12 / self.frame.pulse_rate_hz:
                raise ValueError(
                    f"frame.{key} is {width:g}; allowed: at most the pulse period, {1e12 / self.frame.pulse_rate_hz:g} ps"
                )
        check_protocol(self)
        check_symbol_source(self)
        for number, power in enumerate(self.scene.power):
            steady = self.fibre.transmittance(power.arm)
            if steady * power.largest > 1 and power.relative_rms > 0:
                raise ValueError(
                    f"scene.power.{number}.relative_rms is {power.relative_rms:g}; allowed: a peak of at most {1 / steady:g} times the "
                    f"steady transmittance of arm {power.arm}, here it is {power.largest:g} times"
                )
        for key in self.assumed:
            part: object = self
            for name in key.split("."):
                if not hasattr(part, name):
                    raise ValueError(f"assumed names {key}; allowed: keys of this lab file")
                part = getattr(part, name)
        return self

    @property
    def lanes(self) -> int:
        """Pulses per clock at the clients."""
        return round(8192 * self.frame.pulse_rate_hz / TICKS_PER_SECOND)


LAB_FILE = ConfigFile(kind="lab", model=Lab, error=LabError, folder="labs")


def preset_names() -> list[str]:
    """Names of the presets that ship with Twinphase, sorted."""
    return LAB_FILE.preset_names()


def load_lab(name_or_path: str | Path) -> Lab:
    """The lab of a preset's name or of a TOML file. Raises `LabError`."""
    return LAB_FILE.load(name_or_path)


def parse_lab(text: str, name: str) -> Lab:
    """The lab that ``text`` (TOML) describes; ``name`` is used in errors. Raises `LabError`."""
    return LAB_FILE.parse(text, name)
