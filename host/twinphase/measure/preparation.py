"""What is done to tags on their way to a measurement of `twinphase measure`: times of a reference, then delays of channels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Protocol

from twinphase_spec.units import ps_to_ticks

from ..batch import Batch
from ..errors import TwinphaseError
from .delays import HostDelays
from .discipline import DisciplinedTags
from .reference import ReferenceClock

REFERENCE_OPTIONS: dict[str, Any] = {
    "clock_hz": 10_000_000,
    "divider": 1,
    "pps": None,
    "first_second": 0,
    "holdover_s": 1.0,
}
"""Options that need ``--clock``, and what they are without being given."""


class Measurement(Protocol):
    """What tags are prepared for."""

    def channel(self, text: str) -> int:
        """The channel that the user names. Raises TwinphaseError."""

    def update(self, batch: Batch) -> object:
        """Take in a batch."""


class Preparation:
    """Feeds ``measurement`` with the batches that come to `update`, disciplined and delayed. Without either, as they come."""

    def __init__(
        self,
        measurement: Measurement,
        *,
        discipline: DisciplinedTags | None = None,
        delays: HostDelays | None = None,
    ) -> None:
        self.measurement, self.discipline, self.delays = measurement, discipline, delays

    @property
    def used(self) -> bool:
        """Whether tags wait here, so that `finish` brings some."""
        return self.discipline is not None or self.delays is not None

    def update(self, batch: Batch) -> None:
        """Take in a device's batch."""
        if self.discipline is not None:
            batch = self.discipline.update(batch)
        if self.delays is not None:
            batch = self.delays.update(batch)
        self.measurement.update(batch)

    def finish(self) -> None:
        """The device has ended: measure what waited."""
        if self.discipline is not None:
            batch = self.discipline.finish()
            self.measurement.update(batch if self.delays is None else self.delays.update(batch))
        if self.delays is not None:
            self.measurement.update(self.delays.finish())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``reference`` and ``delays``, None where there is none."""
        return {
            "reference": None if self.discipline is None else self.discipline.as_dict(),
            "delays": None if self.delays is None else self.delays.as_dict(),
        }

    def sentence(self) -> str | None:
        """The state of the reference; None without one."""
        return None if self.discipline is None else self.discipline.sentence()


def reference_of(arguments: argparse.Namespace, channel: Callable[[str], int]) -> ReferenceClock | None:
    """The reference that ``--clock`` and the options beside it name; None without. Raises TwinphaseError, and ValueError for settings
    that are not allowed."""
    given = {name: getattr(arguments, name) for name in REFERENCE_OPTIONS}
    if arguments.clock is None:
        alone = [name for name, value in given.items() if value is not None]
        if alone:
            raise TwinphaseError(
                f"--{alone[0].replace('_', '-')} is given without --clock: name the reference's channel"
            )
        return None
    settings = {name: REFERENCE_OPTIONS[name] if value is None else value for name, value in given.items()}
    pps = settings.pop("pps")
    return ReferenceClock(
        clock_channel=channel(arguments.clock), pps_channel=None if pps is None else channel(pps), **settings
    )


def prepare(arguments: argparse.Namespace, measurement: Measurement) -> Preparation:
    """From the options of ``twinphase measure`` (all kinds but ``reference``). Raises TwinphaseError, one sentence."""
    try:
        reference = reference_of(arguments, measurement.channel)
        discipline = None
        if reference is not None:
            discipline = DisciplinedTags(reference, epoch_second=reference.labels.first_second)
        delays = None if arguments.delay is None else HostDelays(_delays(arguments.delay, measurement.channel))
    except ValueError as error:
        raise TwinphaseError(str(error)) from error
    return Preparation(measurement, discipline=discipline, delays=delays)


def _delays(texts: list[str], channel: Callable[[str], int]) -> dict[int, int]:
    """Ticks by channel number of texts ``CH=NS``."""
    found: dict[int, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        number = channel(name)
        try:
            ticks = ps_to_ticks(float(value) * 1000)
        except (ValueError, OverflowError) as error:
            raise TwinphaseError(
                f"--delay {text}: allowed: CH=NS, a channel and nanoseconds, as in 1=-2500.5"
            ) from error
        if number in found:
            raise TwinphaseError(f"--delay names channel {number} twice; allowed: each channel once")
        found[number] = ticks
    return found
