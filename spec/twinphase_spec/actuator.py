"""The phase actuator: formats, constants and register words (docs/actuator.md).

Phases are of the light that the modulator acts on, in turns of its own wavelength; the *applied* phase A is what the actuator takes
off: ``residual = total - A``. Inside, a phase is a fraction of a turn in 2^-32; the *position* x is where in its range the modulator
is, 0 to 2 turns, and A = x modulo one turn.
"""

from __future__ import annotations

from dataclasses import dataclass

from .units import CLOCK_HZ, TURN_BITS

TARGET_BITS = 64
"""The target is unwrapped and signed, in 2^-32 turn: the tracker's 48 bits of 2^-16 turn, shifted left by 16."""
PHASE_BITS = 32
"""Fraction of a turn inside the actuator: a coasting slope of 457 turns/s (2.871 rad/ms) is 15 700 units per clock."""
RATIO_BITS = 32
"""nu / nu_target - 1 in 2^-32, signed."""
SCALE_PERIOD = 8
"""Clocks from one word that is scaled to the next."""

POSITION_BITS = PHASE_BITS + 1
LIMIT_BITS = TURN_BITS + 1
"""low, high and top of the window are positions in 2^-16 turn."""
SLEW_BITS = PHASE_BITS - 1
SETTLE_BITS = 16
STEP_CLOCKS = 4
"""The position moves once in so many clocks."""
SEEK_BITS = 22
"""How fast the aim goes round while no phase is known, in 2^-32 turn per clock: up to 122 000 turns/s."""
MIN_SLOPE_LOG, MAX_SLOPE_LOG, DEFAULT_SLOPE_LOG = 4, 20, 14
"""log2 of the clocks over which the slope for coasting is taken; by default 131 us."""

TABLE_LOG = 10
TABLE_ENTRIES = 1 << TABLE_LOG
ENTRIES_PER_TURN = TABLE_ENTRIES // 2
WORD_BITS = 18
"""A table word is a fraction of the DAC's range, in 2^-18."""
INTERPOLATION_BITS = 14
MIN_DAC_BITS, MAX_DAC_BITS = 10, 16
MAX_TOP = (TABLE_ENTRIES - 1 << TURN_BITS) // ENTRIES_PER_TURN
"""The last entry's position in 2^-16 turn: 1.998 turns."""

RING_LOG = 10
RING_ENTRIES = 1 << RING_LOG
RING_REACH = RING_ENTRIES - 4
"""Groups that a click may lie back: the ring goes on while it is looked up."""
DELAY_BITS = 16
MAX_GROUP_LOG = 6

CLAMP_BITS, CLAMP_LOW, CLAMP_HIGH = 4, 3, 13
"""A second-order sigma-delta pin takes levels from 3/16 to 13/16 of the scale; others count as the nearest of these."""
SET_BACK_SCALES = 8
"""Its errors start again from 0 when v is that many scales away from 0."""


def check_dac_bits(bits: int) -> int:
    """ValueError unless the DAC has 10 to 16 bits."""
    if not MIN_DAC_BITS <= bits <= MAX_DAC_BITS:
        raise ValueError(f"actuator: DAC has {bits} bits; allowed: {MIN_DAC_BITS} to {MAX_DAC_BITS}")
    return bits


def check_slope_log(slope_log: int) -> int:
    """ValueError unless the interval of the slope is 2^4 to 2^20 clocks."""
    if not MIN_SLOPE_LOG <= slope_log <= MAX_SLOPE_LOG:
        raise ValueError(f"actuator: slope_log is {slope_log}; allowed: {MIN_SLOPE_LOG} to {MAX_SLOPE_LOG}")
    return slope_log


def check_group_log(group_log: int) -> int:
    """ValueError unless an entry of the ring of applied phases covers 1 to 64 clocks."""
    if not 0 <= group_log <= MAX_GROUP_LOG:
        raise ValueError(f"actuator: group_log is {group_log}; allowed: 0 to {MAX_GROUP_LOG}")
    return group_log


def ring_clocks(group_log: int) -> int:
    """How far back, in clocks, the ring of applied phases always answers."""
    return (RING_REACH - 1) << check_group_log(group_log)


def ratio_word(frequency_hz: float, target_hz: float) -> int:
    """Register RATIO: ``nu / nu_target - 1`` in 2^-32, signed. ValueError beyond a half.

    Its rounding is an error of 2^-33 turn per turn of the target: 0.7 mrad after a million turns, slow enough for whatever
    measures the differential phase.
    """
    ratio = frequency_hz / target_hz - 1
    if not -0.5 <= ratio < 0.5:
        raise ValueError(
            f"actuator: light at {frequency_hz:g} Hz and target at {target_hz:g} Hz; allowed: a ratio from 0.5 to 1.5"
        )
    return round(ratio * (1 << RATIO_BITS))


