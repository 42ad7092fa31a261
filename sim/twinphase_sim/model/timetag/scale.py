"""Constants of the scale, which follows changes that all bins of a chain share, one step per window of 2^14 hits.

Source: "Scale" of docs/timetagger.md. ``err = TARGET - sum max(0, y4 - THETA)`` drives a second-order loop with three gears; the
mean of err chooses the gear. A window whose err is too large, or
whose sum of the tent around THETA is too far from its target, is uneven light and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinphase_spec.tdc import (
    FAST_WINDOWS,
    MEAN_SHIFT,
    RESTART,
    gains,
    gear_limit,
    scale_target,
    tent_target,
    theta,
    uneven_err,
)


@dataclass(frozen=True, kw_only=True)
class ScaleConstants:
    """The constants of a loop; by default those of the gateware (`of_lanes`)."""

    theta: int
    target: int
    tent_target: int
    uneven_err: int
    gear_limit: int
    fastest_gain: int
    fastest_rate: int
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
            tent_target=tent_target(lanes),
            uneven_err=uneven_err(lanes),
            gear_limit=gear_limit(lanes),
            fastest_gain=both["fastest"][0],
            fastest_rate=both["fastest"][1],
            fast_gain=both["fast"][0],
            fast_rate=both["fast"][1],
            slow_gain=both["slow"][0],
            slow_rate=both["slow"][1],
        )
