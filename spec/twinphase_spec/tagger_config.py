"""Tagger files: one TOML file says how the channels of a time tagger are set up, in physical units and by channel name.

``load_tagger("hbt")`` loads a preset, ``load_tagger("path/to/tagger.toml")`` a file; `tagger_registers` turns it into what is
written to a device. Every error is a `TaggerError` whose text names the key, the value and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, StrictInt, model_validator

from .config_file import ConfigError, ConfigFile
from .packets import Stream
from .registers import TIMETAGGER, TIMETAGGER_CHANNELS
from .tagger import COINCIDENCES, FILTER_WINDOW_BITS, GATE_ENABLE, WALK_BITS, WALK_ENTRIES
from .tagger_parts import (
    CLOCK_NS,
    MAX_WALK_SHIFT,
    Calibration,
    Channel,
    CoincidenceChannel,
    Part,
    Pulser,
    TimeWindow,
)
from .units import TICK_PS, ps_to_ticks, seconds_to_ticks


class TaggerError(ConfigError):
    """A tagger file, or a device for it, that cannot be used; the text is one sentence per fault."""


class TaggerConfig(Part):
    """A whole time tagger: see the module. Channels that are not listed are disabled."""

    name: str = Field(min_length=1)
    description: str
    channels: tuple[Channel, ...] = Field(min_length=1)
    filter_window_ps: float = Field(default=0.0, ge=0, le=((1 << FILTER_WINDOW_BITS) - 1) * TICK_PS)
    walk_shift: StrictInt = Field(default=13, ge=0, le=MAX_WALK_SHIFT)
    """Steps of all walk tables are 2^walk_shift ticks: 8 ns at 13."""
    pulser: Pulser = Pulser()
    time_window: TimeWindow = TimeWindow()
    coincidences: tuple[CoincidenceChannel, ...] = Field(default=(), max_length=COINCIDENCES)
    calibration: Calibration = Calibration()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = []
        for key in ("number", "label"):
            values = [getattr(channel, key) for channel in self.channels]
            twice = sorted({value for value in values if values.count(value) > 1})
            faults += [f"channels: {value} is given twice; allowed: every number and name once" for value in twice]
        for channel in self.channels:
            where = f"channel {channel.label}"
            if channel.gate is not None:
                faults += self._reference(f"{where}: gate.by", (channel.gate.by,), channel)
            faults += self._reference(f"{where}: filter", channel.filter, channel)
            if channel.filter and not self.filter_window_ps:
                faults.append(f"{where}: filter needs filter_window_ps, which is 0; allowed: above 0")
        for v, coincidence in enumerate(self.coincidences):
            where = f"coincidences.{v}.channels"
            faults += self._reference(where, coincidence.channels)
            if len({self._find(reference) for reference in coincidence.channels} - {None}) < 2:
                faults.append(f"{where} has fewer than two different channels; allowed: at least 2")
        for key, references in (
            ("pulser.channels", self.pulser.channels),
            ("time_window.channels", self.time_window.channels),
            ("calibration.source", self.calibration.source),
            ("calibration.hold", self.calibration.hold),
        ):
            faults += self._reference(key, references)
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _find(self, reference: int | str) -> Channel | None:
        for channel in self.channels:
            if reference in (channel.number, channel.label):
                return channel
        return None

    def _reference(self, key: str, references: tuple[int | str, ...], owner: Channel | None = None) -> list[str]:
        """Faults of references to channels: unknown, disabled, or to the ``owner`` itself."""
        faults = []
        known = ", ".join(f"{channel.label} ({channel.number})" for channel in self.channels if channel.enabled)
        for reference in references:
            channel = self._find(reference)
            if channel is None:
                faults.append(f"{key} names {reference!r}, which is not a channel of this file; allowed: {known}")
            elif channel is owner:
                faults.append(f"{key} names the channel itself; allowed: another channel")
            elif not channel.enabled:
                faults.append(f"{key} names {reference!r}, which is not enabled; allowed: {known}")
        return faults

    def number(self, reference: int | str) -> int:
        """Number of a channel given by number or name. Raises TaggerError when there is none."""
        channel = self._find(reference)
        if channel is None:
            known = ", ".join(channel.label for channel in self.channels)
            raise TaggerError(f"tagger {self.name}: {reference!r} is not a channel; allowed: {known}")
        return channel.number

    def mask(self, references: tuple[int | str, ...]) -> int:
        """Bit c is set for every channel c that is given by number or name."""
        return sum({1 << self.number(reference) for reference in references})


TAGGER_FILE = ConfigFile(kind="tagger", model=TaggerConfig, error=TaggerError, folder="taggers")


def load_tagger(name_or_path: str | Path) -> TaggerConfig:
    """The tagger of a preset's name or of a TOML file. Raises `TaggerError`."""
    return TAGGER_FILE.load(name_or_path)


