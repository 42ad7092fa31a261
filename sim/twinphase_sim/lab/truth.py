"""What only a virtual lab knows of its run: the clicks of its detectors, and where its server's actuator was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinphase.errors import TwinphaseError
from twinphase_sim.model.drive.applied import applied_from_changes
from twinphase_sim.physics.clicks import NO_CLICKS, Clicks, join_clicks
from twinphase_spec.actuator import LIMIT_BITS
from twinphase_spec.lab import Lab
from twinphase_spec.lab_actuator import light_delay_clocks
from twinphase_spec.units import FRACTION_BITS

from .virtual import LabStep


@dataclass(frozen=True)
class Truth:
    """``clicks``; ``clock``, ``position`` (2^-16 turn), ``blank``: the actuator's changes, none without an actuator."""

    clicks: Clicks
    clock: NDArray[np.int64]
    position: NDArray[np.int64]
    blank: NDArray[np.bool_]

    def acted_on(self, times_ticks: NDArray[np.int64], lab: Lab) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(x, blank) that the gateware finds for clicks of these times."""
        return applied_from_changes(
            self.clock,
            self.position,
            self.blank,
            time=np.asarray(times_ticks).astype(np.int64) >> FRACTION_BITS,
            delay=light_delay_clocks(lab),
        )

    def quantum_turns(self, times_ticks: NDArray[np.int64], lab: Lab) -> NDArray[np.float64]:
        """Turns that the actuator has taken off the quantum band's light at these times."""
        if not self.clock.size:
            return np.zeros(len(times_ticks))
        x, _ = self.acted_on(times_ticks, lab)
        return x / 65536 * (lab.bands.quantum_hz / lab.bands.reference_hz)

    @classmethod
    def of_clicks(cls, clicks: Clicks) -> Truth:
        """Of a lab without an actuator."""
        none = np.empty(0, np.int64)
        return cls(clicks, none, none, np.empty(0, np.bool_))

    def save(self, path: Path) -> None:
        """As a compressed numpy file. TwinphaseError where it cannot be written."""
        columns = {name: getattr(self.clicks, name) for name in ("times_ticks", "channels", "pulses")}
        acted = (self.position | self.blank.astype(np.int64) << LIMIT_BITS).astype(np.int32)
        try:
            np.savez_compressed(path, clock=self.clock, acted=acted, **columns)
        except OSError as error:
            raise TwinphaseError(f"cannot write the truth to {path}: {error.strerror}; choose another file") from error

    @classmethod
    def load(cls, path: Path) -> Truth:
        """What `save` has written."""
        with np.load(path) as columns:
            acted = columns["acted"].astype(np.int64)
            return cls(
                Clicks(columns["times_ticks"], columns["channels"], columns["pulses"]),
                columns["clock"],
                acted & ((1 << LIMIT_BITS) - 1),
                acted >> LIMIT_BITS == 1,
            )


class TruthKeeper:
    """Collects the truth of a run, step by step."""

    def __init__(self) -> None:
        self._clicks: list[Clicks] = []
        self._acted: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]] = []

    def add(self, step: LabStep) -> None:
        """One step of the lab."""
        clicks = step.clicks
        self._clicks.append(Clicks(clicks.times_ticks, clicks.channels, clicks.pulses))
        acted = step.outputs["server"].acted
        if acted is not None:
            self._acted.append((acted.clock.astype(np.int64), acted.position, acted.blank))

    def truth(self) -> Truth:
        """All of it."""
        if not self._acted:
            return Truth.of_clicks(join_clicks([NO_CLICKS, *self._clicks]))
        clock, position, blank = (np.concatenate(column) for column in zip(*self._acted, strict=True))
        return Truth(join_clicks([NO_CLICKS, *self._clicks]), clock, position, blank)
