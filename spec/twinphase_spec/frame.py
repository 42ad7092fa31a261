"""The frame: a pulse grid and a repeating table of slots with a class per band.

Pulse n starts at tick ``START * 8192 + n * P`` with the period ``P = period_q32 / 2^32`` ticks, exact in fixed point.
``slot_pulses`` (M) consecutive pulses form a slot; the table's E slots repeat, so a frame is ``L = E M`` pulses.
A *window* is ``frames_per_window`` frames; a *d-window* is ``windows_per_dwindow`` windows. Per-detector arrival offsets
are part of the channel's programmable delay, so that tags of all detectors are on one grid and in one order.

A tag with time t (ticks) falls on::

    x  = (t - START * 8192) * 2^32          (negative: before the frame, the tag is "unframed")
    n  = x div P_q32,   position = (x mod P_q32) >> 32   (ticks into the pulse)
    l  = n mod L,  frame = n div L,  slot = l div M
    window = frame div frames_per_window,  dwindow = window div windows_per_dwindow

The hardware reaches the same numbers from an *anchor*, the position LAG_CLOCKS behind the clock count, which the timebase
steps by additions only; `anchor_at` is its closed form, and idle skipping loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from .units import CLOCK_BITS, TICKS_PER_CLOCK

PERIOD_FRACTION_BITS = 32
PERIOD_INT_BITS = 17
PERIOD_BITS = PERIOD_INT_BITS + PERIOD_FRACTION_BITS
MIN_PERIOD_TICKS = 409
"""20 pulses per clock, 2.5 GHz at 125 MHz: 409.6 ticks."""
MAX_PERIOD_TICKS = (1 << PERIOD_INT_BITS) - 1
PULSE_BITS = 56
FRAME_PULSE_BITS = 24
FRAME_BITS = 40
TABLE_ADDRESS_BITS = 15
TABLE_SLOTS = 1 << TABLE_ADDRESS_BITS
SLOT_PULSES_BITS = 16
FRAMES_PER_WINDOW_BITS = 24
WINDOW_BITS = 32
WINDOWS_PER_DWINDOW_BITS = 8
MAX_WINDOWS_PER_DWINDOW = 128
MIN_FRAME_PULSES = 16

LAG_CLOCKS = 4096
"""How far the anchor runs behind the clock. It covers the largest delay span and full queues (see docs/contract.md)."""
OFFSET_BITS = 26
"""Bits of a tag's distance from the anchor in ticks: LAG_CLOCKS * 8192 plus 2 us of positive delay is below 2^26."""
MIN_WINDOW_TICKS = 1 << OFFSET_BITS
"""A window must be longer than the anchor's lag, so that a click can only be in the anchor's window or the next."""
STEP_PULSES_BITS = (TICKS_PER_CLOCK // MIN_PERIOD_TICKS).bit_length()
PULSE_RECIPROCAL_SHIFT = OFFSET_BITS + PERIOD_FRACTION_BITS
PULSE_RECIPROCAL_BITS = ((1 << OFFSET_BITS) // MIN_PERIOD_TICKS).bit_length()
FRAME_RECIPROCAL_SHIFT = FRAME_PULSE_BITS + 1
SLOT_RECIPROCAL_SHIFT = FRAME_PULSE_BITS


class SlotClass(IntEnum):
    """What a slot carries in one band. ``REF0 + k`` is REF(k): Alice's reference modulator adds k pi/2."""

    VAC = 0
    SIG = 1
    REF_A = 2
    REF_B = 3
    REF0 = 4
    REF1 = 5
    REF2 = 6
    REF3 = 7
    GUARD = 8


def slot_byte(q: SlotClass, r: SlotClass) -> int:
    """One table entry: quantum class in the low nibble, reference class in the high nibble."""
    return int(q) | int(r) << 4


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """The timebase's position at one clock: everything idle skipping has to load."""

    clock: int
    pulse: int
    """Pulse index n at the anchor."""
    remainder: int
    """Ticks since that pulse's start, in 2^-32 tick."""
    frame_pulse: int
    """l = n mod L."""
    frame: int
    window_frame: int
    """frame mod frames_per_window."""
    window: int
    dwindow_window: int
    """window mod windows_per_dwindow."""
    dwindow: int


@dataclass(frozen=True, kw_only=True)
class FrameConfig:
    """A frame as the hardware runs it. Raises ValueError with the key, the value and what is allowed.

    ``table`` holds one `slot_byte` per slot; ``start_clock`` is the clock count at which pulse 0 starts.
    """

    period_q32: int
    slot_pulses: int
    table: tuple[int, ...]
    frames_per_window: int
    windows_per_dwindow: int
    start_clock: int = 0

    def __post_init__(self) -> None:
        period_ok = MIN_PERIOD_TICKS << 32 <= self.period_q32 <= MAX_PERIOD_TICKS << 32
        _require(
            period_ok, "period_q32", self.period_q32, f"{MIN_PERIOD_TICKS} to {MAX_PERIOD_TICKS} ticks, times 2^32"
        )
        _require(1 <= self.slot_pulses < 1 << SLOT_PULSES_BITS, "slot_pulses", self.slot_pulses, "1 to 65535")
        _require(1 <= len(self.table) <= TABLE_SLOTS, "table length", len(self.table), f"1 to {TABLE_SLOTS} slots")
        classes = {int(c) for c in SlotClass}
        for i, entry in enumerate(self.table):
            _require(
                entry & 15 in classes and entry >> 4 in classes, f"table[{i}]", entry, "two slot classes of 0 to 8"
            )
        _require(
            MIN_FRAME_PULSES <= self.frame_pulses < 1 << FRAME_PULSE_BITS,
            "slots times slot_pulses",
            self.frame_pulses,
            f"{MIN_FRAME_PULSES} to {(1 << FRAME_PULSE_BITS) - 1} pulses",
        )
        _require(
            self.frame_pulses * self.period_q32 >= 2 * TICKS_PER_CLOCK << 32,
            "slots times slot_pulses",
            self.frame_pulses,
            "a frame of two clocks, 16384 ticks, or more",
        )
        _require(
            1 <= self.frames_per_window < 1 << FRAMES_PER_WINDOW_BITS,
            "frames_per_window",
            self.frames_per_window,
            "1 to 16777215",
        )
        _require(
            self.window_ticks >= MIN_WINDOW_TICKS,
            "window length in ticks",
            self.window_ticks,
            f"at least {MIN_WINDOW_TICKS} ticks (65.5 us): raise frames_per_window",
        )
        _require(
            2 <= self.windows_per_dwindow <= MAX_WINDOWS_PER_DWINDOW,
            "windows_per_dwindow",
            self.windows_per_dwindow,
            f"2 to {MAX_WINDOWS_PER_DWINDOW}",
        )
        _require(0 <= self.start_clock < 1 << CLOCK_BITS, "start_clock", self.start_clock, "a 51-bit clock count")

    @property
    def frame_pulses(self) -> int:
        """L, pulses per frame."""
        return len(self.table) * self.slot_pulses

    @property
    def window_pulses(self) -> int:
        """Pulses per window."""
        return self.frame_pulses * self.frames_per_window

    @property
    def window_ticks(self) -> int:
        """Window length in whole ticks (rounded down)."""
        return self.window_pulses * self.period_q32 >> 32

    @property
    def step_pulses(self) -> int:
        """Whole pulses per clock, ``8192 div P``."""
        return (TICKS_PER_CLOCK << 32) // self.period_q32

    @property
    def step_remainder(self) -> int:
        """``8192 mod P`` in 2^-32 tick."""
        return (TICKS_PER_CLOCK << 32) % self.period_q32

    @property
    def pulse_reciprocal(self) -> int:
        """``floor(2^58 / P_q32)``: with it ``floor(x R / 2^58)`` is the quotient or one less, for x below 2^58."""
        return (1 << PULSE_RECIPROCAL_SHIFT) // self.period_q32

    @property
    def frame_reciprocal(self) -> int:
        """``floor(2^25 / L)``, for dividends below 2^25."""
        return (1 << FRAME_RECIPROCAL_SHIFT) // self.frame_pulses

    @property
    def slot_reciprocal(self) -> int:
        """``floor(2^24 / M)``, for dividends below 2^24."""
        return (1 << SLOT_RECIPROCAL_SHIFT) // self.slot_pulses

    def anchor_at(self, clock: int) -> Anchor:
        """The anchor when the clock count is ``clock``: held at pulse 0 until LAG_CLOCKS after the start."""
        clocks = max(0, clock - LAG_CLOCKS - self.start_clock)
        pulse, remainder = divmod(clocks * TICKS_PER_CLOCK << 32, self.period_q32)
        frame, frame_pulse = divmod(pulse, self.frame_pulses)
        window, window_frame = divmod(frame, self.frames_per_window)
        dwindow, dwindow_window = divmod(window, self.windows_per_dwindow)
        return Anchor(
            clock=clock,
            pulse=pulse & ((1 << PULSE_BITS) - 1),
            remainder=remainder,
            frame_pulse=frame_pulse,
            frame=frame & ((1 << FRAME_BITS) - 1),
            window_frame=window_frame,
            window=window & ((1 << WINDOW_BITS) - 1),
            dwindow_window=dwindow_window,
            dwindow=dwindow & ((1 << WINDOW_BITS) - 1),
        )

    def close_clock(self, window: int) -> int:
        """First clock count at which the anchor lies in ``window + 1``: when ``window`` is closed."""
        end = (window + 1) * self.window_pulses * self.period_q32
        return self.start_clock + LAG_CLOCKS - (-end // (TICKS_PER_CLOCK << 32))


def _require(ok: bool, key: str, value: object, allowed: str) -> None:
    if not ok:
        raise ValueError(f"frame: {key} is {value}; allowed: {allowed}")
