"""Scale: what follows changes that all bins of a chain share, one step per window of 2^14 hits.

Source: "Scale" of docs/timetagger.md. ``err = TARGET - sum max(0, y4 - THETA)`` drives a second-order loop with two gears; the
mean of err chooses the gear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba

from twinphase_spec.tdc import (
    EXTENDED_BITS,
    EXTENDED_SHIFT,
    FAST_WINDOWS,
    MEAN_SHIFT,
    RESTART,
    gains,
    gear_limit,
    scale_target,
    theta,
)

_MOST = (1 << (EXTENDED_BITS - 1)) - 1
_LEAST = -(1 << (EXTENDED_BITS - 1))


@dataclass(frozen=True, kw_only=True)
class ScaleConstants:
    """The constants of a loop; by default those of the gateware (`of_lanes`)."""

    theta: int
    target: int
    gear_limit: int
    fast_gain: int
    fast_rate: int
    slow_gain: int
    slow_rate: int
    fast_windows: int = FAST_WINDOWS
    mean_shift: int = MEAN_SHIFT
    restart: int = RESTART

    @classmethod
    def of_lanes(cls, lanes: int) -> ScaleConstants:
        """What twinphase_spec.tdc says for this number of lanes."""
        both = gains(lanes)
        return cls(
            theta=theta(lanes),
            target=scale_target(lanes),
            gear_limit=gear_limit(lanes),
            fast_gain=both["fast"][0],
            fast_rate=both["fast"][1],
            slow_gain=both["slow"][0],
            slow_rate=both["slow"][1],
        )


@numba.njit
def shifted(x: int, k: int) -> int:
    """``x << k``, or ``x >> -k`` (floor)."""
    return x << k if k >= 0 else x >> -k


@numba.njit
def saturated(x: int) -> int:
    """Signed, EXTENDED_BITS."""
    return min(max(x, _LEAST), _MOST)


@numba.njit
def window_end(
    acc: int,
    mean: int,
    fast: int,
    rate: int,
    ext: int,
    target: int,
    gear: int,
    fast_gain: int,
    fast_rate: int,
    slow_gain: int,
    slow_rate: int,
    fast_windows: int,
    mean_shift: int,
) -> tuple[int, int, int, int]:
    """(mean, fast, rate, ext) after a window whose sum was ``acc``."""
    err = target - acc
    mean += (err - mean) >> mean_shift
    if abs(mean) >= gear:
        fast = fast_windows
    elif fast > 0:
        fast -= 1
    gain_shift, rate_shift = (fast_gain, fast_rate) if fast > 0 else (slow_gain, slow_rate)
    rate = saturated(rate + shifted(err, rate_shift))
    ext = saturated(ext + rate + shifted(err, gain_shift))
    return mean, fast, rate, ext


@numba.njit
def at_limit(ext: int) -> bool:
    """ext is saturated."""
    return ext in (_LEAST, _MOST)


@numba.njit
def sigma_of(ext: int) -> int:
    """The scale that the fine time uses."""
    return ext >> EXTENDED_SHIFT
