"""Parts of a tagger file (`tagger_config`): what can be set per channel and beside the channels, with the registers' limits."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from .tagger import (
    COINCIDENCE_WINDOW_BITS,
    DEAD_TIME_BITS,
    DELAY_BITS,
    DIVIDER_BITS,
    MAX_CHANNELS,
    MEMORY_TICKS,
    WALK_BITS,
    WALK_ENTRIES,
)
from .tdc import DEFAULT_CAL_LAST, DEFAULT_CAL_STEP, MAX_CAL_LAST
from .units import CLOCK_HZ, TICK_PS

CLOCK_NS = 1e9 / CLOCK_HZ
MAX_DEAD_TIME_NS = ((1 << DEAD_TIME_BITS) - 1) * TICK_PS / 1000
MAX_GATE_NS = MEMORY_TICKS * TICK_PS / 1000
MIN_DELAY_PS, MAX_DELAY_PS = -(1 << DELAY_BITS - 1) * TICK_PS, ((1 << DELAY_BITS - 1) - 1) * TICK_PS
MIN_WALK_PS, MAX_WALK_PS = -(1 << WALK_BITS - 1) * TICK_PS, ((1 << WALK_BITS - 1) - 1) * TICK_PS
MAX_TIME_S = 1.8e7
"""208 days, a little less than 2^64 ticks."""
MAX_WALK_SHIFT = DEAD_TIME_BITS - (WALK_ENTRIES - 1).bit_length()
"""The walk table then ends where a channel forgets its last click, 65.5 us."""
MIN_CAL_STEP = 12

ChannelRef = StrictInt | str
"""A channel by number or by name."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
DistanceNs = Annotated[float, Field(ge=0, le=MAX_DEAD_TIME_NS)]
GateNs = Annotated[float, Field(ge=0, le=MAX_GATE_NS)]
WalkPs = Annotated[float, Field(ge=MIN_WALK_PS, le=MAX_WALK_PS)]


class Part(BaseModel):
    """Refuses unknown keys; does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _ordered(low: str, start: float, high: str, stop: float) -> None:
    if start >= stop:
        raise ValueError(f"{low} is {start:g} and {high} is {stop:g}; allowed: {low} below {high}")


class Veto(Part):
    """After-pulse veto: an edge this long after the last accepted one is left out."""

    from_ns: DistanceNs = 0.0
    to_ns: DistanceNs

    @model_validator(mode="after")
    def _order(self) -> Self:
        _ordered("from_ns", self.from_ns, "to_ns", self.to_ns)
        return self


class Gate(Part):
    """A tag passes only from ``from_ns`` to before ``to_ns`` after the latest tag of channel ``by``."""

    by: ChannelRef
    from_ns: GateNs = 0.0
    to_ns: GateNs

    @model_validator(mode="after")
    def _order(self) -> Self:
        _ordered("from_ns", self.from_ns, "to_ns", self.to_ns)
        return self


class Channel(Part):
    """One input. What is left out is off."""

    number: StrictInt = Field(ge=0, lt=MAX_CHANNELS)
    name: str = Field(default="", max_length=40)
    """By which the file and every plot call it; empty: ``ch`` and the number."""
    enabled: bool = True
    edge: Literal["rising", "falling"] = "rising"
    delay_ps: float = Field(default=0.0, ge=MIN_DELAY_PS, le=MAX_DELAY_PS)
    dead_time_ns: DistanceNs = 0.0
    veto: Veto | None = None
    divider: StrictInt = Field(default=1, ge=1, lt=1 << DIVIDER_BITS)
    """Every n-th accepted edge passes."""
    gate: Gate | None = None
    filter: tuple[ChannelRef, ...] = ()
    """A tag passes only within filter_window_ps of a tag of one of these channels; empty: always."""
    walk_ps: tuple[WalkPs, ...] = Field(default=(), max_length=WALK_ENTRIES)
    """Time walk: what is added to an edge's time, by the time since the click before it in steps of 2^walk_shift ticks.
    Steps that are left out, and so longer times, get 0; entry 63 is that of all longer times."""

    @property
    def label(self) -> str:
        return self.name or f"ch{self.number}"


class Pulser(Part):
    """The internal test pulser; its channels get its edges instead of their pins'."""

    channels: tuple[ChannelRef, ...] = ()
    period_ns: float = Field(default=1e6, ge=2 * CLOCK_NS, le=((1 << 32) - 1) * CLOCK_NS)
    offset_ps: float = Field(default=0.0, ge=0, le=8191 * TICK_PS)
    """Time of its edges within the 8 ns clock."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.period_ns % CLOCK_NS:
            raise ValueError(f"period_ns is {self.period_ns:g}; allowed: multiples of {CLOCK_NS:g} ns")
        return self


class TimeWindow(Part):
    """Its channels pass only from ``from_s`` to before ``until_s`` of the device's time."""

    channels: tuple[ChannelRef, ...] = ()
    from_s: float = Field(default=0.0, ge=0, le=MAX_TIME_S)
    until_s: float = Field(default=MAX_TIME_S, ge=0, le=MAX_TIME_S)

    @model_validator(mode="after")
    def _order(self) -> Self:
        _ordered("from_s", self.from_s, "until_s", self.until_s)
        return self


class CoincidenceChannel(Part):
    """A virtual channel: a tag for every set of tags of all ``channels`` within ``window_ps``."""

    name: str = Field(default="", max_length=40)
    channels: tuple[ChannelRef, ...] = Field(min_length=2)
    window_ps: float = Field(ge=0, le=((1 << COINCIDENCE_WINDOW_BITS) - 1) * TICK_PS)


class Calibration(Part):
    """Delay lines only: where their hits come from and how often their tables are renewed."""

    source: tuple[ChannelRef, ...] = ()
    """Channels that get the internal test oscillator instead of the pin."""
    hold: tuple[ChannelRef, ...] = ()
    """Channels that keep their table and scale."""
    shared: bool = False
    """Rising and falling transitions of a chain use one table."""
    step: StrictInt = Field(default=DEFAULT_CAL_STEP, ge=MIN_CAL_STEP, le=MAX_CAL_LAST)
    """A table every 2^step hits."""
    last: StrictInt = Field(default=DEFAULT_CAL_LAST, ge=MIN_CAL_STEP, le=MAX_CAL_LAST)
    """The histogram is halved at 2^last hits."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.step > self.last:
            raise ValueError(f"step is {self.step}; allowed: at most last ({self.last})")
        return self
