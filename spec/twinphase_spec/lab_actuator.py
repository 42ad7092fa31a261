"""The phase actuator of a lab: ``[actuator]`` of a lab file, the node's registers and table, and what its light sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .actuator import MAX_DAC_BITS, MIN_DAC_BITS, PHASE_BITS, SEEK_BITS, DriveTimes
from .modulator import Dac, Drive, Modulator, drive
from .units import CLOCK_HZ, TURN

if TYPE_CHECKING:
    from .lab import Lab

SEEK_UNIT = CLOCK_HZ / (1 << PHASE_BITS)
"""Turns/s of one unit of ACT_SEEK."""
CODE_CLOCKS = 1
"""Clocks from a code on the node's output to its position in ``o_acting``: an actuator whose driver always follows."""


class Actuator(BaseModel):
    """A modulator in the path of both bands at the server, on a DAC that follows every code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: bool = True
    """Off: it rests, and is only there."""
    lock_deg: float = Field(default=0.0, ge=-360, le=360)
    """Residual phase of the reference band to hold; 90 or -90 is mid-fringe of step 0."""
    dac_bits: int = Field(default=12, ge=MIN_DAC_BITS, le=MAX_DAC_BITS)
    v_low: float = Field(default=-0.5, ge=-1000, le=1000)
    v_high: float = Field(default=9.8, ge=-1000, le=1000)
    v_pi: float = Field(default=4.0, ge=-1000, le=1000)
    """At the reference band's wavelength."""
    nonlinearity: tuple[float, ...] = ()
    """n1, n2 ... of ``turns = V / (2 V_pi) (1 + n1 V + n2 V^2 ...)``."""
    sign: Literal[1, -1] = 1
    """-1: a rising voltage adds to the phase."""
    slew_turns_per_s: float = Field(default=2e4, gt=0)
    settle_us: float = Field(default=2.5, gt=0)
    """From a fly-back to the phase being right."""
    light_delay_us: float = Field(default=2.0, ge=0, le=500)
    """From a code to the clicks on which it has acted: driver, amplifier, modulator, fibre, detector, cable."""
    coast: bool = False
    """Without a phase, go on with the last slope."""
    seek_turns_per_s: float = Field(default=0.0, ge=0)
    """Without a phase, go round at this speed, coast or not; 0: do not. Light whose reference steps are not equally long needs it: while
    the actuator goes round, a cold start sees all phases of a turn alike."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        self.drive(1.0)
        most = min(self.slew_turns_per_s, ((1 << SEEK_BITS) - 1) * SEEK_UNIT)
        if self.seek_turns_per_s > most or 0 < self.seek_turns_per_s < SEEK_UNIT:
            raise ValueError(
                f"actuator: seek_turns_per_s is {self.seek_turns_per_s:g}; allowed: 0, or {SEEK_UNIT:.3g} to {most:g}, no faster than "
                "the slew"
            )
        return self

    @property
    def seek_word(self) -> int:
        """Register ACT_SEEK: 2^-32 turn per clock, rounded down."""
        return int(self.seek_turns_per_s / SEEK_UNIT)

    def times(self) -> DriveTimes:
        """Slots are short: a fly-back may begin in any step."""
        return DriveTimes(slew_turns_per_s=self.slew_turns_per_s, settle_s=self.settle_us * 1e-6, slot_s=0.0)

    def dac(self) -> Dac:
        """Its DAC."""
        return Dac(bits=self.dac_bits, v_low=self.v_low, v_high=self.v_high)

    def modulator(self, frequency_hz: float) -> Modulator:
        """V_pi is that at ``frequency_hz``."""
        return Modulator.of_v_pi(self.v_pi, frequency_hz, *self.nonlinearity)

    def drive(self, frequency_hz: float) -> Drive:
        """Table and window at ``frequency_hz``, that of V_pi. ValueError where the range is too small or turns back."""
        return drive(self.modulator(frequency_hz), self.dac(), frequency_hz, self.times(), sign=self.sign)


def actuator_drive(lab: Lab) -> Drive:
    """Table and window of the lab's actuator at the reference band's wavelength. ValueError without one."""
    if lab.actuator is None:
        raise ValueError(f"lab {lab.name} has no actuator; give it an [actuator] table")
    return lab.actuator.drive(lab.bands.reference_hz)


def light_delay_clocks(lab: Lab) -> int:
    """ACT_DELAY: from a position in ``o_acting`` to the clock count of the clicks on which it has acted."""
    return 0 if lab.actuator is None else round(lab.actuator.light_delay_us * 1e-6 * CLOCK_HZ)


def actuator_registers(lab: Lab) -> dict[str, int]:
    """ACT registers of the server node; none without an actuator."""
    if lab.actuator is None:
        return {}
    loaded, times = actuator_drive(lab), lab.actuator.times()
    return {
        "ACT_LOCK": round(lab.actuator.lock_deg / 360 * TURN) % TURN,
        "ACT_SLEW": times.slew_word,
        "ACT_LOW": loaded.window.low,
        "ACT_HIGH": loaded.window.high,
        "ACT_TOP": loaded.window.top,
        "ACT_SETTLE": times.settle_word,
        "ACT_DELAY": light_delay_clocks(lab),
        "ACT_RATIO": 0,
        "ACT_SEEK": lab.actuator.seek_word,
        "ACT_CONTROL": int(lab.actuator.on)
        | int(lab.actuator.coast) << 1
        | int(lab.actuator.seek_turns_per_s > 0) << 4,
    }


def actuator_memories(lab: Lab) -> dict[str, list[int]]:
    """ACT_TABLE of the server node, bank 0; none without an actuator."""
    return {} if lab.actuator is None else {"ACT_TABLE": list(actuator_drive(lab).words)}


def modulator_turns(lab: Lab) -> NDArray[np.float64]:
    """Turns of the reference band's light that each DAC code takes off, (2^bits): what is really there, non-linearity and all."""
    if lab.actuator is None:
        raise ValueError(f"lab {lab.name} has no actuator; give it an [actuator] table")
    loaded, converter = actuator_drive(lab), lab.actuator.dac()
    codes = np.arange(1 << converter.bits)
    volts = converter.v_low + (converter.v_high - converter.v_low) * codes / (1 << converter.bits)
    modulator = lab.actuator.modulator(lab.bands.reference_hz)
    return loaded.sign * (modulator.turns(volts, lab.bands.reference_hz) - loaded.start_turns)
