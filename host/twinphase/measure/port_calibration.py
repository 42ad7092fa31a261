"""The angles of a server's reference steps, told to the node as its own clicks say them, again and again.

`PortBalance` measures u and both dead times of the reference band's detectors without knowing the phase; `port_balance.step_angles` makes
the angles STEP_R_k of them, that keep the lock point unbiased. How far an angle may be off, with 95 % confidence, is what it moves by
between the ends of their intervals, one after the other, added in squares::

    error_k^2 = sum of (max |angle_k(u at an end) - angle_k(u)|)^2, (|angle_k(t_L least) - angle_k(t_L)|)^2, the same for t_R

For the most part that is ``1.96 (1 - M^2)/(V |sin(theta)| sqrt(N))`` of N clicks, M being the port balance at theta: 160 000 take it to
5 mrad at mid-fringe, 90 000 at 45 degrees. Nothing is written that is not told so well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from twinphase_spec.configure import frame_config
from twinphase_spec.lab import Lab
from twinphase_spec.packets import RegisterOp
from twinphase_spec.port_balance import step_angles
from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICKS_PER_SECOND, TURN

from ..batch import Batch
from ..device import Device, PacketDevice
from ..errors import TwinphaseError
from ..lab_frame import check_frame
from .port_balance import PortBalance, PortFigures, calibrated

MOST_ERROR_RAD = 5e-3
"""Of an angle that is written, with 95 % confidence: the most that a lock point may be off after calibration."""
STEPS = tuple(f"STEP_R_{k}" for k in range(4))
LOOKS = 1.1
"""The clicks of a period are looked at when it has become so many times as long as at the last look."""
LEAST_LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True)
class StepAngles:
    """What STEP_R_0 to STEP_R_3 are to be, and how sure that is."""

    words: tuple[int, int, int, int]
    """2^-16 turn."""
    error_rad: float
    """Of the worst of them, 95 %."""
    figures: PortFigures

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def found_angles(lab: Lab, balance: PortBalance) -> StepAngles | None:
    """From what ``balance`` has of the reference band, the rest as ``lab`` says; None where that is too little to say anything."""
    figures = balance.figures("r")
    if figures is None:
        return None
    words = step_angles(calibrated(lab, figures))
    at = np.array(words)

    def away(**changes: Any) -> float:
        """Most that an angle moves, rad."""
        moved = np.array(step_angles(calibrated(lab, replace(figures, **changes)))) - at
        return float(np.abs((moved + TURN // 2) % TURN - TURN // 2).max()) * 2 * math.pi / TURN

    parts = [max(away(imbalance=end) for end in figures.imbalance_ci95)]
    parts += [
        away(dead_s=tuple(figures.dead_least_s[i] if i == port else figures.dead_s[i] for i in (0, 1)))
        for port in (0, 1)
    ]
    return StepAngles(words=words, error_rad=math.hypot(*parts), figures=figures)


@dataclass(frozen=True, kw_only=True)
class Written:
    """Angles that a node was told."""

    node_seconds: float
    """When: of the measurement's node time."""
    before: tuple[int, int, int, int]
    """What the registers were."""
    angles: StepAngles

    @property
    def moved_rad(self) -> float:
        """By how much the angle has changed that has changed most: psi_r goes on by as much at most."""
        changes = (
            (new - old + TURN // 2) % TURN - TURN // 2 for new, old in zip(self.angles.words, self.before, strict=True)
        )
        return max(abs(change) for change in changes) * 2 * math.pi / TURN

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "node_seconds": self.node_seconds,
            "before": self.before,
            "moved_rad": self.moved_rad,
            **self.angles.as_dict(),
        }


class PortCalibration:
    """Writes STEP_R_k of ``device``, a live server that runs the frame of ``lab``, as soon as its tags tell them to ``most_error_rad``.

    With ``every_s`` it does so again and again, from the tags of so much node time since the last write; a period whose clicks do not
    suffice goes on until they do. ``written`` is called after each write. Update it with the device's batches. TwinphaseError where the
    device is no live server of that lab.
    """

    def __init__(
        self,
        device: Device,
        lab: Lab,
        *,
        every_s: float | None = None,
        most_error_rad: float = MOST_ERROR_RAD,
        written: Callable[[Written], object] | None = None,
    ) -> None:
        if not isinstance(device, PacketDevice):
            raise TwinphaseError(f"{device.url} is a recording; --apply writes registers and needs a live server")
        if device.identity().node is not NodeType.SERVER:
            raise TwinphaseError(f"{device.url} is no server; --apply writes the angles of a server's reference steps")
        self._device, self._lab, self._every_s, self._most = device, lab, every_s, most_error_rad
        self._start_clock = device.read("START_CLOCK")
        # Angles from clicks that were counted in the wrong slots would spoil the lock point.
        check_frame(device, device.url, frame_config(lab, self._start_clock), lab.name)
        self.written: list[Written] = []
        self._tell = written
        self._balance = PortBalance(lab, self._start_clock)
        self._first_s: float | None = None
        self._begin_s = 0.0
        self._look_s = LEAST_LOOK_S

    @property
    def done(self) -> bool:
        """All is written that was asked for."""
        return bool(self.written) and self._every_s is None

    def update(self, batch: Batch) -> None:
        """Take a batch; write angles if it is time and they are told. DeviceError where the device does not take them."""
        if batch.time_ticks is None:  # nothing has come yet
            return
        now_s = batch.time_ticks / TICKS_PER_SECOND
        if self._first_s is None:
            self._first_s = self._begin_s = now_s
        if self.done:
            return
        self._balance.update(batch)
        if now_s - self._begin_s < self._look_s:
            return
        self._look_s = LOOKS * (now_s - self._begin_s)
        angles = found_angles(self._lab, self._balance)
        if angles is None or angles.error_rad > self._most:
            return
        self._write(angles, now_s - self._first_s)
        if self._every_s is not None:
            self._balance = PortBalance(self._lab, self._start_clock)
            self._begin_s, self._look_s = now_s, self._every_s

    def check(self) -> None:
        """TwinphaseError where nothing was written; the sentence says how many clicks it takes."""
        if self.written:
            return
        angles = found_angles(self._lab, self._balance)
        if angles is None:
            raise TwinphaseError(
                f"{self._device.url} has too few clicks in REF(k), REF_A and REF_B slots of lab {self._lab.name} to tell the angles of "
                "its steps; nothing was written: measure longer, with its frame running"
            )
        clicks, error = angles.figures.clicks, angles.error_rad
        raise TwinphaseError(
            f"{self._device.url}: {clicks:,} clicks tell the angles of the reference steps to {error * 1e3:.1f} mrad (95 %); "
            f"allowed: {self._most * 1e3:g} mrad, some {clicks * max(1.0, error / self._most) ** 2:,.0f} clicks; nothing was written: "
            "measure longer"
        )

    def _write(self, angles: StepAngles, node_seconds: float) -> None:
        """All four in one request, so that hardly a click comes between two of them."""
        device = self._device
        assert isinstance(device, PacketDevice)
        a, b, c, d = (device.read(name) for name in STEPS)
        device.request(RegisterOp.WRITE, device.map[STEPS[0]].address, len(STEPS), angles.words)
        self.written.append(Written(node_seconds=node_seconds, before=(a, b, c, d), angles=angles))
        if self._tell is not None:
            self._tell(self.written[-1])
