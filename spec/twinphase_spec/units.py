"""Time and phase units that every part of Twinphase shares.

One tick is 1/8192 of the system clock: at 125 MHz exactly 125/128 ps. A timestamp is a 64-bit number of ticks,
``clock_count << 13 | fraction``. Phases are unsigned fixed-point turns, 2^-16 turn on the wire.
"""

from __future__ import annotations

import math
from typing import overload

import numpy as np
from numpy.typing import NDArray

CLOCK_HZ = 125_000_000
"""System clock in Hz; the identity registers carry it."""
TAGGER_CLOCKS_HZ = (CLOCK_HZ, 120_000_000)
"""System clocks of time taggers; a node's ticks are 1/8192 of its own. What reads them out converts to those of `CLOCK_HZ`."""
FRACTION_BITS = 13
TICKS_PER_CLOCK = 1 << FRACTION_BITS
TIME_BITS = 64
CLOCK_BITS = TIME_BITS - FRACTION_BITS
"""Width of the free-running clock count (51 bits, 208 days at 125 MHz)."""
TICKS_PER_SECOND = CLOCK_HZ * TICKS_PER_CLOCK
TICK_PS = 125 / 128
"""One tick in picoseconds, exact as a binary fraction (0.9765625 ps)."""

TURN_BITS = 16
TURN = 1 << TURN_BITS
"""One turn in wire units."""
HALF_TURN = TURN >> 1
QUARTER_TURN = TURN >> 2


@overload
def ticks_to_ps(ticks: int) -> int: ...
@overload
def ticks_to_ps(ticks: NDArray[np.integer]) -> NDArray[np.int64]: ...
def ticks_to_ps(ticks: int | NDArray[np.integer]) -> int | NDArray[np.int64]:
    """Picoseconds of a time in ticks, rounded half up: ``(t >> 7) * 125 + (((t & 127) * 125 + 64) >> 7)``.

    Exact integer arithmetic, no overflow for int64 ticks below 2^63 / 125 * 128.
    """
    if isinstance(ticks, int):
        return (ticks >> 7) * 125 + (((ticks & 127) * 125 + 64) >> 7)
    wide = np.asarray(ticks).astype(np.int64)
    return (wide >> 7) * 125 + (((wide & 127) * 125 + 64) >> 7)


def ps_to_ticks(picoseconds: float) -> int:
    """Nearest number of ticks to a time in picoseconds (128/125 ticks per ps)."""
    return round(picoseconds * 128 / 125)


def ticks_from_node(ticks: NDArray[np.int64], clock_hz: int) -> NDArray[np.int64]:
    """Ticks of 125/128 ps of times in a node's own ticks, 1/8192 of its clock: ``floor(ticks * CLOCK_HZ / clock_hz)``, exact, no overflow
    for the times of a hundred days."""
    common = math.gcd(CLOCK_HZ, clock_hz)
    up, down = CLOCK_HZ // common, clock_hz // common
    return ticks // down * up + ticks % down * up // down


def ticks_to_node(ticks: int, clock_hz: int) -> int:
    """A node's own ticks nearest to a span of 125/128 ps ticks."""
    return (2 * ticks * clock_hz + CLOCK_HZ) // (2 * CLOCK_HZ)


def seconds_to_ticks(seconds: float) -> int:
    """Nearest number of ticks to a time in seconds."""
    return round(seconds * TICKS_PER_SECOND)


def turns_to_radians(turns: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Radians of a phase in 2^-16 turns: ``2 pi t / 65536``."""
    return np.asarray(turns, dtype=np.float64) * (2 * np.pi / TURN)


def radians_to_turns(radians: float) -> int:
    """Nearest phase in 2^-16 turns, modulo one turn."""
    return round(radians / (2 * np.pi) * TURN) % TURN