def parse_tagger(text: str, name: str) -> TaggerConfig:
    """The tagger that ``text`` (TOML) describes; ``name`` is used in errors. Raises `TaggerError`."""
    return TAGGER_FILE.parse(text, name)


def tagger_registers(config: TaggerConfig, channels: int) -> tuple[dict[str, int], dict[str, list[int]]]:
    """(RW registers by name, all words of each memory by name) of a device with ``channels`` channels.

    What the file leaves out gets its neutral value, so that nothing of an earlier set-up stays. Signed values are sign-extended
    to 32 bits. CHANNEL_ENABLE is the last register: write 0 to it, then the memories, then the registers in this order, because
    delays may change only while nothing is inside. Raises TaggerError for channels that the device does not have.
    """
    if not 1 <= channels <= TIMETAGGER_CHANNELS:
        raise TaggerError(
            f"tagger {config.name}: the device has {channels} channels; allowed: 1 to {TIMETAGGER_CHANNELS}, those of the register map"
        )
    beyond = [channel for channel in config.channels if channel.number >= channels]
    if beyond:
        raise TaggerError(
            "\n".join(
                f"tagger {config.name}: channel {channel.label} is number {channel.number}; allowed: 0 to {channels - 1}, "
                f"those of the device"
                for channel in beyond
            )
        )
    neutral = Channel(number=0)
    by_number = {channel.number: channel for channel in config.channels}
    registers = {
        "STREAM_ENABLE": 1 << Stream.TAG | 1 << Stream.STATUS,
        "EDGE": sum(1 << channel.number for channel in config.channels if channel.edge == "falling"),
        "PULSER_MASK": config.mask(config.pulser.channels),
        "PULSER_PERIOD": round(config.pulser.period_ns / CLOCK_NS),
        "PULSER_FINE": ps_to_ticks(config.pulser.offset_ps),
        "FILTER_WINDOW": ps_to_ticks(config.filter_window_ps),
        "WINDOW_FROM": seconds_to_ticks(config.time_window.from_s),
        "WINDOW_UNTIL": seconds_to_ticks(config.time_window.until_s),
        "WINDOW_ENABLE": config.mask(config.time_window.channels),
        "WALK_SHIFT": config.walk_shift,
        "CAL_SOURCE": config.mask(config.calibration.source),
        "CAL_HOLD": config.mask(config.calibration.hold),
        "CAL_RESET": 0,
        "CAL_SHARED": int(config.calibration.shared),
        "CAL_STEP": config.calibration.step,
        "CAL_LAST": config.calibration.last,
    }
    for v in range(COINCIDENCES):
        used = config.coincidences[v] if v < len(config.coincidences) else None
        registers[f"COINCIDENCE_MASK_{v}"] = config.mask(used.channels) if used else 0
        registers[f"COINCIDENCE_WINDOW_{v}"] = ps_to_ticks(used.window_ps) if used else 0
    memories = {
        name: [0] * TIMETAGGER.memory(name).words
        for name in ("GATE_TABLE", "GATE_FROM", "GATE_TO", "FILTER_MASK", "WALK")
    }
    for c in range(TIMETAGGER_CHANNELS):
        channel = by_number.get(c, neutral)
        veto = channel.veto
        registers[f"DELAY_{c}"] = ps_to_ticks(channel.delay_ps) & 0xFFFF_FFFF
        registers[f"DEAD_TIME_{c}"] = ps_to_ticks(channel.dead_time_ns * 1000)
        registers[f"VETO_FROM_{c}"] = ps_to_ticks(veto.from_ns * 1000) if veto else 0
        registers[f"VETO_TO_{c}"] = ps_to_ticks(veto.to_ns * 1000) if veto else 0
        registers[f"DIVIDER_{c}"] = channel.divider
        if channel.gate is not None:
            memories["GATE_TABLE"][c] = GATE_ENABLE | config.number(channel.gate.by)
            memories["GATE_FROM"][c] = ps_to_ticks(channel.gate.from_ns * 1000)
            memories["GATE_TO"][c] = ps_to_ticks(channel.gate.to_ns * 1000)
        memories["FILTER_MASK"][c] = config.mask(channel.filter)
        for i, walk in enumerate(channel.walk_ps):
            memories["WALK"][c * WALK_ENTRIES + i] = ps_to_ticks(walk) & ((1 << WALK_BITS) - 1)
    registers["CHANNEL_ENABLE"] = sum(1 << channel.number for channel in config.channels if channel.enabled)
    return registers, memories
