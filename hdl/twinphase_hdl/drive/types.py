"""Layouts that travel between the actuator's parts."""

from amaranth.hdl import signed
from amaranth.lib import data

from twinphase_spec import actuator, units


class Target(data.Struct):
    """A target word: what phase is to be taken off, unwrapped, at the target's own wavelength."""

    phase: signed(actuator.TARGET_BITS)
    """2^-32 turn."""
    locked: 1
    """0: the phase means nothing; the actuator holds."""


class WindowLimits(data.Struct):
    """`twinphase_spec.actuator.Window`, in 2^-16 turn."""

    low: actuator.LIMIT_BITS
    high: actuator.LIMIT_BITS
    top: actuator.LIMIT_BITS


class ActuatorSettings(data.Struct):
    """Register values of an actuator; all may change at any time."""

    ratio: signed(actuator.RATIO_BITS)
    """nu / nu_target - 1 in 2^-32."""
    lock: units.TURN_BITS
    """Residual phase to hold, 2^-16 turn."""
    slew: actuator.SLEW_BITS
    """2^-32 turn per step."""
    window: WindowLimits
    settle: actuator.SETTLE_BITS
    """Steps in blank, less one."""
    coast: 1
    """In hold: go on with the last slope."""
    seek: 1
    """In hold: go round at `speed`, coast or not."""
    speed: actuator.SEEK_BITS
    """2^-32 turn per clock."""
    dither: 1
    bank: 1
    """The table that acts; the other one may be written."""
