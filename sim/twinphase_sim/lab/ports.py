"""The angles of a lab's reference steps as a host finds them: by a run of the lab before its own (docs/phase.md, unequal ports)."""

from __future__ import annotations

from pathlib import Path

from twinphase.measure.port_calibration import PortCalibration, StepAngles
from twinphase.measure.watch import watch
from twinphase_spec.lab import Lab
from twinphase_spec.port_balance import EQUAL_PORTS

MOST_S = 20.0
"""Node time of such a run, at most."""


def measured_angles(lab: Lab, seed: int, *, cache: Path | None = None, progress: bool = True) -> StepAngles:
    """Runs ``lab`` with the angles of equal ports until its server's tags tell better ones.

    TwinphaseError where MOST_S do not suffice, and as `VirtualLab` raises.
    """
    from .device import LabDevice
    from .virtual import VirtualLab

    virtual = VirtualLab(lab, seed, cache=cache, progress=progress, angles=EQUAL_PORTS)
    with LabDevice(virtual) as device:
        calibration = PortCalibration(device, lab)
        watch(device, calibration.update, seconds=MOST_S, stop=lambda: calibration.done)
        calibration.check()
    return calibration.written[0].angles
