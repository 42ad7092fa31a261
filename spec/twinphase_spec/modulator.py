"""From a modulator, a DAC and a wavelength to the actuator's table and window, and what error is left.

Error that the actuator adds, in rad rms, for a DAC of N bits whose range is R turns of the light::

    quantisation    2 pi R / 2^N / sqrt(12)             1.77 mrad for N = 10, R = 1; 2.21 for R = 1.25
    table           2 pi R / 2^18 (1/sqrt(12) + 1/sqrt(12))     words and interpolation are rounded: 0.014 mrad at R = 1
    interpolation   2 pi R h^2 max|y''| / 8 sqrt(8/15)    chord against curve, y the fraction of the DAC's range, h = 1/512 turn;
                    a parabola's rms is sqrt(8/15) of its largest
    applied word    2 pi / 2^16 / sqrt(12)              0.028 mrad, the rounding of A in the records

The parts are independent and add in squares. Not in it: the drive's lag behind a target that moves (the delay is configured, and the
target is predicted), and what a calibration has wrong: a relative error e of V_pi is a step of e turns at each fly-back, so that a bias
of 5 mrad needs V_pi to 8e-4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .actuator import ENTRIES_PER_TURN, TABLE_ENTRIES, WORD_BITS, DriveTimes, Window, check_dac_bits
from .units import TURN_BITS

GRID = 1 << 16
"""Voltages at which a modulator's phase is worked out to be inverted; between them a straight line is good to 1e-9 of the range."""


@dataclass(frozen=True, kw_only=True)
class Dac:
    """Code c of ``bits`` bits gives ``v_low + (v_high - v_low) c / 2^bits`` volts at the modulator. ValueError."""

    bits: int
    v_low: float
    v_high: float

    def __post_init__(self) -> None:
        check_dac_bits(self.bits)
        if not self.v_low < self.v_high:
            raise ValueError(
                f"actuator: DAC goes from {self.v_low:g} V to {self.v_high:g} V; allowed: v_low below v_high"
            )

    @property
    def volts(self) -> NDArray[np.float64]:
        """GRID + 1 voltages from code 0 to the highest code."""
        top = self.v_high - (self.v_high - self.v_low) / (1 << self.bits)
        return np.linspace(self.v_low, top, GRID + 1)


@dataclass(frozen=True, kw_only=True)
class Modulator:
    """Phase in turns over voltage, as measured at ``frequency_hz``; at another frequency it is taken in proportion to that.

    ``polynomial`` are the coefficients of V, V^2, V^3 ... in turns; or ``points`` are pairs (V, turns), with straight lines between
    them. Exactly one of both. ValueError.
    """

    frequency_hz: float
    polynomial: tuple[float, ...] = ()
    points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if bool(self.polynomial) == bool(self.points):
            raise ValueError("actuator: a modulator needs a polynomial or points; allowed: one of both")
        if self.frequency_hz <= 0:
            raise ValueError(f"actuator: the modulator's frequency_hz is {self.frequency_hz:g}; allowed: above 0")
        if self.points and (len(self.points) < 2 or (np.diff([v for v, _ in self.points]) <= 0).any()):
            raise ValueError(
                f"actuator: {len(self.points)} points; allowed: 2 or more, in rising order of their voltages"
            )

    @classmethod
    def of_v_pi(cls, v_pi: float, frequency_hz: float, *nonlinearity: float) -> Modulator:
        """``turns = V / (2 V_pi) (1 + n1 V + n2 V^2 ...)``. ValueError for V_pi = 0; a negative one turns the other way."""
        if v_pi == 0:
            raise ValueError("actuator: V_pi is 0; allowed: any other voltage")
        return cls(frequency_hz=frequency_hz, polynomial=tuple(n / (2 * v_pi) for n in (1.0, *nonlinearity)))

    @classmethod
    def fitted(cls, volts: ArrayLike, turns: ArrayLike, frequency_hz: float, *, degree: int = 3) -> Modulator:
        """Least squares over measured points: with n of them, the noise of the fit is about ``sqrt((degree + 1) / n)`` of theirs.

        ValueError for fewer points than coefficients.
        """
        v, measured = np.asarray(volts, dtype=np.float64), np.asarray(turns, dtype=np.float64)
        if v.size != measured.size or v.size < degree + 1:
            raise ValueError(
                f"actuator: {v.size} voltages and {measured.size} phases for degree {degree}; allowed: as many, {degree + 1} or more"
            )
        # An offset is fitted and left out: only differences of phase count.
        fit = np.polynomial.Polynomial.fit(v, measured, degree).convert().coef
        return cls(frequency_hz=frequency_hz, polynomial=tuple(float(c) for c in fit[1:]))

    def turns(self, volts: ArrayLike, frequency_hz: float) -> NDArray[np.float64]:
        """Phase of light of ``frequency_hz``."""
        v = np.asarray(volts, dtype=np.float64)
        if self.points:
            x, y = np.array(self.points).T
            turns = np.interp(v, x, y)
        else:
            turns = np.polynomial.Polynomial((0.0, *self.polynomial))(v)
        return turns * (frequency_hz / self.frequency_hz)


