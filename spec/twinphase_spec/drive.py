"""From a client's modulator codes to the words of its DACs: table, its addresses, and how to make one (docs/modulators.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .symbols import CODE_BITS, LEVEL_BITS, PHASE_CODE_BITS, SLICE_BITS, Level

DRIVE_BITS = 12
"""Of a DAC's word; a DAC with fewer bits takes the highest."""
ENTRY_BITS = 2 * DRIVE_BITS
"""``phase word << 12 | intensity word``."""
PHASE_STEP_BITS = PHASE_CODE_BITS - SLICE_BITS
BAND_WORDS = 1 << LEVEL_BITS + SLICE_BITS
TABLE_WORDS = 2 * BAND_WORDS
"""Words of MODULATOR_TABLE: the q band's, then the r band's."""
BANDS = ("q", "r")
FULL_SCALE = (1 << DRIVE_BITS) - 1


def entry_address(band: str, code: int) -> int:
    """Word of MODULATOR_TABLE that holds the entry of a code ``level << 8 | phase``. ValueError for no band or no code."""
    if band not in BANDS or not 0 <= code < 1 << CODE_BITS:
        raise ValueError(
            f"modulators: code {code} of band {band!r}; allowed: codes below {1 << CODE_BITS}, bands q and r"
        )
    return BANDS.index(band) * BAND_WORDS | code >> PHASE_STEP_BITS


def identity_table() -> list[int]:
    """MODULATOR_TABLE at power-up: eighths of the intensity DAC's range by level, a turn on the phase DAC's range."""
    words = []
    for address in range(TABLE_WORDS):
        level, step = address >> SLICE_BITS & (1 << LEVEL_BITS) - 1, address & (1 << SLICE_BITS) - 1
        words.append(step << DRIVE_BITS - SLICE_BITS + DRIVE_BITS | level << DRIVE_BITS - LEVEL_BITS)
    return words


@dataclass(frozen=True, kw_only=True)
class DriveDac:
    """Word w of DRIVE_BITS bits gives ``v_low + (v_high - v_low) w / 4095`` volts at the modulator. ValueError."""

    v_low: float
    v_high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.v_low < self.v_high < math.inf:
            raise ValueError(
                f"modulators: DAC goes from {self.v_low:g} V to {self.v_high:g} V; allowed: v_low below v_high"
            )

    def word(self, volts: float, what: str) -> int:
        """The nearest word. ValueError, naming ``what``, beyond the range by more than half a step."""
        word = round((volts - self.v_low) / (self.v_high - self.v_low) * FULL_SCALE)
        if not 0 <= word <= FULL_SCALE:
            raise ValueError(
                f"modulators: {what} needs {volts:.4g} V; allowed: {self.v_low:g} to {self.v_high:g} V, the range of its DAC"
            )
        return word

    def volts(self, word: int) -> float:
        """Voltage of a word."""
        return self.v_low + (self.v_high - self.v_low) * word / FULL_SCALE


@dataclass(frozen=True, kw_only=True)
class IntensityModulator:
    """Mach-Zehnder modulator: ``T(V) / T_max = 1/E + (1 - 1/E) sin^2(pi/2 (V - v_dark) / v_pi)``, E the extinction ratio.

    ``v_dark``: voltage of least light. ValueError.
    """

    v_pi: float
    v_dark: float = 0.0
    extinction_db: float = 25.0

    def __post_init__(self) -> None:
        if self.v_pi == 0 or not math.isfinite(self.v_pi):
            raise ValueError(f"modulators: v_pi is {self.v_pi:g}; allowed: any other voltage than 0")
        if not 0 < self.extinction_db < math.inf:
            raise ValueError(f"modulators: extinction_db is {self.extinction_db:g}; allowed: above 0")

    @property
    def darkest(self) -> float:
        """1/E."""
        return 10 ** (-self.extinction_db / 10)

    def transmission(self, volts: float) -> float:
        """T(V) / T_max."""
        return self.darkest + (1 - self.darkest) * math.sin(math.pi / 2 * (volts - self.v_dark) / self.v_pi) ** 2

    def volts(self, transmission: float, what: str) -> float:
        """Voltage between the darkest and the brightest for ``transmission``; 0 is taken as the darkest. ValueError, naming ``what``."""
        share = (transmission - self.darkest) / (1 - self.darkest) if transmission else 0.0
        if not 0 <= share <= 1:
            raise ValueError(
                f"modulators: {what} is {transmission:.3g} of the brightest; allowed: 0, or {self.darkest:.3g} (the extinction) to 1"
            )
        return self.v_dark + 2 / math.pi * self.v_pi * math.asin(math.sqrt(share))


def band_table(
    photons: Sequence[float],
    *,
    intensity: IntensityModulator,
    intensity_dac: DriveDac,
    phase_v_pi: float,
    phase_dac: DriveDac,
    phase_v_0: float = 0.0,
) -> list[int]:
    """Entries of one band of MODULATOR_TABLE.

    ``photons``: mean photon number of every `Level` (the brightest has transmission 1; VAC 0 is as dark as the modulator gets). The phase
    modulator turns by ``(V - phase_v_0) / (2 phase_v_pi)`` turns. Rounding to 12 bits: phases are right to ``range / (2 phase_v_pi) /
    8190`` turns. ValueError for what the modulators or DACs cannot do; levels above REF have the entry of VAC.
    """
    if len(photons) != len(Level) or min(photons) < 0 or max(photons) <= 0:
        raise ValueError(
            f"modulators: photons are {list(photons)}; allowed: {len(Level)} numbers, none negative, not all 0"
        )
    if phase_v_pi == 0 or not math.isfinite(phase_v_pi):
        raise ValueError(f"modulators: phase_v_pi is {phase_v_pi:g}; allowed: any other voltage than 0")
    levels = []
    for level in Level:
        what = f"level {level.name}"
        levels.append(intensity_dac.word(intensity.volts(photons[level] / max(photons), what), what))
    levels += [levels[Level.VAC]] * ((1 << LEVEL_BITS) - len(levels))
    phases = []
    for step in range(1 << SLICE_BITS):
        turns = step / (1 << SLICE_BITS)
        phases.append(phase_dac.word(phase_v_0 + 2 * phase_v_pi * turns, f"phase {step}/16 turn"))
    return [phase << DRIVE_BITS | level for level in levels for phase in phases]