@dataclass(frozen=True, kw_only=True)
class DriveTimes:
    """What decides how much range is kept free at both ends of the window. ValueError for values that no register holds."""

    slew_turns_per_s: float
    """Fastest that the modulator is driven, fly-backs apart."""
    settle_s: float
    """From the step that flies back to the modulator's phase being right: wait for the driver, its frame, amplifier."""
    slot_s: float
    """Longest distance of two slot starts."""
    noise_turns: float = 0.02
    """Peak-to-peak noise of the target that must not make it fly forth and back."""
    clock_hz: float = CLOCK_HZ

    def __post_init__(self) -> None:
        if not 1 <= self.slew_word < 1 << SLEW_BITS:
            step_hz = self.clock_hz / STEP_CLOCKS
            raise ValueError(
                f"actuator: slew_turns_per_s is {self.slew_turns_per_s:g}; allowed: {step_hz / (1 << PHASE_BITS):.3g} "
                f"to {step_hz / 2:.4g}"
            )
        if not 0 <= self.settle_word < 1 << SETTLE_BITS:
            raise ValueError(
                f"actuator: settle_s is {self.settle_s:g}; allowed: above 0 to "
                f"{(1 << SETTLE_BITS) * STEP_CLOCKS / self.clock_hz:g}"
            )
        if self.slot_s < 0 or not 0 <= self.noise_turns < 1:
            raise ValueError(
                f"actuator: slot_s is {self.slot_s:g}, noise_turns {self.noise_turns:g}; allowed: not negative, noise below 1"
            )

    @property
    def step_s(self) -> float:
        """One step of the position."""
        return STEP_CLOCKS / self.clock_hz

    @property
    def slew_word(self) -> int:
        """Register SLEW: 2^-32 turn per step, rounded down."""
        return int(self.slew_turns_per_s * self.step_s * (1 << PHASE_BITS))

    @property
    def settle_word(self) -> int:
        """Register SETTLE: steps in blank less one, rounded up."""
        return -int(-self.settle_s // self.step_s) - 1

    @property
    def reserve_turns(self) -> float:
        """Range beyond low and high: how far the position can go while it waits for a slot's start, and a step."""
        return self.slew_turns_per_s * (self.slot_s + 2 * self.step_s)

    @property
    def hysteresis_turns(self) -> float:
        """Least width of the window beyond a turn: the noise, and what a slot's blank may take at full slew, whichever is more."""
        return max(self.noise_turns, self.slew_turns_per_s * (self.settle_s + self.slot_s + 2 * self.step_s))

    @property
    def needed_turns(self) -> float:
        """Least range of a modulator."""
        return 1 + self.hysteresis_turns + 2 * self.reserve_turns


@dataclass(frozen=True, kw_only=True)
class Window:
    """Positions in 2^-16 turn: fly-back down from ``high`` on and up below ``low``; nothing beyond 0 and ``top``. ValueError."""

    low: int
    high: int
    top: int

    def __post_init__(self) -> None:
        turn = 1 << TURN_BITS
        if not (0 <= self.low < turn < self.high - self.low and self.high <= self.top <= MAX_TOP):
            raise ValueError(
                f"actuator: window is low {self.low}, high {self.high}, top {self.top} (2^-16 turn); allowed: 0 <= low, "
                f"low + {turn} < high <= top <= {MAX_TOP}"
            )

    @classmethod
    def of_range(cls, range_turns: float, times: DriveTimes) -> Window:
        """The window in a modulator's range; what is more than needed becomes hysteresis. ValueError with the numbers if it is less."""
        if range_turns < times.needed_turns:
            raise ValueError(
                f"actuator: the modulator has {range_turns:.4f} turns at this wavelength; needed: {times.needed_turns:.4f} "
                f"(one turn, hysteresis {times.hysteresis_turns:.4f}, twice the slew reserve {times.reserve_turns:.4f})"
            )
        top = min(int(range_turns * (1 << TURN_BITS)), MAX_TOP)
        reserve = -int(-times.reserve_turns * (1 << TURN_BITS) // 1)
        if top - 2 * reserve <= 1 << TURN_BITS:
            raise ValueError(
                f"actuator: {times.needed_turns:.4f} turns are needed (slew reserve {times.reserve_turns:.4f} at both ends); "
                f"allowed: the {MAX_TOP / (1 << TURN_BITS):.4f} of the table"
            )
        return cls(low=reserve, high=top - reserve, top=top)