@dataclass(frozen=True, kw_only=True)
class Drive:
    """What an actuator is loaded with for a wavelength, and where its positions lie."""

    window: Window
    words: tuple[int, ...]
    """TABLE_ENTRIES table words."""
    range_turns: float
    """Of the whole DAC, at this wavelength."""
    start_turns: float
    """Phase of the modulator (`Modulator.turns`) at position 0; a position x is ``start_turns + sign x``."""
    sign: int


def drive(modulator: Modulator, dac: Dac, frequency_hz: float, times: DriveTimes, *, sign: int = 1) -> Drive:
    """Table and window for light of ``frequency_hz``, centred in the modulator's range.

    ``sign`` -1 makes the modulator's phase fall with the position: the actuator takes off what the target says, and a modulator in
    Alice's arm adds to the phase. ValueError if the phase does not rise or fall all the way, or the range is too small.
    """
    if sign not in (1, -1):
        raise ValueError(f"actuator: sign is {sign}; allowed: 1 or -1")
    volts = dac.volts
    if modulator.points and not (modulator.points[0][0] <= volts[0] and volts[-1] <= modulator.points[-1][0]):
        raise ValueError(
            f"actuator: points from {modulator.points[0][0]:g} V to {modulator.points[-1][0]:g} V; "
            f"allowed: all of the DAC's {volts[0]:g} V to {volts[-1]:g} V"
        )
    turns = modulator.turns(volts, frequency_hz)
    steps = np.diff(turns)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(
            f"actuator: the modulator's phase turns back at {volts[np.argmin(np.abs(steps))]:.3g} V; "
            f"allowed: rising or falling from {volts[0]:g} V to {volts[-1]:g} V"
        )
    span = float(abs(turns[-1] - turns[0]))
    # An entry at either end stays free, so that no line ends beyond the DAC.
    window = Window.of_range(span - 2 / ENTRIES_PER_TURN, times)
    middle = (turns[0] + turns[-1]) / 2
    start = float(middle - sign * window.top / (2 << TURN_BITS))
    wanted = start + sign * np.arange(TABLE_ENTRIES) / ENTRIES_PER_TURN
    order = slice(None) if steps[0] > 0 else slice(None, None, -1)
    fraction = (np.interp(wanted, turns[order], volts[order]) - dac.v_low) / (dac.v_high - dac.v_low)
    words = np.clip(np.rint(fraction * (1 << WORD_BITS)), 0, (1 << WORD_BITS) - 1).astype(np.int64)
    return Drive(
        window=window,
        words=tuple(words.tolist()),
        range_turns=span * (1 << dac.bits) / ((1 << dac.bits) - 1),
        start_turns=start,
        sign=sign,
    )


@dataclass(frozen=True, kw_only=True)
class ErrorBudget:
    """Added phase error in rad rms, by cause."""

    quantisation: float
    table: float
    interpolation: float
    applied: float

    @property
    def total(self) -> float:
        """In squares."""
        return math.hypot(self.quantisation, self.table, self.interpolation, self.applied)


def error_budget(loaded: Drive, bits: int) -> ErrorBudget:
    """The formulas of this module for a table; quantisation at the steepest place of the table, where a code is the widest."""
    used = loaded.window.top * ENTRIES_PER_TURN >> TURN_BITS
    words = np.array(loaded.words[: used + 1]) / (1 << WORD_BITS)
    turns_per_range = 1 / float(np.abs(np.diff(words)).min() * ENTRIES_PER_TURN)
    # Rounded words hide a curvature below theirs: over 32 entries it is seen.
    stride = 32
    bend = float(np.abs(np.diff(words[::stride], 2)).max()) / stride**2
    full = 2 * math.pi * turns_per_range
    return ErrorBudget(
        quantisation=full / (1 << bits) / math.sqrt(12),
        table=full / (1 << WORD_BITS) * math.sqrt(2 / 12),
        interpolation=full * bend / 8 * math.sqrt(8 / 15),
        applied=2 * math.pi / (1 << TURN_BITS) / math.sqrt(12),
    )
